"""Where a run is: inside of which node, and in which task or thread."""

import asyncio
import contextlib
import re
from bisect import bisect_left, insort
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from itertools import count
from threading import get_ident
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from waybell_snap._tree import Node


_Fail: TypeAlias = Callable[[Node, BaseException], object]
_AUTO = re.compile(r"Task-(\d+)")  # what asyncio calls a task that nobody named


class _Frame(NamedTuple):
    """For what happens in this context, the node of a run around it."""

    root: Node
    node: Node
    outer: "_Frame | None"


_around: ContextVar[_Frame | None] = ContextVar("waybell_snap_around", default=None)
# The last model call in this context, whose reply may ask for tools.
asked: ContextVar[Node | None] = ContextVar("waybell_snap_asked", default=None)
# A thread that came with a context, and what all it does in that context is known by.
_thread: ContextVar[Any] = ContextVar("waybell_snap_thread", default=None)


class Inside:
    """What happens in this block is inside of what `begin` gives; `fail` hears of errors."""

    __slots__ = ("_begin", "_fail", "_node", "_root", "_token")

    def __init__(self, root: Node, begin: Callable[[], Node], fail: _Fail) -> None:
        self._root, self._begin, self._fail = root, begin, fail

    def __enter__(self) -> Node:
        self._node = self._begin()
        self._token = _around.set(_Frame(self._root, self._node, _around.get()))
        return self._node

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if kind is not GeneratorExit:  # From the collector, in whatever context.
            _around.reset(self._token)
        if error is not None:
            self._fail(self._node, error)


def here(root: Node) -> Node:
    """The node of this run around what happens now."""
    frame = _around.get()
    while frame is not None and frame.root is not root:
        frame = frame.outer
    return root if frame is None else frame.node


class Tasks:
    """The tasks and threads of a run, each a lane.

    What several of them do is in no order: which is first is for the schedule to say.
    At most `effort` tasks are looked at, to name others by their places.
    """

    __slots__ = ("_count", "_effort", "_home", "_known")

    def __init__(self, effort: int = 500_000) -> None:
        self._home = get_ident()
        self._count = count()
        self._known: WeakKeyDictionary[Any, tuple[int, str]] = WeakKeyDictionary()
        self._effort = effort

    def lane(self, parent: Node) -> tuple[Hashable, str]:
        """What runs here, and its name: a task, or a thread while it has one context."""
        with contextlib.suppress(RuntimeError):  # No loop runs here.
            if (task := asyncio.current_task()) is not None:
                if task not in self._known:
                    name = self._name(task, parent.tasks)
                    self._known[task] = next(self._count), name
                return self._known[task]
        if (here := get_ident()) == self._home:
            return "home", ""
        if _around.get() is None:  # The context may be that of a whole pool.
            return object(), ""
        known = _thread.get()
        if known is None or known[0] != here:
            known = here, object()
            _thread.set(known)
        return known[1], ""

    def _name(self, task: "asyncio.Task[Any]", alike: dict[str, list[int]]) -> str:
        """A name that a task has in every schedule, or nearly.

        It is the one it was given, else that of its coroutine, and the how manieth it was
        made of those that run the same: of all that live and are not known to be elsewhere,
        while there is effort left for looking at them, else of those that have run. `alike`
        has by coroutine the numbers of those that are known here.
        """
        if not (number := _number(task)):
            return task.get_name()
        what = _what(task)
        known = alike.setdefault(what, [])
        self._effort += 64  # Many tasks cost no more than many.
        if number not in known[(place := bisect_left(known, number)) : place + 1]:
            insort(known, number)
            living = asyncio.all_tasks() if self._effort > 0 else ()
            self._effort -= len(living)
            same = [t for t in living if _what(t) == what and t not in self._known]
            if found := {*map(_number, same)} - {0}:
                known[:] = sorted(found.union(known))
        return f"{what.rpartition('.')[2]}#{bisect_left(known, number) + 1}"


def _what(task: "asyncio.Task[Any]") -> str:
    return str(getattr(task.get_coro(), "__qualname__", ""))


def _number(task: "asyncio.Task[Any]") -> int:
    """The number of a task that nobody named, 0 for others."""
    own = _AUTO.fullmatch(task.get_name())
    return int(own[1]) if own else 0
