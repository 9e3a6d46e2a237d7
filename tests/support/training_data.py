"""What the tests of training share: a configuration, rows, a reporter that acts at a chosen call.

The datasets are in `training_fixtures`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import memmap_train as mt
from memmap_train.runs.checkpoints.checkpoints import Checkpoint, load_newest
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.reports.plan import TrainPlan
from memmap_train.runs.reports.reporter import Reporter
from memmap_train.runs.resume import identity_of
from memmap_train.runs.run import read_run

PLAIN_INSTALL = "import sys; sys.modules.update(pandas=None, sklearn=None)"
"""Code for a process that trains: Keras takes half a second to import these, where they are."""

N_ERAS, ROWS_PER_ERA, N_FEATURES = 24, 80, 8
STEPS_PER_EPOCH = 15  # 12 eras of 80 rows are left to train on, in batches of 64


def small_config(**changes: Any) -> TrainConfig:
    """Return a configuration for the small sample: 15 steps an epoch, several pools."""
    values: dict[str, Any] = {
        "batch_size": 64,
        "window_size": 4,
        "pool_batches": 4,
        "hidden": (8,),
        "dropout": 0.2,
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "schedule": "constant",
        "epochs": 2,
        "patience": 0,
        "validation_eras": 4,
        "checkpoint_minutes": 0.0,
        "baseline": "none",
        "additive": "none",
    }
    return TrainConfig(**(values | changes))


def newest_checkpoint(run_dir: Path) -> Checkpoint | None:
    """Return the newest undamaged checkpoint of a run."""
    return load_newest(run_dir / "checkpoints", identity_of(read_run(run_dir)), print)


class Script(Reporter):
    """Records its calls, and calls `action` at one of them.

    Parameters
    ----------
    call : str
        Name and number of a call, such as "step 7", "validation 1" or "epoch 2".
    action : callable
    """

    seconds_between_reports = 0.0

    def __init__(self, call: str = "", action: Callable[[], object] = lambda: None) -> None:
        self.calls: list[str] = []
        self.rows: list[Mapping[str, float]] = []
        self.steps: list[tuple[int, int, float, float, float]] = []
        self.warnings: list[str] = []
        self.plan: TrainPlan | None = None
        self._call, self._action = call, action

    def started(self, plan: TrainPlan) -> None:
        self.plan = plan
        self._note("started")

    def step(
        self, step_in_epoch: int, rows: int, loss: float, rows_per_second: float, data_wait: float
    ) -> None:
        self.steps.append((step_in_epoch, rows, loss, rows_per_second, data_wait))
        self._note("step")

    def validation(self, rows_done: int, n_rows: int) -> None:
        self._note("validation")

    def scored(self, row: Mapping[str, float]) -> None:
        self._note("scored")

    def epoch(self, row: Mapping[str, float]) -> None:
        self.rows.append(row)
        self._note("epoch")

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def _note(self, name: str) -> None:
        self.calls.append(name)
        if self._call == f"{name} {self.calls.count(name)}":
            self._action()


def all_rows(
    dataset: mt.Dataset, target: str = "target"
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the float32 features and one target of all rows, in the dataset's order."""
    features = [
        dataset.decode(np.asarray(dataset[era].features), np.empty(shape, np.float32))
        for era in dataset.eras
        for shape in [dataset[era].features.shape]
    ]
    column = dataset.target_names.index(target)
    targets = [np.asarray(dataset[era].targets)[:, column] for era in dataset.eras]
    return np.concatenate(features), np.concatenate(targets)


def numpy_loss(kind: str, predictions: Any, targets: Any) -> tuple[float, int]:
    error = (predictions.astype(np.float64) - targets)[~np.isnan(targets)]
    size = np.abs(error)
    loss = {
        "mse": error**2,
        "mae": size,
        "huber": np.where(size < 0.25, error**2 / 2, 0.25 * (size - 0.125)),
    }[kind]
    return float(loss.sum()), len(error)
