"""The predictions of one model for the rows of a dataset, from a file or from memory.

Takes a path, a data frame or a `Predictions`; returns a `ModelPredictions`. What a file lacks, and
what the dataset lacks of it, is said in its notes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Float64, Floats, Ids, Int32
from ..dataset.dataset import Dataset
from ..dataset.eras import ERA_COLUMN
from ..dataset.ids import ID_COLUMN
from ..errors import DatasetError
from ..progress import Progress
from ..text import counted
from .matching import MatchedRows, match_rows
from .model_scores import ModelKind
from .provenance import Provenance

if TYPE_CHECKING:
    from ..training.prediction.predictions import Predictions


@dataclass(frozen=True, slots=True, eq=False)
class ModelPredictions:
    """The predictions of one model for some eras of a dataset.

    Attributes
    ----------
    path : Path or None
    kind : "run", "folds", "seeds" or "predictions"
    values : mapping of str to ndarray of float64 or float32, shape (rows,)
        The predictions by era, in the order of its rows; NaN where a row has no prediction.
    before : mapping of str to ndarray, shape (rows,)
        Likewise, of eras that aren't scored and precede one that is: turnover needs them.
    provenance : Provenance or None
    notes : tuple of str
        Sentences about what isn't covered.
    """

    path: Path | None
    kind: ModelKind
    values: Mapping[str, Floats]
    provenance: Provenance | None = None
    notes: tuple[str, ...] = ()
    before: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Rows of one era, as `matching.Rows`."""

    era_labels: tuple[str, ...]
    era_codes: Int32
    ids: Ids
    values: Float64


def predictions_in_file(
    path: Path,
    dataset: Dataset,
    labelled: Sequence[str],
    wanted: Sequence[str],
    report: Progress,
) -> ModelPredictions:
    """Read a file of predictions, parquet or CSV.

    Parameters
    ----------
    path : Path
    dataset : Dataset
    labelled, wanted : sequence of str
        Eras with labels, and those of them that are to be scored.
    report : callable(what, done, total)
        Called with rows.

    Raises
    ------
    SourceError
        The file can't be read, or its rows can't be matched to the dataset's.
    DatasetError
        The dataset has no ids.
    """
    from ..conversion.parquet.prediction_reader import read_predictions  # needs pyarrow

    blocks = read_predictions(path, **_column_names(dataset))
    matched = match_rows(blocks, dataset, str(path), report)
    return _matched_model(matched, dataset, labelled, wanted, path)


def predictions_in_frame(
    frame: Any,
    name: str,
    dataset: Dataset,
    labelled: Sequence[str],
    wanted: Sequence[str],
    report: Progress,
) -> ModelPredictions:
    """Take the predictions in a data frame, as `predictions_in_file` takes those in a file."""
    from ..conversion.parquet.prediction_reader import read_frame  # needs pyarrow

    blocks = read_frame(frame, name, **_column_names(dataset))
    matched = match_rows(blocks, dataset, name, report)
    return _matched_model(matched, dataset, labelled, wanted, None)


def _column_names(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """Return the names that columns of ids and of eras may have."""
    return {
        "id_names": tuple(dict.fromkeys((dataset.manifest.id_column, ID_COLUMN))),
        "era_names": tuple(dict.fromkeys((dataset.manifest.era_column, ERA_COLUMN))),
    }


def predictions_in_memory(
    predictions: "Predictions",
    dataset: Dataset,
    labelled: Sequence[str],
    wanted: Sequence[str],
    report: Progress,
) -> ModelPredictions:
    """Take the predictions that `predict` returned; of another dataset they are matched by id."""
    source = predictions.dataset
    offsets = source.row_offsets
    values = {
        era: np.asarray(predictions.values[low:high])
        for era, low, high in zip(source.eras, offsets, offsets[1:], strict=False)
    }
    if source.directory == dataset.directory and source.manifest.digest == dataset.manifest.digest:
        matched = MatchedRows({era: values[era] for era in dataset.eras if era in values}, 0, ())
    else:
        blocks = (_block(source, era, of_era) for era, of_era in values.items())
        matched = match_rows(blocks, dataset, repr(predictions), report)
    return _matched_model(matched, dataset, labelled, wanted, None)


def _block(source: Dataset, era: str, values: Floats) -> _Block:
    """Return the predictions of one era with its ids."""
    ids = source[era].ids
    if ids is None:
        raise DatasetError(
            f"{source.path}: era {era!r} has no ids, by which predictions are matched to the rows "
            "of another dataset"
        )
    return _Block((era,), np.zeros(len(values), np.int32), np.asarray(ids), values.astype(float))


def eras_before(dataset: Dataset, eras: Collection[str]) -> list[str]:
    """Return the eras of a dataset that precede one of these eras, and aren't among them."""
    return [before for before, era in pairwise(dataset.eras) if era in eras and before not in eras]


def _matched_model(
    matched: MatchedRows,
    dataset: Dataset,
    labelled: Sequence[str],
    wanted: Sequence[str],
    path: Path | None,
) -> ModelPredictions:
    """Return the predictions of the wanted eras, with notes about what isn't covered."""
    values = {era: matched.values[era] for era in wanted if era in matched.values}
    before = {
        era: matched.values[era] for era in eras_before(dataset, values) if era in matched.values
    }
    notes = ["it is unknown which eras these predictions' model was trained on: all are scored"]
    if matched.n_surplus_rows:
        eras = matched.surplus_eras
        where = f", {counted(len(eras), 'whole era')} among them" if eras else ""
        notes.append(f"{counted(matched.n_surplus_rows, 'row')} not in the dataset left out{where}")
    unlabelled = matched.values.keys() - set(labelled)
    if unlabelled:
        notes.append(f"{counted(len(unlabelled), 'era')} without labels left out")
    missing = {era: int(np.isnan(of_era).sum()) for era, of_era in values.items()}
    incomplete = [era for era, n in missing.items() if n]
    if incomplete:
        n_rows = sum(len(values[era]) for era in incomplete)
        notes.append(
            f"{sum(missing.values()):,} of {n_rows:,} rows have no prediction in "
            f"{counted(len(incomplete), 'era')}: only the others are scored"
        )
    uncovered = [era for era in wanted if era not in values]
    if uncovered and values:
        covered = list(values)
        notes.append(
            f"{len(covered):,} of {counted(len(wanted), 'era')} with labels covered "
            f"({covered[0]} to {covered[-1]})"
        )
    return ModelPredictions(path, "predictions", values, notes=tuple(notes), before=before)
