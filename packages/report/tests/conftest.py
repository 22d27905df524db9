"""Runs as files, from plain dicts; a browser, where there is one."""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest


T0 = 1_795_175_470_000_000_000  # nanoseconds since 1970
MS = 1_000_000
Span = dict[str, Any]


def otlp_value(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
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


def span(
    id: str | int,
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
    number = lambda n: f"{n:016x}" if isinstance(n, int) else n
    found: Span = {
        "traceId": trace,
        "spanId": number(id),
        "name": name,
        "startTimeUnixNano": str(start),
        "attributes": pairs({k.replace("__", "."): v for k, v in attributes.items()}),
        "events": [
            {"timeUnixNano": str(start + round(t * MS)), "name": n, "attributes": pairs(a)}
            for t, n, a in events
        ],
        "status": {},
    }
    if parent is not None:
        found["parentSpanId"] = number(parent)
    if ms is not None:
        found["endTimeUnixNano"] = str(start + round(ms * MS))
    if error is not None:
        found["status"] = {"code": 2, "message": error}
    return found


def agent(name: str) -> dict[str, Any]:
    return {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}


def model(name: str, tokens: tuple[int, int] = (0, 0), nano: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": name,
        "gen_ai.usage.input_tokens": tokens[0], "gen_ai.usage.output_tokens": tokens[1],
    }  # fmt: skip
    return found if nano is None else {**found, "waybell.cost.nano_usd": nano}


def tool(name: str) -> dict[str, Any]:
    return {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}


def message(*spans: Span) -> dict[str, Any]:
    about = {"attributes": pairs({"service.name": "tests"})}
    return {"resourceSpans": [{"resource": about, "scopeSpans": [{"spans": list(spans)}]}]}


def line(*spans: Span) -> str:
    return json.dumps(message(*spans), separators=(",", ":")) + "\n"


def start_line(item: Span) -> str:
    attributes = {p["key"]: next(iter(p["value"].values())) for p in item["attributes"]}
    kept = {k: item[k] for k in ("traceId", "spanId", "parentSpanId") if k in item}
    kept |= {"startTimeUnixNano": item["startTimeUnixNano"], "name": item["name"]}
    return json.dumps({**kept, "attributes": attributes}, separators=(",", ":")) + "\n"


def decision(seq: int, what: str, *, at: float = 0, span: str = "", **fields: Any) -> str:
    links = {"trace_id": "a" * 32, "span_id": span} if span else {}
    record = {"v": 1, "id": f"log-{seq}", "time": T0 / 1e9 + at / 1e3, "pid": 1, "seq": seq}
    return json.dumps({**record, **links, "decision": what, **fields}, separators=(",", ":")) + "\n"


def failed_run() -> list[Span]:
    """A planner whose search tool fails, which fails the run."""
    stack = 'Traceback (most recent call last):\n  File "desk.py", line 7, in search\nTimeoutError: no answer'
    shown = {"exception.type": "TimeoutError", "exception.message": "no answer", "exception.stacktrace": stack}
    asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Which port?"}]}])
    said = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Let me search."}]}])
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
    hex_ = lambda n: rng.getrandbits(4 * n).to_bytes(n // 2, "big").hex()
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
                    digest = {"waybell.prompt.length": rng.randint(100, 9000), "waybell.prompt.sha256": hex_(32), "waybell.capture": "digest"}
                    children.append(span(hex_(16), boss, name="chat small-1", at=at, ms=ms, trace=trace, **digest,
                        **model(rng.choice(["small-1", "large-2"]), (rng.randint(50, 4000), rng.randint(1, 500)), rng.randint(0, 9_000_000))))  # fmt: skip
                else:
                    error = "TimeoutError: no answer in 30 s" if rng.random() < 0.004 else None
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

    def make(spans: Iterable[Span] = (), decisions: str = "", starts: Iterable[Span] = ()) -> Path:
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
    return named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
