"""The model "tabm": an ensemble of mlps in one, which share their weights apart from adapters.

Its loss in training is the mean of the members' losses; it predicts the mean of their outputs.
"""

from typing import Any

import keras

from ...runs.configuration.config import TrainConfig
from ...runs.configuration.model_params import built_in_params
from ...runs.configuration.target_transforms import TargetTransform
from .heads import head
from .members import MeanOfMembers, MemberDense, MemberOutputs


def tabm(features: Any, n_targets: int, config: TrainConfig) -> Any:
    """Return the outputs, shape (rows, targets), for standardised features."""
    layers, x = keras.layers, features
    members = built_in_params("tabm", config.model_params)["k"]
    if not config.hidden:
        return head(n_targets, config)(x)
    for number, units in enumerate(config.hidden, start=1):
        x = MemberDense(members, units, is_first=number == 1, name=f"hidden_{number}")(x)
        x = layers.Activation(config.activation, name=f"activation_{number}")(x)
        if config.dropout:
            # The same units of all members: drawing numbers takes more time than multiplying.
            shape = (1, None, units)
            x = layers.Dropout(config.dropout, noise_shape=shape, name=f"dropout_{number}")(x)
    start = TargetTransform.parse(config.target_transform).mean
    outputs = MemberOutputs(n_targets, start, dtype="float32", name="members")(x)
    return MeanOfMembers(dtype="float32", name="targets")(outputs)
