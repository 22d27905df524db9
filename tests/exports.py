"""Write the umbrella's map of names and its typed stub from the packages' `__all__`.

Run through `make exports`; tests/test_umbrella.py fails when the files are stale.
"""

import importlib
from pathlib import Path


ROOT = Path(__file__).parent.parent
HOME = ROOT / "packages/waybell/src/waybell"
NOTE = "Written by `make exports` from the packages' own `__all__`."


def homes() -> dict[str, str]:
    """The package that defines each public name.

    Raises:
        ValueError: Two packages use the same public name.
    """
    found: dict[str, str] = {}
    for folder in sorted((ROOT / "packages").iterdir()):
        if folder.name in ("waybell", "snap"):  # snap is for tests: waybell[test]
            continue
        module = f"waybell_{folder.name}"
        for name in importlib.import_module(module).__all__:
            if name in found:
                raise ValueError(f"{name} is public in {found[name]} and in {module}")
            found[name] = module
    return dict(sorted(found.items()))


def rendered() -> dict[Path, str]:
    """The text that each generated file should have."""
    names = homes()
    table = "".join(f'    "{name}": "{home}",\n' for name, home in names.items())
    imports = "".join(
        f"from {home} import {name} as {name}\n"
        for name, home in sorted(names.items(), key=lambda item: (item[1], item[0]))
    )
    public = "".join(f'    "{name}",\n' for name in names)
    return {
        HOME / "_names.py": f'"""Which package defines each public name. {NOTE}"""\n\n'
        f"HOMES = {{\n{table}}}\n",
        HOME
        / "__init__.pyi": f"# {NOTE}\n{imports}\n__version__: str\n__all__ = [\n{public}]\n",
    }


if __name__ == "__main__":
    for path, text in rendered().items():
        path.write_text(text)
        print("wrote", path.relative_to(ROOT))
