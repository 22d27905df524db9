"""Holds of holds, and several holds at once."""

import collections
from decimal import Decimal

import pytest

from waybell_budget import BudgetClosedError, BudgetExceeded, BudgetPool, Price


def figures(pool) -> tuple[Decimal | None, ...]:
    now = pool.snapshot()
    return now.usd_spent, now.usd_held, now.usd_remaining


def test_a_budget_is_a_pool_and_charges_flow_up_once() -> None:
    pool = BudgetPool(usd=10)
    with pool.acquire(6) as stage, stage.acquire(4, label="inner") as call:
        call.charge(usd=1, model="m")
        stage.charge(usd=1)
        assert figures(call) == (1, 0, 3)
        assert figures(stage) == (2, 3, 1)
        assert figures(pool) == (2, 4, 4)
        with pytest.raises(BudgetExceeded), stage.acquire(2):
            pass
    assert figures(pool) == (2, 0, 8)
    now = pool.snapshot()
    assert (now.by_label, now.by_model) == ({"inner": (1, 0)}, {"m": (1, 0)})
    assert now.unreported == 0


def test_an_overrun_takes_free_money_level_by_level_and_never_a_hold() -> None:
    pool = BudgetPool(usd=10)
    with pool.acquire(6) as stage, stage.acquire(2) as call, stage.acquire(3) as other:
        with pytest.raises(BudgetExceeded) as caught:
            call.charge(usd=4)  # 2 of its own, 1 free in the stage, 1 free in the pool
        assert (caught.value.asked, caught.value.left) == (4, 2)
        assert figures(stage) == (4, 3, 0)
        assert figures(pool) == (4, 3, 3)
        assert stage.snapshot().usd_overdrawn == 1
        assert pool.snapshot().usd_overdrawn == 0
        with pytest.raises(BudgetExceeded), stage.acquire(0):
            pass
        other.charge(usd=3)
        with pool.acquire(3) as more:
            more.charge(usd=0)
    assert figures(pool) == (7, 0, 3)


def test_a_hold_keeps_its_sub_holds_money_though_it_is_overrun_itself() -> None:
    pool = BudgetPool(usd=10)
    with pool.acquire(5) as stage, stage.acquire(4) as call:
        with pytest.raises(BudgetExceeded):
            stage.charge(usd=3)
        assert figures(pool) == (3, 4, 3)
        call.charge(usd=4)
        assert figures(pool) == (7, 0, 3)


def test_a_sub_hold_on_an_axis_that_is_not_held_is_held_above() -> None:
    pool = BudgetPool(usd=10, tokens=100)
    with pool.acquire(max_tokens=50) as stage, stage.acquire(max_usd=8) as call:
        assert figures(pool) == (0, 8, 2)
        call.charge(usd=3, tokens=20)
        assert figures(stage) == (3, 5, 2)
        assert figures(pool) == (3, 5, 2)
        now = pool.snapshot()
        assert (now.tokens_spent, now.tokens_held) == (20, 30)
        with pytest.raises(BudgetExceeded), stage.acquire(max_usd=3):
            pass
    assert figures(pool) == (3, 0, 7)


def test_a_sub_hold_outlives_its_budget_and_gives_back_to_the_pool() -> None:
    pool = BudgetPool(usd=10)
    stage = pool.acquire(6)
    with stage:
        call = stage.acquire(4)
        call.__enter__()
        call.charge(usd=1)
    assert figures(pool) == (1, 3, 6)
    call.charge(usd=1)
    assert figures(pool) == (2, 2, 6)
    call.settle()
    assert figures(pool) == (2, 0, 8)
    with pytest.raises(BudgetClosedError), stage.acquire(1):
        pass


def test_a_budget_not_yet_entered_gives_no_holds() -> None:
    pool = BudgetPool(usd=10)
    stage = pool.acquire(6)
    with pytest.raises(BudgetClosedError), stage.acquire(4):
        pass
    with pytest.raises(BudgetClosedError), stage.partition([1]):
        pass
    assert figures(pool) == (0, 0, 10)


def test_a_hold_whose_sub_holds_report_is_not_unreported(caplog) -> None:
    pool = BudgetPool(usd=10, strict=True)
    with pool.acquire(6) as stage:
        with stage.acquire(1) as call:
            call.charge(usd="0.5")
        with stage.acquire(2):
            pass
    now = pool.snapshot()
    assert (now.usd_spent, now.unreported) == (Decimal("2.5"), 1)
    assert stage.snapshot().unreported == 1
    assert caplog.text.count("never reported") == 1


