"""Files that are submitted to the server on loopback, and calls that submit them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from tests.support.numerai_account import Account
from tests.support.numerai_server import NumeraiServer

Report = mt.types.SubmitReport

IDS = [f"n{number:015x}" for number in range(50)]


def live_parquet(ids: Sequence[str] = IDS, *, is_index: bool = False) -> bytes:
    """Return a live.parquet, with the ids as a column or as the index of pandas."""
    table = pa.table({"era": ["X"] * len(ids), "feature_a": [2] * len(ids), "id": list(ids)})
    if is_index:
        table = pa.Table.from_pandas(table.to_pandas().set_index("id"))
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def write_predictions(path: Path, ids: Sequence[str] = IDS) -> Path:
    """Write predictions as CSV or parquet, by the name of the file."""
    values = np.linspace(0.01, 0.99, len(ids)).tolist()
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"id": list(ids), "prediction": values}), path)
    else:
        rows = "".join(f"{name},{value!r}\n" for name, value in zip(ids, values, strict=True))
        path.write_text(f"id,prediction\n{rows}")
    return path


def write_model(path: Path) -> Path:
    """Write a model upload of this Python."""

    def predict(live_features: object, live_benchmark_models: object = None) -> object:
        return [len(str(value)) for value in (live_features, live_benchmark_models)]

    predict.__module__ = "__main__"  # then it is pickled by value
    path.write_bytes(cloudpickle.dumps(predict))
    return path


def open_account(server: NumeraiServer, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Return an account whose keys are in the environment, while a round is open.

    Nothing waits, and the newest version with live rows is v5.10.
    """
    upload = "memmap_train.numerai.submission.upload"
    monkeypatch.setattr(f"{upload}.RETRY_SECONDS", (0.0,) * 3)
    monkeypatch.setattr(f"{upload}.LOOK_SECONDS", (0.0,) * 2)
    monkeypatch.setattr("memmap_train.numerai.submission.outcome.POLL_SECONDS", 0.0)
    server.put_file("v5.9/live.parquet", live_parquet(["old"]))
    server.put_file("v5.10/live.parquet", live_parquet())
    server.put_file("v5.11/train.parquet", b"no live rows")
    for name, value in zip(("PUBLIC_ID", "SECRET_KEY"), server.keys, strict=True):
        monkeypatch.setenv(f"NUMERAI_{name}", value)
    account = Account(server)
    account.open_round()
    return account


def submit(kind: Any, path: Path, **options: Any) -> Report:
    return mt.submit(kind, path, **{"model": "first", "progress": False, **options})


def nothing_sent(server: NumeraiServer, account: Account) -> bool:
    made = [*account.submissions, *account.diagnostics, *account.pickles]
    return not made and not server.of_kind("put")
