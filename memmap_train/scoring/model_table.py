"""The table of one model's scores, which a pass over the eras fills, and what is scored.

Holds arrays of which the first axis is eras; every score is NaN until it is filled in.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from ..arrays import Float64, Int64


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What is scored against what.

    Attributes
    ----------
    targets : tuple of str
    benchmarks : tuple of str
        Columns that predictions are compared with, benchmarks and the meta model.
    neutral_to : str
        A feature set, or "all".
    proportions : tuple of float
        Proportions of neutralisation to score too.
    """

    targets: tuple[str, ...]
    benchmarks: tuple[str, ...]
    neutral_to: str
    proportions: tuple[float, ...]


@dataclass(slots=True, eq=False)
class ModelTable:
    """The scores of one model, filled era by era.

    Attributes
    ----------
    n_rows : ndarray of int64, shape (eras, targets)
    corr, fnc : ndarray of float64, shape (eras, targets)
    contribution, correlation : ndarray of float64, shape (eras, targets, benchmarks)
    neutralized : ndarray of float64, shape (eras, targets, proportions)
    max_exposure, rms_exposure, turnover : ndarray of float64, shape (eras,)
    max_feature : ndarray of int64, shape (eras,)
        The position of a feature in the set; -1 where no exposure is defined.
    exposure_sum, exposure_size, n_exposures : ndarray, shape (features,)
        Sums of exposures and of their absolute values over eras, and their number.
    n_partial : ndarray of int64, shape (targets, benchmarks)
        Number of eras in which a benchmark lacks some of the rows that are scored.
    undefined : dict of (str, int, int) to Counter of str
        Number of eras without a score, by the score with its target's and its benchmark's number,
        and by the reason.
    """

    n_rows: Int64
    corr: Float64
    fnc: Float64
    contribution: Float64
    correlation: Float64
    neutralized: Float64
    max_exposure: Float64
    rms_exposure: Float64
    turnover: Float64
    max_feature: Int64
    exposure_sum: Float64
    exposure_size: Float64
    n_exposures: Int64
    n_partial: Int64
    undefined: dict[tuple[str, int, int], Counter[str]] = field(default_factory=dict)

    @classmethod
    def empty(cls, n_eras: int, options: ScoreOptions, n_features: int) -> "ModelTable":
        """Return a table without any score."""

        def undefined(*shape: int) -> Float64:
            return np.full((n_eras, *shape), math.nan)

        n_targets, n_benchmarks = len(options.targets), len(options.benchmarks)
        return cls(
            n_rows=np.zeros((n_eras, n_targets), np.int64),
            corr=undefined(n_targets),
            fnc=undefined(n_targets),
            contribution=undefined(n_targets, n_benchmarks),
            correlation=undefined(n_targets, n_benchmarks),
            neutralized=undefined(n_targets, len(options.proportions)),
            max_exposure=undefined(),
            rms_exposure=undefined(),
            turnover=undefined(),
            max_feature=np.full(n_eras, -1, np.int64),
            exposure_sum=np.zeros(n_features),
            exposure_size=np.zeros(n_features),
            n_exposures=np.zeros(n_features, np.int64),
            n_partial=np.zeros((n_targets, n_benchmarks), np.int64),
        )

    def note_undefined(self, score: str, target: int, benchmark: int, reason: str) -> None:
        """Count an era without a score."""
        self.undefined.setdefault((score, target, benchmark), Counter())[reason] += 1
