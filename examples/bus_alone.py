"""The bus alone: handlers answer, observers watch.

Prints:
    length of 'hello' is 5
    seen: text:measure {'text': 'hello'}
    two opinions: ['short', 'polite']
"""

import asyncio

from waybell_bus import Event, EventBus


bus = EventBus()
seen: list[str] = []


@bus.on("text:measure")
async def measure(event: Event) -> int:
    return len(event["text"])


@bus.on("text:opinion")
async def brief(event: Event) -> str:
    return "short" if len(event["text"]) < 10 else "long"


@bus.on("text:opinion")
def tone(event: Event) -> str:
    return "polite" if event["text"].startswith("hello") else "curt"


@bus.observe("text:measure")
def watch(event: Event) -> None:
    seen.append(f"{event.topic} {dict(event)}")


async def main() -> None:
    length = await bus.request("text:measure", text="hello")
    print(f"length of 'hello' is {length}")
    print("seen:", *seen)
    outcomes = await bus.gather("text:opinion", text="hello")
    print("two opinions:", [outcome.value for outcome in outcomes])
    await bus.close()


asyncio.run(main())
