"""Frameworks that run graphs, at the sizes they can do."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

import operator
from graphlib import TopologicalSorter
from itertools import repeat
from typing import Annotated, TypedDict

from benchmarks.suites._scheduler_cases import BOUND, NO_OPS, SIZES
from benchmarks.suites.scheduler import LANGGRAPH, runs, sorter_of
from benchmarks.suites.scheduler_queue import SHAPES, chain, fan_out, layered


DASK = {"env": "graphs", "package": "dask"}
LANG = {"env": "graphs", "package": "langgraph"}
LLAMA = {"env": "agents", "package": "llama-index-workflows"}
PYDANTIC = {"env": "agents", "package": "pydantic-graph"}


def idle(*_results):
    """What dask runs, given results."""


def dask_threads(shape, size):
    """A graph as dask keeps one, and all its results, from one thread for each core."""

    def make():
        from dask.threaded import get

        needs = shape(size)

        def run(times):
            for _ in repeat(None, times):
                graph = {name: (idle, *found) for name, found in needs.items()}
                get(graph, list(graph))

        yield run

    return make


class State(TypedDict):
    """What langgraph hands from node to node."""

    ran: Annotated[int, operator.add]


def langgraph_of(needs):
    from langgraph.graph import START, StateGraph

    async def node(_state):
        return {"ran": 1}

    graph = StateGraph(State)
    for name in needs:
        graph.add_node(name, node)
    for name, found in needs.items():
        graph.add_edge(list(found) or START, name)
    return graph.compile()


async def langgraph(needs, _work):
    app = langgraph_of(needs)
    config = {"recursion_limit": len(needs) + 2, "max_concurrency": BOUND}
    state = await app.ainvoke({"ran": 0}, config)
    if state["ran"] != len(needs):
        raise AssertionError(state)


def llama_flow():
    from workflows import Context, Workflow, step
    from workflows.events import Event, StartEvent, StopEvent

    class Ready(Event):
        name: str

    class Ended(Event):
        name: str

    class Graph(Workflow):
        def __init__(self, needs):
            super().__init__(timeout=None)
            self.sorter = sorter_of(needs)

        @step
        async def begin(self, context: Context, event: StartEvent) -> Ready | None:
            for name in self.sorter.get_ready():
                context.send_event(Ready(name=name))

        @step(num_workers=BOUND)
        async def work(self, event: Ready) -> Ended:
            return Ended(name=event.name)

        @step(num_workers=1)
        async def lead(
            self, context: Context, event: Ended
        ) -> Ready | StopEvent | None:
            self.sorter.done(event.name)
            if not self.sorter.is_active():
                return StopEvent()
            for name in self.sorter.get_ready():
                context.send_event(Ready(name=name))
            return None

    return Graph


def llama(shape, size):
    async def make():
        flow, needs = llama_flow(), shape(size)

        async def run(times):
            for _ in repeat(None, times):
                await flow(needs).run()

        yield run

    return make


def layers_of(needs):
    """What is ready at once, layer by layer."""
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    while sorter.is_active():
        yield (ready := sorter.get_ready())
        sorter.done(*ready)


async def pydantic_graph(needs, _work):
    """Steps in layers, each of more than one gathered by a join."""
    from pydantic_graph import GraphBuilder, reduce_null

    async def step(_context):
        pass

    graph = GraphBuilder()
    before, edges = graph.start_node, []
    for layer in layers_of(needs):
        steps = [graph.step(step, node_id=name) for name in layer]
        edges.append(graph.edge_from(before).to(*steps))
        before = steps[0]
        if len(steps) > 1:
            before = graph.join(reduce_null, initial=None, node_id=f"after {layer[0]}")
            edges.append(graph.edge_from(*steps).to(before))
    graph.add(*edges, graph.edge_from(before).to(graph.end_node))
    await graph.build().run()


def _register():
    joins = {chain: "", fan_out: " and a join", layered: " and a join for each layer"}
    small, medium, _ = SIZES
    for shape, _ in SHAPES:
        case = NO_OPS[f"{shape.__name__}_{medium}"]
        case.peer("dask threaded", size=medium, **DASK)(dask_threads(shape, medium))
        case = NO_OPS[f"{shape.__name__}_{small}"]
        case.peer("dask threaded", **DASK)(dask_threads(shape, small))
        case.peer(LANGGRAPH, **LANG)(runs(langgraph, shape, small))
        label = "llama-index-workflows, a step that asks graphlib"
        case.peer(label, **LLAMA)(llama(shape, small))
        label = f"pydantic-graph, steps{joins[shape]}"
        case.peer(label, **PYDANTIC)(runs(pydantic_graph, shape, small))


_register()