def test_a_partition_takes_all_or_none() -> None:
    pool = BudgetPool(usd=10, tokens=100)
    with pool.partition([3, {"max_usd": 2, "max_tokens": 60}, {}]) as (a, b, c):
        assert figures(pool) == (0, 5, 5)
        a.charge(usd=1)
        b.charge(tokens=10)
        c.charge(usd=1, label="own")
        assert figures(pool) == (2, 4, 4)
    assert figures(pool) == (2, 0, 8)
    for parts in ([5, 4], [{"max_tokens": 50}, {"max_tokens": 50}]):
        with pytest.raises(BudgetExceeded), pool.partition(parts):
            pass
    assert figures(pool) == (2, 0, 8)


async def test_a_partition_by_name_labels_its_parts() -> None:
    pool = BudgetPool(usd=10)
    shares = {"research": 3, "draft": {"max_usd": "2.5"}}
    async with pool.partition(shares) as stages:
        stages["research"].charge(usd=1)
        async with stages["draft"] as draft:
            draft.charge(usd=2)
        assert figures(pool) == (3, 2, 5)
        with pytest.raises(BudgetClosedError), stages["draft"]:
            pass
    by_label = pool.snapshot().by_label
    assert {name: spent.usd for name, spent in by_label.items()} == {
        "research": 1,
        "draft": 2,
    }


def test_a_part_may_name_its_label_itself() -> None:
    pool = BudgetPool(usd=10)
    with pool.partition([{"max_usd": 1, "label": "first"}]) as (part,):
        part.charge(usd=1)
    assert pool.snapshot().by_label == {"first": (1, 0)}


def test_a_part_never_used_is_not_unreported_and_a_used_one_is() -> None:
    pool = BudgetPool(usd=10, strict=True)
    with pool.partition([1, 2, 3, 4]) as (_, entered, asked, charged):
        with entered:
            pass
        asked.check(usd=1)
        with charged:
            charged.charge(usd=1)
    assert (pool.snapshot().unreported, pool.snapshot().usd_spent) == (2, 6)


def test_a_part_is_entered_inside_its_partition_and_once() -> None:
    pool = BudgetPool(usd=10)
    partition = pool.partition([1])
    with partition as (part,):
        part.charge(usd=1)
        with part, pytest.raises(BudgetClosedError), part:
            pass
        assert part.snapshot().usd_remaining == 0
    with pytest.raises(BudgetClosedError), partition:
        pass
    with pytest.raises(TypeError):
        pool.partition("0.5")
    with pytest.raises(TypeError):
        pool.partition([{"usd": 1}])


def test_a_partition_of_a_hold_is_paid_from_it() -> None:
    pool = BudgetPool(usd=10, prices={"m": Price(input=0, output=10**6)})
    with pool.acquire(5) as stage, stage.partition([2, 3]) as (a, _):
        assert figures(stage) == (0, 5, 0)
        assert a.clamp(100, model="m") == 2
        with pytest.raises(BudgetExceeded):
            stage.clamp(1, model="m")
    assert figures(pool) == (0, 0, 10)


def test_an_empty_partition_holds_nothing() -> None:
    pool = BudgetPool(usd=1)
    with pool.partition([]) as parts:
        assert parts == []
    with pool.partition({}) as parts:
        assert parts == {}


def test_a_million_open_holds_cost_no_recursion_and_no_memory_stays() -> None:
    pool = BudgetPool(usd=10)
    holds = [pool.acquire(max_usd="0.0001") for _ in range(20_000)]
    for budget in holds:
        budget.__enter__()
        budget.charge(usd=0)
    for budget in holds:  # first in, first out
        budget.settle()
    assert figures(pool) == (0, 0, 10)
    with pool.acquire(1) as budget:
        budget.charge(usd=0)
        assert budget._outer is None


@pytest.mark.parametrize("window", [2, 3, 8])
def test_holds_that_overlap_for_ever_do_not_pile_up(window) -> None:
    pool = BudgetPool(usd=10)
    open_now: collections.deque = collections.deque()
    for _ in range(200):
        budget = pool.acquire(max_usd="0.01")
        budget.__enter__()
        budget.charge(usd=0)
        open_now.append(budget)
        if len(open_now) > window:
            open_now.popleft().settle()
    chain = 0
    while budget is not None:
        budget, chain = budget._outer, chain + 1
    assert chain <= window + 1
    while open_now:
        open_now.pop().settle()
