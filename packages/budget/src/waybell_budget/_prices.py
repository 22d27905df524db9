"""What a model call costs: own rates first, the genai-prices extra second."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, localcontext
from typing import Literal, NamedTuple, cast

from ._amounts import Amount, dollars, nanos, whole
from ._errors import BudgetExceeded, UnknownPriceError
from ._snapshot import Key, Line


class Counts(NamedTuple):
    """Tokens of one call; `read` and `written` are the cached parts of the input."""

    input: int
    output: int
    read: int = 0
    written: int = 0


_FIELDS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def counts_of(usage: object) -> Counts:
    """Read a usage mapping or object.

    Input counts what is cached too, as OpenTelemetry has it; where the cached is more
    than all, the vendor counts it apart.
    """
    found = [_field(usage, name) for name in _FIELDS]
    if found == [None] * 4:
        names = ", ".join(_FIELDS)
        raise ValueError(f"usage names no tokens, by {names}: {usage!r}")
    given, output, read, written = (count or 0 for count in found)
    if read + written > given:
        given += read + written
    return Counts(given, output, read, written)


def _field(usage: object, name: str) -> int | None:
    if isinstance(usage, Mapping):
        count = cast("Mapping[str, object]", usage).get(name)
    else:
        count = getattr(usage, name, None)
    return None if count is None else whole(count, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one model costs, in dollars per million tokens.

    Args:
        input: For what goes in.
        output: For what comes out.
        cache_read: For input read from a cache; None for as much as `input`.
        cache_write: For input written to a cache; None for as much as `input`.
    """

    input: Amount
    output: Amount
    cache_read: Amount | None = None
    cache_write: Amount | None = None

    def __post_init__(self) -> None:
        rates_of(self)  # refuses what is not a price


def rates_of(price: Price) -> Counts:
    """Nano-dollars for a million tokens of each kind, rounded up."""
    read, written = price.cache_read, price.cache_write
    return Counts(
        nanos(price.input, "input", True),
        nanos(price.output, "output", True),
        nanos(price.input if read is None else read, "cache_read", True),
        nanos(price.input if written is None else written, "cache_write", True),
    )


def _cost(counts: Counts, rates: Counts) -> int:
    """Nano-dollars for a call, rounded up."""
    fresh = counts.input - counts.read - counts.written
    millions = fresh * rates.input + counts.output * rates.output
    millions += counts.read * rates.read + counts.written * rates.written
    return -(-millions // 10**6)


class PriceBook:
    """Finds the price of a call, or says that nobody knows it."""

    __slots__ = ("ceiling", "own")

    def __init__(
        self,
        own: Mapping[str, Price] | None,
        unknown: Literal["refuse", "ceiling"],
        ceiling: Price | None,
    ) -> None:
        if unknown not in ("refuse", "ceiling"):
            raise ValueError(f"unknown must be 'refuse' or 'ceiling', not {unknown!r}")
        if (unknown == "ceiling") is (ceiling is None):
            raise ValueError("unknown='ceiling' and ceiling=Price(...) need each other")
        self.own = {model: rates_of(price) for model, price in (own or {}).items()}
        self.ceiling = None if ceiling is None else rates_of(ceiling)

    def itemise(
        self, nano: int | None, count: int | None, key: Key, usage: object
    ) -> tuple[int | None, int | None, Key, UnknownPriceError | None]:
        """Fill in what the model, its usage and the line say of a charge."""
        label, model, line = key
        hash(key)  # what cannot be booked under is refused before anything is booked
        nano = _on(line, nano)
        counts = counts_of(usage) if usage else None
        if counts is not None and count is None:
            count = counts.input + counts.output
        if nano is not None:
            return nano, count, key, None
        if count is None:
            raise ValueError("charge needs usd, tokens, or model and usage")
        unknown = None
        if counts is not None or model:
            nano, line, unknown = self._tried(model, counts, line)
        return nano, count, (label, model, line), unknown

    def _tried(
        self, model: str | None, counts: Counts | None, line: Line
    ) -> tuple[int | None, Line, UnknownPriceError | None]:
        try:
            return *self.cost(model, counts, line), None
        except UnknownPriceError as unknown:
            return None, line, unknown

    def cost(
        self, model: str | None, counts: Counts | None, line: Line = "billed"
    ) -> tuple[int, Line]:
        """Nano-dollars for a call, and the line: a ceiling is only an estimate."""
        if counts is None:
            raise UnknownPriceError(model, "give usage=; tokens= has no kinds")
        rates = self.own.get(model or "")
        if rates is not None:
            return _cost(counts, rates), line
        try:
            return _published(model, counts), line
        except UnknownPriceError:
            if self.ceiling is None:
                raise
            return _cost(counts, self.ceiling), "estimated"

    def affordable(
        self,
        model: str | None,
        given: int,
        limit: int,
        left: int,
        rates: Counts | None = None,
    ) -> tuple[int, int]:
        """The most output tokens, up to `limit`, that cost no more than `left`; the cost."""

        def cost(output: int) -> int:
            counts = Counts(given, output)
            return _cost(counts, rates) if rates else self.cost(model, counts)[0]

        if (most := cost(limit)) <= left:
            return limit, most
        if cost(1) > left:
            raise BudgetExceeded("usd", dollars(cost(1)), dollars(left))
        limit = bisect_right(range(1, limit), left, key=cost)
        return limit, cost(limit)


def _on(line: Line, nano: int | None) -> int | None:
    """What a line makes of the dollars."""
    if line not in ("billed", "estimated", "free"):
        raise ValueError(f"line must be billed, estimated or free, not {line!r}")
    if line == "free" and nano:
        raise ValueError("what is free cannot cost usd")
    return 0 if line == "free" else nano


def _published(model: str | None, counts: Counts) -> int:
    """What genai-prices says; `provider:model` asks for that provider's price."""
    if model is None:
        raise UnknownPriceError(None, "name the model, or give usd=")
    try:
        import genai_prices  # noqa: PLC0415  # an extra, and slow to import
    except ImportError:
        hint = (
            f"give BudgetPool(prices={{{model!r}: Price(input=..., output=...)}}), dollars "
            "for a million tokens, or install waybell-budget[prices]"
        )
        raise UnknownPriceError(model, hint) from None
    usage = genai_prices.Usage(
        input_tokens=counts.input,
        output_tokens=counts.output,
        cache_read_tokens=counts.read,
        cache_write_tokens=counts.written,
    )
    provider, _, name = model.partition(":")
    with localcontext(Context(prec=50)):  # the caller's may round
        try:
            found = genai_prices.calc_price(usage, name, provider_id=provider)
        except LookupError:
            try:
                found = genai_prices.calc_price(usage, model)
            except LookupError:
                raise UnknownPriceError(
                    model, f"give BudgetPool(prices={{{model!r}: Price(...)}})"
                ) from None
    if not found.total_price and any(counts):
        raise UnknownPriceError(model, "listed without a price; give prices={...}")
    return nanos(found.total_price, "price", True)
