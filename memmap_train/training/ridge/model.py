"""The Keras model of a ridge regression, and what it takes to fit one.

Takes a resolved configuration; returns a model, or the plan of the work.
"""

import math
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
from .rows import are_codes
from .strength import LinearModel
from .sums import block_rows

_PROBED_ROWS = 2048
_PROBE_SECONDS = 0.2
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
    free = PROCESS_MEMORY.available()
    needed = _needed_bytes(n_features, n_groups, itemsize=8)
    if needed > free and _are_codes(setup):
        needed = _needed_bytes(n_features, n_groups, itemsize=4)
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

    The first product is slower: threads start, and memory is touched that the sums use again. Small
    ones wait for cores that others use.
    """
    n_rows = min(block_rows(n_features), _PROBED_ROWS)
    block = np.ones((n_rows, n_features), np.float32)
    product = np.empty((n_features, n_features), np.float32)
    np.matmul(block.T, block, out=product)
    seconds, done = math.inf, 0.0
    while done < _PROBE_SECONDS:
        began = time.perf_counter()
        np.matmul(block.T, block, out=product)
        took = time.perf_counter() - began
        seconds, done = min(seconds, took), done + took
    return seconds / n_rows / _SHARE


def _are_codes(setup: Setup) -> bool:
    columns = setup.dataset.feature_columns(setup.config.features)
    return are_codes(setup.batches.dataset, columns, setup.config.fill_missing)


def _needed_bytes(n_features: int, n_groups: int, *, itemsize: int) -> int:
    """Return the bytes for sums and a factorisation, and for products and blocks of rows.

    Features that are codes are multiplied as they are read, with an `itemsize` of 4; others in a
    copy, with one of 8.
    """
    rows = block_rows(n_features) * n_features
    blocks = rows * (2 * 4 + (itemsize if n_groups > 1 else 0) + (itemsize if itemsize > 4 else 0))
    product = itemsize * matrix_bytes(n_features) // 8
    return (n_groups + 1) * matrix_bytes(n_features) + product + blocks
