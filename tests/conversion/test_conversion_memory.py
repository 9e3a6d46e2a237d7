"""`--memory` is a promise: kept for files that are large where none expects it, or refused."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.conversion import convert
from memmap_train.conversion.memory_budget import ConversionBudget
from memmap_train.conversion.parquet import file
from memmap_train.conversion.parquet.handle_pool import MAX_FREE
from memmap_train.conversion.pipeline_sizes import PipelineLimits
from memmap_train.dataset.verify import verify
from memmap_train.errors import ConversionError
from tests.benchmarks.measuring import alone
from tests.support.conversions import convert_within
from tests.support.errors import refused
from tests.support.toy import write_toy

LEAST = 512


def eras(n_rows: int, n_eras: int) -> pa.Array:
    """Return labels of eras of the same size, one after another."""
    numbers = pa.array(np.arange(n_rows) // -(-n_rows // n_eras))
    return pa.array([f"{number:04}" for number in range(n_eras)]).take(numbers)


def long_ids() -> pa.Table:
    """Return rows whose ids take 400 MB; as wide text twice that."""
    n_rows = 100_000
    ids = pa.array([f"n{row}".ljust(4000, "x") for row in range(n_rows)])
    codes = np.arange(n_rows, dtype=np.int8) % 5
    return pa.table({"id": ids, "era": eras(n_rows, 10), "feature_a": codes})


def millions_of_rows() -> pa.Table:
    """Return one row group of 2.5 million rows, of wide numbers, ids and texts."""
    n_rows = 2_500_000
    numbers = np.random.default_rng(0).integers(0, 5, n_rows) / 4
    ids = pa.array(np.arange(10**15, 10**15 + n_rows)).cast(pa.string())
    columns = {f"feature_{number}": numbers for number in range(12)}
    return pa.table({"id": ids, "era": eras(n_rows, 3), **columns, "target": numbers})


def convert_in_little_memory(source: str, out: str) -> None:
    convert(source, out, memory=LEAST)


@pytest.mark.skipif(sys.platform != "linux", reason="memory of a process is told by Linux alone")
@pytest.mark.parametrize("make", [long_ids, millions_of_rows])
def test_no_row_group_takes_more_memory_than_was_promised(tmp_path: Path, make: Any) -> None:
    source, out = tmp_path / "source.parquet", tmp_path / "out"
    table = make()
    pq.write_table(table, source, row_group_size=len(table))
    ids = table.column("id").to_numpy()[[0, 1, -1]].tolist()
    del table
    _, peak = alone(convert_in_little_memory, os.fspath(source), os.fspath(out))
    assert peak < LEAST * 1_000_000
    assert not list(verify(out))
    found = np.load(sorted(out.glob("*/ids.npy"))[-1], mmap_mode="r")
    first = np.load(sorted(out.glob("*/ids.npy"))[0], mmap_mode="r")
    assert [first[0].decode(), first[1].decode(), found[-1].decode()] == ids


def convert_with_benchmarks(source: str, out: str, benchmarks: str) -> None:
    convert(source, out, memory=LEAST, benchmarks=[benchmarks])


@pytest.mark.skipif(sys.platform != "linux", reason="memory of a process is told by Linux alone")
@pytest.mark.parametrize(("make", "n_benchmarks"), [(long_ids, 1), (millions_of_rows, 40)])
def test_benchmarks_take_no_more_memory_than_was_promised(
    tmp_path: Path, make: Any, n_benchmarks: int
) -> None:
    """A file of one row group that would fill it, in another order than the dataset's."""
    source, file, out = tmp_path / "s.parquet", tmp_path / "b.parquet", tmp_path / "out"
    table = make().select(["id", "era"])
    numbers = np.arange(len(table), dtype=np.float32)
    codes = pa.array((numbers % 5).astype(np.int8))
    pq.write_table(table.append_column("feature_a", codes), source, row_group_size=len(table))
    values = pa.array(numbers // 1000)
    for number in range(n_benchmarks):
        table = table.append_column(f"v53_{number}", values)
    ids = table.column("id")[-2:].to_pylist()
    half = len(table) // 2
    table = pa.concat_tables([table.slice(half), table.slice(0, half)])
    assert len(table) * (len(ids[0]) + 4 * n_benchmarks) > 0.75 * LEAST * 1_000_000
    pq.write_table(table, file, row_group_size=len(table))
    del table, values
    arguments = map(os.fspath, (source, out, file))
    _, peak = alone(convert_with_benchmarks, *arguments)
    assert peak < LEAST * 1_000_000
    assert not list(verify(out))
    last = sorted(out.glob("era-*"))[-1]
    assert np.load(last / "ids.npy", mmap_mode="r")[-2:].tolist() == [i.encode() for i in ids]
    found = np.load(last / "benchmarks.npy", mmap_mode="r")[-2:]
    np.testing.assert_array_equal(
        found, np.repeat(numbers[-2:, np.newaxis] // 1000, n_benchmarks, 1)
    )


def test_row_groups_that_do_not_fit_are_refused_with_the_smallest_sufficient_memory(
    tmp_path: Path,
) -> None:
    source = tmp_path / "toy.parquet"
    write_toy(source, {"0001": 1000})
    limits = PipelineLimits(row_bytes=1_000_000)  # as if there were 40 million rows

    def convert_here(name: str, memory: int | None = None, available: int = 0) -> None:
        budget = ConversionBudget(memory, available=lambda: available)
        convert_within(budget, [source], tmp_path / name, limits=limits)

    with pytest.raises(ConversionError, match=r"memory: expected .* found 600") as refusal:
        convert_here("out", memory=600)
    assert not (tmp_path / "out").exists()
    least = int(str(refusal.value).split()[2])
    assert 1000 < least < 1400
    convert_here("out", memory=least)
    # A default budget grows to what is needed, as long as it is available.
    convert_here("default", available=1_500_000_000)
    with refused(ConversionError, f"expected {least} MB", "found 1000 available"):
        convert_here("other", available=1_000_000_000)


def test_the_memory_of_open_files_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "toy.parquet"
    write_toy(source, {"0001": 10})
    footer_bytes = pq.ParquetFile(source).metadata.serialized_size
    monkeypatch.setattr(file, "METADATA_BYTES", 250_000_000 // footer_bytes)
    with refused(ConversionError, "memory: expected 712 MB", "found 600"):
        convert(source, tmp_path / "out", memory=600)
    convert(source, tmp_path / "out", memory=712)


def test_files_that_are_not_being_read_are_closed(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.parquet" for number in range(30)]
    for number, path in enumerate(paths):
        write_toy(path, {f"{number:04}": 5})
    most, before = 0, len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0

    def watch(what: str, done: int, n_rows: int) -> None:
        nonlocal most
        if sys.platform == "linux":
            most = max(most, len(os.listdir("/proc/self/fd")) - before)

    convert(paths, tmp_path / "out", workers=2, progress=watch)
    # Of each handle one for Arrow and one for pages; and shards on their way to the disk.
    assert most < 2 * (MAX_FREE + 3) + 20
    assert sys.platform != "linux" or len(os.listdir("/proc/self/fd")) <= before + 1
