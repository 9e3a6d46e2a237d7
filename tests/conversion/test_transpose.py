"""Tests of the stage: what was put in as columns comes out as rows, from memory or from a file."""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memmap_train.conversion.transpose import (
    Field,
    FileStore,
    MemoryStore,
    Store,
    TransposeBuffer,
    transpose,
)

DTYPES = tuple(np.dtype(name) for name in ("i1", "f4", "S7"))

Array = npt.NDArray[np.generic]


def numbered(dtype: np.dtype[Any], rows: int, columns: int) -> Array:
    """Return rows whose cells differ as far as their dtype allows."""
    cells = np.arange(rows * columns).reshape(rows, columns)
    return (cells % 127).astype(dtype) if dtype.kind == "i" else cells.astype(dtype)


def expected_chunks(fields: dict[str, Field], chunk_rows: list[int]) -> dict[str, list[Array]]:
    """Return the rows of each chunk of each field."""
    ends = np.cumsum(chunk_rows)[:-1]
    return {
        name: np.split(numbered(field.dtype, sum(chunk_rows), field.n_columns), ends)
        for name, field in fields.items()
    }


def fill(
    stage: TransposeBuffer, fields: dict[str, Field], chunks: dict[str, list[Array]], seed: int
) -> None:
    """Put all blocks in, in an order that the seed gives, by several threads."""
    puts = [
        (name, chunk, first, rows[:, first : first + n_columns].T)
        for name, field in fields.items()
        for first, n_columns in field.blocks()
        for chunk, rows in enumerate(chunks[name])
    ]
    random.Random(seed).shuffle(puts)
    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(stage.put, *put) for put in puts]:
            future.result()


def taken(stage: TransposeBuffer, field: Field, name: str, chunk: int) -> Array:
    """Return a chunk's rows, its blocks laid side by side."""
    blocks = list(stage.take(name, chunk))
    assert [first for first, _ in blocks] == [first for first, _ in field.blocks()]
    return np.concatenate([rows for _, rows in blocks], axis=1)


def check(store: Store, fields: dict[str, Field], chunk_rows: list[int], seed: int) -> None:
    chunks = expected_chunks(fields, chunk_rows)
    stage = TransposeBuffer(store, fields, chunk_rows)
    fill(stage, fields, chunks, seed)
    for name, field in fields.items():
        for chunk, rows in enumerate(chunks[name]):
            found = taken(stage, field, name, chunk)
            assert found.dtype == rows.dtype
            assert np.array_equal(found, rows)


fields_of_any_size = st.dictionaries(
    st.sampled_from(("features", "targets", "ids")),
    st.builds(Field, st.sampled_from(DTYPES), st.integers(1, 70), st.integers(1, 80)),
    min_size=1,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    fields=fields_of_any_size,
    chunk_rows=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
)
def test_staging_in_memory_and_in_a_file_return_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory,
    fields: dict[str, Field],
    chunk_rows: list[int],
    seed: int,
) -> None:
    n_bytes = sum(chunk_rows) * sum(field.row_bytes for field in fields.values())
    check(MemoryStore(n_bytes), fields, chunk_rows, seed)
    file_store = FileStore(tmp_path_factory.getbasetemp())
    try:
        check(file_store, fields, chunk_rows, seed)
    finally:
        file_store.close()


@pytest.mark.parametrize("lacking", [["pwrite"], ["preadv"], ["pwrite", "preadv"]])
def test_the_staging_file_works_without_functions_that_windows_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: list[str]
) -> None:
    for name in lacking:
        monkeypatch.delattr(os, name)
    fields = {
        "features": Field(np.dtype("i1"), 33, 7),
        "targets": Field(np.dtype("f4"), 5, 2),
        "ids": Field(np.dtype("S7"), 1, 1),
    }
    store = FileStore(tmp_path)
    try:
        check(store, fields, [40, 1, 17], seed=1)
    finally:
        store.close()


def test_the_staging_file_has_no_name_even_while_it_is_used(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.put(0, (2, 3), np.ones((3, 2), np.int8))
    assert os.listdir(tmp_path) == []
    store.close()


def test_a_store_is_reused_for_a_smaller_row_group(tmp_path: Path) -> None:
    field = {"features": Field(np.dtype("f4"), 40, 16)}
    file_store = FileStore(tmp_path)
    for store in (MemoryStore(50 * 40 * 4), file_store):
        check(store, field, [30, 20], seed=1)
        check(store, field, [7, 1], seed=2)
    file_store.close()


@pytest.mark.parametrize("n_columns", [1, 31, 32, 33, 100])
@pytest.mark.parametrize("dtype", DTYPES)
def test_transposing_equals_numpys_transpose(dtype: np.dtype[Any], n_columns: int) -> None:
    columns = numbered(dtype, n_columns, 9)
    out = np.zeros((9, n_columns), dtype)
    transpose(columns, out)
    assert np.array_equal(out, columns.T)


def test_blocks_cover_every_column_once() -> None:
    assert list(Field(np.dtype("i1"), 10, 4).blocks()) == [(0, 4), (4, 4), (8, 2)]
    assert list(Field(np.dtype("i1"), 3, 256).blocks()) == [(0, 3)]
