"""Train neural networks on all of Numerai's data from memory-mapped shards.

`import memmap_train` is light: numpy and xxhash. What needs pyarrow (parquet files to convert) or
TensorFlow (`keras_batches`) imports it when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from ._version import __version__
from .batches import Batches
from .conversion import convert
from .dataset import Dataset, open_dataset, verify
from .errors import MemmapTrainError

if TYPE_CHECKING:
    from .training.keras_batches import keras_batches

__all__ = [
    "Batches",
    "Dataset",
    "MemmapTrainError",
    "__version__",
    "convert",
    "keras_batches",
    "open_dataset",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import what needs a heavy guest when it is first asked for."""
    if name == "keras_batches":
        from .training.keras_batches import keras_batches

        return keras_batches
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
