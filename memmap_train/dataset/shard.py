"""One era of a dataset: read-only maps of its arrays, opened when they are first needed."""

import io
import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np

from ..arrays import Stored
from ..errors import ShardError
from .array_file import open_array, opened_array
from .direct_array import DirectArray
from .file_digest import FileStamp
from .file_errors import why_unreadable
from .manifest import Manifest, ShardEntry


class Shard:
    """One era of a dataset: read-only maps of its arrays, opened at their first use."""

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        entry: ShardEntry,
        stamps: Mapping[str, FileStamp],
    ) -> None:
        self.path = directory / entry.folder
        self.era = entry.era
        self.n_rows = entry.rows
        self._layout, self._files = manifest.layout(entry), entry.files
        self._stamps = stamps

    @cached_property
    def features(self) -> Stored:
        """Features as stored: float32, or int8 codes; shape (rows, features)."""
        return self._open("features")

    @cached_property
    def targets(self) -> Stored:
        """Targets, float32, NaN where unlabelled; shape (rows, targets)."""
        return self._open("targets")

    @cached_property
    def ids(self) -> Stored | None:
        """Ids as fixed-width bytes, shape (rows,); None where the source had none."""
        return self._open("ids") if "ids" in self._layout else None

    @cached_property
    def counts(self) -> Stored | None:
        """Number of rows with code 0, 1, 2, 3, 4 or missing: int32, shape (features, 6).

        They count the values of the source. None in datasets of earlier versions.
        """
        return self._open("counts") if "counts" in self._layout else None

    @cached_property
    def benchmarks(self) -> Stored | None:
        """Benchmarks, float32, NaN where a row has no value; shape (rows, benchmarks).

        None in a dataset without benchmarks.
        """
        return self._open("benchmarks") if "benchmarks" in self._layout else None

    def has(self, array: str) -> bool:
        """Return True if an array has a file; ids, counts and benchmarks may be absent."""
        return array in self._layout

    def layout(self, array: str) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
        """Return dtype and shape of an array."""
        return self._layout[array]

    def header_bytes(self, array: str) -> int:
        """Return the size of the header before an array's data, computed from the manifest."""
        dtype, shape = self._layout[array]
        return self._files[array].bytes - dtype.itemsize * prod(shape)

    def opened(self, array: str) -> AbstractContextManager[tuple[io.FileIO, int]]:
        """Open an array's file once it is checked: the file, and where its data begin."""
        return opened_array(self.file(array), *self._layout[array], self._stamps[array])

    def direct_features(self) -> DirectArray:
        """Open the features for direct I/O; see `can_read_directly`."""
        dtype, shape = self._layout["features"]
        return DirectArray(self.file("features"), dtype, shape, self._stamps["features"])

    def file(self, array: str) -> Path:
        """Return the path of one array's file."""
        return self.path / f"{array}.npy"

    def _open(self, array: str) -> Stored:
        dtype, shape = self._layout[array]
        return open_array(self.file(array), dtype, shape, self._stamps[array])


def stamp_files(directory: Path, entry: ShardEntry) -> dict[str, FileStamp]:
    """Return the stamps of an era's files; ShardError if one is missing or has another size."""
    stamps = {}
    for array, file_entry in entry.files.items():
        file = directory / entry.folder / f"{array}.npy"
        asked = time.time_ns()
        try:
            status = os.stat(file)
        except OSError as error:
            raise ShardError(
                f"{file}: {why_unreadable(error, file)}; `memmap-train verify {directory}` lists "
                "all that is wrong"
            ) from None
        if (size := status.st_size) != file_entry.bytes:
            how = "cut short" if size < file_entry.bytes else "too long"
            raise ShardError(
                f"{file}: {how}: expected {file_entry.bytes:,} bytes, found {size:,}; "
                f"`memmap-train verify {directory}` lists all that is wrong"
            )
        stamps[array] = FileStamp(status, asked, file_entry.digest)
    return stamps
