"""The Keras model of a ridge regression, and what it takes to fit one.

Takes a resolved configuration; returns a model, or the plan of the work.
"""

import time
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from ...errors import ConfigError
from ...loading.placement import is_past_cache
from ...runs.reports.plan import TrainPlan
from ...system.memory_budget import PROCESS_MEMORY
from ...text import in_bytes
from ..resolve import Setup
from .strength import LinearModel
from .sums import block_rows

_PROBED_ROWS, _N_PROBED = 2048, 3
_SHARE = 0.85
"""Of the time of all sums, that of the products; see `make bench ARGS=ridge`."""


def keras_model(found: LinearModel) -> Any:
    """Return one dense layer, which computes in float32 whatever Keras's policy is.

    Parameters
    ----------
    found : LinearModel

    Returns
    -------
    keras.Model
        (rows, features) to (rows, targets). A Keras without this package loads it.
    """
    n_features, n_targets = found.weights.shape
    inputs = keras.Input((n_features,), name="features", dtype="float32")
    outputs = keras.layers.Dense(n_targets, name="targets", dtype="float32")(inputs)
    model = keras.Model(inputs, outputs, name="ridge")
    model.set_weights([found.weights, found.biases])
    return model


def matrix_bytes(n_features: int) -> int:
    """Return the size of a matrix of features x features in float64."""
    return 8 * n_features * n_features


def check_memory(setup: Setup, n_groups: int = 1) -> None:
    """Raise a ConfigError of one line if the sums don't fit into memory.

    Parameters
    ----------
    setup : Setup
    n_groups : int
        Groups of targets that have labels in the same rows.
    """
    n_features = len(setup.batches.feature_names)
    needed = _needed_bytes(n_features, n_groups)
    free = PROCESS_MEMORY.available()
    if needed > free:
        alike = "" if n_groups == 1 else ", or on targets that have labels in the same rows"
        raise ConfigError(
            f"features: the sums of a ridge regression on {n_features:,} features take "
            f"{in_bytes(needed)}; expected at most the {in_bytes(free)} that are free: train on a "
            f"smaller feature set{alike}"
        )


def plan_of_ridge(setup: Setup, plan: TrainPlan) -> TrainPlan:
    """Return the plan of a ridge regression, from that of a net on the same eras.

    Raises
    ------
    ConfigError
        The sums don't fit into memory.
    """
    check_memory(setup)
    train, n_features = setup.batches.dataset, plan.n_features
    where = "from the disk, with direct I/O" if is_past_cache(train) else "through the page cache"
    return replace(
        plan,
        batch_size=train.n_rows,
        steps_per_epoch=1,
        epochs=1,
        first_step=0,
        epochs_done=0,
        shuffling="none: products of all rows are added up, era after era",
        reading=f"each era once, in order, {where}",
        buffer_bytes=2 * 4 * block_rows(n_features) * n_features,
        state_bytes=matrix_bytes(n_features),
        best_bytes=4 * plan.n_parameters,
        in_closed_form=True,
    )


def seconds_per_row(n_features: int) -> float:
    """Return about how long the sums of a ridge regression take for a row, by products of a block.

    The first product is slower: threads start, and memory is touched that the sums use again.
    """
    n_rows = min(block_rows(n_features), _PROBED_ROWS)
    block = np.ones((n_rows, n_features), np.float32)
    product = np.empty((n_features, n_features), np.float32)
    seconds = []
    for _ in range(1 + _N_PROBED):
        began = time.perf_counter()
        np.matmul(block.T, block, out=product)
        seconds.append(time.perf_counter() - began)
    return float(min(seconds[1:]) / n_rows / _SHARE)


def _needed_bytes(n_features: int, n_groups: int) -> int:
    """Return the bytes for sums and a factorisation, and for products or blocks of rows."""
    blocks = 4 * block_rows(n_features) * n_features * (3 if n_groups > 1 else 2)
    return (n_groups + 1) * matrix_bytes(n_features) + matrix_bytes(n_features) // 2 + blocks
