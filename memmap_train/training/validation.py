"""Per-era scores of a model on labelled eras.

Takes a model, a dataset of validation eras and their labels; returns one score per era and
target. Eras are read one after another; none but the present one and the one before it are held.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing

import numpy as np

from ..arrays import Float32
from ..dataset.dataset import Dataset
from ..loading.stitched_map import stitched_array
from ..runs.metrics import numerai_corr, pearson, why_undefined
from ..runs.summary import EraScores
from ..system.threads import ThreadPool
from .predictor import Predictor, RowsDone


class Labels:
    """Some targets of a dataset's eras, mapped when this object is made.

    An update of the dataset replaces files of targets while a training is under way: what was
    mapped stays what it was.

    Parameters
    ----------
    dataset : Dataset
        The validation eras only.
    target_names : sequence of str
        The targets in the order of the model's outputs.

    Raises
    ------
    DatasetError, ShardError
        A target is unknown; a file is missing, damaged, or another one than before.
    """

    def __init__(self, dataset: Dataset, target_names: Sequence[str]) -> None:
        self._columns = dataset.target_columns(list(target_names))
        self._rows_per_era, self._n_columns = dataset.rows_per_era, len(dataset.target_names)
        self._rows = stitched_array([dataset[era] for era in dataset.eras], "targets")
        self._rows.require(range(len(dataset.eras)))
        self.n_targets = len(target_names)

    def of_era(self, position: int) -> Float32:
        """Return the labels of the era at a position: shape (rows, targets)."""
        n_rows, first = self._rows_per_era[position], int(self._rows.first[position])
        labels = np.empty((n_rows, self._n_columns), np.float32)
        self._rows.take(np.arange(first, first + n_rows), labels)
        return labels if self._columns is None else labels[:, self._columns]


def score_eras(
    predictor: Predictor,
    dataset: Dataset,
    feature_names: Sequence[str],
    labels: Labels,
    *,
    past_cache: bool = False,
    progress: RowsDone | None = None,
) -> EraScores:
    """Score a model on every era of a dataset.

    Parameters
    ----------
    predictor : Predictor
    dataset : Dataset
        The validation eras only.
    feature_names : sequence of str
        The features in the order of the model's inputs.
    labels : Labels
        The labels of the same dataset, in the order of the model's outputs.
    past_cache : bool
        Read the features from the disk itself; see `storage.is_past_cache`.
    progress : callable(rows done, rows), optional
    """
    corr = np.empty((len(dataset.eras), labels.n_targets))
    plain = np.empty_like(corr)
    undefined: Counter[str] = Counter()

    def score(position: int, predictions: Float32) -> None:
        targets = labels.of_era(position)
        for column in range(labels.n_targets):
            corr[position, column] = numerai_corr(predictions[:, column], targets[:, column])
            plain[position, column] = pearson(predictions[:, column], targets[:, column])
        if np.isnan(corr[position, 0]):
            undefined[why_undefined(predictions[:, 0], targets[:, 0])] += 1

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
    return EraScores(corr, plain, undefined)
