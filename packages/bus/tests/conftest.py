"""What the bus's tests share."""

import asyncio

import pytest


@pytest.fixture
def settle():
    """Let everything that is ready run, for as long as a few turns of the loop."""

    async def settle(turns: int = 10) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    return settle
