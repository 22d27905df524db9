"""The simulations would notice: three bugs put in on purpose are found and replayed."""

import asyncio
import contextvars

import pytest

from waybell_budget import BudgetError, BudgetPool
from waybell_budget._ledger import Ledger
from waybell_budget._waiting import GRANTED
from waybell_sim import SimulationFailed, simulate


class Leaky(Ledger):
    """Cancelled at the instant of the grant, the money is not given back."""

    __slots__ = ()

    def leave(self, waiter) -> None:
        if waiter.state != GRANTED:
            super().leave(waiter)


class Forgetful(Ledger):
    """Of several that are granted together, only the first is woken."""

    __slots__ = ()

    def deliver(self) -> None:
        del self.outbox[1:]
        super().deliver()


class Generous(Ledger):
    """A request is granted whether the money is there or not."""

    __slots__ = ()

    def join(self, waiter) -> None:
        self.grant(waiter)


def scenario(kind: type[Ledger]):
    async def main(rng) -> None:
        pool = BudgetPool(usd=10)
        pool._ledger = kind(pool._ledger.prices, strict=False)

        async def agent() -> None:
            most = rng.randint(1, 10)
            async with pool.acquire(most, wait=True, timeout=100) as hold:
                assert asyncio.get_running_loop().time() < 100, "never woken"
                await asyncio.sleep(rng.choice((0, 0, 1)))
                hold.charge(usd=0)
                now = pool.snapshot()
                assert now.usd_spent + now.usd_held <= 10, "overspent"

        tasks = [
            asyncio.create_task(agent(), context=contextvars.Context())
            for _ in range(6)
        ]
        for _ in range(3):
            await asyncio.sleep(rng.choice((0, 1)))
            rng.choice(tasks).cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, BudgetError | AssertionError):
                raise outcome
        assert pool.snapshot().usd_held == 0, "leaked"

    return main


def test_the_pool_itself_passes() -> None:
    simulate(scenario(Ledger), seeds=500)


@pytest.mark.parametrize(
    ("kind", "said"),
    [(Leaky, "leaked"), (Forgetful, "never woken"), (Generous, "overspent")],
)
def test_a_bug_put_in_on_purpose_is_found_and_its_seed_replays_it(kind, said) -> None:
    with pytest.raises(SimulationFailed, match=said) as found:
        simulate(scenario(kind), seeds=500)
    with pytest.raises(SimulationFailed, match=said):
        simulate(scenario(kind), seeds=[found.value.seed])
