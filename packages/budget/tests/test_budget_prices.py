"""Unknown is not zero."""

import decimal
import subprocess
import sys
from decimal import Decimal
from types import SimpleNamespace

import pytest

from waybell_budget import BudgetPool, Price, UnknownPriceError
from waybell_budget._prices import Counts, PriceBook, counts_of


OWN = {"m": Price(input=3, output=15, cache_read="0.3", cache_write=3.75)}
CALL = {"input_tokens": 1000, "output_tokens": 100}


def cost(price, counts) -> int:
    return PriceBook({"m": price}, "refuse", None).cost("m", counts)[0]


def test_own_rates_price_a_call_per_million_tokens() -> None:
    pool = BudgetPool(usd=1, prices=OWN)
    with pool.acquire(0.5) as budget:
        budget.charge(model="m", usage=CALL)
        assert budget.snapshot().usd_spent == Decimal("0.0045")
        cached = {**CALL, "cache_read_tokens": 200, "cache_write_tokens": 50}
        budget.charge(model="m", usage=SimpleNamespace(**cached))
    now = pool.snapshot()
    assert now.usd_spent == Decimal("0.0045") + Decimal("0.0039975")
    assert now.tokens_spent == 2200
    assert now.by_model["m"] == (now.usd_spent, 2200)


def test_a_cost_is_rounded_up_to_the_nano_dollar() -> None:
    assert cost(Price(input="0.0000001", output=0), Counts(1, 0)) == 1
    assert cost(Price(input="0.001", output=0), Counts(1, 0)) == 1
    assert cost(Price(input=1, output=2), Counts(1, 1)) == 3000


def test_cached_tokens_cost_as_much_as_input_unless_said_otherwise() -> None:
    assert cost(Price(input=2, output=0), Counts(10, 0, 4, 5)) == 20_000


@pytest.mark.parametrize("bad", [float("nan"), -1, True])
def test_a_price_must_be_an_amount(bad) -> None:
    for name in ("input", "output", "cache_read", "cache_write"):
        with pytest.raises(ValueError, match=repr(bad)):
            Price(**{"input": 1, "output": 1, name: bad})


def test_usage_may_lack_fields_and_may_count_the_cached_apart() -> None:
    assert counts_of({"output_tokens": 5}) == Counts(0, 5)
    assert counts_of({"input_tokens": None, "output_tokens": 5}) == Counts(0, 5)
    assert counts_of({"input_tokens": 10, "cache_read_tokens": 30}) == Counts(
        40, 0, 30, 0
    )
    assert counts_of({"output_tokens": 5, 7: "whatever else"}) == Counts(0, 5)
    with pytest.raises(ValueError, match="names no tokens"):
        counts_of({"prompt_tokens": 5})
    with pytest.raises(ValueError, match="-1"):
        counts_of({"input_tokens": -1})
    with pytest.raises(TypeError, match="input_tokens"):
        counts_of({"input_tokens": 1.5})


def test_stated_dollars_and_tokens_are_not_second_guessed() -> None:
    pool = BudgetPool(usd=1, prices=OWN)
    pool.charge(usd=0.5, tokens=7, model="m", usage=CALL)
    assert (pool.snapshot().usd_spent, pool.snapshot().tokens_spent) == (
        Decimal("0.5"),
        7,
    )


def test_published_prices_come_second() -> None:
    pool = BudgetPool(usd=1)
    pool.charge(model="claude-sonnet-4-5", usage=CALL)
    pool.charge(model="anthropic:claude-sonnet-4-5", usage={"output_tokens": 1000})
    assert pool.snapshot().usd_spent == Decimal("0.0045") + Decimal("0.015")
    own = BudgetPool(usd=1, prices={"claude-sonnet-4-5": Price(input=0, output=0)})
    own.charge(model="claude-sonnet-4-5", usage=CALL)
    assert own.snapshot().usd_spent == 0


def test_the_decimal_context_does_not_round_published_prices() -> None:
    pool = BudgetPool(usd=1)
    with decimal.localcontext(decimal.Context(prec=2, traps=[decimal.Inexact])):
        pool.charge(model="claude-sonnet-4-5", usage=CALL | {"input_tokens": 1001})
    assert pool.snapshot().usd_spent == Decimal("0.004503")


def test_tokens_of_a_model_without_their_kinds_have_an_unknown_price() -> None:
    pool = BudgetPool(usd=1, prices=OWN)
    with pytest.raises(UnknownPriceError, match="usage="), pool.acquire(0.5) as budget:
        budget.charge(tokens=1000, model="m")
    assert (pool.snapshot().usd_spent, pool.snapshot().tokens_spent) == (
        Decimal("0.5"),
        1000,
    )
    pool.charge(tokens=1000, model="m", line="free")
    pool.charge(tokens=1000, model="m", usd="0.01")
    assert pool.snapshot().usd_spent == Decimal("0.51")


def test_an_unknown_price_is_refused_before_the_call() -> None:
    pool = BudgetPool(usd=1)
    with pytest.raises(UnknownPriceError) as caught:
        pool.clamp(100, model="nobody:nothing")
    assert caught.value.model == "nobody:nothing"
    with pytest.raises(UnknownPriceError, match="name the model"):
        pool.clamp(100)


