"""An evaluation: the scores of several models on a dataset, compared, written and shown.

`evaluate` makes it. It holds records and names, and no open file. Imports no TensorFlow.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DatasetError, listed, nearest
from ..runs.scores.statistics import ScoreStatistics, paired_difference
from .model_scores import ModelScores


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
