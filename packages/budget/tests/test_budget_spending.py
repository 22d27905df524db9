"""Hold, charge, ask, settle: one pool, one thread."""

import logging
from decimal import Decimal

import pytest

from waybell_budget import (
    BudgetClosedError,
    BudgetError,
    BudgetExceeded,
    BudgetPool,
    Price,
)


PRICES = {"m": Price(input=1, output=10), "free": Price(input=0, output=0)}


def usd(pool) -> tuple[str, ...]:
    """Spent, held, remaining, overdrawn."""
    now = pool.snapshot()
    figures = (now.usd_spent, now.usd_held, now.usd_remaining, now.usd_overdrawn)
    return tuple(f"{figure:f}" for figure in figures)


def asked(caught) -> tuple:
    error = caught.value
    return error.axis, error.asked, error.left


def tokens(pool) -> tuple[int | None, ...]:
    now = pool.snapshot()
    return now.tokens_spent, now.tokens_held, now.tokens_remaining, now.tokens_overdrawn


def test_a_hold_is_taken_when_entered_and_its_rest_given_back_when_left() -> None:
    pool = BudgetPool(usd=1)
    budget = pool.acquire(max_usd=0.4)
    assert usd(pool) == ("0", "0", "1", "0")
    with budget as entered:
        assert entered is budget
        assert usd(pool) == ("0", "0.4", "0.6", "0")
        budget.charge(usd=0.1)
        assert usd(pool) == ("0.1", "0.3", "0.6", "0")
        assert usd(budget) == ("0.1", "0", "0.3", "0")
        assert budget.snapshot().usd_cap == Decimal("0.4")
    assert usd(pool) == ("0.1", "0", "0.9", "0")
    assert usd(budget) == ("0.1", "0", "0", "0")


async def test_the_same_object_serves_async_with() -> None:
    pool = BudgetPool(usd=1, tokens=100)
    async with pool.acquire(max_usd=0.4, max_tokens=50) as budget:
        budget.charge(usd=0.1, tokens=10)
        assert tokens(pool) == (10, 40, 50, 0)
    assert (usd(pool), tokens(pool)) == (("0.1", "0", "0.9", "0"), (10, 0, 90, 0))


def test_a_hold_that_does_not_fit_to_the_nano_is_refused() -> None:
    pool = BudgetPool(usd="0.000000010", tokens=5)
    with pool.acquire(max_usd="0.000000009") as budget:
        budget.charge(usd=0)
        with (
            pytest.raises(BudgetExceeded) as caught,
            pool.acquire(max_usd="0.000000002"),
        ):
            pass
        assert asked(caught) == ("usd", Decimal("2e-9"), Decimal("1e-9"))
        with pool.acquire(max_usd="0.000000001") as other:
            other.charge(usd="0.000000001")
    with pytest.raises(BudgetExceeded) as caught, pool.acquire(0, max_tokens=6):
        pass
    assert asked(caught) == ("tokens", 6, 5)
    assert usd(pool) == ("0.000000001", "0", "0.000000009", "0")


def test_of_two_axes_both_are_held_or_none() -> None:
    pool = BudgetPool(usd=1, tokens=10)
    with pytest.raises(BudgetExceeded, match="11 tokens"), pool.acquire(0.5, 11):
        pass
    assert (usd(pool), tokens(pool)) == (("0", "0", "1", "0"), (0, 0, 10, 0))


def test_without_caps_all_is_counted_and_nothing_refused() -> None:
    pool = BudgetPool()
    with pool.acquire(max_usd=5, max_tokens=5) as budget:
        budget.charge(usd=1, tokens=1)
        assert pool.snapshot().usd_held == 4
    now = pool.snapshot()
    assert (now.usd_cap, now.usd_remaining, now.tokens_remaining) == (None, None, None)
    assert (now.usd_spent, now.tokens_spent, now.usd_overdrawn) == (1, 1, 0)
    pool.check(usd=10**9, tokens=10**9)


