"""A tool's call: parsing and calling bare, two validators of others, and ours."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

import asyncio
import json
from itertools import repeat
from typing import Literal

from benchmarks._cases import Case, Suite, Target


CALL = Case(
    "call",
    "One call of a tool, arguments as a model sends them",
    note="JSON text of four arguments, among them a choice and a list, becomes the call "
    "of a function that does nothing. Ours runs it in a thread, so that it can be left "
    "when its time is over.",
)
ACALL = Case(
    "acall",
    "The same of an async function, awaited",
    note="Ours within its time limit; the bare one has none.",
)
REFUSED = Case(
    "refused",
    "Refusing arguments that are wrong in three places",
    note="All three are named. The limit notices that it is no call, and of what.",
)

LIMIT = "json.loads and the bare function"
CHECK = "waybell_tools, parsing and checking alone"
TEXT = json.dumps(
    {"query": "pub/sub", "limit": 5, "order": "new", "tags": ["agents", "topics"]}
)
WRONG = json.dumps({"query": 1, "limit": "five", "order": "up", "tags": []})


def search(
    query: str, limit: int, tags: list[str], order: Literal["new", "old"] = "new"
) -> str:
    """Search."""
    return query


async def asearch(
    query: str, limit: int, tags: list[str], order: Literal["new", "old"] = "new"
) -> str:
    """Search."""
    return query


def over_and_over(call):
    def run(times):
        for _ in repeat(None, times):
            call()

    return run


def awaited_over_and_over(call):
    async def run(times):
        for _ in repeat(None, times):
            await call()

    return run


def refused(call, error):
    """Run `call`, which must raise."""

    def once():
        try:
            call()
        except error:
            return
        raise AssertionError("it was not refused")

    return over_and_over(once)


def registry():
    from waybell_tools import ToolRegistry

    return ToolRegistry([search, asearch])


@CALL.limit(LIMIT)
def _bare():
    yield over_and_over(lambda: search(**json.loads(TEXT)))


@CALL.peer("the same, checked by jsonschema-rs", env="own", package="jsonschema-rs")
def _schema():
    from jsonschema_rs import validator_for

    check = validator_for(registry()["search"].schema)

    def call():
        arguments = json.loads(TEXT)
        check.validate(arguments)
        return search(**arguments)

    yield over_and_over(call)


@CALL.peer("the same, each in a new thread", env="own")
def _in_a_thread():
    from concurrent.futures import Future
    from threading import Thread

    def call():
        future = Future()

        def work():
            future.set_result(search(**json.loads(TEXT)))

        Thread(target=work, daemon=True).start()
        return future.result(10)

    yield over_and_over(call)


@CALL.ours(CHECK)
def _checked():
    tool = registry()["search"]
    yield over_and_over(lambda: search(**tool.check(TEXT)))


@CALL.ours("waybell_tools `call`")
def _call():
    call = registry().call
    yield over_and_over(lambda: call("search", TEXT))


@CALL.ours("waybell_tools `result`")
def _result():
    result, asked = registry().result, {"id": "c1", "name": "search", "arguments": TEXT}
    yield over_and_over(lambda: result(asked))


@CALL.peer("pydantic `validate_call`", env="agents", package="pydantic")
def _validate_call():
    from pydantic import validate_call

    checked = validate_call(search)
    yield over_and_over(lambda: checked(**json.loads(TEXT)))


def type_adapter():
    from pydantic import TypeAdapter
    from typing_extensions import TypedDict

    hints = dict(search.__annotations__)
    del hints["return"]
    return TypeAdapter(TypedDict("Arguments", hints)).validate_json


@CALL.peer("pydantic `TypeAdapter.validate_json`", env="agents", package="pydantic")
def _type_adapter():
    check = type_adapter()
    yield over_and_over(lambda: search(**check(TEXT)))


@ACALL.limit(LIMIT)
async def _bare_async():
    yield awaited_over_and_over(lambda: asearch(**json.loads(TEXT)))


@ACALL.peer("the same, within `asyncio.timeout`", env="own")
async def _bare_timeout():
    async def call():
        async with asyncio.timeout(60):
            return await asearch(**json.loads(TEXT))

    yield awaited_over_and_over(call)


@ACALL.peer("a sync function through `asyncio.to_thread`", env="own")
async def _to_thread():
    yield awaited_over_and_over(lambda: asyncio.to_thread(search, **json.loads(TEXT)))


@ACALL.ours("waybell_tools `acall`")
async def _acall():
    acall = registry().acall
    yield awaited_over_and_over(lambda: acall("asearch", TEXT))


@ACALL.ours("waybell_tools `acall` of a sync function")
async def _acall_sync():
    acall = registry().acall
    yield awaited_over_and_over(lambda: acall("search", TEXT))


@ACALL.peer("pydantic `validate_call`", env="agents", package="pydantic")
async def _validate_async():
    from pydantic import validate_call

    checked = validate_call(asearch)
    yield awaited_over_and_over(lambda: checked(**json.loads(TEXT)))


@REFUSED.limit("json.loads and `isinstance`")
def _isinstance():
    kinds = {"query": str, "limit": int, "order": str, "tags": list}

    def call():
        arguments = json.loads(WRONG)
        wrong = [n for n, kind in kinds.items() if not isinstance(arguments[n], kind)]
        if wrong:
            raise ValueError(wrong)

    yield refused(call, ValueError)


@REFUSED.ours("waybell_tools `call`")
def _refused():
    from waybell_tools import ToolArgumentsError

    call = registry().call
    yield refused(lambda: call("search", WRONG), ToolArgumentsError)


@REFUSED.peer("pydantic `TypeAdapter.validate_json`", env="agents", package="pydantic")
def _refused_by_pydantic():
    from pydantic import ValidationError

    check = type_adapter()

    def call():
        try:
            check(WRONG)
        except ValidationError as error:
            raise ValueError(error.errors()) from None

    yield refused(call, ValueError)


SUITE = Suite(
    "tools",
    "Tools",
    (CALL, ACALL, REFUSED),
    (
        Target(
            "parsing and checking a call, against pydantic's `validate_call`",
            CALL,
            CHECK,
            "pydantic `validate_call`",
            2.0,
        ),
        Target(
            "a call in a thread of its own, against the bare one in a thread",
            CALL,
            "waybell_tools `call`",
            "the same, each in a new thread",
            2.0,
        ),
    ),
)
