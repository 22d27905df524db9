"""Tools alone: a schema from the signature, arguments checked, files under one root.

Prints:
    {'description': 'How many.', 'type': 'integer'}
    clang clang
    refused: ring: a problem: times: "many" is not of type "integer"
    outside the root: True
"""

import tempfile

from waybell_tools import ToolArgumentsError, ToolRegistry, read_file


registry = ToolRegistry()


@registry.tool
def ring(times: int) -> str:
    """Ring the bell.

    Args:
        times: How many.
    """
    return " ".join(["clang"] * times)


print(registry.specs()[0]["input_schema"]["properties"]["times"])
print(registry.call("ring", {"times": 2}))
try:
    registry.call("ring", '{"times": "many"}')
except ToolArgumentsError as error:
    print("refused:", error)

with tempfile.TemporaryDirectory() as root:
    registry.tool(read_file(root), name="read")
    answer = registry.result({"id": "1", "name": "read", "arguments": {"path": "../x"}})
    print("outside the root:", "error" in answer)
