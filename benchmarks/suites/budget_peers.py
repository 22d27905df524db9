"""What others offer against overspending."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

from itertools import repeat

from benchmarks.suites.budget import ASYNC_WITH, WITH


TOKEN_BUDGET = {"package": "token-budget-py"}
FLOE = {"package": "floe-guard"}
AGENTBUDGET = {"package": "agentbudget"}
PYDANTIC_AI = {"env": "agents", "package": "pydantic-ai-slim"}
LITELLM = {"env": "litellm", "package": "litellm"}


@WITH.peer("token_budget `with`", **TOKEN_BUDGET)
def _token_budget():
    from token_budget import BudgetPool

    pool = BudgetPool(usd_cap=1e9)

    def run(times):
        for _ in repeat(None, times):
            with pool.reserve(usd=0.05) as hold:
                hold.commit(usd=0.01)

    yield run


@WITH.peer("token_budget, reserve and commit", **TOKEN_BUDGET)
def _token_budget_bare():
    from token_budget import BudgetPool

    pool = BudgetPool(usd_cap=1e9)

    def run(times):
        for _ in repeat(None, times):
            pool.try_reserve(usd=0.05).commit(usd=0.01)

    yield run


@WITH.peer("pydantic-ai, check the usage limits and add usage", **PYDANTIC_AI)
def _pydantic_ai():
    from pydantic_ai.usage import RequestUsage, RunUsage, UsageLimits

    limits = UsageLimits(request_limit=None, total_tokens_limit=10**15)
    usage = RunUsage()

    def run(times):
        for _ in repeat(None, times):
            limits.check_before_request(usage)
            usage.incr(RequestUsage(input_tokens=600, output_tokens=212))
            limits.check_tokens(usage)

    yield run


@WITH.peer("pydantic-ai, check the usage limits only", **PYDANTIC_AI)
def _pydantic_ai_check():
    from pydantic_ai.usage import RunUsage, UsageLimits

    limits = UsageLimits(request_limit=None, total_tokens_limit=10**15)
    usage = RunUsage(input_tokens=600, output_tokens=212)

    def run(times):
        for _ in repeat(None, times):
            limits.check_before_request(usage)
            limits.check_tokens(usage)

    yield run


def _limiter():
    from pyrate_limiter import Duration, Limiter, Rate, StateBucket, TokenBucket

    rates = [Rate(10**9, Duration.SECOND)]
    return Limiter(StateBucket(rates, algorithm=TokenBucket()))


@WITH.peer(
    "pyrate-limiter `try_acquire` (counts, does not settle)", package="pyrate-limiter"
)
def _pyrate():
    limiter = _limiter()

    def run(times):
        for _ in repeat(None, times):
            limiter.try_acquire("calls", blocking=False)

    yield run


@ASYNC_WITH.peer("pyrate-limiter `try_acquire_async`", package="pyrate-limiter")
async def _pyrate_async():
    limiter = _limiter()

    async def run(times):
        for _ in repeat(None, times):
            await limiter.try_acquire_async("calls", blocking=False)

    yield run


def floe(limit):
    from floe_guard import BudgetGuard, ManualPrice

    price = ManualPrice(0.00001, 0.00001)
    return BudgetGuard(limit_usd=limit, price_overrides={"m": price})


@WITH.peer("floe-guard, reserve and settle", **FLOE)
def _floe_reserve():
    guard = floe(1e9)

    def run(times):
        for _ in repeat(None, times):
            guard.settle("m", 500, 500, reserved=guard.reserve(0.05))

    yield run


@WITH.peer("agentbudget, `would_exceed` and `track`", **AGENTBUDGET)
def _agentbudget():
    from agentbudget import AgentBudget

    with AgentBudget(max_spend=1e9).session() as session:

        def run(times):
            for _ in repeat(None, times):
                session.would_exceed(0.05)
                session.track(None, cost=0.01)

        yield run


def litellm_reply():
    import litellm

    return litellm.ModelResponse(
        model="gpt-4o-mini",
        usage=litellm.Usage(prompt_tokens=600, completion_tokens=212, total_tokens=812),
    )


def litellm_manager(total):
    import litellm

    manager = litellm.BudgetManager(project_name="bench")
    manager.user_dict = {}
    manager.create_budget(total_budget=total, user="desk")
    return manager


@WITH.peer("litellm BudgetManager, check and update", **LITELLM)
def _litellm():
    manager, reply = litellm_manager(1e9), litellm_reply()

    def run(times):
        for _ in repeat(None, times):
            manager.get_current_cost("desk")
            manager.update_cost("desk", completion_obj=reply)

    yield run
