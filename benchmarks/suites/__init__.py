"""The suites, in the order of the page. A new one: write a module, name it here."""

from benchmarks.suites import (
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
    trace,
)


#: Modules that only add contestants to the cases of others.
ADDITIONS = (
    budget_peers,
    budget_prices,
    budget_race,
    bus_frameworks,
    bus_growth,
    bus_memory,
    bus_models,
    bus_newer,
    bus_peers,
)
SUITES = (
    bus.SUITE,
    budget.SUITE,
    deadline.SUITE,
    decisions.SUITE,
    trace.SUITE,
    imports.SUITE,
)
