"""Tests of pools of handles: what is shared, what is kept open, what is closed."""

import os
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pytest

from memmap_train.conversion.parquet import handle
from memmap_train.conversion.parquet.file import read_file_info
from memmap_train.conversion.parquet.handle_pool import MAX_FREE, HandlePool
from memmap_train.errors import SourceError
from tests.support.errors import refused
from tests.support.parquet_files import write

CODES = [0, 1, 2, 3, 4]


def pool_of(folder: Path, n_files: int) -> HandlePool:
    """Return a pool of handles on files of one column."""
    table = pa.table({"feature_a": pa.array(CODES, pa.int8())})
    paths = [write(folder / f"{number}.parquet", table) for number in range(n_files)]
    return HandlePool([read_file_info(path) for path in paths])


def test_a_handle_that_was_given_back_is_taken_again(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, 1)
    with pool.take(0) as first:
        assert first.features(0, ["feature_a"]).tolist() == [CODES]
    with pool.take(0) as again, pool.take(0) as other:
        assert again is first
        assert other is not first
        assert other.features(0, ["feature_a"]).tolist() == [CODES]
    pool.close()


def test_the_footer_is_parsed_again_only_when_no_handle_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[Path] = []
    make = handle.SharedFooter.__init__

    def noting(self: handle.SharedFooter, path: Path, metadata: object) -> None:
        parsed.append(path)
        make(self, path, metadata)

    monkeypatch.setattr(handle.SharedFooter, "__init__", noting)
    pool = pool_of(tmp_path, 1)
    with pool.take(0), pool.take(0) as second:
        pass
    assert len(parsed) == 1
    del second
    pool.close()
    with pool.take(0):
        assert len(parsed) == 2
    pool.close()


def test_handles_that_were_read_least_recently_are_closed(tmp_path: Path) -> None:
    n_files = MAX_FREE + 3
    pool = pool_of(tmp_path, n_files)
    kept = []
    for number in range(n_files):
        with pool.take(number) as opened:
            kept.append(opened)
    for number in (n_files - 1, n_files - MAX_FREE):
        with pool.take(number) as opened:
            assert opened is kept[number]
    with pool.take(0) as opened:
        assert opened is not kept[0]
    pool.close()


def test_handles_for_several_threads_are_different_ones(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, 2)
    with ExitStack() as taken:
        handles = [taken.enter_context(pool.take(number % 2)) for number in range(6)]
        assert len(set(map(id, handles))) == 6
        assert len({id(each.footer) for each in handles}) == 2
    pool.close()


def test_a_file_that_was_replaced_is_refused_where_it_is_opened_again(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, 1)
    other = write(tmp_path / "other", pa.table({"feature_a": pa.array([1], pa.int8())}))
    os.replace(other, pool.files[0].path)
    with refused(SourceError, "changed"), pool.take(0):
        pass
