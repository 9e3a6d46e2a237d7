"""BMC, MMC and FNC of the validation eras, in a training that monitors one of them.

Takes the monitored score and what it refers to; returns a `FurtherScorer` for
`validation.score_eras`.
"""

import numpy as np

from ...arrays import Float32, Floats, Mask
from ...dataset.dataset import Dataset
from ...runs.record import RunRecord
from ...runs.scores.contribution import correlation_contribution, why_no_contribution
from ...runs.scores.monitor import further_score
from ...runs.scores.neutral import feature_neutral_corr, why_not_neutral
from ...runs.scores.neutralizer import Neutralizer
from .validation import FurtherScorer, MappedColumns, Scored


def further_scorer(record: RunRecord, dataset: Dataset) -> FurtherScorer | None:
    """Return what computes the further score that is monitored; None if none is.

    Parameters
    ----------
    record : RunRecord
        It says what is monitored, and against what.
    dataset : Dataset
        The validation eras only.
    """
    score, reference = further_score(record.monitor), record.monitored_against
    if score is None or reference is None:
        return None
    if score == "fnc":
        return _FeatureNeutral(dataset, reference)
    return _Contribution(score, dataset, reference)


class _Contribution:
    """Scores what predictions add to those of another model, which are mapped from the start."""

    def __init__(self, name: str, dataset: Dataset, other: str) -> None:
        self.name, self._other = name, other
        self._values = MappedColumns(dataset, "benchmarks", dataset.benchmark_columns([other]))

    def score(self, position: int, predictions: Floats, targets: Float32) -> Scored:
        """Score the predictions of the era at a position."""
        other, scores = self._values.of_era(position)[:, 0], np.empty(targets.shape[1])
        for column, target in enumerate(targets.T):
            own = predictions[:, column : column + 1]
            scores[column] = correlation_contribution(own, other, target)[0]
        if not np.isnan(scores[0]):
            return scores, None
        why = why_no_contribution(predictions[:, 0], other, targets[:, 0])
        return scores, why.replace("the other model", self._other)


class _FeatureNeutral:
    """Scores predictions that are made neutral to the features of a set.

    The features of an era are factorised at each scoring: kept, they would take 8 bytes for each
    pair of features in each era.
    """

    name = "fnc"

    def __init__(self, dataset: Dataset, feature_set: str) -> None:
        self._dataset, self._columns = dataset, dataset.feature_columns(feature_set)

    def score(self, position: int, predictions: Floats, targets: Float32) -> Scored:
        """Score the predictions of the era at a position."""
        features = self._dataset[self._dataset.eras[position]].features
        if self._columns is not None:
            features = features.take(self._columns, axis=1)
        scores, reason = np.empty(targets.shape[1]), None
        neutralizers: dict[bytes, Neutralizer] = {}  # targets often have labels in the same rows
        for column, target in enumerate(targets.T):
            rows: Mask = ~np.isnan(target)
            if rows.tobytes() not in neutralizers:
                neutralizers[rows.tobytes()] = Neutralizer(features, rows)
            neutralizer = neutralizers[rows.tobytes()]
            own, labels = predictions[rows, column].astype(np.float64), target[rows]
            scores[column] = feature_neutral_corr(own[:, None], labels, neutralizer)[0]
            if column == 0 and np.isnan(scores[0]):
                reason = why_not_neutral(own, labels, neutralizer)
        return scores, reason
