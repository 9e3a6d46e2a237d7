"""Scores of a model during its training: inside epochs and at their ends.

Takes the validation eras of a training and its progress so far; returns the scores of each
era, and a row of `history.csv`.
"""

from ...loading.placement import is_past_cache
from ...runs.checkpoints.state import Row, TrainingProgress
from ...runs.reports.pace import Pace
from ...runs.reports.reporter import Reporter
from ...runs.reports.run_warnings import RunWarnings
from ...runs.scores.score_files import step_score_columns
from ...runs.scores.summary import EraScores, history_scores
from ..prediction.predictor import Predictor
from ..resolve import Setup
from ..step import TrainStep
from .further_scores import further_scorer
from .validation import mapped_labels, score_eras


class Scoring:
    """Scores the model of a training on its validation eras.

    Parameters
    ----------
    setup : Setup
    step : TrainStep
    predictor : Predictor
        The forward pass of the model that the step trains.
    report : Reporter
    warnings : RunWarnings
    pace : Pace
        How often the progress of a scoring is reported.
    """

    def __init__(
        self,
        setup: Setup,
        step: TrainStep,
        predictor: Predictor,
        report: Reporter,
        warnings: RunWarnings,
        pace: Pace,
    ) -> None:
        self._setup, self._step, self._predictor = setup, step, predictor
        self._report, self._warnings, self._pace = report, warnings, pace
        self._dataset = setup.dataset.select(setup.fold.validation)
        self._labels = mapped_labels(self._dataset, setup.config.targets)
        self._further = further_scorer(setup.record, self._dataset)
        # Features that don't fit beside the training eras would push these out of the page cache,
        # epoch after epoch.
        together = setup.dataset.select([*setup.fold.train, *setup.fold.validation])
        self._past_cache = is_past_cache(together)

    def is_due(self, progress: TrainingProgress) -> bool:
        """Return True if the model should be scored now, inside an epoch, and wasn't yet."""
        every, done = self._setup.config.validation_steps, self._step.count
        if not every or done % every or done % len(self._setup.batches) == 0:
            return False
        known = progress.step_scores
        return not known or known[-1]["step"] != done

    def score(self, progress: TrainingProgress) -> tuple[EraScores, dict[str, float]]:
        """Score the model as it is.

        Returns
        -------
        scores : EraScores
        row : dict of str to float
            The row of the running epoch in `history.csv`, without its times.
        """
        loss = progress.epoch_loss(self._step.sums)
        scores = score_eras(
            self._predictor,
            self._dataset,
            self._setup.batches.feature_names,
            self._labels,
            past_cache=self._past_cache,
            further=self._further,
            progress=self._report_progress,
        )
        self._warnings.undefined_scores(scores)
        return scores, {
            "epoch": progress.epochs_done + 1,
            "loss": loss,
            **history_scores(
                scores.corr_summary(), scores.pearson_summary(), scores.further_summaries()
            ),
            "learning_rate": self._step.learning_rate,
        }

    def row_at_step(self, row: Row) -> Row:
        """Return a row of `step_scores.csv`: scores, and the step that they belong to."""
        known = {"step": self._step.count, **row}
        return {name: known[name] for name in step_score_columns(self._setup.config.monitor)}

    def _report_progress(self, rows_done: int, n_rows: int) -> None:
        if self._pace.is_due():
            self._report.validation(rows_done, n_rows)