def test_past_the_hold_all_is_booked_then_complained_about() -> None:
    pool = BudgetPool(usd=1)
    with pool.acquire(max_usd=0.3) as budget, pool.acquire(max_usd=0.3) as other:
        budget.charge(usd=0.2)
        with pytest.raises(BudgetExceeded) as caught:
            budget.charge(usd=0.4)
        assert asked(caught) == ("usd", Decimal("0.4"), Decimal("0.1"))
        assert usd(pool) == ("0.6", "0.3", "0.1", "0")
        assert usd(budget) == ("0.6", "0", "0", "0.3")
        other.charge(usd=0.3)
    assert usd(pool) == ("0.9", "0", "0.1", "0")
    with pool.acquire(max_usd=0.1) as last:
        last.charge(usd=0)


def test_a_charge_of_zero_is_no_complaint_even_past_the_hold() -> None:
    pool = BudgetPool(usd=1)
    with pool.acquire(max_usd=0.1) as budget:
        with pytest.raises(BudgetExceeded):
            budget.charge(usd=0.2)
        budget.charge(usd=0)
    assert pool._ledger.overdrawn == 0, "an overrun that is over slows nobody down"


def test_beyond_the_free_money_is_overdrawn_and_the_pool_closes() -> None:
    pool = BudgetPool(usd=1, tokens=10)
    with pool.acquire(max_usd=0.5) as budget, pool.acquire(max_usd=0.4) as other:
        with pytest.raises(BudgetExceeded):
            budget.charge(usd=0.8)
        assert usd(pool) == ("0.8", "0.4", "0", "0.2")
        other.charge(usd=0.1)  # its hold is its own
        with pytest.raises(BudgetExceeded):
            budget.charge(usd=0.1)
    assert usd(pool) == ("1", "0", "0", "0.3")
    for holds in ({"max_usd": 0}, {"max_tokens": 1}, {}):
        with pytest.raises(BudgetExceeded), pool.acquire(**holds):
            pass
    pool.reset()
    assert usd(pool) == ("0", "0", "1", "0")
    with pool.acquire(max_usd=1) as budget:
        budget.charge(usd=1)


def test_an_axis_not_named_is_charged_from_free_money() -> None:
    pool = BudgetPool(usd=1, tokens=10)
    with pool.acquire(max_tokens=5) as budget:
        budget.charge(usd=0.4)
        assert usd(pool) == ("0.4", "0", "0.6", "0")
        assert usd(budget) == ("0.4", "0", "0.6", "0")
        assert budget.snapshot().usd_cap is None
        with pytest.raises(BudgetExceeded) as caught:
            budget.charge(usd=0.7)
        assert asked(caught) == ("usd", Decimal("0.7"), Decimal("0.6"))
    assert usd(pool) == ("1.1", "0", "0", "0.1")


def test_both_axes_are_booked_before_the_first_complaint() -> None:
    pool = BudgetPool(usd=1, tokens=10)
    with pool.acquire(0.1, 1) as budget:
        with pytest.raises(BudgetExceeded) as caught:
            budget.charge(usd=0.2, tokens=2)
        assert caught.value.axis == "usd"
        with pytest.raises(BudgetExceeded, match="1 tokens asked, 0 tokens left"):
            budget.charge(tokens=1)
    assert (usd(pool)[0], tokens(pool)[0]) == ("0.2", 3)


def test_a_pool_is_charged_directly_from_free_money() -> None:
    pool = BudgetPool(usd=1)
    with pool.acquire(max_usd=0.5) as budget:
        pool.charge(usd=0.5)
        with pytest.raises(BudgetExceeded):
            pool.charge(usd=0.1)
        budget.charge(usd=0)
    assert usd(pool) == ("0.6", "0", "0.4", "0.1")


