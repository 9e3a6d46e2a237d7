"""The built-in models: features of 0 to 1 in, one output per target.

Made of Keras's own layers only, apart from "tabm", so that ``keras.models.load_model`` opens a
saved one where this package isn't installed.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import keras

from ...errors import ConfigError, listed, nearest
from ...runs.configuration.config import TrainConfig
from ...runs.configuration.model_params import built_in_params
from ...runs.configuration.object_reference import is_reference
from ...runs.configuration.ridge_keys import RIDGE
from ...runs.lineage import SUFFIX
from ...system.resources import available_memory
from ...text import in_bytes
from .autoencoder import autoencoder
from .linear import linear
from .mlp import mlp
from .precision import layers_in
from .resnet import resnet
from .tabm import tabm
from .user_models import build_own

# Codes 0..4 in equal bins, as 0 … 1, have this mean and this standard deviation.
_FEATURE_MEAN = 0.5
_FEATURE_STD = 0.125**0.5
# Of a weight: float32, two numbers of the optimizer's, a copy of all three while a checkpoint is
# saved, and the best epoch's.
_TRAINED_BYTES = 28
# Of a row's unit: float32, its gradient, and what a step keeps for it. Measured: 8 to 27; and 12
# for a member's scaled matrix.
_ACTIVATION_BYTES = 12
_SIZES = ("k", "bottleneck")


def build(n_features: int, n_targets: int, config: TrainConfig) -> Any:
    """Make a built-in model, or one that the user's function builds.

    Parameters
    ----------
    n_features, n_targets : int
    config : TrainConfig
        The keys `model`, `model_params`, `hidden`, `activation`, `additive`, `normalization`,
        `dropout`, `precision` and `target_transform` are used.

    Returns
    -------
    keras.Model
        float32 (rows, features) to float32 (rows, targets); not compiled. Its first weights come
        from Keras's global seed (``keras.utils.set_random_seed``).

    Raises
    ------
    ConfigError
        There is no model of that name, or the user's own isn't one.
    """
    check_model_name(config.model)
    if is_reference(config.model):
        return build_own(n_features, n_targets, config)
    _check_size(n_features, n_targets, config)
    with layers_in(config.precision):
        inputs = keras.Input((n_features,), name="features")
        # In float32: rounded to 8 bits, features below and above the middle would differ in size.
        x = keras.layers.Rescaling(
            1 / _FEATURE_STD,
            offset=-_FEATURE_MEAN / _FEATURE_STD,
            dtype="float32",
            name="standardised",
        )(inputs)
        outputs = _BODIES[config.model](x, n_targets, config)
        return keras.Model(inputs, outputs, name=config.model)


def _check_size(n_features: int, n_targets: int, config: TrainConfig) -> None:
    """Raise a ConfigError of one line if a built-in model doesn't fit into memory."""
    params = built_in_params(config.model, config.model_params)
    hidden = () if config.model in ("linear", RIDGE) else config.hidden
    n_inputs, members = n_features + params.get("bottleneck", 0), params.get("k", 1)
    # Of what grows with the square of a key; the rest is small beside it.
    n_weights = sum(a * b for a, b in pairwise((n_inputs, *hidden, members * n_targets)))
    n_weights += 2 * n_features * params.get("bottleneck", 0)
    if config.model == "resnet":
        n_weights += sum(units * units for units in hidden)
    of_pairs = config.model == "mlp" and config.additive == "pairs"
    if of_pairs:
        n_weights += (1 + n_targets) * n_features * n_features
    n_activations = members * (config.batch_size or 0) * sum(hidden)
    if config.model == "tabm":  # each member's scaled matrices; see `members.MemberDense`
        n_activations += members * sum(a * b for a, b in pairwise(hidden))
    needed = n_weights * _TRAINED_BYTES + n_activations * _ACTIVATION_BYTES
    free = available_memory()
    if needed > free:
        sizes = "".join(
            f", model_params.{name} = {params[name]}" for name in _SIZES if name in params
        )
        sizes += ', additive = "pairs"' if of_pairs else ""
        raise ConfigError(
            f"hidden: {listed(map(str, hidden))}{sizes} make {n_weights:,} weights, which take at "
            f"least {in_bytes(needed)} to train on batches of {config.batch_size:,} rows; expected "
            f"at most the {in_bytes(free)} that are free: choose smaller ones"
        )


def check_model_name(name: str) -> None:
    """Raise a ConfigError if there is no model of that name."""
    if name not in _BODIES and not is_reference(name) and not name.endswith(SUFFIX):
        raise ConfigError(
            f'model: expected {listed(_BODIES)}, "package.module:function" or a file ending in '
            f"{SUFFIX}, found {name!r}{nearest(name, _BODIES)}"
        )


def brings_model(config: TrainConfig) -> bool:
    """Return True if the model is the user's: built by a function or saved before."""
    return config.model not in _BODIES


_BODIES: Mapping[str, Callable[[Any, int, TrainConfig], Any]] = MappingProxyType(
    {
        "mlp": mlp,
        "linear": linear,
        "resnet": resnet,
        "tabm": tabm,
        "autoencoder": autoencoder,
        RIDGE: linear,
    }
)
