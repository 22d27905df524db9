"""What an import costs, in CPU time of fresh interpreters."""

from benchmarks._cases import Case, Suite, Target


OURS = Case(
    "ours",
    "Our packages",
    kind="import",
    unit="ms",
    note="Beyond what is named; both are measured in each round. What is within the "
    "noise can come out below zero.",
)
PEERS = Case(
    "peers",
    "Whole imports, everything they bring included",
    kind="import",
    unit="ms",
    note="Beyond the bare interpreter.",
)

ASYNCIO = "import asyncio"
BUS_GROUND = "import asyncio, blinker"
DECISIONS_GROUND = "import structlog, orjson"
TRACE_GROUND = "import opentelemetry.sdk.trace, orjson"
PATTERNS_GROUND = (
    "import asyncio, tenacity, waybell_bus, waybell_budget, waybell_deadline"
)


def _ours(label, base, code):
    @OURS.ours(label)
    def _import():
        yield base, code


_ours("`waybell`", "", "import waybell")
_ours("`waybell_bus` beyond blinker and asyncio", BUS_GROUND, "import waybell_bus")
_ours("`waybell_budget` beyond asyncio", ASYNCIO, "import waybell_budget")
_ours("`waybell_deadline` beyond asyncio", ASYNCIO, "import waybell_deadline")
_ours(
    "`waybell_decisions` beyond structlog and orjson",
    DECISIONS_GROUND,
    "import waybell_decisions",
)
_ours(
    "`waybell_trace` beyond opentelemetry-sdk and orjson",
    TRACE_GROUND,
    "import waybell_trace",
)
_ours("`waybell_adapters` beyond asyncio", ASYNCIO, "import waybell_adapters")
_ours(
    "`waybell_patterns` beyond tenacity, asyncio and the three below it",
    PATTERNS_GROUND,
    "import waybell_patterns",
)
_ours("`waybell_scheduler` beyond asyncio", ASYNCIO, "import waybell_scheduler")
_ours("`waybell_sim` beyond asyncio", ASYNCIO, "import waybell_sim")


def _peer(module, env, package=""):
    @PEERS.peer(f"`{module}`", env=env)
    def _import():
        yield "", f"import {module}"


def _whole(module):
    @PEERS.ours(f"`{module}`")
    def _import():
        yield "", f"import {module}"


_whole("waybell")
_whole("waybell_bus")
_whole("waybell_budget")
_whole("waybell_deadline")
_whole("waybell_decisions")
_whole("waybell_trace")
for _module in ("asyncio", "blinker", "structlog", "opentelemetry.sdk.trace"):
    _peer(_module, "own")
for _module in (
    "emitix",
    "pyee.asyncio",
    "pymitter",
    "token_budget",
    "floe_guard",
    "agentbudget",
    "pyrate_limiter",
    "cancelscope",
    "anyio",
    "picologging",
    "eliot",
    "loguru",
):
    _peer(_module, "light")
for _module in ("async_event_bus", "infinity_bus"):
    _peer(_module, "newer")
for _module in (
    "autogen_core",
    "faststream.nats",
    "abxbus",
    "bubus",
    "workflows",
    "pydantic_ai",
):
    _peer(_module, "agents")
_peer("litellm", "litellm")
_peer("logfire", "logfire")


SUITE = Suite(
    "imports",
    "Imports",
    (OURS, PEERS),
    (
        Target("import of `waybell`, ms", OURS, "`waybell`", None, 10.0),
        Target(
            "import of `waybell_bus` beyond blinker and asyncio, ms",
            OURS,
            "`waybell_bus` beyond blinker and asyncio",
            None,
            15.0,
        ),
    ),
)
