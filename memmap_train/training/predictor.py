"""A model over eras in order: predictions era by era.

In come a model and a dataset, out come float32 predictions of every row, in the dataset's order.
Rows pass the model in blocks of one fixed size, so that a row's prediction never depends on a batch
size; two blocks and one era are held in memory at a time.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ..dataset.dataset import Dataset
from ..errors import ConfigError, listed
from ..loading.sequential import SequentialReader
from ..system.buffers import BufferPool
from ..system.threads import ThreadPool
from .step import as_tensor, filled

Float32 = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]

BLOCK_ROWS = 4096


class Predictor:
    """A model that predicts whole eras.

    Parameters
    ----------
    model : keras.Model
    fill_missing : float or None
        What missing features become; None: there are none.
    """

    def __init__(self, model: Any, fill_missing: float | None) -> None:
        n_features = model.input_shape[1]
        signature = [tf.TensorSpec((BLOCK_ROWS, n_features), tf.float32)]

        @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
        def run(x: Any) -> Any:
            return model(filled(x, fill_missing), training=False)

        self.run = run
        """The compiled forward pass: (BLOCK_ROWS, features) to (BLOCK_ROWS, targets)."""
        run.get_concrete_function()  # now, not after the first epoch, fails what fails
        # Never given back: the two blocks are filled in turn, each when its predictions are there.
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
        progress: Progress | None = None,
    ) -> Generator[tuple[str, Float32], None, None]:
        """Yield every era of a dataset with the predictions of its rows.

        Parameters
        ----------
        dataset : Dataset
        feature_names : sequence of str
            In the model's order.
        past_cache : bool
            Read the features from the disk itself; see `storage.is_past_cache`.
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
        blocks = SequentialReader(dataset, columns, past_cache=past_cache)
        firsts = dataset.row_offsets
        n_rows = dataset.n_rows
        pending: list[Float32] = []
        era = 0
        threads = ThreadPool(1, thread_name_prefix="memmap-train-predict")
        with closing(blocks), threads as reader:
            future = reader.submit(blocks.fill, self._blocks[0], 0)
            for number, low in enumerate(range(0, n_rows, BLOCK_ROWS)):
                future.result()
                high = min(low + BLOCK_ROWS, n_rows)
                if high < n_rows:
                    other = self._blocks[(number + 1) % 2]
                    future = reader.submit(blocks.fill, other, high)
                # Waiting for the result is what makes it safe to fill this block again.
                output = np.array(self.run(as_tensor(self._blocks[number % 2])).numpy())
                pending.append(output[: high - low])
                if progress is not None:
                    progress(high, n_rows)
                while era < len(dataset.eras) and firsts[era + 1] <= high:
                    known = np.concatenate(pending)
                    n_era = firsts[era + 1] - firsts[era]
                    yield dataset.eras[era], known[:n_era].copy()
                    pending, era = [known[n_era:]], era + 1


def check_missing(dataset: Dataset, fill_missing: float | None) -> None:
    """Raise a ConfigError if features are missing and nothing says what they should become."""
    if fill_missing is not None or dataset.manifest.missing != "nan":
        return
    eras = [era for era in dataset.eras if dataset.entry(era).missing_features]
    if eras:
        raise ConfigError(
            f"{dataset.path}: features are missing (NaN) in {len(eras):,} eras: {listed(eras, 3)}; "
            "train with --set fill_missing=0.5, or convert without --missing nan"
        )
