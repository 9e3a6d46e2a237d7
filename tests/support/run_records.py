"""A run's record without a training: what the tests of runs write into `config.json`."""

from typing import Any

from memmap_train.runs.folds.fold import Fold
from memmap_train.runs.record import RunRecord, fold_record

RECORD: dict[str, Any] = {
    "epochs": 3,
    "memory": None,
    "checkpoint_steps": 0,
    "checkpoint_minutes": 10.0,
    "tensorboard": False,
    "learning_rate": 0.001,
    "model": "mlp",
    "features": [f"feature_{number}" for number in range(50)],
    "targets": ["target"],
    "main_target": "target",
    "fill_missing": None,
    "embargo_eras": 2,
    **fold_record(Fold(("1",), ("5",), ("3",), 2)),
    "dataset": "/data/shards",
    "dataset_digest": "sha256:aa",
    "keras_version": "3.15.1",
}


def run_record(**changes: Any) -> RunRecord:
    """Return the record of an ordinary run, with some keys changed."""
    return RunRecord.from_json(RECORD | changes)
