"""Per-era scores of a model on labelled eras.

Takes what predicts, a dataset of validation eras and their labels; returns one score per era and
target. Eras are read one after another; none but the present one and the one before it are held.
"""

from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Protocol

import numpy as np

from ...arrays import Float32, Float64, Floats
from ...dataset.dataset import Dataset
from ...loading.stitched_map import stitched_array
from ...runs.scores.metrics import numerai_corr, pearson, why_undefined
from ...runs.scores.summary import EraScores
from ...system.threads import ThreadPool
from ..prediction.predictor import RowsDone

Scored = tuple[Float64, str | None]


class MappedColumns:
    """Some targets or benchmarks of a dataset's eras, mapped when this object is made.

    An update of the dataset replaces files of them while a training is under way: what was mapped
    stays what it was.

    Parameters
    ----------
    dataset : Dataset
        The validation eras only.
    array : "targets" or "benchmarks"
    columns : tuple of int or None
        The columns in the order wanted; None for all of them.

    Raises
    ------
    ShardError
        A file is missing, damaged, or another one than before.
    """

    def __init__(self, dataset: Dataset, array: str, columns: tuple[int, ...] | None) -> None:
        shards = [dataset[era] for era in dataset.eras]
        self._columns, self._rows_per_era = columns, dataset.rows_per_era
        self._n_columns = shards[0].layout(array)[1][1]
        self._rows = stitched_array(shards, array)
        self._rows.require(range(len(shards)))
        self.n_columns = self._n_columns if columns is None else len(columns)

    def of_era(self, position: int) -> Float32:
        """Return the columns of the era at a position: shape (rows, columns)."""
        n_rows, first = self._rows_per_era[position], int(self._rows.first[position])
        values = np.empty((n_rows, self._n_columns), np.float32)
        self._rows.take(np.arange(first, first + n_rows), values)
        return values if self._columns is None else values[:, self._columns]


def mapped_labels(dataset: Dataset, target_names: Sequence[str]) -> MappedColumns:
    """Return the labels of a dataset's eras, in the order of the model's outputs.

    Raises
    ------
    DatasetError, ShardError
        A target is unknown; or the same errors as `MappedColumns`.
    """
    return MappedColumns(dataset, "targets", dataset.target_columns(list(target_names)))


class EraPredictor(Protocol):
    """Predicts whole eras: a model, see `predictor.Predictor`, or several together."""

    def predict(
        self,
        dataset: Dataset,
        feature_names: Sequence[str],
        *,
        past_cache: bool = False,
        progress: RowsDone | None = None,
    ) -> Generator[tuple[str, Floats], None, None]:
        """Yield every era of a dataset with its predictions, of shape (rows, targets)."""


class FurtherScorer(Protocol):
    """Computes a score besides CORR, which is NaN where it isn't defined.

    Attributes
    ----------
    name : str
        One of `monitor.FURTHER_SCORES`.
    """

    name: str

    def score(self, position: int, predictions: Floats, targets: Float32) -> Scored:
        """Score the predictions of the era at a position.

        Parameters
        ----------
        position : int
        predictions : ndarray of float, shape (rows, targets)
        targets : ndarray of float32, shape (rows, targets)
            A target is NaN where a row has no label.

        Returns
        -------
        Scored
            A score for each target, and why the first one is undefined, if it is.
        """


def score_eras(
    predictor: EraPredictor,
    dataset: Dataset,
    feature_names: Sequence[str],
    labels: MappedColumns,
    *,
    past_cache: bool = False,
    further: FurtherScorer | None = None,
    progress: RowsDone | None = None,
) -> EraScores:
    """Score a model on every era of a dataset.

    Parameters
    ----------
    predictor : Predictor, or another one that yields predictions of eras
    dataset : Dataset
        The validation eras only.
    feature_names : sequence of str
        The features in the order of the model's inputs.
    labels : MappedColumns
        The labels of the same dataset, in the order of the model's outputs.
    past_cache : bool
        Read the features from the disk itself; see `storage.is_past_cache`.
    further : FurtherScorer, optional
        A score that is computed too.
    progress : callable(rows done, rows), optional
    """
    corr = np.empty((len(dataset.eras), labels.n_columns))
    plain = np.empty_like(corr)
    others = {} if further is None else {further.name: np.empty_like(corr)}
    undefined: Counter[str] = Counter()
    further_undefined: Counter[str] = Counter()

    def score(position: int, predictions: Floats) -> None:
        targets = labels.of_era(position)
        for column in range(labels.n_columns):
            corr[position, column] = numerai_corr(predictions[:, column], targets[:, column])
            plain[position, column] = pearson(predictions[:, column], targets[:, column])
        if np.isnan(corr[position, 0]):
            undefined[why_undefined(predictions[:, 0], targets[:, 0])] += 1
        if further is not None:
            others[further.name][position], reason = further.score(position, predictions, targets)
            if reason is not None and not np.isnan(corr[position, 0]):
                further_undefined[reason] += 1

    eras = predictor.predict(dataset, feature_names, past_cache=past_cache, progress=progress)
    # While the next rows pass the model: an era's scores take a tenth of the time it does.
    with closing(eras), ThreadPool(1, thread_name_prefix="memmap-train-score") as scorer:
        scoring: Future[None] | None = None
        for position, (_, predictions) in enumerate(eras):
            if scoring is not None:
                scoring.result()
            scoring = scorer.submit(score, position, predictions)
        if scoring is not None:
            scoring.result()
    return EraScores(corr, plain, undefined, others, further_undefined)
