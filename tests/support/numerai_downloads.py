"""Downloads from the server on loopback: its files, and what is found in the folder afterwards."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import memmap_train as mt
from memmap_train.numerai.download.folder import RECORD_NAME
from memmap_train.numerai.download.plan import DEFAULT_FILES
from tests.support.numerai_server import NumeraiServer


def parquet(rows: int, seed: int = 0) -> bytes:
    """Return a parquet file of 8 bytes a row; files of other seeds have the same length."""
    values = np.random.default_rng(seed).integers(2**62, size=rows)
    file = io.BytesIO()
    table = pa.table({"x": values})
    pq.write_table(table, file, use_dictionary=False, compression="none", store_schema=False)
    return file.getvalue()


def put_files(server: NumeraiServer) -> None:
    """Give the server all files of v5.3 that are downloaded by default, one more, and v4.3."""
    for number, name in enumerate(DEFAULT_FILES):
        content = parquet(100 + number) if name.endswith(".parquet") else b'{"feature_sets": {}}'
        server.put_file(f"v5.3/{name}", content)
    server.put_file("v5.3/live_example_preds.csv", b"id,prediction\n")
    server.put_file("v4.3/meta_model.parquet", parquet(7))


def fetch(out: Path, *files: str, **options: Any) -> mt.types.DownloadReport:
    """Download files of v5.3 without a progress bar."""
    wanted: Sequence[str] = files
    return mt.download(wanted, version="v5.3", out=out, progress=False, **options)


def visible(folder: Path) -> set[str]:
    """Return all names in a folder."""
    return {path.name for path in folder.iterdir()}


def check_equal(server: NumeraiServer, folder: Path, *names: str) -> None:
    """Check that files are the server's, and that nothing else is in the folder but the record."""
    for name in names:
        assert (folder / name).read_bytes() == server.files[f"v5.3/{name}", None].content
    assert visible(folder) == {*names, RECORD_NAME}
