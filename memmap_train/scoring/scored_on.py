"""What models are scored on: targets, benchmarks, features and eras of a dataset.

Takes the names that a user gives, or None for the defaults; returns a `ScoredOn` with every default
decided and every name checked, and the eras. Reads labels and names of a dataset, no predictions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..dataset.dataset import Dataset
from ..dataset.selection import ALL, as_names
from ..errors import DatasetError
from ..runs.folds.validation_eras import named_eras
from ..runs.run import Run
from ..runs.scores.score_references import (
    META_MODEL,
    default_benchmark,
    default_feature_set,
    default_meta_model,
)
from ..text import counted
from .model_table import ScoreOptions

PROPORTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class ScoredOn:
    """What models were scored on; see `Evaluation` for the attributes."""

    dataset: Dataset
    options: ScoreOptions
    benchmark: str | None
    meta_model: str | None


def scored_on(
    found: Mapping[str, Any],
    dataset: Dataset,
    targets: str | Sequence[str] | None,
    benchmark: str | None,
    meta_model: str | None,
    neutral_to: str | None,
    *,
    details: bool,
) -> ScoredOn:
    """Return what models are scored on, with every default decided and every name checked."""
    if not dataset.target_names:
        raise DatasetError(
            f"{dataset.path}: the dataset has no targets, so nothing can be scored; convert "
            "sources that have some"
        )
    if targets is None:
        of_runs = [run.record.main_target for run in found.values() if isinstance(run, Run)]
        targets = tuple(dict.fromkeys(of_runs)) or dataset.target_names[:1]
    names = tuple(as_names(targets, "targets"))
    dataset.target_columns(names)
    for name in filter(None, (benchmark, meta_model)):
        dataset.benchmark_columns([name])
    if meta_model is None:
        meta_model = default_meta_model(dataset)
    if benchmark is None:
        benchmark = default_benchmark(dataset, meta_model)
    if neutral_to is None:
        neutral_to = default_feature_set(dataset)
    dataset.feature_columns(neutral_to)
    proportions = PROPORTIONS if details else ()
    options = ScoreOptions(names, dataset.benchmark_names, neutral_to, proportions)
    return ScoredOn(dataset, options, benchmark, meta_model)


def labelled_eras(dataset: Dataset, targets: Sequence[str]) -> tuple[str, ...]:
    """Return the eras in which one of the targets has labels; a DatasetError if there are none."""
    labelled = {era for target in targets for era in dataset.labelled_eras(target)}
    if not labelled:
        raise DatasetError(
            f"{dataset.path}: no row of its {counted(len(dataset.eras), 'era')} has a label of "
            f"{targets[0]!r}, so nothing can be scored; name a dataset with labels"
        )
    return tuple(era for era in dataset.eras if era in labelled)


def asked_eras(
    dataset: Dataset, labelled: tuple[str, ...], eras: str | Sequence[str] | None, target: str
) -> tuple[str, ...] | None:
    """Return the eras that the user named, or None."""
    if eras is None:
        return None
    texts = as_names(eras, "eras")
    if texts == [ALL]:
        return labelled
    return named_eras(dataset.eras, labelled, texts, target, "eras")


def notes(dataset: Dataset, benchmark: str | None, meta_model: str | None) -> list[str]:
    """Return a sentence for each score that no model has, as the dataset lacks what it takes."""
    if not dataset.benchmark_names:
        return [
            "no MMC and no BMC: the dataset has no benchmarks; add Numerai's files with "
            f"`memmap-train convert --benchmarks FILE… --out {dataset.path}`"
        ]
    found = []
    if meta_model is None:
        found.append(f"no MMC: the dataset has no column {META_MODEL!r} among its benchmarks")
    if benchmark is None:
        found.append("no BMC: the meta model is the dataset's only benchmark")
    return found
