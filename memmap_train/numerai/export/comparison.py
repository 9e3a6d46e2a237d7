"""The outputs of an upload compared with those of the runs that it was made of.

Takes the models, the rows of the trial and the upload's outputs of them; returns how much they
differ, or an error if that is more than rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...arrays import Float32
from ...errors import ExportError
from ...runs.scores.metrics import uniform_ranks
from .live_rows import LiveRows

if TYPE_CHECKING:
    from ...training.prediction.last_model import LastModel

TOLERANCE = 1e-6
"""Largest difference of outputs that both sides compute in float32; see `_difference`."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison has found.

    Attributes
    ----------
    largest_difference : float
        Of outputs computed in float32 by both sides; relative to the largest output if that is
        above 1.
    mixed_precision : tuple of str
        What layers of the runs compute in, such as "bfloat16", where the upload computes in
        float32; empty: all layers compute in the same type.
    rank_correlation : float or None
        The least correlation of the upload's ranks with those of such a run; None without any.
    """

    largest_difference: float
    mixed_precision: tuple[str, ...]
    rank_correlation: float | None


def compare(models: Sequence["LastModel"], rows: LiveRows, raw: Float32) -> Comparison:
    """Compare the outputs of an upload with those of the runs.

    Parameters
    ----------
    models : sequence of LastModel
    rows : LiveRows
    raw : ndarray of float32, shape (rows, models)
        The upload's outputs.

    Raises
    ------
    ExportError
        They differ by more than `TOLERANCE`.
    """
    from ...training.prediction.last_model import outputs_of  # needs TensorFlow

    worst, mixed, correlations = 0.0, dict[str, None](), list[float]()
    for number, model in enumerate(models):
        features = rows.features(model.features, model.fill_missing)
        found = _difference(raw[:, number], outputs_of(model, features, in_float32=True))
        if not found <= TOLERANCE:
            raise ExportError(
                f"{model.run.path}: the upload's outputs aren't the run's: expected a difference "
                f"of at most {TOLERANCE:g}, found {found:.2g}; no upload was written"
            )
        worst = max(worst, found)
        if model.operations.mixed_precision:
            mixed |= dict.fromkeys(model.operations.mixed_precision)
            correlations.append(_rank_correlation(raw[:, number], outputs_of(model, features)))
    return Comparison(worst, tuple(mixed), min(correlations, default=None))


def _difference(found: Float32, expected: Float32) -> float:
    """Return the largest difference, relative to the largest output if that is above 1.

    Both sides compute in float32, whose rounding errors grow with the numbers.

    >>> _difference(np.float32([0.5, 200.0]), np.float32([0.5, 100.0]))
    1.0
    """
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(found.astype(np.float64) - expected).max()) / scale


def _rank_correlation(found: Float32, expected: Float32) -> float:
    """Return the correlation of two outputs' ranks; NaN where one is constant."""
    return float(np.corrcoef(uniform_ranks(found), uniform_ranks(expected))[0, 1])
