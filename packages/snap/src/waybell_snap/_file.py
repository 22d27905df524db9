"""Recordings on disk: JSON that reads well in a diff, written wholly or not at all."""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

from waybell_snap._values import within


SCHEMA = 2  # 1 has nothing too deep
_LEVELS = 32  # of nodes inside of each other in the JSON of a file
_BROKEN = (
    ValueError, TypeError, KeyError, AttributeError, RecursionError, ArithmeticError,
)  # fmt: skip
_LONE = re.compile("[\ud800-\udfff]")


def read(path: Path) -> Any:
    """The run in a file of this or an older schema; what is none is a `ValueError`."""
    try:
        data: Any = json.loads(path.read_text("utf-8"), object_hook=_joined)
        schema = data["waybell_snap"]
        known = type(schema) is int and 0 < schema <= SCHEMA
        run = _checked(data["run"], data.get("deeper", ())) if known else None
    except _BROKEN as error:
        what = f"{path} is no recording ({error!r}): record it again"
        raise ValueError(what) from error
    if not known:
        raise ValueError(
            f"{path} has schema {schema!r}, and this waybell-snap reads up to {SCHEMA}"
        )
    return run


def _checked(run: Any, deeper: Iterable[Any]) -> Any:
    """The run, made whole, if its nodes have all that is asked of nodes."""
    parts = dict(enumerate(deeper))
    rest = [run]
    while rest:
        node = rest.pop()
        texts = [node["kind"], node["name"], node.get("op", "")]
        if "error" in node:
            error = node["error"]
            texts += [error["type"], error["message"]]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f"a node has {texts!r}")
        if node["kind"] == "call":
            _check_figures(node.get("got") or {"usage": {}})
        rest += chain.from_iterable(_whole(one, parts) for one in node.get("lanes", ()))
    return run


def _whole(lane: Any, parts: dict[int, Any]) -> list[Any]:
    """The nodes of a lane, with those that are elsewhere in the file."""
    nodes: list[Any] = lane["nodes"]
    nodes[:] = [parts.pop(n["$deeper"]) if "$deeper" in n else n for n in nodes]
    return nodes


def _check_figures(got: Any) -> None:
    """Raise what the figures of a reply raise, if they are none."""
    Decimal(got.get("cost") or 0)
    for count in got["usage"].values():
        int(count)


def write(path: Path, run: Any) -> None:
    """Put a run on file; a new file is its owner's only, an old one keeps its mode."""
    told, deeper = _flat(run)
    whole = {"waybell_snap": 1, "run": told}
    data = {"waybell_snap": 2, "run": told, "deeper": deeper} if deeper else whole
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    text = _LONE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            Path(name).chmod(path.stat().st_mode & 0o777)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _flat(run: Any) -> tuple[Any, list[Any]]:
    """The run, and beside it what is in it too deep for readers of JSON."""
    top, deeper = list[Any](), list[Any]()
    rest: list[Any] = [(run, 1, top)]  # nodes, how deep they are, and where they go
    for part in rest:  # which grows meanwhile
        node, level, place = part
        lanes = node.get("lanes", ())
        emptied: list[Any] = [{**lane, "nodes": []} for lane in lanes]
        told = _split({**node, "lanes": emptied} if lanes else node)
        if level > _LEVELS:
            place.append({"$deeper": len(deeper)})
            level, place = 1, deeper
        place.append(told)
        for lane, made in zip(lanes, told.get("lanes", ()), strict=True):
            rest += [(one, level + 1, made["nodes"]) for one in lane["nodes"]]
    return top[0], deeper


def _split(data: Any) -> Any:
    """Long texts as their lines, which is what a diff compares."""
    if isinstance(data, str) and "\n" in data:
        return {"$lines": data.split("\n")}
    return within(data, lambda item, _: _split(item))


def _joined(data: dict[str, Any]) -> Any:
    return "\n".join(data["$lines"]) if "$lines" in data else data
