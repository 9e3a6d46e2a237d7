"""Recorded digests of shards: a change of the code that changes a byte of a dataset is noticed."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

import memmap_train as mt
from tests.support.toy_benchmarks import write_benchmarks
from tests.support.toy_datasets import ERAS, convert_toy

CODES: dict[str, Any] = {"n_features": 9, "n_targets": 3, "nulls": True}
FLOATS = CODES | {"dtype": "float64"}

# Only a new version of the format may change these.
GOLDEN = {
    "codes as float32": "8cc228b2136f9b31d2f23cd6a05d879964185fe7566077dc4a712253a529cc68",
    "codes as int8": "288e8e5173625e1be943a5e6b7c99a2c909759e01b5a778efe926480f2b83866",
    "floats with NaN": "72348a499f9b19a0ebf45f3da1a10461101e127fa13495dcd307e80bd7d26439",
    "subset of codes": "e69a02eb2d10acbeaaccb1d8c470d8ce430f47c8bc030a57657af77311c67f57",
    "benchmarks": "6a1cbc1c1621dd754bb97ed5aa6fdaec8bd46833734ece690d910dfd18898df4",
}


def digest_of(dataset: Path) -> str:
    """Return the digest of the arrays of all eras, whatever the manifest says."""
    digest = hashlib.sha256()
    for path in sorted(dataset.glob("era-*/*.npy")):
        digest.update(f"{path.relative_to(dataset)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def convert(folder: Path, kind: str) -> Path:
    """Convert the toy source that is named so."""
    if kind == "codes as float32":
        return convert_toy(folder, ERAS, store="float32", **CODES)
    if kind == "floats with NaN":
        convert_toy(folder, ERAS, store="float32", **FLOATS)
        with_nan = folder / "with NaN"
        mt.convert(folder / "source.parquet", with_nan, missing="nan")
        return with_nan
    whole = convert_toy(folder, ERAS, store="int8", **CODES)
    if kind == "benchmarks":
        file = write_benchmarks(folder / "benchmarks.parquet", ERAS)
        return mt.convert([], whole, benchmarks=file).dataset.path
    if kind == "codes as int8":
        return whole
    mt.convert(whole, folder / "subset", feature_set="small", targets=["target"], dtype="float32")
    return folder / "subset"


@pytest.mark.parametrize("kind", GOLDEN)
def test_shards_have_their_recorded_digests(tmp_path: Path, kind: str) -> None:
    dataset = convert(tmp_path, kind)
    n_arrays = 5 if kind == "benchmarks" else 4
    assert len(list(dataset.glob("era-*/*.npy"))) == n_arrays * len(ERAS)
    assert digest_of(dataset) == GOLDEN[kind]
