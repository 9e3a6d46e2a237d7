"""The last layer of built-in models: an output for each target."""

from typing import Any

import keras

from ...runs.configuration.config import TrainConfig
from ...runs.configuration.target_transforms import TargetTransform


def head(n_targets: int, config: TrainConfig, name: str = "targets") -> Any:
    """Return a layer whose outputs begin near the mean of the targets that are trained on.

    It computes in float32, whatever the layers before it do: so do the loss and its gradient.
    """
    return keras.layers.Dense(
        n_targets,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(
            TargetTransform.parse(config.target_transform).mean
        ),
        dtype="float32",
        name=name,
    )
