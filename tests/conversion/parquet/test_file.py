"""Tests of the information on parquet files, of changes to them, and of damage."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from memmap_train.conversion.parquet.file import describe_file, read_file_info, sample_digest
from memmap_train.conversion.parquet.handle import ParquetHandle
from memmap_train.conversion.parquet.row_labels import count_rows, read_eras
from memmap_train.errors import MemmapTrainError, SourceError
from tests.support.errors import refused
from tests.support.parquet_files import all_ids, one_column, open_file, write
from tests.support.toy import write_toy

# -- information and changes --------------------------------------------------------------------


def test_metadata_leaves_out_that_of_arrow_and_pandas(tmp_path: Path) -> None:
    table = pa.table({"a": [1]}).replace_schema_metadata({"key": "value", "pandas": "{}"})
    assert read_file_info(write(tmp_path / "meta.parquet", table)).metadata == {"key": "value"}


def test_the_digest_of_a_file_depends_on_its_bytes_and_not_on_its_times(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(1000))
    with open(large, "wb") as file:
        file.truncate(2**26)
    for path in (small, large):
        before, size = sample_digest(path), path.stat().st_size
        os.utime(path, ns=(0, 0))
        assert sample_digest(path) == before
        found = {before}
        for offset in (0, 99, size - 1):
            with open(path, "r+b") as file:
                file.seek(offset)
                file.write(b"x")
            found.add(sample_digest(path))
        assert len(found) == 4
    (tmp_path / "empty").touch()
    assert sample_digest(tmp_path / "empty") not in found
    with refused(SourceError, "gone: can't be read"):
        sample_digest(tmp_path / "gone")


def test_a_touched_file_counts_as_changed(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array([0, 1, 4], pa.int8()))
    source.info.check_unchanged()
    os.utime(source.info.path, ns=(0, 0))
    with refused(SourceError, "changed"):
        source.info.check_unchanged()


def test_a_deleted_file_counts_as_changed(tmp_path: Path) -> None:
    source = one_column(tmp_path, pa.array([0, 1, 4], pa.int8()))
    source.info.path.unlink()
    with refused(SourceError, "one.parquet"):
        source.info.check_unchanged()


# -- damage -----------------------------------------------------------------------------------


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with refused(SourceError, "no such file"):
        open_file(tmp_path / "none.parquet")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with refused(SourceError, "a folder"):
        open_file(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"era,feature_a\n1,2\n", b"PK\3\4" * 9])
def test_files_of_other_formats_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.parquet"
    path.write_bytes(content)
    with refused(SourceError, "not a parquet file"):
        open_file(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.parquet"
    write_toy(path, {"0001": 40})
    whole = path.read_bytes()
    for end in {*range(0, len(whole), 97), len(whole) - 1, len(whole) - 4, len(whole) - 8, 12}:
        path.write_bytes(whole[:end])
        with refused(SourceError, "cut.parquet"):
            open_file(path)


def test_a_flipped_byte_is_refused_or_read_as_another_value(tmp_path: Path) -> None:
    path = tmp_path / "flipped.parquet"
    write_toy(path, {"0001": 300}, n_features=3, n_targets=1, nulls=True)
    whole = path.read_bytes()
    random = np.random.default_rng([1, 7])
    refused: list[MemmapTrainError] = []
    for position in random.choice(len(whole), 150, replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            source = open_file(path)
            for group in range(len(source.info.row_groups)):
                read_all(source, group)
        except MemmapTrainError as error:
            refused.append(error)
    assert len(refused) >= 20
    assert {type(error) for error in refused} == {SourceError}
    assert not any("\n" in str(error) for error in refused)


def read_all(source: ParquetHandle, group: int) -> None:
    """Read all columns that a row group still seems to have."""
    names = dict(source.info.kinds)
    if "era" in names:
        rows = read_eras(source, group, "era")
        count_rows(source, group, rows, "data_type" if "data_type" in names else None)
    if "id" in names:
        all_ids(source, group)
    floats = [name for name, kind in names.items() if kind == "float"]
    list(source.floats(group, floats, divide_codes=True))
    list(source.features(group, [name for name, kind in names.items() if kind == "integer"]))


@pytest.mark.parametrize(
    ("seconds", "modified"),
    [(4e14, "9999-12-31T23:59:59+00:00"), (-4e14, "0001-01-01T00:00:00+00:00")],
)
def test_a_time_beyond_the_calendar_becomes_its_first_or_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, modified: str
) -> None:
    """Some file systems keep such times, others have no such year."""
    path = write(tmp_path / "one.parquet", pa.table({"a": pa.array([1, 2])}))
    size = path.stat().st_size
    status = SimpleNamespace(st_size=size, st_mtime=seconds)
    monkeypatch.setattr(os, "fstat", lambda descriptor: status)
    assert describe_file(path).modified == modified


def test_a_description_has_name_size_time_and_footer_digest(tmp_path: Path) -> None:
    one = write(tmp_path / "one.parquet", pa.table({"a": pa.array([1, 2])}))
    two = write(tmp_path / "two.parquet", pa.table({"a": pa.array([1, 2])}))
    first, second = describe_file(one), describe_file(two)
    assert first.name == "one.parquet"
    assert first.bytes == one.stat().st_size
    assert first.footer_digest == second.footer_digest
    assert first.footer_digest.startswith("xxh3_128:")
    os.utime(one, ns=(0, 10**18))
    assert describe_file(one).modified == "2001-09-09T01:46:40+00:00"
    write(two, pa.table({"b": pa.array([1, 2])}))
    assert describe_file(two).footer_digest != first.footer_digest
