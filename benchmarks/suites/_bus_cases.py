"""The questions asked of a bus; who answers them is in the modules beside."""

from benchmarks._cases import Case


LIMIT = "a dict of lists, each handler awaited"

ONE = Case(
    "one",
    "One async handler, its answer in hand",
    note="One topic, two fields. Peers that return no answer are marked.",
)
TEN = Case(
    "ten",
    "Ten async handlers that do not suspend",
    note="The limit awaits `asyncio.gather` of the ten.",
)
TOPICS = Case("topics", "1,000 topics with a handler each", note="Every topic in turn.")
WILD = Case(
    "wild",
    "Through 10,000 wildcard subscriptions, the topic seen before",
    note="One of them matches. The limit knows no wildcards: it is the one above.",
)
NEW = Case(
    "new",
    "Through 10,000 wildcard subscriptions, a topic never seen",
    note="One of them matches; every topic is new.",
)
SUSPENDING = Case(
    "suspending",
    "`gather` of ten async handlers that each suspend once",
    note="The limit is `asyncio.gather` of ten such calls.",
)
OPTIONS = Case(
    "options",
    "What our options cost, with one async handler",
    note="The same emit as in the first table of this section, one option at a time.",
)
MEMORY = Case(
    "memory",
    "Memory of one topic with one handler",
    kind="value",
    unit="bytes",
    count=10_000,
    note="Of 10,000 made at once, as tracemalloc counts; the handler itself is shared.",
)
QUEUED = Case(
    "queued",
    "Memory of one queued event",
    kind="value",
    unit="bytes",
    count=10_000,
    note="Of 10,000 waiting in one subscription.",
)
GROWTH = Case(
    "growth",
    "Cost against growth",
    kind="growth",
    note="One emit to one async handler while so many topics or wildcard "
    "subscriptions with a handler each are there, of a topic seen before and of a "
    "new one; and one more subscription made and removed.",
)

CASES = (
    ONE,
    TEN,
    TOPICS,
    WILD,
    NEW,
    SUSPENDING,
    OPTIONS,
    MEMORY,
    QUEUED,
    GROWTH,
)
