"""A dataset: a mapping of eras to shards, of which eras can be selected and rows read.

Takes a manifest; returns read-only maps and arrays. Nothing here knows of batches or of parquet.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array, Float32, Stored
from ..errors import BatchError, DatasetError, listed, nearest
from ..system.memory_budget import PROCESS_MEMORY
from ..text import counted, in_bytes
from .decoding import decode
from .file_digest import FileStamp
from .manifest import Manifest, ShardEntry
from .selection import ALL, Selection, as_names, columns_of, members_of
from .shard import Shard

_BLOCK_BYTES = 2**20  # of rows that are decoded at once


class Dataset(Mapping[str, Shard]):
    """A dataset, or a selection of its eras: a mapping of eras to shards.

    A whole dataset stands for the path of its folder wherever a path of one is expected.
    `list(dataset)` gives its eras in order, `len(dataset)` their number, and `era in dataset` is
    True if it has that era. Two datasets are equal only if they are the same object.

    Attributes
    ----------
    path : Path
    manifest : Manifest
        The manifest of the whole dataset, even if this is a selection.
    eras : tuple of str
        Labels, in order. Only these eras can be reached from here.
    feature_names, target_names, benchmark_names : tuple of str
        Names of the arrays' columns, in their order; no names of benchmarks if there are none.
    """

    def __init__(
        self, path: Path, manifest: Manifest, stamps: Mapping[str, Mapping[str, FileStamp]]
    ) -> None:
        self.path = path
        self._directory = path.absolute()  # also after os.chdir
        self.manifest = manifest
        self.eras = tuple(stamps)
        self.feature_names = manifest.features
        self.target_names = manifest.targets
        self.benchmark_names = manifest.benchmarks
        self._entries = {era: manifest.shard(era) for era in self.eras}
        # Stamps of all files when the manifest was read: an update replaces files.
        self._stamps = stamps

    def __repr__(self) -> str:
        return (
            f"<Dataset {str(self.path)!r}: {counted(self.n_rows, 'row')}, "
            f"{counted(len(self.eras), 'era')}, {counted(len(self.feature_names), 'feature')}, "
            f"{self.manifest.dtype}>"
        )

    def __fspath__(self) -> str:
        """Return the path of the folder.

        Raises
        ------
        DatasetError
            This is a selection: the folder has other eras too.
        """
        if len(self.eras) < len(self.manifest.shards):
            raise DatasetError(
                f"{self.path}: expected a whole dataset where a path is expected, found a selection"
                f" of {len(self.eras):,} of its {counted(len(self.manifest.shards), 'era')}; name "
                "the path if all eras are meant"
            )
        return str(self._directory)

    def __len__(self) -> int:
        return len(self.eras)

    def __iter__(self) -> Iterator[str]:
        return iter(self.eras)

    def __contains__(self, era: object) -> bool:
        return isinstance(era, str) and era in self._entries

    def __getitem__(self, era: str) -> Shard:
        return Shard(self._directory, self.manifest, self.entry(era), self._stamps[era])

    def get(self, era: str, default: Any = None) -> Any:
        """Return the shard of an era, or a default if the dataset doesn't have that era."""
        return self[era] if isinstance(era, str) and era in self._entries else default

    # Those of Mapping would compare shards, which are made for each access.
    __eq__, __hash__ = object.__eq__, object.__hash__

    def entry(self, era: str) -> ShardEntry:
        """Return an era's entry of the manifest; DatasetError if this dataset has no such era."""
        (era,) = as_names([era], f"{self.path}: eras")
        try:
            return self._entries[era]
        except KeyError:
            raise DatasetError(
                f"{self.path}: no era {era!r} among {len(self.eras):,}{nearest(era, self.eras)}"
            ) from None

    @property
    def directory(self) -> Path:
        """Absolute path of the folder; it doesn't depend on the current directory."""
        return self._directory

    @property
    def rows_per_era(self) -> tuple[int, ...]:
        """Rows of each era, in the order of `eras`."""
        return tuple(entry.rows for entry in self._entries.values())

    @property
    def row_offsets(self) -> list[int]:
        """Number of rows before each era, followed by the number of all rows."""
        return [0, *accumulate(self.rows_per_era)]

    @property
    def n_rows(self) -> int:
        """Rows of these eras."""
        return sum(self.rows_per_era)

    @property
    def feature_bytes(self) -> int:
        """Bytes of these eras' features on disk."""
        row_bytes = self.manifest.store_dtype.itemsize * len(self.feature_names)
        return self.n_rows * row_bytes

    def select(self, eras: Sequence[str]) -> "Dataset":
        """Return the dataset of some of these eras, in the dataset's order.

        Raises
        ------
        DatasetError
            An era that this dataset doesn't have, or none at all.
        """
        wanted = set(as_names(eras, f"{self.path}: eras"))
        for era in wanted:
            self.entry(era)
        if not wanted:
            raise DatasetError(f"{self.path}: no eras selected; expected at least one")
        chosen = tuple(era for era in self.eras if era in wanted)
        part = Dataset(self.path, self.manifest, {era: self._stamps[era] for era in chosen})
        part._directory = self._directory
        return part

    def array_digest(self, array: str) -> str:
        """Return one checksum of an array ("features" or "targets") of these eras.

        It is computed from the names of the columns and, for each era, from its label, its number
        of rows and the file's checksum in the manifest; no file is read.
        """
        content = [
            list(self.feature_names if array == "features" else self.target_names),
            [[era, entry.rows, entry.files[array].digest] for era, entry in self._entries.items()],
        ]
        text = json.dumps(content, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def labelled_eras(self, target: str) -> tuple[str, ...]:
        """Return the eras in which a target has at least one label."""
        self.target_columns([target])
        return tuple(
            era for era, entry in self._entries.items() if entry.target_nulls[target] < entry.rows
        )

    def feature_columns(self, features: Selection) -> tuple[int, ...] | None:
        """Return the columns of a feature set or of a list of names; None for all of them.

        A set takes the manifest's order, a list keeps its own.

        Raises
        ------
        DatasetError
            An unknown set or feature, a name twice, or an empty selection.
        """
        if features is None:
            return None
        if isinstance(features, str):
            sets = {ALL: self.feature_names, **self.manifest.feature_sets}
            members = set(members_of(features, sets, f"{self.path}: no feature set"))
            features = [name for name in self.feature_names if name in members]
        features = as_names(features, f"{self.path}: features")
        columns = columns_of(features, self.feature_names, f"{self.path}: no feature")
        return None if columns == tuple(range(len(self.feature_names))) else columns

    def target_columns(self, targets: Selection) -> tuple[int, ...] | None:
        """Return the columns of targets by name, in the order given; None for all of them."""
        if targets is None:
            return None
        targets = as_names(targets, f"{self.path}: targets")
        columns = columns_of(targets, self.target_names, f"{self.path}: no target")
        return None if columns == tuple(range(len(self.target_names))) else columns

    def benchmark_columns(self, benchmarks: Selection) -> tuple[int, ...] | None:
        """Return the columns of benchmarks by name, in the order given; None for all of them."""
        if benchmarks is None:
            return None
        benchmarks = as_names(benchmarks, f"{self.path}: benchmarks")
        if not self.benchmark_names:
            raise DatasetError(
                f"{self.path}: no benchmark {listed(benchmarks)}: this dataset has none; add them "
                "with `memmap-train convert --benchmarks FILE… --out DATASET`"
            )
        columns = columns_of(benchmarks, self.benchmark_names, f"{self.path}: no benchmark")
        return None if columns == tuple(range(len(self.benchmark_names))) else columns

    def benchmark_eras(self, benchmark: str) -> tuple[str, ...]:
        """Return the eras in which a benchmark has a value in at least one row."""
        self.benchmark_columns([benchmark])
        return tuple(
            era
            for era, entry in self._entries.items()
            if entry.benchmark_nulls[benchmark] < entry.rows
        )

    def read(
        self,
        eras: Sequence[str] | None = None,
        features: Selection = None,
        targets: Selection = None,
    ) -> tuple[Float32, Float32, Stored | None]:
        """Read rows into memory, in the dataset's order.

        Parameters
        ----------
        eras : sequence of str, optional
            The eras to read; the default is all eras of this dataset.
        features, targets : str or list of str, optional
            A feature set, "all", or names; by default all, in the manifest's order.

        Returns
        -------
        x : ndarray of float32, shape (rows, features)
            Decoded features. May hold NaN if missing features were kept.
        y : ndarray of float32, shape (rows, targets)
            NaN where a row has no label; of shape (rows, 0) if the dataset has no targets.
        ids : ndarray of bytes, shape (rows,), or None
            None if the dataset has no ids.

        Raises
        ------
        DatasetError
            An unknown name, or no era at all.
        BatchError
            The arrays would be larger than the memory available.
        ShardError
            A file is missing, damaged, or not the one that was there before.

        Examples
        --------
        ::

            x, y, ids = ds.read(eras=ds.eras[:2], features="small", targets=["target"])
        """
        part = self if eras is None else self.select(eras)
        columns = self.feature_columns(features), self.target_columns(targets)
        n_features = len(self.feature_names if columns[0] is None else columns[0])
        n_targets = len(self.target_names if columns[1] is None else columns[1])
        n_bytes, available = part.n_rows * (n_features + n_targets) * 4, PROCESS_MEMORY.available()
        if n_bytes > available:
            raise BatchError(
                f"{self.path}: {part.n_rows:,} rows of {n_features:,} features take "
                f"{in_bytes(n_bytes)} as float32; expected {in_bytes(available)} at most, the "
                "memory available: read fewer eras or features, or use memmap_train.Batches"
            )
        x = np.empty((part.n_rows, n_features), np.float32)
        y = np.empty((part.n_rows, n_targets), np.float32)
        widths = [shard.layout("ids")[0] for shard in part.values() if shard.has("ids")]
        ids = np.empty(part.n_rows, max(widths)) if len(widths) == len(part) else None
        for shard, (low, high) in zip(part.values(), pairwise(part.row_offsets), strict=True):
            self._read_features(shard, columns[0], x[low:high])
            y[low:high] = shard.targets if columns[1] is None else shard.targets[:, columns[1]]
            if ids is not None:
                ids[low:high] = shard.ids
        return x, y, ids

    def _read_features(self, shard: Shard, columns: tuple[int, ...] | None, out: Float32) -> None:
        row_bytes = len(self.feature_names) * self.manifest.store_dtype.itemsize
        at_once = max(1, _BLOCK_BYTES // row_bytes)
        for low in range(0, shard.n_rows, at_once):
            stored = shard.features[low : low + at_once]
            if columns is not None:
                stored = stored.take(columns, axis=1)
            self.decode(stored, out[low : low + at_once])

    def decode(self, stored: Array, out: Float32 | None = None) -> Float32:
        """Return stored features as float32; the same bits from either store dtype.

        Parameters
        ----------
        stored : ndarray
            Features as a shard holds them, of any shape.
        out : ndarray of float32, optional
            The array to write into, of the same shape; by default a new one.

        Raises
        ------
        ArgumentError
            `stored` has another dtype than the store, as decoded features of an int8 store have; or
            `out` doesn't suit it.

        Examples
        --------
        ::

            x = ds.decode(ds["0001"].features)
        """
        return decode(stored, self.manifest, out, where=str(self.path))
