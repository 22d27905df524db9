"""Runs as files, from plain dicts; a browser, where there is one."""

import json
import math
import os
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from waybell_report import Report


T0 = 1_795_175_470_000_000_000  # nanoseconds since 1970
MS = 1_000_000
Span = dict[str, Any]


def otlp_value(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else str(value)}
    if isinstance(value, bytes):
        return {"bytesValue": value.decode()}
    if isinstance(value, list):
        return {"arrayValue": {"values": [otlp_value(v) for v in value]}}
    if isinstance(value, dict):
        pairs = [{"key": k, "value": otlp_value(v)} for k, v in value.items()]
        return {"kvlistValue": {"values": pairs}}
    return {"stringValue": str(value)}


def pairs(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": otlp_value(value)} for key, value in found.items()]


def _hex(id_: str | int) -> str:
    return f"{id_:016x}" if isinstance(id_, int) else id_


def span(
    id_: str | int,
    parent: str | int | None = None,
    *,
    name: str = "step",
    at: float = 0,
    ms: float | None = 10,
    error: str | None = None,
    trace: str = "a" * 32,
    events: Iterable[tuple[float, str, dict[str, Any]]] = (),
    **attributes: Any,
) -> Span:
    """A span; `at` and `ms` are milliseconds, `ms` None for one that never ended."""
    start = T0 + round(at * MS)
    found: Span = {
        "traceId": trace,
        "spanId": _hex(id_),
        "name": name,
        "startTimeUnixNano": str(start),
        "attributes": pairs({k.replace("__", "."): v for k, v in attributes.items()}),
        "events": [
            {
                "timeUnixNano": str(start + round(t * MS)),
                "name": n,
                "attributes": pairs(a),
            }
            for t, n, a in events
        ],
        "status": {},
    }
    if parent is not None:
        found["parentSpanId"] = _hex(parent)
    if ms is not None:
        found["endTimeUnixNano"] = str(start + round(ms * MS))
    if error is not None:
        found["status"] = {"code": 2, "message": error}
    return found


def agent(name: str) -> dict[str, Any]:
    return {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}


def model(
    name: str, tokens: tuple[int, int] = (0, 0), nano: int | None = None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": name,
        "gen_ai.usage.input_tokens": tokens[0], "gen_ai.usage.output_tokens": tokens[1],
    }  # fmt: skip
    return found if nano is None else {**found, "waybell.cost.nano_usd": nano}


def tool(name: str) -> dict[str, Any]:
    return {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}


def message(*spans: Span) -> dict[str, Any]:
    about = {"attributes": pairs({"service.name": "tests"})}
    return {
        "resourceSpans": [{"resource": about, "scopeSpans": [{"spans": list(spans)}]}]
    }


def line(*spans: Span) -> str:
    return json.dumps(message(*spans), separators=(",", ":")) + "\n"


def start_line(item: Span) -> str:
    attributes = {p["key"]: next(iter(p["value"].values())) for p in item["attributes"]}
    kept = {k: item[k] for k in ("traceId", "spanId", "parentSpanId") if k in item}
    kept |= {"startTimeUnixNano": item["startTimeUnixNano"], "name": item["name"]}
    return json.dumps({**kept, "attributes": attributes}, separators=(",", ":")) + "\n"


def decision(
    seq: int, what: str, *, at: float = 0, span: str = "", **fields: Any
) -> str:
    links = {"trace_id": "a" * 32, "span_id": span} if span else {}
    record = {
        "v": 1,
        "id": f"log-{seq}",
        "time": T0 / 1e9 + at / 1e3,
        "pid": 1,
        "seq": seq,
    }
    return (
        json.dumps(
            {**record, **links, "decision": what, **fields}, separators=(",", ":")
        )
        + "\n"
    )


def failed_run() -> list[Span]:
    """A planner whose search tool fails, which fails the run."""
    stack = 'Traceback (most recent call last):\n  File "desk.py", line 7, in search\nTimeoutError: no answer'
    shown = {
        "exception.type": "TimeoutError",
        "exception.message": "no answer",
        "exception.stacktrace": stack,
    }
    asked = json.dumps(
        [{"role": "user", "parts": [{"type": "text", "content": "Which port?"}]}]
    )
    said = json.dumps(
        [
            {
                "role": "assistant",
                "parts": [{"type": "text", "content": "Let me search."}],
            }
        ]
    )
    error = "TimeoutError: no answer"
    return [
        span(1, name="desk", ms=1000, error=error),
        span(2, 1, name="invoke_agent planner", at=10, ms=980, error=error, **agent("planner")),
        span(3, 2, name="chat small-1", at=20, ms=300, events=[(12, "first token", {"ms": 12})],
             **model("small-1", (1200, 80), 1_450_000), **{"gen_ai.input.messages": asked, "gen_ai.output.messages": said}),
        span(4, 2, name="execute_tool search", at=330, ms=650, error=error, events=[(650, "exception", shown)],
             **tool("search"), **{"gen_ai.tool.call.arguments": '{"query":"port"}'}),
        span(5, 2, name="execute_tool clock", at=340, ms=5, **tool("clock")),
    ]  # fmt: skip


def big_run(count: int, seed: int = 1) -> Iterator[Span]:
    """Traces of an agent that calls models and tools, as a tracer writes them: ends in order."""
    rng = random.Random(seed)

    def hex_(digits: int) -> str:
        return rng.randbytes(digits // 2).hex()

    made, at = 0, 0.0
    while made < count:
        trace, root = hex_(32), hex_(16)
        children: list[Span] = []
        begun = at
        for turn in range(rng.randint(2, 9)):
            boss = hex_(16)
            start = at
            for _ in range(rng.randint(2, 6)):
                ms = rng.lognormvariate(3, 1)
                if rng.random() < 0.6:
                    digest = {
                        "waybell.prompt.length": rng.randint(100, 9000),
                        "waybell.prompt.sha256": hex_(32),
                        "waybell.capture": "digest",
                    }
                    children.append(span(hex_(16), boss, name="chat small-1", at=at, ms=ms, trace=trace, **digest,
                        **model(rng.choice(["small-1", "large-2"]), (rng.randint(50, 4000), rng.randint(1, 500)), rng.randint(0, 9_000_000))))  # fmt: skip
                else:
                    error = (
                        "TimeoutError: no answer in 30 s"
                        if rng.random() < 0.004
                        else None
                    )
                    children.append(span(hex_(16), boss, name="execute_tool search", at=at, ms=ms, trace=trace, error=error, **tool(rng.choice(["search", "read", "shell"]))))  # fmt: skip
                at += ms
            children.append(span(boss, root, name=f"invoke_agent worker-{turn}", at=start, ms=at - start, trace=trace, **agent(f"worker-{turn}")))  # fmt: skip
        children.append(span(root, name="desk", at=begun, ms=at - begun, trace=trace))
        yield from children[: count - made]
        made += len(children)
        at += 5


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Makes the folder of a run of spans and lines of decisions."""

    def make(
        spans: Iterable[Span] = (), decisions: str = "", starts: Iterable[Span] = ()
    ) -> Path:
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        (folder / "traces.jsonl").write_text("".join(map(line, spans)))
        if decisions:
            (folder / "decisions.jsonl").write_text(decisions)
        if begun := "".join(map(start_line, starts)):
            (folder / "traces.starts.jsonl").write_text(begun)
        return folder

    return make


def chromium_path() -> str | None:
    named = os.environ.get("WAYBELL_CHROMIUM")
    return (
        named
        or shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )


def hostile_run() -> list[Span]:
    """Everything that a file of strangers may hold."""
    evil = (
        '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script></script>'
    )
    rtl = "invoice\u202efdp.exe \u0007\u200b end"
    year = 365 * 24 * 3600 * 1000
    return [
        span(1, name=evil, ms=100, error=f"{evil} {rtl}", events=[(1, evil, {evil: evil})], **{evil: evil}),
        span(2, 1, name=rtl, at=-50, ms=400, **agent(evil)),
        span(3, 2, name="chat", at=10, ms=10, big="x" * 1_000_000, **model(evil, (1, 2), 3)),
        span(4, 999, name="orphan", at=20, ms=0),
        span(5, 6, name="circle a", at=1),
        span(6, 5, name="circle b", at=2),
        span(7, 7, name="its own parent", at=3),
        span(8, 1, name="backwards", at=50, ms=-20),
        span(9, 1, name="", at=5, ms=1, **{"": "", "deep": {"a": [1, {"b": None}]}, "nan": float("nan")}),
        span(10, name="years", at=-20 * year, ms=0.001, trace="b" * 32),
        span("not hex", 1, name="odd id", at=30, ms=2, **tool("__proto__")),
        span(3, 2, name="chat again", at=10, ms=12, **tool("constructor")),
    ]  # fmt: skip


class Visit:
    """A page in a browser, and what it asked for or complained of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.requests: list[str] = []
        self.trouble: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("console", lambda message: self.trouble.append(message.text))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Any]:
    """A Chromium, for the tests of one module."""
    path = chromium_path()
    if path is None:
        pytest.skip(
            "no Chromium: apt install chromium, or name one in WAYBELL_CHROMIUM"
        )
    try:
        from playwright.async_api import async_playwright
    except ModuleNotFoundError:
        pytest.skip("no playwright: pip install playwright")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"]
        )
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="module")
async def visit(
    browser: Any, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[Visit]]]:
    """Opens the page of a report; at the end it must have asked for nothing else."""
    visits: list[Visit] = []
    contexts: list[Any] = []

    async def show(
        made: Report, *, size: tuple[int, int] = (1440, 900), **settings: Any
    ) -> Visit:
        file = made.save(tmp_path / f"page-{len(visits)}.html")
        context = await browser.new_context(
            viewport={"width": size[0], "height": size[1]}, **settings
        )
        contexts.append(context)
        await context.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('policy: ' + e.violatedDirective))"
        )
        found = Visit(await context.new_page())
        visits.append(found)
        await found.page.goto(file.as_uri())
        await found.page.wait_for_selector("body[data-drawn=all]")
        return found

    yield show
    for context in contexts:
        await context.close()
    for found in visits:
        assert [url for url in found.requests if not url.endswith(".html")] == []
        assert found.trouble == []


@pytest.fixture(scope="session")
def otlp() -> SimpleNamespace:
    """Builds spans, lines and runs, for tests of every module here."""
    names = "T0 MS span agent model tool line message start_line decision failed_run big_run hostile_run"
    return SimpleNamespace(**{name: globals()[name] for name in names.split()})
