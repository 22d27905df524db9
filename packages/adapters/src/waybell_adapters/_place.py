"""Where a vendor is: its address, its key, its headers, and what of them is secret."""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from waybell_adapters._dialect import Dialect
from waybell_adapters._errors import ModelRefused, ModelUnavailable


if TYPE_CHECKING:
    from waybell_adapters._engine import Engine

_USER = re.compile("^([^/]*//)?[^/]*@")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADERS = {
    "Accept": "text/event-stream, application/x-ndjson, application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "waybell-adapters",
}


class Wire(NamedTuple):
    """A server, as read from the arguments and the environment."""

    engine: "Engine"
    dialect: Dialect
    secrets: tuple[str, ...]

    def scrub(self, text: str) -> str:
        """The text without what must not be shown."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def connect(
    kind: type[Dialect],
    *,
    api_key: str | None,
    base_url: str | None,
    headers: Mapping[str, str],
    **options: Any,
) -> Wire:
    """Read the environment and make ready to send.

    Raises:
        AdapterError: The key is missing, or something cannot be sent.
    """
    # Loaded only now: requests takes longer to import than all of this package.
    from requests.exceptions import RequestException  # noqa: PLC0415

    from waybell_adapters._engine import Engine  # noqa: PLC0415

    said = os.environ.get(kind.url, "").strip()
    url = _checked(kind.address(base_url or said or kind.home)) + kind.path
    key = api_key
    if key is None and base_url is None:
        key = _key(kind.key, needed=not said)
    own = kind.headers(key) | dict(headers)
    _check(own)
    try:
        engine = Engine(url, _HEADERS | own, **options)
    except (RequestException, ValueError) as error:
        kept = type(error).__name__  # its text may have a proxy's password
        raise ModelUnavailable(f"nothing can be sent to {shown(url)}: {kept}") from None
    return Wire(engine, kind(url), _secrets(key, own))


def _key(name: str | None, *, needed: bool) -> str | None:
    """The key of the environment, which is for the address of the environment."""
    key = os.environ.get(name, "").strip() if name else ""
    if name and needed and not key:
        raise ModelRefused(f"no key: set {name}, or pass api_key=", status=401)
    return key or None


def _checked(text: str) -> str:
    url = text.rstrip("/")
    try:
        parts = urlsplit(url)
    except ValueError:  # whose text may have a password
        raise ModelUnavailable(f"not a web address: {shown(url)!r}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ModelUnavailable(
            f"not a web address: {shown(url)!r}; one begins with http:// or https://"
        )
    if parts.username or parts.password:
        raise ModelUnavailable("base_url carries no user or password: use headers=")
    if parts.query or parts.fragment:
        raise ModelUnavailable("base_url carries no query: use headers=")
    return url


def shown(url: str) -> str:
    """An address without a password or a query."""
    return _USER.sub(r"\1", re.split("[?#]", url)[0])


def _check(headers: Mapping[Any, Any]) -> None:
    for name, value in headers.items():
        if not _NAME.fullmatch(str(name)):
            raise ModelUnavailable(f"not a name of a header: {name!r}")
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise ModelUnavailable(f"the header {name} has a character it cannot carry")


def _secrets(key: str | None, headers: Mapping[str, str]) -> tuple[str, ...]:
    """The key and every long value of a header, longest first."""
    values = [value for value in headers.values() if len(value) >= 8]
    return tuple(sorted({*filter(None, [key]), *values}, key=len, reverse=True))