def test_a_hold_resolves_once_and_late_charges_are_booked_and_refused() -> None:
    pool = BudgetPool(usd=1)
    early = pool.acquire(max_usd=0.1)
    with pytest.raises(BudgetClosedError):
        early.charge(usd=0.1)
    with early:
        early.charge(usd=0.1)
        early.settle()
        assert usd(pool) == ("0.2", "0", "0.8", "0")
    early.settle()
    with pytest.raises(BudgetClosedError):
        early.charge(usd=0.1, label="late")
    assert usd(pool) == ("0.3", "0", "0.7", "0")
    assert pool.snapshot().by_label["late"].usd == Decimal("0.1")
    for use in (early.__enter__, early.check, lambda: early.clamp(1)):
        with pytest.raises(BudgetClosedError):
            use()
    with pytest.raises(BudgetClosedError), early.acquire(max_usd=0):
        pass
    assert isinstance(BudgetClosedError(), RuntimeError)


def test_check_asks_and_books_nothing() -> None:
    pool = BudgetPool(usd=1, tokens=10)
    with pool.acquire(0.5, 5) as budget:
        budget.check(usd=0.5, tokens=5)
        budget.check()
        with pytest.raises(BudgetExceeded) as caught:
            budget.check(usd=0.6)
        assert asked(caught) == ("usd", Decimal("0.6"), Decimal("0.5"))
        with pytest.raises(BudgetExceeded):
            budget.check(tokens=6)
        with pytest.raises(BudgetExceeded):
            pool.check(usd=0.6)
        budget.charge(usd=0)
    assert usd(pool) == ("0", "0", "1", "0")


def test_clamp_lowers_the_limit_to_what_the_hold_can_pay() -> None:
    pool = BudgetPool(usd=1, tokens=1000, prices=PRICES)
    with pool.acquire("0.001") as budget:
        # 10 dollars a million out, 1 in: a tenth of a cent buys 100 out, or 90 and 100 in.
        assert budget.clamp(500, model="m") == 100
        assert budget.clamp(500, model="m", input_tokens=100) == 90
        assert budget.clamp(90, model="m", input_tokens=100) == 90
        assert budget.clamp(5000, model="free", input_tokens=100) == 900
        with pytest.raises(BudgetExceeded) as caught:
            budget.clamp(500, model="m", input_tokens=999)
        assert caught.value.axis == "usd"
        assert caught.value.asked == Decimal("0.001009")
        budget.charge(usd=0)
    with pool.acquire(max_tokens=50) as budget:
        assert budget.clamp(500, model="m", input_tokens=20) == 30
        with pytest.raises(BudgetExceeded) as caught:
            budget.clamp(500, model="m", input_tokens=50)
        assert asked(caught) == ("tokens", 51, 50)
        budget.charge(usd=0)
    assert BudgetPool().clamp(7) == 7
    with pytest.raises(ValueError, match="at least 1"):
        pool.clamp(0)


def test_what_clamp_allows_is_just_what_charge_can_pay() -> None:
    pool = BudgetPool(usd=1, prices={"m": Price(input="0.37", output="1.13")})
    for held in ("0.0000017", "0.00123", "0.1"):
        with pool.acquire(held) as budget:
            most = budget.clamp(10**6, model="m", input_tokens=1)
            budget.charge(model="m", usage={"input_tokens": 1, "output_tokens": most})
        usage = {"input_tokens": 1, "output_tokens": most + 1}
        with pytest.raises(BudgetExceeded), pool.acquire(held) as budget:
            budget.charge(model="m", usage=usage)


def test_pools_and_budgets_show_what_they_hold_and_spent() -> None:
    pool = BudgetPool(usd="0.10", tokens=100)
    assert repr(pool) == "<BudgetPool $0 held, $0 spent>"
    with pool.acquire("0.04", 30) as budget:
        budget.charge(usd="0.01", tokens=10)
        told = "$0.03 held, $0.01 spent, 20 tokens held, 10 spent>"
        assert repr(budget) == f"<Budget {told}"
        assert repr(pool) == f"<BudgetPool {told}"
        with budget.acquire("0.02") as inner:  # It holds no tokens.
            inner.charge(usd="0.02")
            assert repr(inner) == "<Budget $0 held, $0.02 spent>"
    assert repr(budget) == "<Budget $0 held, $0.03 spent, 0 tokens held, 10 spent>"
    assert repr(pool) == "<BudgetPool $0 held, $0.03 spent, 0 tokens held, 10 spent>"


