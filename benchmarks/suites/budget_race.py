"""How many calls others let through a pool that pays for ten."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

from benchmarks.suites.budget import RACE, race
from benchmarks.suites.budget_peers import (
    AGENTBUDGET,
    FLOE,
    LITELLM,
    PYDANTIC_AI,
    TOKEN_BUDGET,
    floe,
    litellm_manager,
    litellm_reply,
)


@RACE.peer("token_budget, reserve", **TOKEN_BUDGET)
async def _token_budget_race():
    from token_budget import BudgetExceeded, BudgetPool

    async def run(times):
        pool = BudgetPool(usd_cap=0.10)

        async def call(pause):
            try:
                with pool.reserve(usd=0.01) as hold:
                    await pause()
                    hold.commit(usd=0.01)
            except BudgetExceeded:
                return

        return await race(call)(times)

    yield run


@RACE.peer("token_budget, record afterwards", **TOKEN_BUDGET)
async def _token_budget_record():
    from token_budget import BudgetExceeded, BudgetPool

    async def run(times):
        pool = BudgetPool(usd_cap=0.10)

        async def call(pause):
            await pause()
            try:
                pool.record(usd=0.01)
            except BudgetExceeded:
                return

        return await race(call)(times)

    yield run


@RACE.peer("floe-guard, reserve", **FLOE)
async def _floe_race():
    from floe_guard import BudgetExceeded

    async def run(times):
        guard = floe(0.10)

        async def call(pause):
            try:
                held = guard.reserve(0.01)
            except BudgetExceeded:
                return
            await pause()
            guard.settle("m", 500, 500, reserved=held)

        return await race(call)(times)

    yield run


@RACE.peer("floe-guard, check and record", **FLOE)
async def _floe_check():
    from floe_guard import BudgetExceeded

    async def run(times):
        guard = floe(0.10)

        async def call(pause):
            try:
                guard.check()
            except BudgetExceeded:
                return
            await pause()
            guard.record("m", 500, 500)

        return await race(call)(times)

    yield run


@RACE.peer("agentbudget, `would_exceed` and `track`", **AGENTBUDGET)
async def _agentbudget_race():
    from agentbudget import AgentBudget, BudgetExhausted

    async def run(times):
        with AgentBudget(max_spend=0.10).session() as session:

            async def call(pause):
                if session.would_exceed(0.01):
                    return
                await pause()
                try:
                    session.track(None, cost=0.01)
                except BudgetExhausted:
                    return

            return await race(call)(times)

    yield run


@RACE.peer("pydantic-ai, shared usage", **PYDANTIC_AI)
async def _pydantic_ai_race():
    from pydantic_ai.exceptions import UsageLimitExceeded
    from pydantic_ai.usage import RequestUsage, RunUsage, UsageLimits

    async def run(times):
        # Ten calls of 1,000 tokens stand for ten cents.
        limits = UsageLimits(request_limit=None, total_tokens_limit=10_000)
        usage = RunUsage()

        async def call(pause):
            try:
                limits.check_before_request(usage)
                await pause()
                usage.incr(RequestUsage(input_tokens=500, output_tokens=500))
                limits.check_tokens(usage)
            except UsageLimitExceeded:
                return

        return await race(call)(times)

    yield run


@RACE.peer("litellm BudgetManager", **LITELLM)
async def _litellm_race():
    reply = litellm_reply()

    async def run(times):
        import litellm

        cost = litellm.completion_cost(completion_response=reply)
        manager = litellm_manager(10 * cost)

        async def call(pause):
            if manager.get_current_cost("desk") >= manager.get_total_budget("desk"):
                return
            await pause()
            manager.update_cost("desk", completion_obj=reply)

        return await race(call)(times)

    yield run
