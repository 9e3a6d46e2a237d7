"""Per-era scores of a model on labelled eras.

In come a model and a dataset of validation eras, out comes one score per era and target. Eras are
read one after another; none but the present one and the one before it are held.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..dataset import Dataset
from ..metrics import Summary, numerai_corr, pearson, summary, why_undefined
from ..threads import ThreadPool
from .predict import Predictor, Progress


@dataclass(frozen=True, slots=True)
class EraScores:
    """The scores of a model, by era and target.

    Attributes
    ----------
    corr, pearson : ndarray of float64, shape (eras, targets)
        `numerai_corr` and plain correlation; NaN where undefined.
    undefined : mapping of str to int
        Why eras have no `numerai_corr` of the main target, and how many.
    """

    corr: npt.NDArray[np.float64]
    pearson: npt.NDArray[np.float64]
    undefined: Mapping[str, int] = field(default_factory=dict)

    def corr_summary(self) -> Summary:
        """Summarise `numerai_corr` of the main target, the first."""
        return summary(self.corr[:, 0])

    def pearson_summary(self) -> Summary:
        """Summarise the plain correlation of the main target, the first."""
        return summary(self.pearson[:, 0])


def score_eras(
    predictor: Predictor,
    dataset: Dataset,
    feature_names: Sequence[str],
    target_names: Sequence[str],
    *,
    past_cache: bool = False,
    progress: Progress | None = None,
) -> EraScores:
    """Score a model on every era of a dataset.

    Parameters
    ----------
    predictor : Predictor
    dataset : Dataset
        Of the validation eras alone.
    feature_names, target_names : sequence of str
        In the order of the model's inputs and outputs.
    past_cache : bool
        Read the features from the disk itself; see `storage.is_past_cache`.
    progress : callable(rows done, rows), optional
    """
    columns = dataset.target_columns(list(target_names))
    corr = np.empty((len(dataset.eras), len(target_names)))
    plain = np.empty_like(corr)
    undefined: Counter[str] = Counter()

    def score(position: int, era: str, predictions: npt.NDArray[np.float32]) -> None:
        targets = np.asarray(dataset[era].targets)
        if columns is not None:
            targets = targets[:, columns]
        for column in range(len(target_names)):
            corr[position, column] = numerai_corr(predictions[:, column], targets[:, column])
            plain[position, column] = pearson(predictions[:, column], targets[:, column])
        if np.isnan(corr[position, 0]):
            undefined[why_undefined(predictions[:, 0], targets[:, 0])] += 1

    eras = predictor.predict(dataset, feature_names, past_cache=past_cache, progress=progress)
    # While the next rows pass the model: an era's scores take a tenth of the time it does.
    with closing(eras), ThreadPool(1, thread_name_prefix="memmap-train-score") as scorer:
        scoring: Future[None] | None = None
        for position, (era, predictions) in enumerate(eras):
            if scoring is not None:
                scoring.result()
            scoring = scorer.submit(score, position, era, predictions)
        if scoring is not None:
            scoring.result()
    return EraScores(corr, plain, undefined)
