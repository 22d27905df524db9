"""Money is exact or refused."""

import decimal
import enum
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell_budget import (
    BudgetDeadlockError,
    BudgetExceeded,
    BudgetPool,
    BudgetTimeoutError,
    UnknownPriceError,
)
from waybell_budget._amounts import NANO, dollars, nanos


def exact(text: str, up: bool) -> int:
    with decimal.localcontext() as context:
        context.prec = 400
        mode = decimal.ROUND_CEILING if up else decimal.ROUND_FLOOR
        return int((Decimal(text) * NANO).to_integral_value(mode))


@given(st.floats(0, 1e7), st.booleans())
def test_a_float_counts_as_its_repr(amount: float, up: bool) -> None:
    assert nanos(amount, "usd", up) == exact(repr(amount), up)


@given(st.integers(0, 10**16), st.integers(0, 11), st.booleans())
def test_short_decimals_are_exact_as_float_and_as_text(
    digits: int, places: int, up: bool
) -> None:
    text = str(Decimal(digits).scaleb(-places))
    if Decimal(text) < 10**6:
        assert nanos(float(text), "usd", up) == exact(repr(float(text)), up)
    if Decimal(text) < 10**15:
        assert nanos(text, "usd", up) == exact(text, up)


@given(st.decimals(0, 10**14, allow_nan=False), st.booleans())
def test_the_decimal_context_has_no_say(amount: Decimal, up: bool) -> None:
    with decimal.localcontext() as context:
        context.prec = 2
        assert nanos(amount, "usd", up) == exact(str(amount), up)


@given(st.integers(0, 10**24))
def test_dollars_are_shown_exactly(count: int) -> None:
    with decimal.localcontext() as context:
        context.prec = 2
        shown = dollars(count)
    assert nanos(shown, "usd") == count if count < 10**24 else True
    assert not str(shown).endswith(".")


def test_caps_round_down_and_charges_up() -> None:
    assert BudgetPool(usd="0.0000000019").snapshot().usd_cap == Decimal("1e-9")
    pool = BudgetPool(usd=1)
    pool.charge(usd="0.0000000011")
    assert pool.snapshot().usd_spent == Decimal("2e-9")


@pytest.mark.parametrize("amount", ["1e-40", 5e-324, Decimal("1e-999999")])
def test_what_is_far_below_a_nano_is_one_nano_spent_and_none_allowed(amount) -> None:
    assert nanos(amount, "usd", True) == 1
    assert nanos(amount, "usd", False) == 0
    assert nanos("0e-999999", "usd", True) == 0


@pytest.mark.parametrize(
    "amount",
    [
        *(float("nan"), float("inf"), float("-inf"), -1, -0.5, "-0.01", True, False),
        *(Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), "inf", "nan", "a lot"),
        *("", "$5", 1e15, 10**15, "1e999999"),
    ],
    ids=repr,
)
def test_what_is_no_amount_is_refused_by_its_value(amount) -> None:
    pool = BudgetPool(usd=1)
    for use in (
        lambda: BudgetPool(usd=amount),
        lambda: pool.acquire(max_usd=amount),
        lambda: pool.charge(usd=amount),
        lambda: pool.check(usd=amount),
    ):
        with pytest.raises(ValueError) as caught:
            use()
        assert repr(amount) in str(caught.value)
    assert pool.snapshot().usd_spent == 0


@pytest.mark.parametrize("count", [True, -1, 10**15])
def test_what_is_no_count_is_refused_by_its_value(count) -> None:
    for use in (
        lambda: BudgetPool(tokens=count),
        lambda: BudgetPool().acquire(max_tokens=count),
        lambda: BudgetPool().charge(tokens=count),
    ):
        with pytest.raises(ValueError, match=repr(count)):
            use()


def test_more_tokens_than_can_be_shown_are_refused_and_not_booked() -> None:
    pool = BudgetPool(tokens=10)
    with pytest.raises(ValueError, match="digits"):
        pool.charge(tokens=10**5000)
    assert pool.snapshot().tokens_spent == 0


@pytest.mark.parametrize("odd", [None, [], b"1", 1j])
def test_other_types_are_type_errors(odd) -> None:
    if odd is not None:
        with pytest.raises(TypeError, match="must be int, str, Decimal or float"):
            BudgetPool(usd=odd)
        with pytest.raises(TypeError, match="must be an int"):
            BudgetPool(tokens=odd)
    with pytest.raises(TypeError, match="must be an int"):
        BudgetPool(tokens=1.5)


def test_subclasses_of_numbers_count_as_what_they_are() -> None:
    class Odd(float):
        def __repr__(self) -> str:
            return "an odd number"

    class Cents(enum.IntEnum):
        DOLLAR = 1

    assert nanos(Odd(0.1), "usd") == NANO // 10
    assert nanos(Cents.DOLLAR, "usd") == NANO


def test_errors_say_what_was_asked_and_survive_pickling() -> None:
    for error in (
        BudgetExceeded("usd", Decimal("0.5"), Decimal("0.1")),
        BudgetDeadlockError("tokens", 7, 3),
        BudgetTimeoutError("tokens", 7, 3),
    ):
        error.note = "kept"
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
        assert vars(again) == vars(error)
        assert again.note == "kept"
    assert (
        str(BudgetExceeded("usd", Decimal("0.5"), Decimal(0))) == "$0.5 asked, $0 left"
    )
    assert str(BudgetExceeded("usd", Decimal("1e-9"), Decimal(0))).startswith("$0.0000")
    assert str(BudgetExceeded("tokens", 7, 3)) == "7 tokens asked, 3 tokens left"
    unknown = pickle.loads(pickle.dumps(UnknownPriceError("m", "ask around")))
    assert (unknown.model, str(unknown)) == ("m", "no price for 'm': ask around")
    assert isinstance(unknown, LookupError)
    assert issubclass(BudgetTimeoutError, TimeoutError)
