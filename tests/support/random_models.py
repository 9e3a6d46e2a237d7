"""Runs whose models have random weights, for tests of what is done with predictions."""

from pathlib import Path
from typing import Any

import numpy as np

from memmap_train.runs.run_folder import begin_run
from memmap_train.training.models.build import build
from tests.support.run_records import run_record
from tests.support.training_data import small_config


def make_run(path: Path, features: list[str], **config: Any) -> Any:
    """Write a run with a model of random weights; return the model."""
    run = begin_run(path, run_record(features=features, dataset="D", **config))
    of_model = {key: config[key] for key in ("model", "model_params") if key in config}
    model = build(len(features), 2, small_config(hidden=(16,), **of_model))
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(np.random.default_rng([number]).standard_normal(weight.shape))
    model.save(run.model_path)
    return model
