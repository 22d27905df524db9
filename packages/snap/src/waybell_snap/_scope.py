"""Where a run is: inside of which node, and in which task or thread."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from itertools import count
from threading import get_ident
from types import TracebackType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from waybell_snap._tree import Node


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
_thread: ContextVar[tuple[int, object] | None] = ContextVar(
    "waybell_snap", default=None
)


class Inside:
    """What happens in this block happens inside of a node, and may fail it.

    Args:
        root: The run.
        begin: Gives the node.
        fail: Told of the node and the error.
    """

    __slots__ = ("_begin", "_fail", "_node", "_root", "_token")

    def __init__(
        self,
        root: Node,
        begin: Callable[[], Node],
        fail: Callable[[Node, BaseException], object],
    ) -> None:
        self._root, self._begin, self._fail = root, begin, fail

    def __enter__(self) -> Node:
        self._node = self._begin()
        self._token = _around.set(_Frame(self._root, self._node, _around.get()))
        return self._node

    def __exit__(
        self, kind: object, error: BaseException | None, _: TracebackType | None
    ) -> None:
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
    """

    __slots__ = ("_count", "_home", "_known")

    def __init__(self) -> None:
        self._home = get_ident()
        self._count = count()
        self._known: WeakKeyDictionary[Any, tuple[int, str]] = WeakKeyDictionary()

    def lane(self, parent: Node) -> tuple[Hashable, str]:
        """What runs here, and its name: a task, or a thread while it has one context."""
        with contextlib.suppress(RuntimeError):  # No loop runs here.
            if (task := asyncio.current_task()) is not None:
                if task not in self._known:
                    name = task_name(task, parent.tasks)
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


def task_name(task: "asyncio.Task[Any]", alike: dict[str, set[int]]) -> str:
    """A name that a task has in every schedule, or nearly.

    It is the one it was given, else that of its coroutine, and the how manieth it was
    made of those that run the same.

    Args:
        task: The task that runs.
        alike: By coroutine, the numbers of those that are known to have run.
    """
    own = _AUTO.fullmatch(task.get_name())
    if own is None:
        return task.get_name()
    what = _what(task)
    known = alike.setdefault(what, set())
    names = [one.get_name() for one in asyncio.all_tasks() if _what(one) == what]
    known.update(int(name[1]) for name in map(_AUTO.fullmatch, names) if name)
    place = sorted(known).index(int(own[1]))
    return f"{what.rpartition('.')[2]}#{place + 1}"


def _what(task: "asyncio.Task[Any]") -> str:
    return str(getattr(task.get_coro(), "__qualname__", ""))
