"""Train neural networks on all of Numerai's data from memory-mapped shards.

Public names are imported lazily, together with the third-party packages that they need: numpy for
datasets and batches, pyarrow for parquet files, TensorFlow for models, PyTorch for `torch_batches`.
`memmap_train.types` has the types of what they take and return.
"""

from typing import TYPE_CHECKING

from . import types
from ._lazy import lazy_attributes
from ._version import __version__

__all__ = [
    "Batches",
    "Dataset",
    "Fold",
    "MemmapTrainError",
    "Problem",
    "Sampler",
    "TrainConfig",
    "__version__",
    "convert",
    "download",
    "evaluate",
    "export",
    "keras_batches",
    "open_dataset",
    "open_run",
    "predict",
    "split",
    "submit",
    "sweep",
    "torch_batches",
    "train",
    "types",
    "verify",
    "walk_forward",
]

_HOMES = {
    "Batches": "loading.batches",
    "Dataset": "dataset.dataset",
    "Fold": "runs.folds.fold",
    "MemmapTrainError": "errors",
    "Problem": "dataset.verify",
    "Sampler": "loading.sampler",
    "TrainConfig": "runs.configuration.config",
    "convert": "conversion.conversion",
    "download": "numerai.download.download",
    "evaluate": "scoring.evaluate",
    "export": "numerai.export.export",
    "keras_batches": "training.keras_batches",
    "open_dataset": "dataset.opening",
    "open_run": "training.trained_run",
    "predict": "training.prediction.predict",
    "split": "runs.folds.folds",
    "submit": "numerai.submission.submit",
    "sweep": "training.sweeps.trained_sweep",
    "torch_batches": "loading.torch_batches",
    "train": "training.trained_run",
    "verify": "dataset.verify",
    "walk_forward": "runs.folds.folds",
}

if TYPE_CHECKING:
    from .conversion.conversion import convert
    from .dataset.dataset import Dataset
    from .dataset.opening import open_dataset
    from .dataset.verify import Problem, verify
    from .errors import MemmapTrainError
    from .loading.batches import Batches
    from .loading.sampler import Sampler
    from .loading.torch_batches import torch_batches
    from .numerai.download.download import download
    from .numerai.export.export import export
    from .numerai.submission.submit import submit
    from .runs.configuration.config import TrainConfig
    from .runs.folds.fold import Fold
    from .runs.folds.folds import split, walk_forward
    from .scoring.evaluate import evaluate
    from .training.keras_batches import keras_batches
    from .training.prediction.predict import predict
    from .training.sweeps.trained_sweep import sweep
    from .training.trained_run import open_run, train
else:
    __getattr__ = lazy_attributes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
