"""Runs whose models have random weights, for tests of what is done with predictions."""

from pathlib import Path
from typing import Any

import numpy as np

from memmap_train.runs.run import begin_run
from memmap_train.training.models.build import build
from tests.support.run_records import run_record
from tests.support.training_data import small_config


def make_run(path: Path, features: list[str], **config: Any) -> Any:
    """Write a run with a model of random weights; return the model."""
    run = begin_run(path, run_record(features=features, dataset="D", **config))
    model = build(len(features), 2, small_config(hidden=(16,)))
    model.set_weights(
        [
            np.random.default_rng([number]).standard_normal(weight.shape).astype(np.float32)
            for number, weight in enumerate(model.get_weights())
        ]
    )
    model.save(run.model_path)
    return model
