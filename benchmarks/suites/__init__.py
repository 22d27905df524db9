"""The suites, in the order of the page.

A new suite is a module with `Case`s, contestants registered on them, and a `SUITE`
that is named in `SUITES` below. A contestant is a generator function that yields
`run(n)`; `@CASE.limit(...)`, `@CASE.ours(...)` and `@CASE.peer(..., env=...)` register
it. Import nothing but the standard library and `benchmarks` at the top of a module:
each environment imports them all. Peers of an environment are pinned in
`benchmarks/peers/<env>.txt`; a new file there is a new environment. Modules that add
contestants to the cases of others go into `ADDITIONS`.
"""

from benchmarks.suites import (
    adapters,
    adapters_clients,
    budget,
    budget_peers,
    budget_prices,
    budget_race,
    bus,
    bus_frameworks,
    bus_growth,
    bus_memory,
    bus_models,
    bus_newer,
    bus_peers,
    deadline,
    decisions,
    imports,
    scheduler,
    scheduler_breaker,
    scheduler_journal,
    scheduler_makespan,
    scheduler_peers,
    scheduler_queue,
    tools,
    trace,
)


#: Modules that only add contestants to the cases of others.
ADDITIONS = (
    adapters_clients,
    budget_peers,
    budget_prices,
    budget_race,
    bus_frameworks,
    bus_growth,
    bus_memory,
    bus_models,
    bus_newer,
    bus_peers,
    scheduler_journal,
    scheduler_makespan,
    scheduler_peers,
)
SUITES = (
    bus.SUITE,
    budget.SUITE,
    deadline.SUITE,
    decisions.SUITE,
    trace.SUITE,
    scheduler.SUITE,
    scheduler_queue.SUITE,
    scheduler_breaker.SUITE,
    adapters.SUITE,
    tools.SUITE,
    imports.SUITE,
)
