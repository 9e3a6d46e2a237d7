"""Transposing and encoding alone: the part of a conversion between decoding and writing."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from memmap_train.conversion.codec import MISSING_CODE, FeatureEncoder
from memmap_train.conversion.parquet.file import read_file_info
from memmap_train.conversion.parquet.handle import ParquetHandle
from memmap_train.conversion.transpose import transpose
from memmap_train.dataset.format import N_COUNTS
from memmap_train.system.resources import n_cores

from .measuring import Spent, timed

Codes = npt.NDArray[np.int8]
Encode = Callable[[Codes, npt.NDArray[Any], int], None]
"""Writes a block (rows, columns) into its place in the rows; the number is its first column."""

_CHUNK_BYTES, _BLOCK_COLUMNS = 8_000_000, 256  # at most, as in a conversion


def turn_and_encode(
    name: str, paths: Sequence[Path], dtype: str, counted: bool
) -> dict[str, Spent]:
    """Transpose decoded blocks of columns to rows of a store dtype on all cores, and drop them.

    Parameters
    ----------
    name : str
    paths : sequence of Path
        Sources; their decoding isn't timed.
    dtype : {"float32", "int8"}
    counted : bool
        Whether the encoder of conversions is used; otherwise only a search for missing codes
        and numpy's multiplication or copy.
    """
    groups, names = _decoded(paths)
    chunk_rows = _CHUNK_BYTES // (len(names) * np.dtype(dtype).itemsize)
    scratch = _Scratch(chunk_rows, len(names), dtype)
    encode = _counting(names, dtype, scratch) if counted else _plain(dtype)

    def work(group: list[Codes], first_row: int) -> None:
        n_rows = min(chunk_rows, group[0].shape[1] - first_row)
        rows = scratch.rows[:n_rows]
        first = 0
        for block in group:
            turned = scratch.turned[: n_rows * len(block)].reshape(n_rows, len(block))
            transpose(block[:, first_row : first_row + n_rows], turned)
            encode(turned, rows[:, first : first + len(block)], first)
            first += len(block)

    def work_on_all_cores() -> None:
        chunks = [
            (group, first) for group in groups for first in range(0, group[0].shape[1], chunk_rows)
        ]
        list(threads.map(work, *zip(*chunks, strict=True)))

    with ThreadPoolExecutor(n_cores()) as threads:
        return {name: timed(work_on_all_cores)}


class _Scratch(threading.local):
    """A thread's scratch buffer for one chunk, reused for the next one."""

    def __init__(self, n_rows: int, n_features: int, dtype: str) -> None:
        self.turned = np.empty(n_rows * _BLOCK_COLUMNS, np.int8)
        self.rows = np.empty((n_rows, n_features), dtype)
        self.counts = np.zeros((n_features, N_COUNTS), np.int32)


def _decoded(paths: Sequence[Path]) -> tuple[list[list[Codes]], list[str]]:
    """Return the blocks of columns of each row group, and the features' names."""
    groups = []
    names: list[str] = []
    for path in paths:
        source = ParquetHandle(read_file_info(path))
        names = [name for name, _ in source.info.kinds if name.startswith("feature")]
        groups += [
            [
                source.features(group, names[first : first + _BLOCK_COLUMNS])
                for first in range(0, len(names), _BLOCK_COLUMNS)
            ]
            for group in range(len(source.info.row_groups))
        ]
        source.close()
    return groups, names


def _counting(names: Sequence[str], dtype: str, scratch: _Scratch) -> Encode:
    encoder = FeatureEncoder(names, dtype, "0.5")

    def encode(block: Codes, out: npt.NDArray[Any], first: int) -> None:
        counts = scratch.counts[first : first + block.shape[1]]
        encoder.encode(block, out, counts, first, "a benchmark")

    return encode


def _plain(dtype: str) -> Encode:
    def encode(block: Codes, out: npt.NDArray[Any], _first: int) -> None:
        assert block.max() < MISSING_CODE
        if dtype == "int8":
            np.copyto(out, block)
        else:
            np.multiply(block, np.float32(0.25), out=out, dtype=np.float32)

    return encode
