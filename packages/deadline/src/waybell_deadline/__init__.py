"""One deadline for a whole call tree, and a wall at its end.

>>> import asyncio
>>> from waybell_deadline import Deadline, DeadlineExceeded
>>> async def main():
...     async with Deadline(0.01):
...         await asyncio.Event().wait()
>>> try:
...     asyncio.run(main())
... except DeadlineExceeded as error:
...     print(f"gave {error.seconds} s, and now {error.deadline.remaining()} s are left")
gave 0.01 s, and now 0.0 s are left
"""

from ._deadline import Deadline
from ._exceeded import DeadlineExceeded
from ._threads import abandoned, carry
from ._watcher import Watch


__all__ = ["Deadline", "DeadlineExceeded", "Watch", "abandoned", "carry"]
