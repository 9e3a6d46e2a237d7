"""The scores of one model as records: by era and target, and its exposures to features.

They hold arrays and names. Scores are float64 and NaN where they aren't defined. Imports no
TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..arrays import Float64, Int64, Mask
from ..errors import DatasetError, listed, nearest
from ..runs.scores.statistics import ScoreStatistics, score_statistics
from .provenance import Provenance

Metric = Literal["corr", "mmc", "bmc", "benchmark_corr", "meta_model_corr", "fnc"]
METRICS: tuple[Metric, ...] = get_args(Metric)
"""The scores of a target, by their attributes in `TargetScores`."""

ModelKind = Literal["run", "folds", "seeds", "predictions", "benchmark", "baseline"]

_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class TargetScores:
    """The scores of one model with one target, by era.

    Only rows that have both a prediction and a label count; contributions and correlations with a
    benchmark need its value too.

    Attributes
    ----------
    target : str
    overlap_eras : int
        The number of following eras whose labels share returns with an era's own; the standard
        errors respect it.
    positions : ndarray of int64, shape (eras,)
        Where each era lies in time: eras with others between them are no neighbours.
    n_rows : ndarray of int64, shape (eras,)
        Rows with a prediction and a label.
    corr : ndarray of float64, shape (eras,)
        `numerai_corr` with the target.
    mmc, bmc : ndarray of float64, shape (eras,)
        Contribution to the meta model, and to the chosen benchmark.
    benchmark_corr, meta_model_corr : ndarray of float64, shape (eras,)
        Correlation with the chosen benchmark, and with the meta model.
    fnc : ndarray of float64, shape (eras,)
        Feature-neutral correlation with the target.
    all_bmc, all_benchmark_corr : mapping of str to ndarray of float64, shape (eras,)
        `bmc` and `benchmark_corr` for each benchmark of the dataset, the chosen one included and
        the meta model not.
    neutralized_corr : ndarray of float64, shape (eras, proportions), or None
        `numerai_corr` of the predictions neutralised by each of `Evaluation.proportions`; None
        unless `evaluate` was called with ``details=True``.
    """

    target: str
    overlap_eras: int
    positions: Int64
    n_rows: Int64
    corr: Float64
    mmc: Float64
    bmc: Float64
    benchmark_corr: Float64
    meta_model_corr: Float64
    fnc: Float64
    all_bmc: Mapping[str, Float64] = field(default_factory=lambda: _NONE)
    all_benchmark_corr: Mapping[str, Float64] = field(default_factory=lambda: _NONE)
    neutralized_corr: Float64 | None = None

    def scores(self, metric: str) -> Float64:
        """Return the scores of the eras, by the name of an attribute in `METRICS`.

        Raises
        ------
        DatasetError
            There is no such score.
        """
        if metric not in METRICS:
            raise DatasetError(
                f"no score {metric!r:.60}; expected one of {listed(METRICS, 6)}"
                f"{nearest(str(metric), METRICS)}"
            )
        scores: Float64 = getattr(self, metric)
        return scores

    def statistics(self, metric: str, eras: slice = slice(None)) -> ScoreStatistics:
        """Summarise a score over the eras in which it is defined.

        Parameters
        ----------
        metric : str
            One of `METRICS`.
        eras : slice
            A part of the eras; by default all of them.
        """
        return self.statistics_of(self.scores(metric), eras)

    def statistics_of(self, scores: Float64, eras: slice | Mask = slice(None)) -> ScoreStatistics:
        """Summarise other scores of the same eras.

        Parameters
        ----------
        scores : ndarray of float64, shape (eras,)
            NaN where undefined; those of a benchmark in `all_bmc`, for example.
        eras : slice, or ndarray of bool, shape (eras,)
            The eras that count; by default all of them.
        """
        return score_statistics(scores[eras], self.overlap_eras, self.positions[eras])


@dataclass(frozen=True, slots=True, eq=False)
class Exposures:
    """The correlations of one model's predictions with features, by era.

    All rows that have a prediction count, labelled or not. The exposure to a feature is the
    Pearson correlation of the predictions with it, in one era.

    Attributes
    ----------
    max_exposure : ndarray of float64, shape (eras,)
        The largest absolute exposure of each era.
    max_exposure_feature : ndarray of str, shape (eras,)
        The feature that it belongs to; "" where it isn't defined.
    rms_exposure : ndarray of float64, shape (eras,)
        The root of the mean squared exposure over the features.
    turnover : ndarray of float64, shape (eras,)
        1 minus the rank correlation with the predictions for the same ids in the previous era of
        the dataset; NaN where no ids repeat.
    feature_names : tuple of str
        The features of `Evaluation.neutral_to`.
    mean_exposure, mean_absolute_exposure : ndarray of float64, shape (features,)
        The exposure to each feature and its absolute value, on average over the eras in which the
        exposure is defined.
    """

    max_exposure: Float64
    max_exposure_feature: npt.NDArray[np.str_]
    rms_exposure: Float64
    turnover: Float64
    feature_names: tuple[str, ...]
    mean_exposure: Float64
    mean_absolute_exposure: Float64

    def largest(self, n: int = 20) -> tuple[tuple[str, float], ...]:
        """Return the features with the largest absolute `mean_exposure`, and it, in order."""
        size = np.abs(np.nan_to_num(self.mean_exposure))
        order = np.argsort(-size, kind="stable")[:n]
        return tuple((self.feature_names[i], float(self.mean_exposure[i])) for i in order)


@dataclass(frozen=True, slots=True, eq=False)
class ModelScores:
    """The scores of one model.

    Attributes
    ----------
    name : str
        A short name, unique in the evaluation.
    path : Path or None
        The run's folder or the file of predictions; None for a benchmark and for predictions that
        were passed as an object.
    kind : "run", "folds", "seeds", "predictions", "benchmark" or "baseline"
    eras : tuple of str
        The scored eras in the dataset's order: those that the model covers and in which one of the
        targets has labels. Arrays over eras have this order.
    by_target : mapping of str to TargetScores
    exposures : Exposures
    provenance : Provenance or None
        None for anything but a run.
    notes : tuple of str
        Sentences about what isn't covered or isn't defined.
    """

    name: str
    path: Path | None
    kind: ModelKind
    eras: tuple[str, ...]
    by_target: Mapping[str, TargetScores]
    exposures: Exposures
    provenance: Provenance | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_reference(self) -> bool:
        """Whether the others are compared with it: a benchmark, or the baseline of a run."""
        return self.kind in ("benchmark", "baseline")
