"""The rows of a ridge regression: features of a block, read while the one before is multiplied.

Takes the eras of a part; yields blocks of features as float32, with labels. Files of these eras
alone are opened.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import numpy as np

from ...arrays import Float32
from ...dataset.dataset import Dataset
from ...loading.sequential import SequentialReader
from ...system.checksum import Checksum
from ...system.threads import ThreadPool
from ..validation.validation import MappedColumns
from .parts import Block

_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def are_codes(dataset: Dataset, columns: Sequence[int] | None, fill_missing: float | None) -> bool:
    """Return True if all features of a dataset's eras are codes, which a store counts.

    Parameters
    ----------
    dataset : Dataset
        The eras to train on.
    columns : sequence of int or None
        The columns of the features; None for all.
    fill_missing : float or None
        What missing features become.
    """
    if dataset.manifest.scale is not None:
        return True
    for shard in dataset.values():
        if shard.counts is None:  # of an earlier version
            return False
        counts = np.asarray(shard.counts if columns is None else shard.counts[list(columns)])
        if (counts.sum(axis=1) != shard.n_rows).any():
            return False
        if counts[:, -1].any() and fill_missing is not None and fill_missing not in _QUARTERS:
            return False
    return True


class TrainingLabels:
    """The labels of the eras to train on: as the dataset has them, and as they are trained on.

    Parameters
    ----------
    dataset : Dataset
        The eras to train on.
    raw : MappedColumns
        Their labels.
    transformed : ndarray of float32, shape (rows, targets), or None
        What is trained on instead, of all rows; None: the labels.
    """

    def __init__(self, dataset: Dataset, raw: MappedColumns, transformed: Float32 | None) -> None:
        self._positions = {era: position for position, era in enumerate(dataset.eras)}
        self._offsets, self._raw, self._transformed = dataset.row_offsets, raw, transformed

    def raw(self, era: str) -> Float32:
        """Return the labels of an era, which scores are computed with: shape (rows, targets)."""
        return self._raw.of_era(self._positions[era])

    def trained(self, era: str) -> Float32:
        """Return what is trained on in an era: shape (rows, targets)."""
        if self._transformed is None:
            return self.raw(era)
        position = self._positions[era]
        return np.asarray(self._transformed[self._offsets[position] : self._offsets[position + 1]])

    def digest(self) -> str:
        """Return a checksum of all labels of both kinds."""
        found = Checksum()
        for era in self._positions:
            found.update(np.ascontiguousarray(self.raw(era)))
            if self._transformed is not None:
                found.update(np.ascontiguousarray(self.trained(era)))
        return found.text


class BlockReader:
    """Reads the blocks of a part.

    Parameters
    ----------
    part : Dataset
        The eras of the part.
    columns : tuple of int or None
        Columns of the features; None for all.
    n_features, most_rows : int
        The size of a block's buffer; two are in use.
    past_cache : bool
        Read with direct I/O; see `placement.is_past_cache`.
    fill_missing : float or None
        What missing features become.

    Attributes
    ----------
    waited : float
        The seconds for which a block wasn't there when it was needed.
    """

    def __init__(
        self,
        part: Dataset,
        columns: tuple[int, ...] | None,
        n_features: int,
        most_rows: int,
        *,
        past_cache: bool,
        fill_missing: float | None,
    ) -> None:
        self._part, self._fill_missing = part, fill_missing
        self._reader = SequentialReader(part, columns, past_cache=past_cache)
        n_rows = min(most_rows, part.n_rows)
        self._buffers = [np.empty((n_rows, n_features), np.float32) for _ in range(2)]
        self.waited = 0.0

    def read(
        self, blocks: Sequence[Block], labels_of: Callable[[str], Float32]
    ) -> Iterator[tuple[Block, Float32, Float32]]:
        """Yield each block with its features and labels, which may be overwritten.

        Parameters
        ----------
        blocks : sequence of Block
        labels_of : callable
            Returns the labels of an era, of shape (rows, targets).
        """
        threads = ThreadPool(1, thread_name_prefix="memmap-train-ridge")
        with closing(self._reader), threads as thread:
            coming = thread.submit(self._features, blocks[0], 0) if blocks else None
            for number, block in enumerate(blocks):
                assert coming is not None
                began = time.perf_counter()
                features = coming.result()
                self.waited += time.perf_counter() - began
                if number + 1 < len(blocks):
                    coming = thread.submit(self._features, blocks[number + 1], (number + 1) % 2)
                yield block, features, self._labels(block, labels_of)

    def _features(self, block: Block, buffer: int) -> Float32:
        features = self._buffers[buffer][: block.high - block.low]
        self._reader.fill(features, block.low)
        if self._fill_missing is not None:
            np.copyto(features, np.float32(self._fill_missing), where=np.isnan(features))
        return features

    def _labels(self, block: Block, labels_of: Callable[[str], Float32]) -> Float32:
        offsets, found = self._part.row_offsets, []
        era = int(np.searchsorted(offsets, block.low, side="right")) - 1
        while offsets[era] < block.high:
            rows = slice(max(0, block.low - offsets[era]), block.high - offsets[era])
            found.append(labels_of(self._part.eras[era])[rows])
            era += 1
            if era == len(self._part.eras):
                break
        return np.concatenate(found)
