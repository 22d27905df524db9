"""What a model call costs: own rates first, the genai-prices extra second."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, localcontext
from typing import Literal, NamedTuple, cast

from waybell_budget._amounts import Amount, dollars, nanos, whole
from waybell_budget._errors import BudgetExceeded, UnknownPriceError
from waybell_budget._snapshot import Line


class Counts(NamedTuple):
    """Tokens of one call; `read` and `written` are the cached parts of the input."""

    input: int
    output: int
    read: int = 0
    written: int = 0


_FIELDS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def counts_of(usage: object) -> Counts:
    """Read a usage mapping or object.

    Args:
        usage: Has any of `input_tokens`, `output_tokens`, `cache_read_tokens` and
            `cache_write_tokens`. Input counts what is cached too, as OpenTelemetry has
            it; where the cached is more than all, the vendor counts it apart.

    Raises:
        ValueError: None of the four is there, or one is not a count.
    """
    if isinstance(usage, Mapping):
        fields = cast("Mapping[str, object]", usage)
        found = [fields.get(name) for name in _FIELDS]
    else:
        found = [getattr(usage, name, None) for name in _FIELDS]
    if all(count is None for count in found):
        raise ValueError(f"usage names no tokens: {usage!r}")
    given, output, read, written = (
        0 if count is None else whole(count, name)
        for count, name in zip(found, _FIELDS, strict=True)
    )
    if read + written > given:
        given += read + written
    return Counts(given, output, read, written)


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
        _rates(self)  # refuses what is not a price


def _rates(price: Price) -> Counts:
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
        self.own = {model: _rates(price) for model, price in (own or {}).items()}
        self.ceiling = None if ceiling is None else _rates(ceiling)

    def cost(
        self, model: str | None, counts: Counts, line: Line = "billed"
    ) -> tuple[int, Line]:
        """Nano-dollars for a call, and the line: a ceiling is only an estimate.

        Raises:
            UnknownPriceError: Nobody knows the price and there is no ceiling.
        """
        rates = self.own.get(model or "")
        if rates is not None:
            return _cost(counts, rates), line
        try:
            return _published(model, counts), line
        except UnknownPriceError:
            if self.ceiling is None:
                raise
            return _cost(counts, self.ceiling), "estimated"

    def affordable(self, model: str | None, given: int, limit: int, left: int) -> int:
        """The most output tokens, up to `limit`, that cost no more than `left`.

        Raises:
            BudgetExceeded: Not even one can be paid.
            UnknownPriceError: Nobody knows the price and there is no ceiling.
        """

        def cost(output: int) -> int:
            return self.cost(model, Counts(given, output))[0]

        if cost(limit) <= left:
            return limit
        if cost(1) > left:
            raise BudgetExceeded("usd", dollars(cost(1)), dollars(left))
        return bisect_right(range(1, limit), left, key=cost)


def _published(model: str | None, counts: Counts) -> int:
    """What genai-prices says; `provider:model` asks for that provider's price."""
    if model is None:
        raise UnknownPriceError(None, "name the model, or give usd=")
    try:
        import genai_prices  # noqa: PLC0415  # an extra, and slow to import
    except ImportError:
        hint = "give prices={...}, or install waybell-budget[prices]"
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
                raise UnknownPriceError(model, "give prices={...}") from None
    if not found.total_price and any(counts):
        raise UnknownPriceError(model, "listed without a price; give prices={...}")
    return nanos(found.total_price, "price", True)
