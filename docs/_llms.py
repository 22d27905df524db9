"""Write llms.txt beside the pages: what they are about, for readers that are models.

The form is that of https://llmstxt.org: a title, a claim, and a list of links.
"""

import re
from pathlib import Path


def written(docs: Path, out: Path) -> None:
    """Make llms.txt, and copy the sources of the pages that it links to."""
    index = (docs / "index.md").read_text()
    title, claim, *_ = re.split(r"\n\n+", index)
    lines = [title, "", f"> {claim}", "", "## Pages", ""]
    for name in _pages(docs, "index"):
        text = (docs / f"{name}.md").read_text()
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
        head, *rest = re.split(r"\n\n+", prose.strip())
        about = next((part for part in rest if part[:1].isalpha()), "")
        sentence = re.split(r"(?<=[.?!])\s", " ".join(about.split()))[0]
        copy = out / f"{name}.md"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)
        told = f": {sentence}" if sentence else ""
        lines.append(f"- [{head.removeprefix('# ')}]({name}.md){told}")
    (out / "llms.txt").write_text("\n".join(lines) + "\n")


def _pages(docs: Path, name: str) -> list[str]:
    """Every page below one, in the order of the tables of contents."""
    found: list[str] = []
    text = (docs / f"{name}.md").read_text()
    for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
        for entry in re.findall(r"^[\w/-]+$", block, re.MULTILINE):
            page = (Path(name).parent / entry).as_posix()
            found += [page, *_pages(docs, page)]
    return found
