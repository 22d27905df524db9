"""Functions that a model may call, checked before they run.

>>> from waybell_tools import ToolRegistry
>>> registry = ToolRegistry()
>>> @registry.tool
... def add(a: int, b: int = 1) -> int:
...     "Add two numbers."
...     return a + b
>>> registry.call("add", {"a": 2, "b": 3})
5
>>> registry.result({"name": "add", "arguments": '{"a": "two"}'})["error"]["problems"]
[['a', '"two" is not of type "integer"']]
"""

from waybell_tools._errors import (
    ToolArgumentsError,
    ToolDenied,
    ToolError,
    ToolLimitError,
    ToolTimeoutError,
    UnknownToolError,
)
from waybell_tools._files import list_files, read_file, write_file
from waybell_tools._http import http_get
from waybell_tools._registry import ToolRegistry
from waybell_tools._shell import shell


__all__ = [
    "ToolArgumentsError",
    "ToolDenied",
    "ToolError",
    "ToolLimitError",
    "ToolRegistry",
    "ToolTimeoutError",
    "UnknownToolError",
    "http_get",
    "list_files",
    "read_file",
    "shell",
    "write_file",
]
