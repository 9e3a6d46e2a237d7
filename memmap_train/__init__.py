"""Train neural networks on all of Numerai's data from memory-mapped shards.

Public names are imported lazily, together with the third-party packages that they need: numpy for
datasets and batches, pyarrow for parquet files, TensorFlow for `keras_batches`, PyTorch for
`torch_batches`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .conversion.conversion import convert
    from .dataset.dataset import Dataset, open_dataset
    from .dataset.verify import Problem, verify
    from .errors import MemmapTrainError
    from .loading.batches import Batches
    from .loading.sampler import Sampler
    from .loading.torch_batches import torch_batches
    from .training.keras_batches import keras_batches

__all__ = [
    "Batches",
    "Dataset",
    "MemmapTrainError",
    "Problem",
    "Sampler",
    "__version__",
    "convert",
    "keras_batches",
    "open_dataset",
    "torch_batches",
    "verify",
]

_HOMES = {
    "Batches": "loading.batches",
    "Dataset": "dataset.dataset",
    "MemmapTrainError": "errors",
    "Problem": "dataset.verify",
    "Sampler": "loading.sampler",
    "convert": "conversion.conversion",
    "keras_batches": "training.keras_batches",
    "open_dataset": "dataset.dataset",
    "torch_batches": "loading.torch_batches",
    "verify": "dataset.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
