"""The scores of numerai-tools for arrays of one era, and eras to score."""

import warnings
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numerai_tools import scoring
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
BINS = np.array([0, 0.25, 0.5, 0.75, 1])


def _frame(values: Array, rows: Array) -> pd.DataFrame:
    return pd.DataFrame(values[rows], index=[f"n{row:07}" for row in np.flatnonzero(rows)])


def official_contribution(predictions: Array, other: Array, target: Array) -> Array:
    """Return `correlation_contribution` of the rows that have a target and another prediction."""
    rows = ~(np.isnan(other) | np.isnan(target))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides by zero where nothing is defined
        found = scoring.correlation_contribution(
            _frame(predictions, rows), _frame(other, rows)[0], _frame(target, rows)[0]
        )
    return np.asarray(found.to_numpy())


def official_residual(predictions: Array, features: Array, proportion: float = 1.0) -> Array:
    """Return `neutralize` of whole arrays."""
    rows = np.ones(len(features), bool)
    found = scoring.neutralize(_frame(predictions, rows), _frame(features, rows), proportion)
    return np.asarray(found.to_numpy())


def official_fnc(predictions: Array, features: Array, target: Array) -> Array:
    """Return `feature_neutral_corr` of the rows that have a target."""
    rows = ~np.isnan(target)
    found = scoring.feature_neutral_corr(
        _frame(predictions, rows), _frame(features, rows), _frame(target, rows)[0].rename("target")
    )
    return np.asarray(found.to_numpy())


def official_exposure(predictions: Array, features: Array) -> tuple[int, float]:
    """Return the position of the feature and the value of `max_feature_correlation`."""
    rows = np.ones(len(features), bool)
    found = scoring.max_feature_correlation(_frame(predictions, rows)[0], _frame(features, rows))
    return int(found[0]), float(found[1])


def make_features(n_rows: int, n_features: int, seed: int = 0) -> NDArray[np.int8]:
    """Return correlated codes: one feature is constant, one twice, one inverted, one a sum."""
    generator = np.random.default_rng([seed])
    common = generator.normal(size=(n_rows, 5)) @ generator.normal(size=(5, n_features))
    values = 0.5 * common + generator.normal(size=(n_rows, n_features))
    edges = np.quantile(values, [0.2, 0.4, 0.6, 0.8], axis=0)
    codes: NDArray[np.int8] = (values[None] > edges[:, None]).sum(axis=0).astype(np.int8)
    if n_features >= 8:
        codes[:, 1] = 2
        codes[:, 3] = codes[:, 2]
        codes[:, 4] = 4 - codes[:, 0]
        codes[:, 5] = generator.integers(0, 3, n_rows)
        codes[:, 6] = generator.integers(0, 3, n_rows)
        codes[:, 7] = codes[:, 5] + codes[:, 6]
    return codes


def make_era(
    n_rows: int, n_features: int, *, missing: float = 0.0, seed: int = 0
) -> tuple[NDArray[np.int8], Array, Array, Array]:
    """Return features, predictions (free of ties, tied), another model's, and a target."""
    generator = np.random.default_rng([seed, 1])
    features = make_features(n_rows, n_features, seed)
    signal = features[:, : min(5, n_features)].sum(axis=1) - 5
    free = signal * 0.1 + generator.normal(size=n_rows)
    predictions = np.column_stack([free, np.round(2 * free)])
    other = 0.5 * free + generator.normal(size=n_rows)
    target = generator.choice(BINS, n_rows, p=[0.05, 0.2, 0.5, 0.2, 0.05])
    target[generator.random(n_rows) < missing] = np.nan
    return features, predictions, other, target


def as_stored(codes: NDArray[np.int8], kind: str) -> NDArray[Any]:
    """Return codes as a store holds them, or as floats that aren't codes."""
    if kind == "int8":
        return codes
    return (codes / 4 if kind == "float32" else codes / 3 - 0.5).astype(np.float32)
