"""Retry: only what is transient, never past the deadline, each attempt on record.

Prints:
    answered at attempt 3
    not retried: ValueError('bad prompt')
"""

import asyncio
import itertools

from tenacity import wait_none

from waybell_deadline import Deadline
from waybell_patterns import Retry


attempts = itertools.count(1)


async def flaky(prompt: str) -> str:
    attempt = next(attempts)
    if attempt < 3:
        raise ConnectionError("reset by peer")
    return f"answered at attempt {attempt}"


async def broken(prompt: str) -> str:
    raise ValueError("bad prompt")


async def main() -> None:
    retry = Retry(flaky, attempts=5, wait=wait_none())
    print(await retry.run("ring", deadline=Deadline(seconds=10)))
    try:
        await Retry(broken).run("ring")
    except ValueError as error:
        print("not retried:", repr(error))


asyncio.run(main())
