"""The schedule: every order, the same for the same seed, on a virtual clock."""

import asyncio
import itertools
import os
import random
import subprocess
import sys
import textwrap

import pytest

from waybell_sim import simulate


def trace(seed, agents=4, turns=3):
    """Run agents that sleep, queue and lock; return who did what when."""
    seen = []

    async def main(rng):
        loop, lock, queue = asyncio.get_running_loop(), asyncio.Lock(), asyncio.Queue()

        async def agent(name):
            for _ in range(turns):
                await asyncio.sleep(rng.choice((0, 0, 1, 2)))
                async with lock:
                    seen.append((loop.time(), name))
                    await queue.put(name)

        async def reader():
            for _ in range(agents * turns):
                name = await queue.get()
                seen.append((loop.time(), "read", name))

        async with asyncio.TaskGroup() as group:
            group.create_task(reader())
            for name in range(agents):
                group.create_task(agent(name))

    simulate(main, seeds=[seed])
    return tuple(seen)


def test_the_same_seed_gives_the_same_trace():
    assert all(trace(seed) == trace(seed) for seed in range(200))


def test_different_seeds_give_different_traces():
    assert len({trace(seed) for seed in range(200)}) == 200


def test_every_order_of_three_tasks_is_reached():
    reached = set()

    async def main():
        order = []

        async def agent(name):
            order.append(name)

        await asyncio.gather(*map(agent, "abc"))
        reached.add("".join(order))

    simulate(main, seeds=200)
    assert reached == {"".join(order) for order in itertools.permutations("abc")}


def test_every_merge_of_two_tasks_of_three_steps_is_reached():
    reached = set()

    async def main():
        order = []

        async def agent(name):
            for _ in range(3):
                order.append(name)
                await asyncio.sleep(0)

        await asyncio.gather(agent("a"), agent("b"))
        reached.add("".join(order))

    simulate(main, seeds=1000)
    assert len(reached) == 20  # 6 choose 3


def test_timers_fire_in_order_and_only_ties_are_shuffled():
    orders = set()

    async def main():
        order = []

        async def agent(name, seconds):
            await asyncio.sleep(seconds)
            order.append(name)

        await asyncio.gather(agent("c", 2), agent("a", 1), agent("b", 1))
        orders.add("".join(order))

    simulate(main, seeds=50)
    assert orders == {"abc", "bac"}


def test_times_that_differ_by_rounding_only_are_a_tie():
    orders = set()

    async def main():
        order = []

        async def agent(name, *seconds):
            for pause in seconds:
                await asyncio.sleep(pause)
            order.append(name)

        await asyncio.gather(agent("a", 0.1, 0.2), agent("b", 0.3))
        orders.add("".join(order))

    simulate(main, seeds=50)
    assert orders == {"ab", "ba"}


def test_the_clock_starts_at_zero_and_waiting_is_free():
    async def main():
        loop = asyncio.get_running_loop()
        assert loop.time() == 0
        await asyncio.sleep(86_400)
        assert loop.time() == 86_400

    report = simulate(main, seeds=3)
    assert (report.runs, report.seconds) == (3, 3 * 86_400)
    assert report.steps > 0


def test_a_cancelled_timer_does_not_move_the_clock():
    async def main():
        loop = asyncio.get_running_loop()
        moved = []
        early, late = loop.call_at(2, moved.append, 2), loop.call_at(9, moved.append, 9)
        early.cancel()
        late.cancel()
        loop.call_at(1, lambda: moved.append(loop.time()))
        await asyncio.sleep(3)
        assert moved == [1]
        assert loop.time() == 3

    simulate(main, seeds=5)


def test_a_timer_cancelled_at_its_own_instant_is_skipped():
    fired = []

    async def main():
        loop = asyncio.get_running_loop()
        timers = []

        def fire(me):
            fired.append(me)
            timers[1 - me].cancel()

        timers += [loop.call_at(1, fire, 0), loop.call_at(1, fire, 1)]
        await asyncio.sleep(2)

    simulate(main, seeds=20)
    assert len(fired) == 20
    assert set(fired) == {0, 1}


