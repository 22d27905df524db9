import asyncio
import socket
import threading

import pytest

from waybell_adapters._dial import _look_up
from waybell_adapters._line import Line, LineCut, Turns, Watcher
from waybell_adapters._threads import Mailbox, Threads


SOON = 5.0


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    yield a, b
    a.close()
    b.close()


def test_shutting_a_line_wakes_whoever_reads_its_socket(pair):
    line, (mine, other) = Line(), pair
    line.hold(mine)
    line.shut()
    line.shut()
    assert mine.recv(1) == b""
    assert other.recv(1) == b""
    assert not line.free()


def test_a_line_that_was_let_go_spares_its_socket(pair):
    line, (mine, other) = Line(), pair
    line.hold(mine)
    assert line.free()
    line.shut()
    other.sendall(b"x")
    assert mine.recv(1) == b"x"


def test_a_line_that_was_shut_takes_no_socket_and_waits_for_nothing(pair):
    line, (mine, _) = Line(), pair
    line.shut()
    spare = mine.dup()
    with pytest.raises(LineCut):
        line.hold(spare, spare=True)
    assert spare.fileno() == -1
    with pytest.raises(LineCut):
        line.hold(mine)
    with pytest.raises(LineCut):
        line.sleep(60)
    line.settimeout(1)


def test_a_spare_handle_is_closed_when_it_is_let_go(pair):
    line, (mine, _) = Line(), pair
    spare = mine.dup()
    line.hold(spare, spare=True)
    line.hold(mine)
    assert spare.fileno() == -1
    assert mine.fileno() >= 0
    line.free()


def test_a_sleeping_line_is_woken(pair):
    line, left = Line(), threading.Event()

    def sleep():
        try:
            line.sleep(60)
        except LineCut:
            left.set()

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    line.shut()
    assert left.wait(SOON)
    sleeper.join()


class Moving:
    """A deadline that is postponed a number of times."""

    def __init__(self, *lefts):
        self.lefts = list(lefts)

    def check(self):
        pass

    def timeout(self, cap=None):
        left = self.lefts.pop(0) if len(self.lefts) > 1 else self.lefts[0]
        if isinstance(left, Exception):
            raise left
        return left


def test_a_watcher_shuts_lines_in_their_time_and_no_others():
    watcher = Watcher(idle=0.01)
    never, late, moved, soon = Line(), Line(), Line(), Line()
    watcher.add(never, Moving(None))
    watcher.add(late, Moving(60))
    watcher.add(moved, Moving(0.01, 0.01, TimeoutError()))
    watcher.add(soon, Moving(0.001, 0.0))
    gone = Line()
    watcher.add(gone, Moving(0.02))
    watcher.drop(gone)
    for line in (soon, moved):
        with pytest.raises(LineCut):
            line.sleep(SOON)
    assert [line.cut for line in (never, late, gone)] == [False] * 3
    watcher.close()
    again = Line()
    watcher.add(again, Moving(0.0))
    with pytest.raises(LineCut):
        again.sleep(SOON)


def test_threads_are_as_many_as_are_needed_and_end_by_themselves():
    threads, gate = Threads(2, idle=0.01), threading.Semaphore(0)
    begun, done = threading.Semaphore(0), threading.Semaphore(0)

    def job():
        begun.release()
        gate.acquire()
        done.release()

    for _ in range(5):
        threads.submit(job)
    assert begun.acquire(timeout=SOON)
    assert begun.acquire(timeout=SOON)
    assert len(threads._threads) == 2
    for _ in range(5):
        gate.release()
        assert done.acquire(timeout=SOON)
    for thread in list(threads._threads):
        thread.join(SOON)
    assert threads._threads == set()
    threads.submit(done.release)
    assert done.acquire(timeout=SOON)
    threads.close(SOON)
    assert threads._threads == set()


async def test_a_mailbox_wakes_its_loop_once_for_many():
    loop, got, all_in = asyncio.get_running_loop(), [], asyncio.Event()
    box = Mailbox(loop)

    def post():
        for n in range(1000):
            box.post(lambda n=n: got.append(n))
        box.post(all_in.set)

    await asyncio.to_thread(post)
    await all_in.wait()
    assert got == list(range(1000))


def test_post_for_a_loop_that_has_gone_is_forgotten():
    loop = asyncio.new_event_loop()
    box = Mailbox(loop)
    loop.close()
    box.post(lambda: None)


async def test_a_mailbox_gives_each_turn_of_the_loop_a_few_calls():
    loop, turns = asyncio.get_running_loop(), []
    box = Mailbox(loop)

    async def begin():
        await box.turn()
        turns.append(turn)

    tasks = [asyncio.create_task(begin()) for _ in range(200)]
    turn = 0
    while not all(task.done() for task in tasks):
        turn += 1
        await asyncio.sleep(0)
    assert len(turns) == 200
    assert max(turns.count(n) for n in set(turns)) <= 64


def test_turns_are_given_in_order_and_passed_on():
    turns, lines, poked = Turns(2), [Line() for _ in range(5)], []
    assert [turns.enter(line) for line in lines] == [True, True, False, False, False]
    assert turns.enter(lines[0])
    for n, line in enumerate(lines):
        line.watch(lambda n=n: poked.append(n))
    turns.leave(lines[2])  # which has waited long enough
    turns.leave(lines[0])
    assert poked == [3]
    assert turns.enter(lines[3])
    assert not turns.enter(lines[4])
    turns.leave(lines[0])
    assert poked == [3]
    turns.leave(lines[1])
    turns.leave(lines[3])
    assert poked == [3, 4]
    turns.leave(lines[4])
    assert turns.enter(lines[0])


def test_a_turn_that_was_taken_wakes_nobody_later():
    turns, first, line = Turns(1), Line(), Line()
    assert turns.enter(first)
    assert not turns.enter(line)
    turns.leave(first)  # which pokes the line while nobody waits with it
    assert turns.enter(line)
    line.watch(lambda: pytest.fail("it has its turn"))


def test_a_line_that_is_poked_tells_who_waits_and_one_that_was_shut_at_once():
    line, poked = Line(), []
    line.poke()
    line.watch(lambda: poked.append("before"))
    assert poked == ["before"]
    line.watch(None)
    line.watch(lambda: poked.append("now"))
    line.poke()
    assert poked == ["before", "now"]
    line.watch(None)
    line.shut()
    assert poked == ["before", "now"]
    line.watch(lambda: poked.append("cut"))
    assert poked == ["before", "now", "cut"]
    with pytest.raises(LineCut):
        line.fileno()


def test_a_name_that_has_no_address_is_an_error():
    with pytest.raises(OSError, match=r".+"):
        _look_up("no such host", 80, Line(), SOON)
    line = Line()
    line.shut()
    with pytest.raises(LineCut):
        _look_up("localhost", 80, line, SOON)
