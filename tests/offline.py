"""Run a script, or a module with -m, in a process that may not use the network.

An audit hook refuses every look-up, connection and listening socket, whoever asks,
and cannot be removed. Used by the tests of the demo and the examples.
"""

import runpy
import sys


FORBIDDEN = frozenset(
    "socket.connect socket.bind socket.getaddrinfo socket.getnameinfo socket.sendto "
    "socket.sendmsg socket.gethostbyname socket.gethostbyaddr".split()
)


def refuse(event: str, args: tuple[object, ...]) -> None:
    """Raise on any use of the network."""
    if event in FORBIDDEN:
        raise PermissionError(f"the network is forbidden here: {event}{args[1:]!r}")


def main() -> None:
    """Forbid the network, then become the named program."""
    sys.addaudithook(refuse)
    sys.argv = sys.argv[1:]
    if sys.argv[0] == "-m":
        sys.argv = sys.argv[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
