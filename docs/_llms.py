"""Write llms.txt beside the pages: what they are about, for readers that are models.

The form is that of https://llmstxt.org: a title, a claim, and a list of links.
"""

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType


def written(docs: Path, out: Path) -> None:
    """Make llms.txt, and a text of each page that it links to, with nothing to render."""
    index = (docs / "index.md").read_text()
    title, claim, *_ = re.split(r"\n\n+", index)
    lines = [title, "", f"> {claim}", "", "## Pages", ""]
    for name in _pages(docs, "index"):
        text = _plain(docs / f"{name}.md")
        copy = out / f"{name}.md"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)
        head, about = text.partition("\n")[0].removeprefix("# "), _about(text)
        lines.append(f"- [{head}]({name}.md)" + (f": {about}" if about else ""))
    (out / "llms.txt").write_text("\n".join(lines) + "\n")


def _about(text: str) -> str:
    """The first sentence of a page's first paragraph."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    _, *rest = re.split(r"\n\n+", prose.strip())
    part = next((part for part in rest if re.match(r"[\w`]", part)), "")
    return re.split(r"(?<=[.?!])\s", " ".join(part.split()))[0]


def _plain(page: Path) -> str:
    """A page with its programs in it, and the reference written out."""
    text = page.read_text()
    if named := re.search(r"automodule:: (\w+)", text):
        return _names(importlib.import_module(named[1]))

    def included(found: re.Match[str]) -> str:
        program = (page.parent / found[1]).read_text()
        return f"```{found[2]}\n{program}```"

    literal = r"```\{literalinclude\} (\S+)\n:language: (\w+)\n```"
    return re.sub(
        literal, included, re.sub(r"```\{toctree\}.*?```\n?", "", text, flags=re.DOTALL)
    )


def _names(module: ModuleType) -> str:
    """Every public name of a package: how it is called, and what it says of itself."""
    parts = [f"# {module.__name__}", inspect.getdoc(module) or ""]
    for name in module.__all__:
        it = getattr(module, name)
        parts += [f"## {name}{_call(it)}", inspect.getdoc(it) or ""]
        for member, value in inspect.getmembers(it, inspect.isfunction):
            ours = value.__module__.startswith("waybell")
            if inspect.isclass(it) and ours and not member.startswith("_"):
                parts += [
                    f"### {name}.{member}{_call(value)}",
                    inspect.getdoc(value) or "",
                ]
    return "\n\n".join(parts) + "\n"


def _call(it: object) -> str:
    if not callable(it):
        return ""
    try:
        return str(inspect.signature(it))
    except (TypeError, ValueError):  # of C, or none to speak of
        return "(...)"


def _pages(docs: Path, name: str) -> list[str]:
    """Every page below one, in the order of the tables of contents."""
    found: list[str] = []
    text = (docs / f"{name}.md").read_text()
    folder = (docs / name).parent
    for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
        for entry in re.findall(r"^[\w/-]+$|^\*$", block, re.MULTILINE):
            if entry == "*":
                pages = sorted(path.stem for path in folder.glob("*.md"))
                entries = [page for page in pages if page != "index"]
            else:
                entries = [entry]
            for each in entries:
                page = (Path(name).parent / each).as_posix()
                found += [page, *_pages(docs, page)]
    return found
