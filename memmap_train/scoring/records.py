"""The records that an evaluation consists of: scores by era, target and model, and their summary.

`evaluation.evaluate` makes them. They hold arrays and names, and no open file. Scores are float64
and NaN where they aren't defined. Imports no TensorFlow.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..arrays import Float64, Int64, Mask
from ..errors import DatasetError, listed, nearest
from ..runs.scores.statistics import ScoreStatistics, paired_difference, score_statistics
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


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The scores of several models on a dataset.

    Attributes
    ----------
    dataset : Path
        The dataset's folder.
    dataset_digest : str
        The digest of its manifest.
    dataset_eras : tuple of str
        All eras of the dataset, in order.
    targets : tuple of str
        The targets, the main one first.
    aliases : mapping of str to str
        The named target that a target equals, for those of `targets` that are aliases.
    benchmark : str or None
        The benchmark of `bmc` and `benchmark_corr`; None if the dataset has none.
    meta_model : str or None
        The benchmark column of `mmc` and `meta_model_corr`; None if the dataset has none.
    neutral_to : str
        The feature set of `fnc` and of exposures; "all" for every feature.
    proportions : tuple of float
        Proportions of `TargetScores.neutralized_corr`; empty unless it was requested.
    models : tuple of ModelScores
        The models, in the order in which they were passed.
    benchmark_scores : ModelScores or None
        The scores of the chosen benchmark itself, on the eras of all models.
    baseline_scores : tuple of ModelScores
        The scores of the ridge regressions that the runs have been trained beside, each once.
    notes : tuple of str
        Sentences about what isn't covered, which concern all models.
    """

    dataset: Path
    dataset_digest: str
    dataset_eras: tuple[str, ...]
    targets: tuple[str, ...]
    aliases: Mapping[str, str]
    benchmark: str | None
    meta_model: str | None
    neutral_to: str
    proportions: tuple[float, ...]
    models: tuple[ModelScores, ...]
    benchmark_scores: ModelScores | None = None
    baseline_scores: tuple[ModelScores, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        names = ", ".join(model.name for model in self.models)
        return f"<Evaluation of {names} on {str(self.dataset)!r}>"

    def __str__(self) -> str:
        from .summary_text import summary_text

        return summary_text(self)

    @property
    def all_models(self) -> tuple[ModelScores, ...]:
        """The models, followed by `references`."""
        return (*self.models, *self.references)

    @property
    def references(self) -> tuple[ModelScores, ...]:
        """The baselines of the runs, followed by the chosen benchmark, where there are any."""
        benchmark = [self.benchmark_scores] if self.benchmark_scores else []
        return (*self.baseline_scores, *benchmark)

    def model(self, name: str) -> ModelScores:
        """Return the scores of a model by its name; the benchmark has its column's name.

        Raises
        ------
        DatasetError
            There is no such model.
        """
        known = {model.name: model for model in self.all_models}
        if name not in known:
            raise DatasetError(
                f"the evaluation has no model {name!r:.60}; it has {listed(known, 8)}"
                f"{nearest(str(name), known)}"
            )
        return known[name]

    def difference(
        self, model: str, other: str, metric: str = "corr", target: str | None = None
    ) -> ScoreStatistics:
        """Summarise by how much a model's score is above another's, era by era.

        Parameters
        ----------
        model, other : str
            Names of models; see `model`.
        metric : str
            One of `METRICS`.
        target : str, optional
            The target; by default the first of `targets`.

        Returns
        -------
        ScoreStatistics
            The statistics of the differences in the eras in which both have the score.

        Raises
        ------
        DatasetError
            There is no such model, score or target.
        """
        first, second = self.model(model), self.model(other)
        target = self.targets[0] if target is None else target
        if target not in self.targets:
            raise DatasetError(
                f"the evaluation has no target {target!r:.60}; it has {listed(self.targets, 8)}"
                f"{nearest(str(target), self.targets)}"
            )
        places = {era: place for place, era in enumerate(second.eras)}
        rows = [row for row, era in enumerate(first.eras) if era in places]
        others = [places[first.eras[row]] for row in rows]
        scores = first.by_target[target]
        return paired_difference(
            scores.scores(metric)[rows],
            second.by_target[target].scores(metric)[others],
            scores.overlap_eras,
            scores.positions[rows],
        )

    @property
    def era_scores(self) -> npt.NDArray[np.void]:
        """A row for each model, era and target, with the columns of ``era_scores.csv``.

        A structured array: ``evaluation.era_scores["corr"]`` is a column,
        ``pandas.DataFrame(evaluation.era_scores)`` a table. Scores are NaN where undefined.
        """
        from .era_table import era_table

        return era_table(self)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `era_scores` to a CSV file; cells are empty where a score is undefined.

        Raises
        ------
        RunError
            The file can't be written, or holds anything else.
        """
        from .files import write_era_scores

        write_era_scores(self, path)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain values for JSON, which ``summary.json`` holds."""
        from .summary import summarized

        return summarized(self)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write ``era_scores.csv`` and ``summary.json`` into a folder, both or neither.

        Raises
        ------
        RunError
            They can't be written there: it is a run's or a dataset's folder, or files of these
            names hold anything else.
        """
        from .files import save

        save(self, directory)

    def report(self, path: str | os.PathLike[str], *, png: bool = False) -> None:
        """Write one HTML page with charts and tables of all that is known.

        Evaluate with ``details=True`` to see CORR by the proportion of neutralisation too.

        Parameters
        ----------
        path : path
            A name that ends in .html.
        png : bool
            Whether to write pictures of the main charts beside the page.

        Raises
        ------
        RunError
            The page can't be written there, or a file that is there holds anything else.
        DependencyError
            The extra `report` isn't installed.
        """
        from .report.write import write_report

        write_report(self, path, png=png)

    def _repr_html_(self) -> str:
        from .html import summary_html

        return summary_html(self)