def test_a_price_listed_as_nothing_is_unknown() -> None:
    with pytest.raises(UnknownPriceError, match="without a price"):
        _charge_unpriced()


def _charge_unpriced() -> None:
    from genai_prices import Usage, calc_price
    from genai_prices.data_snapshot import get_snapshot

    usage = Usage(input_tokens=1000, output_tokens=100)
    for provider in get_snapshot().providers:
        for model in provider.models:
            try:
                total = calc_price(usage, model.id, provider_id=provider.id).total_price
            except (LookupError, ValueError):
                continue
            if not total:
                BudgetPool(usd=1).charge(model=f"{provider.id}:{model.id}", usage=CALL)
    pytest.fail("every model has a price")


def test_after_the_call_tokens_are_booked_and_the_rest_of_the_hold_is_kept() -> None:
    pool = BudgetPool(usd=1)
    with pool.acquire(0.5) as budget:
        budget.charge(usd=0.1)
        with pytest.raises(UnknownPriceError):
            budget.charge(model="nobody", usage=CALL)
        budget.charge(tokens=5)
    now = pool.snapshot()
    assert (now.usd_spent, now.tokens_spent, now.unreported) == (
        Decimal("0.5"),
        1105,
        1,
    )
    assert now.by_line["estimated"].usd == Decimal("0.4")


def test_dollars_stated_after_all_end_the_debt() -> None:
    pool = BudgetPool(usd=1, prices=OWN)
    with pool.acquire(0.5) as budget:
        with pytest.raises(UnknownPriceError):
            budget.charge(model="nobody", usage=CALL)
        budget.charge(model="m", usage=CALL)  # another call's does not
        budget.charge(usd=0.1)
    assert pool.snapshot().usd_spent == Decimal("0.1045")
    assert pool.snapshot().unreported == 0


def test_without_a_hold_an_unknown_price_is_counted_as_unreported() -> None:
    pool = BudgetPool(usd=1, tokens=10_000)
    with pytest.raises(UnknownPriceError):
        pool.charge(model="nobody", usage=CALL)
    with pytest.raises(UnknownPriceError), pool.acquire(max_tokens=2000) as budget:
        budget.charge(usage=CALL)
    assert (pool.snapshot().unreported, pool.snapshot().tokens_spent) == (2, 2200)


def test_where_dollars_are_no_limit_an_unknown_price_is_only_counted(caplog) -> None:
    pool = BudgetPool(tokens=10_000)
    with pool.acquire(max_tokens=2000) as budget:
        assert budget.clamp(5000, model="nobody") == 2000
        budget.charge(model="nobody", usage=CALL)
    assert (pool.snapshot().tokens_spent, pool.snapshot().unreported) == (1100, 1)
    assert caplog.text == ""


def test_a_late_charge_of_unknown_price_is_the_parents_debt() -> None:
    pool = BudgetPool(usd=1)
    with pool.acquire(0.5) as outer:
        outer.charge(usd=0.1)
        late = outer.acquire(0.1)
        with pytest.raises(RuntimeError):
            late.charge(model="nobody", usage=CALL)
    assert pool.snapshot().usd_spent == Decimal("0.5")


def test_a_sub_hold_without_dollars_leaves_the_debt_to_the_hold_that_has_them() -> None:
    pool = BudgetPool(usd=1)
    with (
        pool.acquire(0.5) as stage,
        pytest.raises(UnknownPriceError),
        stage.acquire(max_tokens=5000) as call,
    ):
        call.charge(model="nobody", usage=CALL)
    assert (pool.snapshot().usd_spent, pool.snapshot().unreported) == (
        Decimal("0.5"),
        1,
    )


def test_a_ceiling_stands_in_for_an_unknown_price() -> None:
    ceiling = Price(input=100, output=100)
    pool = BudgetPool(usd=1, prices=OWN, unknown="ceiling", ceiling=ceiling)
    assert pool.clamp(10**6, model="nobody") == 10_000
    pool.charge(model="nobody", usage=CALL)
    pool.charge(model="m", usage=CALL)
    now = pool.snapshot()
    assert now.by_line["estimated"].usd == Decimal("0.11")
    assert now.by_line["billed"].usd == Decimal("0.0045")
    for wrong in ({"unknown": "ceiling"}, {"ceiling": ceiling}, {"unknown": "zero"}):
        with pytest.raises(ValueError, match="unknown"):
            BudgetPool(**wrong)


def test_without_the_extra_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['genai_prices'] = None\n"
        "from waybell_budget import BudgetPool, UnknownPriceError\n"
        "try: BudgetPool(usd=1).clamp(9, model='m')\n"
        "except UnknownPriceError as error: print(error)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "install waybell-budget[prices]" in out.stdout


def test_importing_the_package_loads_neither_asyncio_nor_the_prices() -> None:
    code = (
        "import sys, waybell_budget\n"
        "print([m for m in ('asyncio', 'genai_prices') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"
