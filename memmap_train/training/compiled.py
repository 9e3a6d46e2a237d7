"""The model of a training, and its compiled functions: the step and the forward pass.

Takes a resolved configuration; returns a `TrainStep` and a `Predictor` of one Keras model.
"""

from typing import Any

import keras
import tensorflow as tf

from ..runs.configuration.object_reference import user_code
from .losses.batch_loss import try_loss
from .models.build import brings_model, build
from .models.user_models import open_saved
from .prediction.predictor import Predictor
from .resolve import Setup
from .step import TrainStep


def make_model(setup: Setup) -> Any:
    """Build the model; its initial weights are the same in equal runs."""
    config = setup.config
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.seed)
    shape, initial = (len(setup.batches.feature_names), len(config.targets)), setup.initial
    if initial is not None:
        return open_saved(*shape, initial.file, initial.lineage.code)
    return build(*shape, config)


def compile_model(setup: Setup) -> tuple[TrainStep, Predictor]:
    """Make the model, and the compiled functions that train it and predict with it.

    Raises
    ------
    ConfigError
        The user's model or loss can't be made, or fails on rows of this dataset's shapes.
    """
    config, model = setup.config, make_model(setup)
    n_features, n_targets = len(setup.batches.feature_names), len(config.targets)
    try_loss(config, n_features, n_targets)
    if not brings_model(config):
        return (
            TrainStep(model, n_features, n_targets, config),
            Predictor(model, config.fill_missing),
        )
    with user_code(f"model: {config.model} fails in training"):
        step = TrainStep(model, n_features, n_targets, config)
    with user_code(f"model: {config.model} fails in prediction"):
        return step, Predictor(model, config.fill_missing)
