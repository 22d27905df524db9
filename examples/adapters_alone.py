"""Adapters alone: one protocol, a model that reads, and one that follows a script.

Prints:
    The deadline is a wall. [1]
    28 tokens or more: True, cost: 0
    scripted: first second
"""

from waybell_adapters import LLMAdapter, OfflineAdapter, ScriptedAdapter


PROMPT = """Answer the question in one sentence.

Question: What is the deadline?

Passages:
[1] docs/deadline.md
    The deadline is a wall.
[2] docs/budget.md
    The pool cannot lie.
"""

reader: LLMAdapter = OfflineAdapter()
reply = reader.generate(PROMPT)
print(reply)
print(f"28 tokens or more: {reply.tokens >= 28}, cost: {reply.cost}")

script: LLMAdapter = ScriptedAdapter(["first", "second"])
print("scripted:", script.generate("go"), script.generate("on"))
