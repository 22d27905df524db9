"""A model of your own in under 20 lines: two methods, and everything else works.

Prints:
    Hello, world! (4 tokens, partial: False)
    first piece: 'Hello,'
    left early: 'Hello,', partial: True
    awaited: Hello, loop!
"""

import asyncio
from typing import Any

from waybell_adapters import LLMAdapter, Reply, ReplyStream, agenerate


class Greeter:
    """Greets whoever the prompt names, word by word."""

    def stream(
        self, prompt: Any, *, deadline: Any = None, budget: Any = None, **options: Any
    ) -> ReplyStream:
        words = f"Hello, {prompt}!".split()
        pieces = (word if n == 0 else f" {word}" for n, word in enumerate(words))
        return ReplyStream(pieces, deadline=deadline, budget=budget)

    def generate(self, prompt: Any, **options: Any) -> Reply:
        return self.stream(prompt, **options).read()


model: LLMAdapter = Greeter()
reply = model.generate("world")
print(f"{reply} ({reply.tokens} tokens, partial: {reply.partial})")

with model.stream("you who read this") as stream:
    print(f"first piece: {next(stream)!r}")
print(f"left early: {stream.reply.text!r}, partial: {stream.reply.partial}")

print("awaited:", asyncio.run(agenerate(model, "loop")))
