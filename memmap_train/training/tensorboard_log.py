"""The log for TensorBoard: each epoch's scores as scalars.

Takes rows of `history.csv`; writes files that TensorBoard shows; it needn't be installed.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

# `tf.summary.scalar` writes the same, but needs TensorBoard, which only reading requires.
_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
)


class TensorBoardLog(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes each epoch's row of `history.csv` as scalars into a folder that TensorBoard shows.

    If it can't be written, a warning is reported and training continues without it.

    Parameters
    ----------
    folder : Path
    warn : callable
        Called with one line.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        super().__init__()
        self._folder, self._warn = folder, warn
        self._writer: Any = None

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Begin another file in the folder."""
        with self._tolerating_a_full_disk():
            self._writer = tf.summary.create_file_writer(os.fsencode(self._folder))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the scores at the number of epochs done."""
        if self._writer is None:
            return
        with self._tolerating_a_full_disk():
            with self._writer.as_default():
                for name, value in (logs or {}).items():
                    tensor = tf.constant(value, tf.float32)
                    tf.summary.write(name, tensor, step=epoch + 1, metadata=_SCALAR)
            self._writer.flush()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Close the file."""
        if self._writer is not None:
            with self._tolerating_a_full_disk():
                self._writer.close()

    @contextmanager
    def _tolerating_a_full_disk(self) -> Iterator[None]:
        try:
            yield
        except (tf.errors.OpError, OSError) as error:
            self._writer = None
            reason = " ".join(str(error).split())
            self._warn(
                f"{self._folder}: the log for TensorBoard couldn't be written ({reason:.200}); "
                "training continues without it"
            )
