import importlib
import importlib.util
import traceback
from importlib.metadata import version
from pathlib import Path

import pytest

import waybell


ROOT = Path(__file__).parents[3]


def test_every_public_name_of_every_package_is_reachable() -> None:
    for name in waybell.__all__:
        value = getattr(waybell, name)
        assert value is getattr(
            importlib.import_module(waybell._names.HOMES[name]), name
        )


def test_a_name_nobody_has_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'EventBuss'"):
        _ = waybell.EventBuss


def test_a_typing_error_is_answered_with_the_name_that_was_meant() -> None:
    with pytest.raises(AttributeError) as caught:
        _ = waybell.Budgetpool
    assert str(caught.value) == (
        "module 'waybell' has no attribute 'Budgetpool'; did you mean BudgetPool?"
    )
    shown = "".join(traceback.format_exception_only(caught.value))
    assert shown.lower().count("did you mean") == 1
    assert not hasattr(waybell, "Zzyzx")


def test_the_names_are_listed_without_being_loaded() -> None:
    assert {"EventBus", "BudgetPool", "Router"} <= set(dir(waybell))


def test_the_version_is_the_distributions() -> None:
    assert waybell.__version__ == version("waybell")


def test_the_map_and_the_stub_are_what_make_exports_would_write() -> None:
    file = ROOT / "tests/exports.py"
    if not file.exists():
        pytest.skip("not in a checkout")
    spec = importlib.util.spec_from_file_location("waybell_exports", file)
    assert spec is not None
    assert spec.loader is not None
    exports = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(exports)
    stale = [
        path.name
        for path, text in exports.rendered().items()
        if path.read_text() != text
    ]
    assert stale == [], "run make exports"
