"""asyncio code runs unchanged, and what reaches outside is refused."""

import asyncio
import contextvars
import gc
import signal
import sys
import threading
from pathlib import Path

import pytest

from waybell_sim import NotSimulated, SimulationFailed, simulate


var = contextvars.ContextVar("var", default="unset")


def test_the_primitives_of_asyncio_work():
    async def main(rng):
        queue, event = asyncio.Queue(2), asyncio.Event()
        gate, condition = asyncio.Semaphore(2), asyncio.Condition()
        got, inside = [], 0

        async def consume():
            async with gate:
                got.append(await asyncio.wait_for(queue.get(), 60))

        async def produce(item):
            await asyncio.sleep(rng.choice((0, 1)))
            await queue.put(item)
            event.set()

        async def wait():
            nonlocal inside
            async with condition:
                await condition.wait_for(lambda: len(got) == 5)
                inside += 1

        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(wait())
            work = [group.create_task(consume()) for _ in range(5)]
            work += [group.create_task(produce(n)) for n in range(5)]
            await event.wait()
            await asyncio.gather(*work)
            async with condition:
                condition.notify_all()
        assert waiting.done()
        assert sorted(got) == [0, 1, 2, 3, 4]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await asyncio.sleep(4)

    simulate(main, seeds=100)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are of 3.12")
def test_eager_tasks_work():
    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        order = []

        async def agent():
            order.append("inside")
            await asyncio.sleep(1)

        task = asyncio.create_task(agent(), name="eager")
        order.append("after")
        await task
        assert order == ["inside", "after"]
        assert task.get_name() == "eager"

    simulate(main, seeds=10)


def test_a_task_factory_is_used():
    made = []

    def factory(loop, coro, **settings):
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **settings)

    async def main():
        asyncio.get_running_loop().set_task_factory(factory)
        await asyncio.create_task(asyncio.sleep(1))

    simulate(main, seeds=1)
    assert len(made) == 1


def test_tasks_are_named_by_their_place_in_the_run():
    names = []

    async def main():
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(2)]
        names.append([task.get_name() for task in tasks])
        await asyncio.gather(*tasks)

    simulate(main, seeds=[1, 1])
    assert names[0] == names[1]


def test_thousands_of_finished_tasks_are_let_go():
    async def main():
        for _ in range(3000):
            await asyncio.create_task(asyncio.sleep(0))
        assert len(asyncio.get_running_loop().tasks) < 1100

    simulate(main, seeds=1)


def test_executor_calls_run_inline_as_steps_of_their_own():
    orders = set()
    thread = threading.get_ident()

    async def main():
        order = []
        loop = asyncio.get_running_loop()

        def work(name):
            assert threading.get_ident() == thread
            with pytest.raises(RuntimeError, match="no running event loop"):
                asyncio.get_running_loop()
            order.append(name)
            return name

        calls = [loop.run_in_executor(None, work, "a"), asyncio.to_thread(work, "b")]
        assert order == []
        assert await asyncio.gather(*calls) == ["a", "b"]
        orders.add("".join(order))

    simulate(main, seeds=50)
    assert orders == {"ab", "ba"}


def test_to_thread_brings_the_context_along_and_an_executor_does_not():
    async def main():
        var.set("mine")
        assert await asyncio.to_thread(var.get) == "mine"
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, var.get) == "unset"

    simulate(main, seeds=5)


def test_what_an_executor_call_raises_reaches_the_awaiter():
    async def main():
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            await asyncio.to_thread(next, iter(()))
        with pytest.raises(SystemExit):
            await asyncio.to_thread(sys.exit)

    simulate(main, seeds=5)


def test_an_interrupt_in_an_executor_call_ends_everything():
    def interrupt():
        raise KeyboardInterrupt

    async def main():
        await asyncio.to_thread(interrupt)

    with pytest.raises(KeyboardInterrupt):
        simulate(main, seeds=5)


def test_a_cancelled_executor_call_may_be_spared():
    called = []

    async def main():
        future = asyncio.get_running_loop().run_in_executor(None, called.append, 1)
        future.cancel()
        await asyncio.sleep(0)

    simulate(main, seeds=20)
    assert called == []


def test_executors_are_accepted_and_never_used():
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor("not even an executor")
        await loop.shutdown_default_executor()

    simulate(main, seeds=1)


def test_call_soon_threadsafe_works():
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon_threadsafe(future.set_result, 5)
        assert await future == 5

        def from_a_thread():
            loop.call_soon_threadsafe(seen.append, 1)

        seen = []
        thread = threading.Thread(target=from_a_thread)
        thread.start()
        thread.join()
        await asyncio.sleep(1)
        assert seen == [1]

    simulate(main, seeds=5)


def test_open_asynchronous_generators_are_closed_in_the_order_they_began():
    async def main():
        async def numbers(name):
            try:
                while True:
                    yield name
            finally:
                await asyncio.sleep(0)
                closed.append(name)

        closed = []
        orders.append(closed)
        for name in "abc":
            generator = numbers(name)
            await anext(generator)
            kept.append(generator)

    orders, kept = [], []
    simulate(main, seeds=[3, 3])
    assert sorted(orders[0]) == ["a", "b", "c"]
    assert orders[0] == orders[1]


def test_an_abandoned_asynchronous_generator_is_closed_at_once():
    async def main():
        closed = []

        async def numbers():
            try:
                yield 1
                yield 2
            finally:
                closed.append(True)

        async for _ in numbers():
            break
        await asyncio.sleep(1)
        assert closed == [True]

    simulate(main, seeds=5)


