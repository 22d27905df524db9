"""Run by another interpreter: what installing one distribution brings.

Prints its version, how many distributions it is with all it requires, and their bytes.
The second argument is where `packaging` is, which that environment may lack.
"""

import importlib
import importlib.metadata
import re
import sys
from pathlib import Path


def required(distribution: importlib.metadata.Distribution) -> list[str]:
    """The names it requires by itself, without extras."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - lent to this path

    wanted = map(Requirement, distribution.requires or ())
    return [
        each.name
        for each in wanted
        if each.marker is None or each.marker.evaluate({"extra": ""})
    ]


def size(distribution: importlib.metadata.Distribution, name: str) -> int:
    """Bytes of its files; of one that is installed in place, those of its folder."""
    places = [Path(str(distribution.locate_file(f))) for f in distribution.files or ()]
    if name.startswith("waybell"):
        module = importlib.import_module(name.replace("-", "_"))
        places += Path(str(module.__file__)).parent.rglob("*")
    kept = {p for p in places if p.suffix != ".pyc" and p.is_file()}
    return sum(place.stat().st_size for place in kept)


def main() -> None:
    """Walk what it requires."""
    sys.path.append(sys.argv[2])
    seen: set[str] = set()
    todo, total = [sys.argv[1]], 0
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in seen:
            continue
        found = importlib.metadata.distribution(name)
        seen.add(name)
        todo += required(found)
        total += size(found, name)
    print(importlib.metadata.version(sys.argv[1]), len(seen), total)


if __name__ == "__main__":
    main()
