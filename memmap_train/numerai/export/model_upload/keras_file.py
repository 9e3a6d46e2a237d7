"""A model that only Keras can run: opened from the bytes of its file, in the runner's process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def opened_model(content: bytes, classes: dict[str, Any]) -> Any:
    """Return a saved model.

    Parameters
    ----------
    content : bytes
        A .keras file.
    classes : dict of str to class
        Layers that aren't Keras's own, by their registered names.
    """
    import tempfile
    from pathlib import Path

    import keras

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(content)
        return keras.models.load_model(path, custom_objects=classes, compile=False)


def outputs_of(model: Any, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a model's outputs for a block of rows."""
    return np.asarray(model(block, training=False), np.float32)
