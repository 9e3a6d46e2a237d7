"""What a report is about: the models of an evaluation on one axis of eras, with their colours.

Takes an `Evaluation`; returns a `Subject`: rows of scores for the charts, positions of eras, and
which scores there are. Imports no chart library.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...arrays import Float64
from ...dataset.eras import era_sort_key, weekly_era_number
from ...text import counted
from ..evaluation import Evaluation
from ..model_scores import ModelScores, TargetScores
from ..summary import statements
from .chart import Frame, look_of

SCORES = {
    "corr": "CORR",
    "mmc": "MMC",
    "bmc": "BMC",
    "fnc": "FNC",
    "difference": "CORR above benchmark",
    "benchmark_corr": "correlation with benchmark",
    "meta_model_corr": "correlation with meta model",
    "max_exposure": "maximal exposure",
    "rms_exposure": "rms exposure",
    "turnover": "turnover",
}
"""The scores of an era by the fields that charts read, with their names for readers."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """The models of a report.

    Attributes
    ----------
    evaluation : Evaluation
    models : tuple of ModelScores
        The models in order, the benchmark's own scores last where there are any.
    target : str
        The main target, which the charts show.
    frame : Frame
        The axis of eras and the looks of the models.
    scores : tuple of mapping of str to ndarray of float64, shape (eras,)
        For each model, the fields of `SCORES` that are defined in one era at least.
    """

    evaluation: Evaluation
    models: tuple[ModelScores, ...]
    target: str
    frame: Frame
    scores: tuple[Mapping[str, Float64], ...]

    def has(self, field: str) -> bool:
        """Return True if a model has a score."""
        return any(field in of_model for of_model in self.scores)

    def of_target(self, model: ModelScores) -> TargetScores:
        """Return a model's scores of the main target."""
        return model.by_target[self.target]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each era of each model, as the page's charts read them."""
        position = {era: i for i, era in enumerate(self.frame.labels, start=self.frame.first)}
        for m, (model, scores) in enumerate(zip(self.models, self.scores, strict=True)):
            for k, era in enumerate(model.eras):
                found = {field: float(values[k]) for field, values in scores.items()}
                known = {field: x if np.isfinite(x) else None for field, x in found.items()}
                yield {"m": m, "i": position[era], **known}

    def statements(self) -> list[str]:
        """Return sentences about what is and isn't covered; equal ones name all their models."""
        return [*self.evaluation.notes, *statements(self.models)]


def subject_of(evaluation: Evaluation) -> Subject:
    """Return what the report of an evaluation is about."""
    own, models = evaluation.benchmark_scores, evaluation.all_models
    target = evaluation.targets[0]
    benchmark = {} if own is None else dict(zip(own.eras, own.by_target[target].corr, strict=True))
    scores = tuple(_scores(model, target, benchmark) for model in models)
    return Subject(evaluation, models, target, _frame(models), scores)


def span(eras: Sequence[str]) -> str:
    """Return the first and the last of eras, and how many they are.

    >>> span(["0001", "0002"])
    '0001 to 0002 (2 eras)'
    """
    if not eras:
        return "none"
    first_and_last = eras[0] if len(eras) == 1 else f"{eras[0]} to {eras[-1]}"
    return f"{first_and_last} ({counted(len(eras), 'era')})"


def _scores(
    model: ModelScores, target: str, benchmark: Mapping[str, float]
) -> Mapping[str, Float64]:
    of_target, exposures = model.by_target[target], model.exposures
    found = {
        "corr": of_target.corr,
        "mmc": of_target.mmc,
        "bmc": of_target.bmc,
        "fnc": of_target.fnc,
        "benchmark_corr": of_target.benchmark_corr,
        "meta_model_corr": of_target.meta_model_corr,
        "max_exposure": exposures.max_exposure,
        "rms_exposure": exposures.rms_exposure,
        "turnover": exposures.turnover,
    }
    if model.kind == "benchmark":
        # Those against itself say nothing: a contribution of 0 and a correlation of 1.
        del found["bmc"], found["benchmark_corr"]
    elif benchmark:
        others = np.array([benchmark.get(era, np.nan) for era in model.eras])
        found["difference"] = of_target.corr - others
    return {field: x for field, x in found.items() if np.isfinite(x).any()}


def _frame(models: Sequence[ModelScores]) -> Frame:
    """Return the axis of all scored eras and of the embargoes among and just before them."""
    folds = [fold for model in models if model.provenance for fold in model.provenance.folds]
    scored = {era for model in models for era in model.eras}
    first = min(map(era_sort_key, scored))
    borders = {fold.validation[0] for fold in folds}
    embargoed = {era for fold in folds for era in fold.embargo}
    near = {era for era in embargoed if era_sort_key(era) >= first} | _just_before(folds, scored)
    labels = sorted(scored | near, key=era_sort_key)
    first_number = weekly_era_number(labels[0]) or 0
    position = {era: i for i, era in enumerate(labels, start=first_number)}
    return Frame(
        looks=_looks(models),
        labels=labels,
        borders=sorted({position[era] for era in borders if era in position}),
        first=first_number,
        embargoes=stretches(sorted(position[era] for era in near)),
    )


def _just_before(folds: Sequence[Any], scored: set[str]) -> set[str]:
    """Return the embargo of the folds that begin with the first scored era."""
    first = min(scored, key=era_sort_key)
    return {
        era
        for fold in folds
        if fold.validation[0] == first
        for era in fold.embargo
        if era_sort_key(era) < era_sort_key(first)
    }


def stretches(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Return consecutive positions as pairs of the first and the last.

    >>> stretches([1, 2, 3, 7])
    [(1, 3), (7, 7)]
    """
    found: list[tuple[int, int]] = []
    for position in positions:
        if found and found[-1][1] == position - 1:
            found[-1] = (found[-1][0], position)
        else:
            found.append((position, position))
    return found


def _looks(models: Sequence[ModelScores]) -> list[Any]:
    looks, n_others = [], 0
    for model in models:
        is_benchmark = model.kind == "benchmark"
        looks.append(look_of(n_others, is_benchmark=is_benchmark))
        n_others += not is_benchmark
    return looks
