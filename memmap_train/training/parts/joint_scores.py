"""The scores of all seeds of a run together: of the mean of their ranks, as `predict` has it.

Takes a run of seeds whose models are trained, and its validation eras; returns `EraScores`. With
folds each era is predicted by the models of its fold.
"""

from collections.abc import Generator, Sequence
from itertools import pairwise

from ...arrays import Float64
from ...dataset.dataset import Dataset
from ...runs.reports.pace import Pace
from ...runs.reports.reporter import Reporter
from ...runs.run import Run
from ...runs.scores.summary import EraScores
from ..prediction.ensemble import mean_of_members, members_of
from ..prediction.predictor import RowsDone
from ..validation.further_scores import further_scorer
from ..validation.validation import mapped_labels, score_eras


def joint_scores(run: Run, dataset: Dataset, report: Reporter) -> EraScores:
    """Score the mean of the ranks of a run's seeds, for each target.

    Parameters
    ----------
    run : Run
        A run of seeds.
    dataset : Dataset
        The validation eras only. Predictions take 8 bytes for each row and target.
    report : Reporter

    Raises
    ------
    RunError
        A model is missing; `ModelError` if one fails, or its predictions aren't numbers.
    """
    pace, targets = Pace(report.seconds_between_reports), run.record.targets

    def progress(done: int, n_rows: int) -> None:
        if pace.is_due():
            report.validation(done, n_rows)

    labels = mapped_labels(dataset, targets)  # first: an update may replace their files
    further = further_scorer(run.record, dataset)
    ranks = mean_of_members(
        members_of(run, dataset), dataset, raw=False, n_columns=len(targets), progress=progress
    )
    return score_eras(_Known(ranks), dataset, run.record.features, labels, further=further)


class _Known:
    """Predictions of the rows of a dataset that are known already."""

    def __init__(self, values: Float64) -> None:
        self._values = values

    def predict(
        self,
        dataset: Dataset,
        feature_names: Sequence[str],
        *,
        past_cache: bool = False,
        progress: RowsDone | None = None,
    ) -> Generator[tuple[str, Float64], None, None]:
        """Yield every era of the dataset with its predictions, of shape (rows, targets)."""
        for era, (low, high) in zip(dataset.eras, pairwise(dataset.row_offsets), strict=True):
            yield era, self._values[low:high]
