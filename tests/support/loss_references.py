"""Losses of a batch of eras in float64 numpy, cell by cell, and their gradients by differences."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.scores.exposure import exposures, rms_exposure

Array = npt.NDArray[Any]


def correlation(kind: str, predictions: Array, target: Array) -> float:
    """Return the correlation of one era's predictions with one target; NaN where undefined."""
    labelled = ~np.isnan(target)
    x, y = (values[labelled].astype(np.float64) for values in (predictions, target))
    if len(y) < 2 or np.ptp(y) == 0:
        return float("nan")
    if np.ptp(x) == 0:
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    if kind == "numerai_corr":
        x, y = np.sign(x) * np.abs(x) ** 1.5, np.sign(y) * np.abs(y) ** 1.5
        x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def correlations(kind: str, predictions: Array, targets: Array) -> Array:
    """Return the correlation of each era and target; NaN where undefined."""
    return np.array(
        [
            [correlation(kind, p, t) for p, t in zip(of_era.T, labels.T, strict=True)]
            for of_era, labels in zip(predictions, targets, strict=True)
        ]
    )


def cell_losses(kind: str, predictions: Array, targets: Array) -> Array:
    """Return the loss of each cell; NaN without a label."""
    size = np.abs(predictions.astype(np.float64) - targets)
    huber = np.where(size < 0.25, size**2 / 2, 0.25 * (size - 0.125))
    return {"mse": size**2, "mae": size, "huber": huber}[kind]


def exposures_of_eras(predictions: Array, targets: Array, features: Array) -> Array:
    """Return the root mean square exposure of each era and target; NaN where undefined."""
    found = []
    for own, labels, x in zip(predictions, targets, features, strict=True):
        used = ~np.isnan(labels).all(axis=1)
        of_features = exposures(x[used], own[used])
        varies = (np.ptp(x[used], axis=0) > 0).any() if used.sum() > 1 else False
        constant = np.nan if not varies else 0.0
        rms = rms_exposure(of_features)
        found.append(np.where(np.isnan(rms), constant, rms))
    return np.array(found)


def mean_of(losses: Array, weights: Array) -> float:
    """Return the weighted mean of the losses that aren't NaN, 0 without any."""
    of_losses = np.broadcast_to(weights, losses.shape)
    known = ~np.isnan(losses)
    total = of_losses[known].sum()
    return float((losses[known] * of_losses[known]).sum() / total) if total else 0.0


def batch_loss(
    config: TrainConfig, predictions: Array, targets: Array, features: Array, n_eras: int
) -> float:
    """Return what a step minimises, for batches of shape (eras x rows, columns)."""
    predictions, targets, features = (
        values.reshape(n_eras, -1, values.shape[1]) for values in (predictions, targets, features)
    )
    weights = np.array(config.target_weights or [1.0] * targets.shape[2])
    if config.loss in ("pearson", "numerai_corr"):
        loss = mean_of(1 - correlations(config.loss, predictions, targets), weights)
    else:
        loss = mean_of(cell_losses(config.loss, predictions, targets), weights)
    scores = correlations(
        "pearson" if config.loss == "pearson" else "numerai_corr", predictions, targets
    )
    loss += config.corr_weight * mean_of(1 - scores, weights)
    if config.std_weight:
        enough = (~np.isnan(scores)).sum(axis=0) >= 2
        deviations = np.full(len(weights), np.nan)
        deviations[enough] = np.nanstd(scores[:, enough], axis=0)
        loss += config.std_weight * mean_of(deviations, weights)
    if config.exposure_weight:
        found = exposures_of_eras(predictions, targets, features)
        loss += config.exposure_weight * mean_of(found, weights)
    return loss


def gradient_of(function: Callable[[Array], float], values: Array, step: float = 1e-5) -> Array:
    """Return the gradient of a function by central differences, in float64."""
    values = values.astype(np.float64)
    found = np.empty_like(values)
    for place in np.ndindex(values.shape):
        ends = []
        for sign in (1, -1):
            moved = values.copy()
            moved[place] += sign * step
            ends.append(function(moved))
        found[place] = (ends[0] - ends[1]) / (2 * step)
    return found
