"""Predict eras in order with a model.

Takes a model and a dataset; returns float32 predictions of every row, in the dataset's order.
Rows pass the model in blocks of one fixed size, so that a row's prediction never depends on a batch
size; two blocks and one era are held in memory at a time.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import tensorflow as tf

from ...arrays import Float32
from ...dataset.dataset import Dataset
from ...errors import ConfigError, listed
from ...loading.sequential import SequentialReader
from ...system.buffers import BufferPool
from ...system.threads import ThreadPool
from ..step import as_tensor, filled

RowsDone = Callable[[int, int], None]
"""Called with the rows done and the rows in all."""

BLOCK_ROWS = 4096


class Predictor:
    """A model that predicts whole eras.

    Parameters
    ----------
    model : keras.Model
    fill_missing : float or None
        The value of missing features; None: there are none.
    """

    def __init__(self, model: Any, fill_missing: float | None) -> None:
        n_features = model.input_shape[1]
        signature = [tf.TensorSpec((BLOCK_ROWS, n_features), tf.float32)]

        @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
        def run(x: Any) -> Any:
            return model(filled(x, fill_missing), training=False)

        self.run = run
        """The compiled forward pass: (BLOCK_ROWS, features) to (BLOCK_ROWS, targets)."""
        run.get_concrete_function()  # a model that fails does so now, not after the first epoch
        # Never given back: the two blocks are filled in turn, each when its predictions are done.
        memory = BufferPool()
        shape, dtype = (BLOCK_ROWS, n_features), np.dtype(np.float32)
        self._blocks = [memory.array(shape, dtype) for _ in range(2)]
        for block in self._blocks:
            block.fill(0)

    def predict(
        self,
        dataset: Dataset,
        feature_names: Sequence[str],
        *,
        past_cache: bool = False,
        progress: RowsDone | None = None,
    ) -> Generator[tuple[str, Float32], None, None]:
        """Yield every era of a dataset with the predictions of its rows.

        Parameters
        ----------
        dataset : Dataset
        feature_names : sequence of str
            The names of the features, in the order of the model's inputs.
        past_cache : bool
            Whether to read the features with direct I/O; see `placement.is_past_cache`.
        progress : callable(rows done, rows), optional
            Called after each block.

        Yields
        ------
        tuple of str and ndarray of float32, shape (rows, targets)
            The array is the caller's own.

        Raises
        ------
        DatasetError
            The dataset lacks a feature.
        """
        columns = dataset.feature_columns(list(feature_names))
        reader = SequentialReader(dataset, columns, past_cache=past_cache)
        with closing(self._outputs(reader, dataset.n_rows, progress)) as outputs:
            eras = regroup(outputs, dataset.rows_per_era)
            yield from zip(dataset.eras, eras, strict=True)

    def _outputs(
        self, source: SequentialReader, n_rows: int, progress: RowsDone | None
    ) -> Generator[Float32, None, None]:
        """Yield the model's outputs of all rows, block after block."""
        threads = ThreadPool(1, thread_name_prefix="memmap-train-predict")
        with closing(source), threads as reader:
            future = reader.submit(source.fill, self._blocks[0], 0)
            for number, low in enumerate(range(0, n_rows, BLOCK_ROWS)):
                future.result()
                high = min(low + BLOCK_ROWS, n_rows)
                if high < n_rows:
                    other = self._blocks[(number + 1) % 2]
                    future = reader.submit(source.fill, other, high)
                # Waiting for the result is what makes it safe to fill this block again.
                output = np.array(self.run(as_tensor(self._blocks[number % 2])).numpy())
                if progress is not None:
                    progress(high, n_rows)
                yield output[: high - low]


def regroup(blocks: Iterable[Float32], rows_per_era: Sequence[int]) -> Iterator[Float32]:
    """Yield the rows of each era, from blocks of rows that end anywhere.

    Parameters
    ----------
    blocks : iterable of ndarray of float32, shape (any number of rows, columns)
        The rows of all eras in order; at most one block more than an era needs is taken before the
        era is yielded.
    rows_per_era : sequence of int
        The rows of each era, at least one.

    Yields
    ------
    ndarray of float32, shape (rows of the era, columns)
        A copy.

    Examples
    --------
    >>> rows = np.arange(6, dtype=np.float32)[:, None]
    >>> [era[:, 0].tolist() for era in regroup([rows[:4], rows[4:]], [1, 2, 3])]
    [[0.0], [1.0, 2.0], [3.0, 4.0, 5.0]]
    """
    sizes, pending, n_pending = deque(rows_per_era), list[Float32](), 0
    for block in blocks:
        pending.append(block)
        n_pending += len(block)
        if sizes and sizes[0] <= n_pending:
            rows = np.concatenate(pending)
            while sizes and sizes[0] <= len(rows):
                n_rows = sizes.popleft()
                yield rows[:n_rows].copy()
                rows = rows[n_rows:]
            pending, n_pending = [rows], len(rows)


def check_missing(dataset: Dataset, fill_missing: float | None) -> None:
    """Raise a ConfigError if features are missing and `fill_missing` is None."""
    if fill_missing is not None or dataset.manifest.missing != "nan":
        return
    eras = [era for era in dataset.eras if dataset.entry(era).missing_features]
    if eras:
        raise ConfigError(
            f"{dataset.path}: features are missing (NaN) in {len(eras):,} eras: {listed(eras, 3)}; "
            "train with --set fill_missing=0.5, or convert without --missing nan"
        )