def test_what_a_generator_raises_while_closing_fails_the_run():
    kept = []

    async def main():
        async def numbers():
            try:
                yield 1
            finally:
                raise KeyError("closing")

        kept.append(numbers())
        await anext(kept[-1])

    with pytest.raises(SimulationFailed, match="KeyError: 'closing'"):
        simulate(main, seeds=1)


def test_the_context_is_fresh_for_each_seed_and_does_not_leak():
    seen = []

    async def main():
        seen.append(var.get())
        var.set("inside")

    token = var.set("outside")
    simulate(main, seeds=2)
    assert seen == ["outside", "outside"]
    assert var.get() == "outside"
    var.reset(token)


def test_nothing_global_is_left_behind():
    policy = asyncio.get_event_loop_policy()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    hooks = sys.get_asyncgen_hooks()
    try:
        simulate(lambda: asyncio.sleep(1), seeds=2)
        assert asyncio.get_event_loop_policy() is policy
        assert policy.get_event_loop() is loop
        assert sys.get_asyncgen_hooks() == hooks
        assert gc.isenabled()
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        simulate(lambda: asyncio.sleep(1), seeds=2)
        assert not gc.isenabled()
    finally:
        gc.enable()


async def test_calling_it_on_a_running_loop_says_so():
    with pytest.raises(RuntimeError, match="call it from sync code"):
        simulate(lambda: asyncio.sleep(1))


OUTSIDE = {
    "add_reader": (0, print),
    "add_signal_handler": (signal.SIGTERM, print),
    "add_writer": (0, print),
    "connect_accepted_socket": (asyncio.Protocol, None),
    "connect_read_pipe": (asyncio.Protocol, None),
    "connect_write_pipe": (asyncio.Protocol, None),
    "create_connection": (asyncio.Protocol, "localhost", 1),
    "create_datagram_endpoint": (asyncio.DatagramProtocol,),
    "create_server": (asyncio.Protocol, "localhost", 1),
    "create_unix_connection": (asyncio.Protocol, "socket"),
    "create_unix_server": (asyncio.Protocol, "socket"),
    "getaddrinfo": ("localhost", 1),
    "getnameinfo": (("127.0.0.1", 1),),
    "remove_reader": (0,),
    "remove_signal_handler": (signal.SIGTERM,),
    "remove_writer": (0,),
    "sendfile": (None, None),
    "sock_accept": (None,),
    "sock_connect": (None, ("127.0.0.1", 1)),
    "sock_recv": (None, 1),
    "sock_recv_into": (None, bytearray(1)),
    "sock_recvfrom": (None, 1),
    "sock_recvfrom_into": (None, bytearray(1)),
    "sock_sendall": (None, b""),
    "sock_sendfile": (None, None),
    "sock_sendto": (None, b"", ("127.0.0.1", 1)),
    "start_tls": (None, None, None),
    "subprocess_exec": (asyncio.SubprocessProtocol, "true"),
    "subprocess_shell": (asyncio.SubprocessProtocol, "true"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_outside_is_refused(name):
    async def main():
        with pytest.raises(NotSimulated, match=rf"loop\.{name} reaches outside"):
            await getattr(asyncio.get_running_loop(), name)(*OUTSIDE[name])

    simulate(main, seeds=1)


def test_every_door_of_the_loop_to_the_outside_is_known():
    words = ("sock", "reader", "writer", "signal", "connect", "server", "pipe")
    words += ("subprocess", "addrinfo", "nameinfo", "endpoint", "sendfile", "tls")
    doors = {
        name
        for name in dir(asyncio.AbstractEventLoop)
        if not name.startswith("_") and any(word in name for word in words)
    }
    assert doors == set(OUTSIDE)


@pytest.mark.parametrize(
    "reach",
    [
        lambda: asyncio.open_connection("localhost", 1),
        lambda: asyncio.start_server(print, "localhost", 1),
        lambda: asyncio.create_subprocess_exec("true"),
        lambda: asyncio.create_subprocess_shell("true"),
    ],
    ids=["client", "server", "process", "shell"],
)
def test_streams_and_processes_are_refused_too(reach):
    with pytest.raises(SimulationFailed) as failed:
        simulate(reach, seeds=1)
    assert isinstance(failed.value.cause, NotSimulated)


def test_a_run_opens_no_file_descriptor():
    def open_now():
        return len(list(Path("/dev/fd").iterdir()))

    async def main():
        counts.append(open_now())

    gc.collect()  # what other tests left behind may close, but nothing may open
    counts = [open_now()]
    simulate(main, seeds=20)
    assert max(counts) == counts[0]


def test_a_generator_abandoned_at_the_very_end_is_still_closed():
    closed = []

    async def main():
        async def numbers():
            try:
                yield 1
                yield 2
            finally:
                await asyncio.sleep(0)
                closed.append(True)

        async for _ in numbers():
            break

    simulate(main, seeds=20)
    assert len(closed) == 20


def test_callbacks_without_end_do_not_keep_a_finished_program():
    async def main():
        loop = asyncio.get_running_loop()

        def again():
            loop.call_soon(again)

        again()
        await asyncio.sleep(0)

    assert simulate(main, seeds=2).steps < 3000
    simulate(main, seeds=2, max_steps=40)
