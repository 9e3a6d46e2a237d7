"""Fixtures of submissions, for test modules that list it in `pytest_plugins`."""

from pathlib import Path

import pytest

from tests.support.numerai_account import Account
from tests.support.numerai_server import NumeraiServer
from tests.support.numerai_submissions import open_account, write_model, write_predictions


@pytest.fixture
def account(server: NumeraiServer, monkeypatch: pytest.MonkeyPatch) -> Account:
    return open_account(server, monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_predictions(tmp_path / "p.csv")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.pkl")
