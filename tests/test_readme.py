"""The README's claims: its output is what its example prints, its tests exist."""

import contextlib
import io
import re
from pathlib import Path


ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_prints_the_output_beside_it() -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    output = re.search(r"```text\n(.*?)```", README, re.DOTALL)
    assert code is not None
    assert output is not None
    assert len(code[1].strip().splitlines()) <= 10
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code[1], "README.md", "exec"), {"__name__": "__main__"})
    assert printed.getvalue() == output[1]


def test_every_guarantee_names_a_test_that_exists() -> None:
    named = re.findall(r"`((?:packages|tests)/\S+?\.py)::(\w+)`", README)
    assert len(named) >= 10
    for path, test in named:
        assert f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"


def test_every_package_is_in_the_table_and_every_link_leads_somewhere() -> None:
    for path in (ROOT / "packages").iterdir():
        assert f"](packages/{path.name})" in README
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
