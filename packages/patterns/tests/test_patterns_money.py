"""What agents spend, and what becomes of answers that cost too much."""

from decimal import Decimal

import pytest

from waybell_budget import BudgetExceeded, BudgetPool, Price, UnknownPriceError
from waybell_patterns import (
    Broadcast,
    Degrade,
    Fallback,
    IncompleteError,
    Pipeline,
    Router,
    Stage,
    Supervisor,
)


async def test_a_reply_is_charged_for_what_it_says_it_cost(fakes):
    pool, log = BudgetPool(usd=1), fakes.Log()
    stage = Stage("a", lambda prompt: fakes.Reply("x", cost=0.25, model="m"), usd=0.5)
    result = await Pipeline([stage], budget=pool, log=log).run("hi")
    assert (result.usd, pool.snapshot().usd_spent) == (Decimal("0.25"), Decimal("0.25"))
    assert log.of("answer")[0]["usd"] == "0.25"
    assert pool.snapshot().by_label["a"].usd == Decimal("0.25")


async def test_a_reply_is_not_charged_again_where_the_agent_has_charged(fakes):
    pool = BudgetPool(usd=1)

    async def agent(prompt, budget):
        budget.charge(usd=0.25)
        return fakes.Reply("x", cost=0.25)

    await Fallback(agent, budget=pool).run("hi")
    assert pool.snapshot().usd_spent == Decimal("0.25")


async def test_tokens_are_priced_by_the_pool_where_a_reply_names_no_cost(fakes):
    pool = BudgetPool(usd=1, prices={"m": Price(input=1, output=2)})
    usage = {"input_tokens": 1000, "output_tokens": 1000}
    await Fallback(
        lambda prompt: fakes.Reply("x", usage=usage, model="m"), budget=pool
    ).run("hi")
    assert pool.snapshot().usd_spent == Decimal("0.003")
    assert pool.snapshot().by_line.keys() == {"billed"}


async def test_a_free_reply_is_counted_as_free(fakes):
    pool = BudgetPool(usd=1)
    await Fallback(lambda prompt: fakes.Reply("x", cost=0), budget=pool).run("hi")
    assert pool.snapshot().by_line.keys() == {"free"}


async def test_a_function_that_reports_nothing_is_presumed_free_and_not_unreported():
    pool = BudgetPool(usd=1)
    await Fallback(str.upper, budget=pool).run("hi")
    assert pool.snapshot().unreported == 0


async def test_a_limited_agent_that_reports_nothing_is_unreported(caplog):
    pool = BudgetPool(usd=1)
    await Fallback(Stage("a", str.upper, usd=0.5), budget=pool).run("hi")
    assert pool.snapshot().unreported == 1


async def test_without_a_pool_the_result_still_adds_up_what_replies_cost(fakes):
    inner = Pipeline([lambda prompt: fakes.Reply("x", cost=0.25)])
    result = await Pipeline(
        [inner, lambda prompt: fakes.Reply("y", cost=Decimal("0.5"))]
    ).run("hi")
    assert result.usd == Decimal("0.75")


async def test_a_pattern_asked_inside_a_function_is_not_charged_twice(fakes):
    pool = BudgetPool(usd=1)
    inner = Pipeline([lambda prompt: fakes.Reply("x", cost=0.25)], budget=pool)

    async def agent(prompt):
        return await inner.run(prompt)

    assert await Fallback(agent, budget=pool).run("hi") == "x"
    assert pool.snapshot().usd_spent == Decimal("0.25")


async def test_a_limit_without_a_pool_is_refused_before_anybody_is_asked():
    asked = []
    pattern = Pipeline([asked.append, Stage("a", asked.append, tokens=5)])
    with pytest.raises(
        ValueError, match=r"\['a'\] have limits, but no pool: give budget="
    ):
        await pattern.run("hi")
    assert asked == []


