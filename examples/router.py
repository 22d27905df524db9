"""Router: the nearest example picks the agent, no model needed.

Prints:
    billing: I will look at your invoice.
    outage: The engineer on call knows.
    small talk goes to the default: billing
"""

import asyncio

from waybell_patterns import Router


router = Router(
    {
        "billing": lambda prompt: "I will look at your invoice.",
        "outage": lambda prompt: "The engineer on call knows.",
    },
    examples={
        "billing": ["my invoice is wrong", "refund the payment"],
        "outage": ["the site is down", "I get an error 500"],
    },
    threshold=0.2,
    default="billing",
)


async def main() -> None:
    for prompt in ("the payment on my invoice", "your site is down again"):
        routed = await router.run(prompt)
        print(f"{routed.route}: {routed.value}")
    routed = await router.run("zzz")
    print("small talk goes to the default:", routed.route)


asyncio.run(main())
