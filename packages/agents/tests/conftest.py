"""No test knows the models of whoever runs it."""

import pytest


@pytest.fixture(autouse=True)
def _no_model_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYBELL_MODEL", raising=False)
