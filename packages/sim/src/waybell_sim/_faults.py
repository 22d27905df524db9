"""Faults on demand: what goes wrong between a program and what it calls."""

import asyncio
import functools
import inspect
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, Self, TypeVar, cast

from waybell_sim._errors import InjectedCut, InjectedRateLimit, InjectedTimeout
from waybell_sim._loop import run_rng


_T = TypeVar("_T")
_KINDS = ("timeout", "hang", "rate_limit", "cut", "wrong", "cancel")
_VERBS = ("generate", "agenerate", "stream", "astream")
_END = object()


class Faults:
    """Wraps callables and adapters so that they fail now and then, as networks do.

    Each rate is a probability per call. Inside `simulate` all is drawn from the run's
    `random.Random`, so that a seed replays its faults too; outside, from `seed`.

    Args:
        timeout: `InjectedTimeout`, before the call is made or after: nobody can tell.
        hang: No answer until the caller is cancelled, the call made or not.
        rate_limit: `InjectedRateLimit` (`status` 429) instead of the call.
        cut: `InjectedCut`: the call is made and its answer lost, a stream ends early.
        wrong: The answer, or a chunk of a stream, passes through `corrupt`.
        cancel: The calling task is cancelled, before the call is made or after.
        delays: Seconds to choose from, around calls and chunks. Few, so that they meet.
        retry_after: What the rate limit asks for, in seconds.
        corrupt: Makes the wrong answer of the answer and the Random. By default text is
            halved or garbled, sequences are halved, the rest is None.
        seed: For use outside of `simulate`.
    """

    __slots__ = ("_corrupt", "_delays", "_own", "_rates", "_retry_after", "injected")

    def __init__(
        self,
        *,
        timeout: float = 0.0,
        hang: float = 0.0,
        rate_limit: float = 0.0,
        cut: float = 0.0,
        wrong: float = 0.0,
        cancel: float = 0.0,
        delays: Sequence[float] = (0, 0, 1, 2),
        retry_after: float = 1.0,
        corrupt: Callable[[Any, random.Random], Any] | None = None,
        seed: int | None = None,
    ) -> None:
        rates = (timeout, hang, rate_limit, cut, wrong, cancel)
        if not (min(rates) >= 0 and sum(rates) <= 1):
            raise ValueError(f"rates must be 0 to 1, and so their sum, not {rates}")
        self._rates = dict(zip(_KINDS, rates, strict=True))
        self._delays = tuple(delays) or (0,)
        self._retry_after = retry_after
        self._corrupt = corrupt or _spoil
        self._own = None if seed is None else random.Random(seed)
        self.injected: Counter[str] = Counter()

    def wrap(self, target: _T) -> _T:
        """Return the callable or adapter with faults between it and its caller.

        A sync callable cannot wait: no delay, no cancellation, a hang is a timeout.
        """
        verbs = [verb for verb in _VERBS if callable(getattr(target, verb, None))]
        if verbs:
            return cast("_T", _Adapter(self, target, verbs))
        if not callable(target):
            raise TypeError(f"{target!r} is neither callable nor an adapter")
        kinds = map(inspect.iscoroutinefunction, (target, type(target).__call__))
        return cast("_T", (self._wrap_async if any(kinds) else self._wrap_sync)(target))

    def _wrap_async(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        async def faulty(*args: Any, **kwargs: Any) -> Any:
            before, after = self._plan()
            await self.delay()
            await self.strike(before)
            return await self._answer(fn(*args, **kwargs), after)

        return faulty

    def _wrap_sync(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def faulty(*args: Any, **kwargs: Any) -> Any:
            before, after = self._plan()
            self.strike_now(before)
            answer = fn(*args, **kwargs)
            if inspect.isawaitable(answer):
                return self._answer(answer, after)
            if _streams(answer):
                return _Stream(self, answer, after)
            return self.strike_now(after, answer)

        return faulty

    async def _answer(self, answer: Awaitable[Any], fault: str | None) -> Any:
        result = await answer
        if _streams(result):
            return _Stream(self, result, fault)
        await self.delay()
        return await self.strike(fault, result)

    @property
    def rng(self) -> random.Random:
        """The Random that decides now."""
        if (rng := run_rng.get(self._own)) is None:
            raise RuntimeError("outside of simulate(), Faults needs a seed")
        return rng

    def _plan(self) -> tuple[str | None, str | None]:
        """Draw the fault of one call: one before it, one after it, or none."""
        point = self.rng.random()
        for kind, rate in self._rates.items():
            if point < rate:
                late = kind in ("cut", "wrong") or self.rng.random() < 0.5
                return (None, kind) if late and kind != "rate_limit" else (kind, None)
            point -= rate
        return None, None

    async def delay(self) -> None:
        """Wait for one of the delays; also for 0, which lets others run."""
        seconds = self.rng.choice(self._delays)
        self.injected["delay"] += seconds > 0
        await asyncio.sleep(seconds)

    async def strike(self, fault: str | None, answer: Any = None) -> Any:
        """Do what the fault does; return the answer if it leaves one."""
        if fault not in ("hang", "cancel"):
            return self.strike_now(fault, answer)
        self.injected[fault] += 1
        if fault == "cancel" and (caller := asyncio.current_task()):
            caller.cancel()
        return await asyncio.get_running_loop().create_future()

    def strike_now(self, fault: str | None, answer: Any = None) -> Any:
        """Do the same without waiting."""
        if fault is None or fault == "cancel":
            return answer
        self.injected[fault] += 1
        if fault == "wrong":
            return self._corrupt(answer, self.rng)
        if fault == "rate_limit":
            limit = InjectedRateLimit("injected: 429, too many requests")
            limit.retry_after = self._retry_after
            raise limit
        if fault == "cut":
            raise InjectedCut("injected: the connection was cut")
        raise InjectedTimeout("injected: no answer in time")


class _Adapter:
    """An adapter whose calls go through faults; all else is its own."""

    # In the instance, because isinstance() with a protocol looks nowhere deeper.
    __slots__ = ("__dict__", "_target")

    def __init__(self, faults: Faults, target: Any, verbs: list[str]) -> None:
        self._target = target
        for verb in verbs:
            setattr(self, verb, faults.wrap(getattr(target, verb)))

    def __getattr__(self, name: str) -> Any:
        # Not plainly `self._target`: while it is being copied, there is none yet.
        return getattr(object.__getattribute__(self, "_target"), name)


class _Stream:
    """A stream that passes its chunks on until its fault is due."""

    __slots__ = ("_fault", "_faults", "_left", "_over", "_target", "aread", "read")

    def __init__(self, faults: Faults, target: Any, fault: str | None) -> None:
        self._faults, self._target = faults, target
        self._fault, self._left, self._over = fault, faults.rng.randrange(3), False
        if hasattr(target, "aread"):  # a reply's, whose own would bypass the faults
            self.read, self.aread = self._read, self._aread

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_target"), name)

    def _read(self) -> Any:
        with self:
            list(self)
        return self._target.reply

    async def _aread(self) -> Any:
        async with self:
            _ = [chunk async for chunk in self]
        return self._target.reply

    def _due(self, chunk: object) -> str | None:
        """Return the fault that strikes in place of this chunk, or of the end."""
        fault, self._left = self._fault, self._left - 1
        if fault is None or (self._left >= 0 and chunk is not _END):
            return None
        self._fault, self._over = None, fault != "wrong"
        return None if fault == "wrong" and chunk is _END else fault

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self._fault == "cancel":
            self._fault = None  # nobody waits here who could be cancelled
        chunk = _END if self._over else next(self._target, _END)
        chunk = self._faults.strike_now(self._due(chunk), chunk)
        if chunk is _END:
            raise StopIteration
        return chunk

    __aiter__ = __iter__

    async def __anext__(self) -> Any:
        await self._faults.delay()
        chunk = _END if self._over else await anext(self._target, _END)
        chunk = await self._faults.strike(self._due(chunk), chunk)
        if chunk is _END:
            raise StopAsyncIteration
        return chunk

    def __enter__(self) -> Self:
        self._target.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self._target.__exit__(*error)

    async def __aenter__(self) -> Self:
        await self._target.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> Any:
        return await self._target.__aexit__(*error)


def _streams(answer: Any) -> bool:
    return hasattr(answer, "__next__") or hasattr(answer, "__anext__")


def _spoil(answer: Any, rng: random.Random) -> Any:
    halved = issubclass(type(answer), (str, bytes, list, tuple))
    half = answer[: len(answer) // 2] if halved else None
    if not isinstance(answer, str):
        return half
    # The same kind of `str`: a `Reply` keeps its usage, cost and model.
    new = str.__new__(type(answer), rng.choice((half, "\ufffd" * (len(answer) + 1))))
    slots = (getattr(kind, "__slots__", ()) for kind in type(answer).__mro__)
    for name in (*getattr(answer, "__dict__", ()), *chain.from_iterable(slots)):
        object.__setattr__(new, name, getattr(answer, name))
    return new
