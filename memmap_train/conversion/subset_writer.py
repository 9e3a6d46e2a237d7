"""Eras of a subset, written from the memory maps of its source dataset.

Takes eras of the source dataset; writes shards with some of its columns, perhaps in the other
store dtype. Rows are read, encoded and written a chunk at a time, eras side by side. What is read
is compared with the checksums in the manifest: damaged rows must not get a new, valid checksum.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Int32, Positions
from ..dataset.dataset import Dataset
from ..dataset.file_digest import MapDigest
from ..dataset.manifest import Manifest
from ..dataset.shard import Shard
from ..system.direct_io import BLOCK_BYTES
from ..system.disk_writer import DiskWriter
from ..system.threads import ThreadPool
from .codec import FeatureEncoder
from .era_writer import ShardWriter
from .journal import FinishedEra, Journal
from .plan import ConversionPlan, ConvertOptions

ColumnSelection = slice | Positions
T = TypeVar("T", bound=np.generic)

CHUNK_CELLS = 2**20
"""Cells of rows that are read, encoded and written at once."""
WORKER_BYTES = 32_000_000
"""Bytes that a thread needs for a chunk: stored, encoded, and masks between them; measured."""
_N_PUBLISHERS = 2  # waiting for the disk is no work for the cores


class SubsetWriter:
    """Writes eras of a subset.

    Parameters
    ----------
    dataset : Dataset
        The source dataset.
    plan : ConversionPlan
    journal : Journal
    progress : callable(rows done now, rows in all)
    chunk_cells : int, optional
    """

    def __init__(
        self,
        dataset: Dataset,
        plan: ConversionPlan,
        journal: Journal,
        progress: Callable[[float, int], None],
        *,
        chunk_cells: int = CHUNK_CELLS,
    ) -> None:
        self._dataset, self._plan, self._journal = dataset, plan, journal
        self._progress, self._chunk_cells = progress, chunk_cells
        schema = plan.columns.schema
        self._features = SubsetFeatures(dataset.manifest, schema.features, plan.options)
        self._targets = column_selection(schema.targets, dataset.manifest.targets)

    def run(self, n_workers: int) -> dict[str, FinishedEra]:
        """Write all unfinished eras, each by one thread; return all finished eras."""
        plan, finished = self._plan, dict(self._journal.finished)
        self._progress(sum(era.entry.rows for era in finished.values()), plan.n_rows)
        todo = [era for era in plan.rows_per_era if era not in finished]
        row_bytes = len(plan.columns.schema.features) * np.dtype(plan.options.dtype).itemsize
        buffer_bytes = max(4 * self._chunk_cells, row_bytes) + BLOCK_BYTES
        with ExitStack() as at_the_end:  # in reverse order, and all of it whatever happens
            disk = DiskWriter(2 * n_workers, buffer_bytes)
            at_the_end.callback(disk.close)
            publishers = ThreadPool(_N_PUBLISHERS, thread_name_prefix="publish")
            at_the_end.callback(publishers.shutdown)
            threads = ThreadPool(n_workers, thread_name_prefix="convert")
            at_the_end.callback(threads.shutdown, cancel_futures=True)

            def write(era: str) -> Future[FinishedEra]:
                writer = ShardWriter(era, plan, self._journal, disk)
                self._write_rows(writer)
                return publishers.submit(writer.publish)

            for era, publishing in zip(todo, threads.map(write, todo), strict=True):
                finished[era] = publishing.result()
        return finished

    def _write_rows(self, writer: ShardWriter) -> None:
        """Write the rows of one era, and check that what was read isn't damaged."""
        shard = self._dataset[writer.era]
        digests = _digests(shard, writer)
        counts = writer.counts
        if counts is not None and shard.counts is not None:
            digests["counts"].update(np.asarray(shard.counts))
            counts[:] = shard.counts[self._features.columns]
            counts = None  # known
        for first in range(0, shard.n_rows, self._chunk_rows):
            rows = slice(first, first + self._chunk_rows)
            self._write_chunk(writer, shard, rows, digests, counts)
        files = self._dataset.entry(writer.era).files
        for name, digest in digests.items():
            digest.check(files[name].digest)

    def _write_chunk(
        self,
        writer: ShardWriter,
        shard: Shard,
        rows: slice,
        digests: Mapping[str, MapDigest],
        counts: Int32 | None,
    ) -> None:
        where = f"{self._dataset.path}: era {writer.era!r}"
        if "features" in writer.writers:
            stored = np.asarray(shard.features)[rows]
            digests["features"].update(stored)
            writer.writers["features"].append(self._features.encode(stored, counts, where))
        targets = np.asarray(shard.targets)[rows]
        digests["targets"].update(targets)
        targets = take_columns(targets, self._targets)
        writer.count_targets(targets)
        writer.writers["targets"].append(targets)
        if shard.ids is not None:
            ids = np.asarray(shard.ids)[rows]
            digests["ids"].update(ids)
            writer.append_ids(ids)
        self._progress(len(targets), self._plan.n_rows)

    @property
    def _chunk_rows(self) -> int:
        schema = self._plan.columns.schema
        row_cells = len(schema.features) + len(schema.targets) + self._plan.id_width
        return max(1, self._chunk_cells // row_cells)


class SubsetFeatures:
    """Some features of a source dataset, encoded as another dataset stores them; thread-safe.

    Parameters
    ----------
    source : Manifest
        The manifest of the source dataset.
    names : sequence of str
    options : ConvertOptions

    Attributes
    ----------
    columns : slice or ndarray of intp
        The columns of the features in the source dataset.
    """

    def __init__(self, source: Manifest, names: Sequence[str], options: ConvertOptions) -> None:
        self.columns = column_selection(names, source.features)
        self._encoder = FeatureEncoder(names, options.dtype, options.missing)
        self._store_dtype = np.dtype(options.dtype)
        # In a dataset with 0.5 for missing values, no NaN has to be replaced.
        is_filled = (source.missing, options.missing) == ("nan", "0.5")
        self._is_stored_alike = source.dtype == options.dtype and not is_filled

    def encode(self, rows: Array, counts: Int32 | None, where: str) -> Array:
        """Return these features of rows of the source dataset, as they are to be stored.

        Parameters
        ----------
        rows : ndarray, shape (rows, features of the source dataset)
        counts : ndarray of int32, shape (features, 6), or None
            The counts of the rows are added to it; None if they are known.
        where : str
            The era, for messages.

        Raises
        ------
        SourceError
            A float that isn't a code, for the int8 store.
        """
        stored = take_columns(rows, self.columns)
        if counts is None and self._is_stored_alike:
            return stored
        out = np.empty(stored.shape, self._store_dtype)
        self._encoder.encode(stored, out, counts, 0, where)
        return out


def workers_within(budget: int, n_workers: int) -> int:
    """Return the number of threads for which a budget of bytes suffices, at least one."""
    return max(1, min(n_workers, budget // WORKER_BYTES))


def column_selection(names: Sequence[str], known: Sequence[str]) -> ColumnSelection:
    """Return the positions of some columns among the known ones; a slice if they are consecutive.

    >>> column_selection(["b", "c"], ["a", "b", "c"])
    slice(1, 3, None)
    """
    position = {name: column for column, name in enumerate(known)}
    columns = np.array([position[name] for name in names], np.intp)
    if (np.diff(columns) == 1).all():
        first = int(columns[0]) if len(columns) else 0
        return slice(first, first + len(columns))
    return columns


def take_columns(rows: npt.NDArray[T], columns: ColumnSelection) -> npt.NDArray[T]:
    """Return columns of rows in C order; a view if these are all."""
    if isinstance(columns, slice):
        return np.ascontiguousarray(rows[:, columns])
    return rows.take(columns, axis=1)


def _digests(shard: Shard, writer: ShardWriter) -> dict[str, MapDigest]:
    """Return a digest of each array of the source dataset that is read."""
    arrays: dict[str, np.ndarray] = {"targets": shard.targets}
    if "features" in writer.writers:
        arrays["features"] = shard.features
    if shard.ids is not None:
        arrays["ids"] = shard.ids
    if shard.counts is not None and writer.counts is not None:
        arrays["counts"] = shard.counts
    return {name: MapDigest(shard.file(name), array) for name, array in arrays.items()}
