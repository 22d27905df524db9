"""Graph engines and workflows of others, at the sizes they can do, beside the scheduler."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

import operator
from graphlib import TopologicalSorter
from itertools import repeat
from typing import Annotated, TypedDict

from benchmarks.suites.scheduler import BOUND, CASES, runs
from benchmarks.suites.scheduler_queue import SHAPES


DASK = {"env": "graphs", "package": "dask"}
LANGGRAPH = {"env": "graphs", "package": "langgraph"}
LLAMA = {"env": "agents", "package": "llama-index-workflows"}
PYDANTIC = {"env": "agents", "package": "pydantic-graph"}


def idle(*_):
    return None


def dask_threaded(shape, size):
    """The graph as dask's own dict, computed by threads; functions are sync."""

    def make():
        from dask.threaded import get

        needs = shape(size)

        def run(times):
            for _ in repeat(None, times):
                graph = {name: (idle, *found) for name, found in needs.items()}
                get(graph, list(graph), num_workers=4)

        yield run

    return make


async def langgraph(needs, _work):
    """A node for each task, an edge from all its dependencies at once."""
    from langgraph.graph import END, START, StateGraph

    class State(TypedDict):
        done: Annotated[int, operator.add]

    async def node(state):
        return {"done": 1}

    graph = StateGraph(State)
    for name, found in needs.items():
        graph.add_node(name, node)
        graph.add_edge(list(found) if len(found) > 1 else (*found, START)[0], name)
    followed = {name for found in needs.values() for name in found}
    for name in needs.keys() - followed:
        graph.add_edge(name, END)
    config = {"recursion_limit": len(needs) + 10, "max_concurrency": BOUND}
    ended = await graph.compile().ainvoke({"done": 0}, config)
    assert ended["done"] == len(needs)
    return needs


async def llama_workflow(needs, _work):
    """One step does tasks, another sends those that have become ready."""
    workflow = llama_class()(timeout=None)
    await workflow.run(needs=needs)
    return needs


def llama_class():
    from workflows import Context, Workflow, step
    from workflows.events import Event, StartEvent, StopEvent

    class Ready(Event):
        name: str

    class Ended(Event):
        name: str

    class Lead(Workflow):
        @step
        async def lead(
            self, ctx: Context, ev: StartEvent | Ended
        ) -> Ready | StopEvent | None:
            if isinstance(ev, StartEvent):
                self.sorter = TopologicalSorter(ev.needs)
                self.sorter.prepare()
            else:
                self.sorter.done(ev.name)
            for name in self.sorter.get_ready():
                ctx.send_event(Ready(name=name))
            return None if self.sorter.is_active() else StopEvent()

        @step(num_workers=BOUND)
        async def work(self, ev: Ready) -> Ended:
            return Ended(name=ev.name)

    Lead.lead.__annotations__ = {
        "ctx": Context, "ev": StartEvent | Ended, "return": Ready | StopEvent | None,
    }  # fmt: skip
    return Lead


def _register():
    for shape, _ in SHAPES:
        for size in (1_000, 10_000, 100_000):
            case = CASES[f"{shape.__name__}_{size}"]
            case.peer("dask threaded, sync", **DASK)(dask_threaded(shape, size))
        case = CASES[f"{shape.__name__}_1000"]
        case.peer("langgraph", **LANGGRAPH)(runs(langgraph, shape, 1_000, None))
        case.peer("llama-index-workflows", **LLAMA)(
            runs(llama_workflow, shape, 1_000, None)
        )


_register()


async def pydantic_graph(needs, _work):
    """A chain of steps: where paths meet, its graphs need joins of their own."""
    from pydantic_graph import GraphBuilder

    async def step(ctx):
        return None

    builder = GraphBuilder(output_type=object)
    last, edges = builder.start_node, []
    for name in needs:
        following = builder.step(step, node_id=f"step_{name}")
        edges.append(builder.edge_from(last).to(following))
        last = following
    builder.add(*edges, builder.edge_from(last).to(builder.end_node))
    await builder.build().run()
    return needs


CASES["chain_1000"].peer("pydantic-graph", **PYDANTIC)(
    runs(pydantic_graph, SHAPES[0][0], 1_000, None)
)