async def test_a_hold_holds_nothing_before_its_block_however_it_is_made() -> None:
    pool = BudgetPool(usd=1)
    waiting = pool.acquire(1, wait=True)
    assert repr(waiting) == "<Budget $0 held, $0 spent>"
    async with waiting, waiting.partition({"a": "0.5"}) as parts:
        assert repr(parts["a"]) == "<Budget $0.5 held, $0 spent>"
        assert repr(waiting) == "<Budget $1 held, $0 spent>"
        parts["a"].charge(usd=1e-9)
        assert repr(parts["a"]) == "<Budget $0.499999999 held, $0.000000001 spent>"


def test_a_hold_left_without_a_charge_is_counted_and_warned_of(caplog) -> None:
    pool = BudgetPool(usd=1, tokens=10)
    with caplog.at_level(logging.WARNING, "waybell_budget"):
        with pool.acquire(0.5, 5, label="draft"):
            pass
        with pytest.raises(ZeroDivisionError), pool.acquire(0.5):
            raise ZeroDivisionError
    assert pool.snapshot().unreported == 2
    remedy = ": call budget.charge(...), with usd=0 if it was free"
    assert [record.getMessage() for record in caplog.records] == [
        f"the cost of a call was never reported (label 'draft'){remedy}",
        f"the cost of a call was never reported{remedy}",
    ]
    assert usd(pool) == ("0", "0", "1", "0")


def test_strict_books_an_unreported_hold_whole() -> None:
    pool = BudgetPool(usd=1, tokens=10, strict=True)
    with pool.acquire(0.5, 5):
        pass
    with pool.acquire(max_usd=0.1):
        pass
    with pool.acquire():
        pass
    with pool.acquire(0.2, 5) as budget:
        budget.charge(usd=0)
    assert (usd(pool)[0], tokens(pool)[0]) == ("0.6", 5)
    now = pool.snapshot()
    assert now.unreported == 3
    assert now.by_line["estimated"] == (Decimal("0.6"), 5)
    assert "billed" in now.by_line or now.by_line.keys() == {"estimated"}


def test_a_charge_of_nothing_is_a_mistake_but_zero_is_a_report() -> None:
    pool = BudgetPool(usd=1)
    with pool.acquire(0.5) as budget:
        for empty in ({}, {"model": "m"}, {"label": "x"}, {"usage": {}, "model": "m"}):
            with pytest.raises(ValueError, match="charge needs"):
                budget.charge(**empty)
        budget.charge(usd=0)
    assert pool.snapshot().unreported == 0


def test_lines_labels_and_models_are_attributed() -> None:
    pool = BudgetPool(usd=10, prices=PRICES)
    with pool.acquire(5, label="research") as budget:
        budget.charge(usd=1, tokens=10)
        budget.charge(usd=0.5, model="m", line="estimated")
        budget.charge(line="free", model="local", usage={"output_tokens": 7})
        budget.charge(usd=0.25, label="other")
        budget.charge(line="free")
    pool.charge(usd=1)
    now = pool.snapshot()
    assert now.by_label == {
        "research": (Decimal("1.5"), 17),
        "other": (Decimal("0.25"), 0),
    }
    assert now.by_model == {"m": (Decimal("0.5"), 0), "local": (0, 7)}
    assert now.by_line == {
        "billed": (Decimal("2.25"), 10),
        "estimated": (Decimal("0.5"), 0),
        "free": (0, 7),
    }
    assert (now.usd_spent, now.tokens_spent) == (Decimal("2.75"), 17)
    assert budget.snapshot().by_label == now.by_label
    pool.charge(tokens=3, label="other")
    assert pool.snapshot().by_label["other"] == (Decimal("0.25"), 3)