def test_a_draw_in_the_program_does_not_reshuffle_the_schedule():
    def order_of(seed, draws):
        order = []

        async def main(rng):
            for _ in range(draws):
                rng.random()

            async def agent(name):
                await asyncio.sleep(0)
                order.append(name)

            await asyncio.gather(*map(agent, range(8)))

        simulate(main, seeds=[seed])
        return order

    assert all(order_of(seed, 0) == order_of(seed, 5) for seed in range(20))


def test_the_random_module_is_seeded_for_the_run_and_restored_after_it():
    drawn = []

    async def main():
        drawn.append(random.random())

    random.seed("before")
    expected = random.random()
    random.seed("before")
    simulate(main, seeds=[7, 7, 8])
    assert drawn[0] == drawn[1] != drawn[2]
    assert random.random() == expected


def test_sets_of_tasks_and_futures_keep_their_order_from_process_to_process():
    script = textwrap.dedent("""
        import asyncio
        from waybell_sim import simulate

        async def main(rng):
            seen, loop = [], asyncio.get_running_loop()

            async def agent(name):
                try:
                    await asyncio.sleep(rng.choice((0, 1, 2)))
                    seen.append(name)
                    await asyncio.sleep(5)
                finally:
                    seen.append(("end", name))

            tasks = {asyncio.create_task(agent(n)) for n in range(7)}
            done, pending = await asyncio.wait(tasks, timeout=1)
            for task in pending:
                task.cancel()
            futures = {loop.run_in_executor(None, seen.append, n) for n in range(5)}
            done, _ = await asyncio.wait(futures)
            await asyncio.wait(tasks)
            try:
                async with asyncio.TaskGroup() as group:
                    for n in range(9):
                        group.create_task(agent(n))
                    raise KeyError
            except* KeyError:
                pass
            seen.append([t.get_name() for t in asyncio.all_tasks()])
            print(seen)

        simulate(main, seeds=20)
    """)
    runs = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in ("0", "12345", "random")
    ]
    assert runs[0].stdout
    assert runs[0].stdout == runs[1].stdout == runs[2].stdout


def test_as_completed_starts_coroutines_in_their_order_wherever_they_lie_in_memory():
    def order(seed, step):
        started = []

        async def main():
            async def agent(name):
                started.append(name)

            agents = {n: agent(n) for n in range(10)[::step]}
            for ended in asyncio.as_completed([agents[n] for n in range(10)]):
                await ended

        simulate(main, seeds=[seed])
        return started

    assert all(order(seed, 1) == order(seed, -1) for seed in range(20))
    assert "set" not in vars(asyncio.tasks)


def test_tasks_and_futures_have_the_same_place_in_sets_in_each_run():
    kept, places = [], []

    async def main():
        loop = asyncio.get_running_loop()
        made = [loop.create_future(), asyncio.create_task(asyncio.sleep(0))]
        kept.extend(made)  # so that the next ones lie elsewhere in memory
        places.append([hash(each) for each in made])

    simulate(main, seeds=[1, 1])
    assert places[0] == places[1]


def test_wait_refuses_coroutines_as_ever():
    async def main():
        agent = asyncio.sleep(0)
        with pytest.raises(TypeError, match="coroutines is forbidden"):
            await asyncio.wait([agent])
        agent.close()

    simulate(main, seeds=1)


def test_explicit_seeds_may_come_from_any_iterable():
    seen = []

    async def main(rng):
        seen.append(rng.random())

    simulate(main, seeds=(seed for seed in (3, 1, 3)))
    assert seen[0] == seen[2] == random.Random(3).random() != seen[1]


def test_the_count_comes_from_the_environment(monkeypatch):
    async def main():
        pass

    monkeypatch.setenv("WAYBELL_SIM_SEEDS", "7")
    assert simulate(main, seeds=2).runs == 7
    assert simulate(main, seeds=[1, 2]).runs == 2
    monkeypatch.setenv("WAYBELL_SIM_SEEDS", "many")
    with pytest.raises(ValueError, match="WAYBELL_SIM_SEEDS must be a count"):
        simulate(main)


@pytest.mark.parametrize("seeds", [0, -3, ()])
def test_no_seeds_at_all_is_an_error(seeds, monkeypatch):
    monkeypatch.delenv("WAYBELL_SIM_SEEDS", raising=False)

    async def main():
        pass

    with pytest.raises(ValueError, match="no seeds"):
        simulate(main, seeds=seeds)
