"""The questions the scheduler is asked, and the graphs it is asked them with."""

from benchmarks._cases import Case
from benchmarks.suites.scheduler_queue import SHAPES


BOUND = 64
SIZES = (1_000, 10_000, 100_000)
LARGE = SIZES[-1]
SUSPENDING = 10_000


def _cases():
    for shape, words in SHAPES:
        for size in SIZES:
            yield Case(
                f"{shape.__name__}_{size}",
                f"Build and run {size:,} no-ops: {words}",
                note="Of one task. The functions are async and return at once; the limit "
                "awaits them one after another in one context and keeps no results.",
                per=size,
                rounds=5 if size == LARGE else 15,
                patience=3,
            )


def _suspending():
    for shape, words in SHAPES:
        yield Case(
            f"{shape.__name__}_once",
            f"Build and run {SUSPENDING:,} tasks that wait once: {words}",
            note="For one turn of the event loop. The limit has only one under way; of "
            f"the others, up to {BOUND} are, except where it is said.",
            per=SUSPENDING,
        )


NO_OPS = {case.name: case for case in _cases()}
ONCE = {case.name: case for case in _suspending()}
OWN = Case(
    "functions",
    "Build and run 1,000 no-ops that are given results: layers of 100",
    note="Three of the layer before it. With a function of its own for each, as closures "
    "are, each has to be looked at once.",
    per=1_000,
)
MAKESPAN = Case(
    "makespan",
    "How long a run takes: random graphs, 8 tasks at a time",
    kind="value",
    unit="thousandths of the lower bound",
    note="On a virtual clock: 20 graphs of 200 tasks, each needing up to three of the 60 "
    "before it, with durations from 4 to 12 s. The lower bound is the longest chain, or "
    "the sum of all by 8, whichever is more; the schedule that reaches it need not exist.",
)
SKEWED = Case(
    "skewed",
    "The same where durations are as those of model calls",
    kind="value",
    unit="thousandths of the lower bound",
    note="Log-normal: half take less than 4 s, one in twenty more than 20 s. Who knows "
    "beforehand can tell it with `priority=`: here, the longest chain of seconds left.",
)
CRITICAL = Case(
    "critical",
    "The same with a long chain among many short tasks",
    kind="value",
    unit="thousandths of the lower bound",
    note="The chain of 40 is named last, and 280 others need nothing.",
)
MEMORY = Case(
    "memory",
    "Memory of one task, at the peak of a run",
    kind="value",
    unit="bytes",
    count=LARGE,
    patience=1,
    note=f"Of {LARGE:,} in layers, as tracemalloc counts, without the texts of the ids "
    "and what tells of the graph. With ours, tasks, queue and results are in it.",
)
JOURNAL = Case(
    "journal",
    "A record of each task that survives `kill -9`",
    note="Of one of 1,000 tasks in layers; each gives a text of 60 characters. The limit "
    "awaits them one after another and writes a line when one has ended. Ours also "
    "writes that it has begun, and gives each task an `asyncio.Task`.",
    per=1_000,
)
