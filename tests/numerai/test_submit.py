"""Tests of `submit`: what is sent to Numerai, and what is refused before. Nothing leaves here."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.numerai.submission.submit import submit
from tests.support.numerai_account import Account
from tests.support.numerai_server import NumeraiServer

pytest_plugins = ["tests.support.numerai_fixtures"]

IDS = [f"n{number:015x}" for number in range(50)]


def live_parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"era": ["X"] * 50, "id": IDS}), file)
    return file.getvalue()


@pytest.fixture
def account(server: NumeraiServer, monkeypatch: pytest.MonkeyPatch) -> Account:
    server.put_file("v5.9/live.parquet", b"")
    server.put_file("v5.10/live.parquet", live_parquet())
    account = Account(server)
    account.round = account.round | {"closeStakingTime": "2999-01-01T00:00:00Z"}
    account.round["openTime"] = "2020-01-01T00:00:00Z"
    for name, value in zip(("PUBLIC_ID", "SECRET_KEY"), account.keys, strict=True):
        monkeypatch.setenv(f"NUMERAI_{name}", value)
    return account


@pytest.fixture
def path(tmp_path: Path) -> Path:
    values = np.linspace(0.01, 0.99, len(IDS))
    rows = "".join(f"{name},{value!r}\n" for name, value in zip(IDS, values.tolist(), strict=True))
    (tmp_path / "p.csv").write_text(f"id,prediction\n{rows}")
    return tmp_path / "p.csv"


def test_predictions_are_submitted(server: NumeraiServer, account: Account, path: Path) -> None:
    report = submit("predictions", path, model="first")
    assert [made["id"] for made in account.submissions] == [report.id]
    assert report.filename is not None
    assert server.uploads[report.filename] == path.read_bytes()
    assert (report.round_number, report.round_is_open, report.n_rows) == (1334, True, 50)