async def test_the_reply_that_broke_the_budget_is_kept_by_every_pattern(fakes):
    dear = Stage("dear", lambda prompt: fakes.Reply("paid", cost=2), usd=1)

    def pool():
        return BudgetPool(usd=10)

    result = await Pipeline([dear], budget=pool()).run("hi")
    assert (result.failed, result.error.reply) == ("dear", "paid")
    assert result.usd == 2
    result = await Broadcast([dear], budget=pool()).run("hi")
    assert result.failures["dear"].reply == "paid"
    with pytest.raises(BudgetExceeded) as raised:
        await Router({"a": dear}, classify=lambda prompt: "a", budget=pool()).run("hi")
    assert raised.value.reply == "paid"
    result = await Supervisor(dear, lambda prompt: True, budget=pool()).run("hi")
    assert (result.verdict, result.draft) == ("overspent", "paid")
    for ladder in (Fallback, Degrade):
        assert await ladder(dear, str.upper, budget=pool()).run("hi") == "paid"


async def test_a_partial_reply_is_not_taken_for_an_answer(fakes):
    cut = Stage("cut", lambda prompt: fakes.Reply("pa", cost=2, partial=True), usd=1)
    assert await Degrade(cut, str.upper, budget=BudgetPool(usd=10)).run("hi") == "HI"


async def test_the_verdict_that_broke_the_budget_is_kept(fakes):
    review = fakes.Reply('{"approved": false, "problems": ["dull"]}', cost=2)
    reviewer = Stage("reviewer", lambda prompt: review, usd=1)
    result = await Supervisor(str.upper, reviewer, budget=BudgetPool(usd=9)).run("hi")
    assert (result.verdict, result.draft) == ("overspent", "HI")
    assert result.reviews[0].problems == ("dull",)


async def test_a_reply_of_unknown_price_is_kept_too(fakes):
    reply = fakes.Reply("paid", usage={"input_tokens": 5}, model="nobody-knows")
    stage = Stage("a", lambda prompt: reply, usd=1)
    result = await Pipeline([stage], budget=BudgetPool(usd=1)).run("hi")
    assert isinstance(result.error, UnknownPriceError)
    assert result.error.reply == "paid"


async def test_a_stage_that_says_it_is_free_is_asked_when_the_pool_is_closed(fakes):
    pool = BudgetPool(usd=1)
    with pool.acquire(1) as hold, pytest.raises(BudgetExceeded):
        hold.charge(usd=2)
    with pytest.raises(IncompleteError):
        await Degrade(Stage("dear", str.upper, usd=1), str.lower, budget=pool).run("Hi")
    canned = Stage("canned", lambda prompt: "canned", usd=0)
    assert (
        await Degrade(Stage("dear", str.upper, usd=1), canned, budget=pool).run("Hi")
        == "canned"
    )


async def test_free_stages_need_no_part_of_the_holds_taken_up_front():
    pool = BudgetPool(usd=1)
    with pool.acquire(1) as hold, pytest.raises(BudgetExceeded):
        hold.charge(usd=2)
    free = Stage("free", str.upper, usd=0)
    assert (await Pipeline([free], budget=pool).run("hi")).ok
    assert (await Broadcast([free], budget=pool).run("hi")).ok


async def test_what_a_free_stage_costs_after_all_is_booked(fakes):
    pool = BudgetPool(usd=1)
    stage = Stage("a", lambda prompt: fakes.Reply("x", cost=0.25), usd="0")
    result = await Pipeline([stage], budget=pool).run("hi")
    assert pool.snapshot().usd_spent == result.usd == Decimal("0.25")


async def test_an_answer_that_is_no_reply_is_not_charged_for_its_cost():
    class Plan:
        cost = 500

    pool = BudgetPool(usd=1)
    result = await Pipeline([lambda prompt: Plan()], budget=pool).run("hi")
    assert (result.ok, result.usd) == (True, 0)
    assert (await Pipeline([lambda prompt: Plan()]).run("hi")).usd == 0


@pytest.mark.parametrize("cost", ["much", -1, float("nan")])
async def test_a_reply_with_an_absurd_cost_is_in_the_error(fakes, cost):
    dear = Stage("a", lambda prompt: fakes.Reply("paid", cost=cost, usage={}), usd=1)
    result = await Pipeline([dear], budget=BudgetPool(usd=1)).run("hi")
    assert (result.failed, result.error.reply) == ("a", "paid")