def test_what_nothing_can_be_booked_under_is_refused_before_it_is_booked() -> None:
    pool = BudgetPool(usd=10)
    for odd in ({"label": ["x"]}, {"model": ["x"]}):
        with pytest.raises(TypeError, match="unhashable"):
            pool.charge(usd=1, **odd)
    assert pool.snapshot().usd_spent == 0


def test_lines_that_contradict_themselves_are_refused() -> None:
    pool = BudgetPool()
    with pytest.raises(ValueError, match="'gratis'"):
        pool.charge(usd=1, line="gratis")
    with pytest.raises(ValueError, match="free"):
        pool.charge(usd=1, line="free")
    assert pool.snapshot().usd_spent == 0


def test_a_threshold_calls_back_once_and_again_after_a_reset(caplog) -> None:
    pool = BudgetPool(usd=1, tokens=100)
    seen = []
    pool.on_threshold(0.8, lambda now: seen.append((now.usd_spent, now.tokens_spent)))
    pool.charge(usd=0.7)
    pool.charge(tokens=79)
    assert seen == []
    with pool.acquire(0.3) as budget:
        budget.charge(usd=0.1)
        budget.charge(usd=0.1)
    pool.charge(tokens=5)
    assert seen == [(Decimal("0.8"), 79)]
    pool.on_threshold(0.5, lambda now: 1 / 0)  # already passed, and faulty
    assert "threshold callback failed" in caplog.text
    pool.reset()
    pool.charge(tokens=80)
    assert seen[1:] == [(0, 80)]


def test_a_threshold_calls_back_outside_the_lock_and_before_the_complaint() -> None:
    pool = BudgetPool(usd=1)
    seen = []

    def spend_more(now) -> None:
        seen.append(now.usd_spent)
        pool.on_threshold(1, lambda later: seen.append(later.usd_overdrawn))

    pool.on_threshold(1, spend_more)
    with pytest.raises(BudgetExceeded):
        pool.charge(usd=2)
    assert seen == [2, 1]


def test_an_interrupt_in_a_callback_loses_no_other_call() -> None:
    pool = BudgetPool(usd=1)
    seen = []

    def interrupt(now) -> None:
        raise SystemExit

    pool.on_threshold(0.5, interrupt)
    pool.on_threshold(0.5, seen.append)
    with pytest.raises(SystemExit):
        pool.charge(usd=0.5)
    assert seen == []
    pool.charge(usd=0)
    assert len(seen) == 1


def test_a_partition_gives_all_back_though_a_callback_stops_the_program() -> None:
    pool = BudgetPool(usd=10, strict=True)

    def interrupt(now) -> None:
        raise SystemExit

    pool.on_threshold(0.5, interrupt)
    with pytest.raises(SystemExit), pool.partition([5, 1, 2]) as parts:
        parts[0].check(usd=1)
    now = pool.snapshot()
    assert (now.usd_spent, now.usd_held) == (5, 0)


def test_a_threshold_needs_a_cap_and_a_fraction() -> None:
    with pytest.raises(BudgetError, match="no cap"):
        BudgetPool().on_threshold(0.5, print)
    for fraction in (0, 1.1, "nan"):
        with pytest.raises(ValueError, match="fraction"):
            BudgetPool(usd=1).on_threshold(fraction, print)
    seen = []
    pool = BudgetPool(usd=10)
    with pool.acquire(1) as budget:
        budget.on_threshold(0.5, seen.append)
        budget.charge(usd=0.5)
    assert len(seen) == 1


def test_reset_refuses_while_holds_are_open() -> None:
    pool = BudgetPool(usd=1)
    with pool.acquire() as budget:
        budget.charge(usd=0.1, label="x")
        with pytest.raises(BudgetError, match="1 holds open"):
            pool.reset()
    pool.reset()
    now = pool.snapshot()
    assert (now.usd_spent, now.by_label, now.unreported) == (0, {}, 0)


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), True])
def test_no_wait_is_without_end(timeout) -> None:
    with pytest.raises(ValueError, match="timeout"):
        BudgetPool(usd=1).acquire(max_usd=1, wait=True, timeout=timeout)
