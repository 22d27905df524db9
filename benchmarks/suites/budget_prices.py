"""What it costs to price one call."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

from itertools import repeat

from benchmarks.suites.budget import PRICE


MODEL = "gpt-4o-mini"
USAGE = {"input_tokens": 600, "output_tokens": 212}


def charging(pool):
    with pool.acquire(max_usd=10**6) as budget:

        def run(times):
            for _ in repeat(None, times):
                budget.charge(model=MODEL, usage=USAGE)

        yield run


@PRICE.ours("waybell_budget `charge`, own prices")
def _own_prices():
    from waybell_budget import BudgetPool, Price

    prices = {MODEL: Price(input="0.15", output="0.60")}
    yield from charging(BudgetPool(usd=10**9, prices=prices))


@PRICE.ours("waybell_budget `charge`, genai-prices")
def _found_prices():
    from waybell_budget import BudgetPool

    yield from charging(BudgetPool(usd=10**9))


@PRICE.peer("genai-prices", env="own", package="genai-prices")
def _genai_prices():
    from genai_prices import Usage, calc_price

    usage = Usage(**USAGE)

    def run(times):
        for _ in repeat(None, times):
            calc_price(usage, model_ref=MODEL, provider_id="openai")

    yield run


@PRICE.peer("tokencost, by tokens", env="litellm", package="tokencost")
def _tokencost():
    from tokencost import calculate_cost_by_tokens

    def run(times):
        for _ in repeat(None, times):
            calculate_cost_by_tokens(600, MODEL, "input")
            calculate_cost_by_tokens(212, MODEL, "output")

    yield run


@PRICE.peer("litellm `cost_per_token`", env="litellm", package="litellm")
def _litellm():
    from litellm import cost_per_token

    def run(times):
        for _ in repeat(None, times):
            cost_per_token(model=MODEL, prompt_tokens=600, completion_tokens=212)

    yield run
