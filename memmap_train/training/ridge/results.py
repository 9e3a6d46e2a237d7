"""The results of a ridge regression in its run's folder, the same files as a net's.

Takes a fitted model; scores it on the validation eras, and writes the files.
"""

import time
from typing import Any

import numpy as np
import tensorflow as tf

from ...errors import ConfigError
from ...loading.placement import is_past_cache
from ...runs.checkpoints.checkpoints import newest_step
from ...runs.configuration.object_reference import describe_error
from ...runs.files import replacing, results_unwritable
from ...runs.reports.chart import draw_run
from ...runs.reports.pace import Pace
from ...runs.reports.report import TrainReport
from ...runs.reports.reporter import Reporter
from ...runs.reports.run_warnings import RunWarnings
from ...runs.run import Run
from ...runs.scores.summary import EraScores, history_scores
from ..prediction.predictor import Predictor
from ..resolve import Setup
from ..results import era_rows
from ..validation.further_scores import further_scorer
from ..validation.validation import mapped_labels, score_eras
from .model import keras_model
from .state import FitState
from .strength import LinearModel


class RidgeResults:
    """Scores a fitted model, and writes the run's files.

    Parameters
    ----------
    run : Run
    setup : Setup
    report : Reporter
    """

    def __init__(self, run: Run, setup: Setup, report: Reporter) -> None:
        self._run, self._setup, self._report = run, setup, report
        self._dataset = setup.dataset.select(setup.fold.validation)
        self._labels = mapped_labels(self._dataset, setup.config.targets)
        self._further = further_scorer(setup.record, self._dataset)
        self._warnings = RunWarnings(run.path, report)
        self._pace = Pace(report.seconds_between_reports)

    def conclude(self, found: LinearModel, state: FitState, *, draws: bool) -> TrainReport:
        """Write the results.

        Parameters
        ----------
        found : LinearModel
        state : FitState
            The complete state of the fit.
        draws : bool
            Whether to draw the picture of the scores.

        Raises
        ------
        ConfigError
            The weights are no numbers, or the model fails on the validation eras, for want of
            memory.
        RunError
            They can't be written, which `resume` does again.
        """
        if not (np.isfinite(found.weights).all() and np.isfinite(found.biases).all()):
            raise ConfigError(
                f"{self._run.path}: the model's weights are no numbers; expected features and "
                "targets of moderate size: check the dataset"
            )
        began = time.perf_counter()
        try:
            model = keras_model(found)
            scores = self._scores(model)
        except tf.errors.OpError as error:
            raise ConfigError(
                f"{self._run.path}: the ridge regression fails on the validation eras: "
                f"{describe_error(error)}; the fit itself is done: free some memory of the device, "
                "and add --resume to continue from there"
            ) from error
        corr, pearson = scores.corr_summary(), scores.pearson_summary()
        row = {
            "epoch": 1,
            "loss": state.loss,
            **history_scores(corr, pearson, scores.further_summaries()),
            "learning_rate": 0.0,
            "seconds": state.seconds + time.perf_counter() - began,
            "rows_per_second": state.rows / state.seconds if state.seconds else 0.0,
            "data_wait": state.waited / state.seconds if state.seconds else 0.0,
        }
        self._report.epoch(row)
        try:
            return self._written(model, scores, row, state, draws=draws)
        except OSError as error:
            kept, done = newest_step(self._run.checkpoint_dir), "the fit itself is done"
            if kept != state.rows:
                done = f"the newest checkpoint is of row {kept:,} of {state.rows:,}"
            raise results_unwritable(self._run.path, error, done) from error

    def _scores(self, model: Any) -> EraScores:
        setup, config = self._setup, self._setup.config
        together = setup.dataset.select([*setup.fold.train, *setup.fold.validation])
        scores = score_eras(
            Predictor(model, config.fill_missing),
            self._dataset,
            config.features,
            self._labels,
            past_cache=is_past_cache(together),
            further=self._further,
            progress=self._report_progress,
        )
        self._warnings.undefined_scores(scores)
        return scores

    def _written(
        self,
        model: Any,
        scores: EraScores,
        row: dict[str, float],
        state: FitState,
        *,
        draws: bool,
    ) -> TrainReport:
        run, best_possible = self._run, self._setup.best_possible
        run.write_history([row])
        run.write_era_scores(era_rows(self._setup, scores))
        with replacing(run.model_path) as temporary:
            model.save(temporary)
        chart_path = None
        if draws:
            chart_path = draw_run(
                run, best_epoch=1, best_possible=best_possible, warn=self._report.warning
            )
        result = TrainReport(
            run_dir=str(run.path),
            n_epochs=1,
            n_steps=1,
            stopped_early=False,
            best_epoch=1,
            corr=scores.corr_summary(),
            pearson=scores.pearson_summary(),
            further=scores.further_summaries(),
            best_possible=best_possible,
            chart_path=None if chart_path is None else str(chart_path),
            strengths=dict(zip(self._setup.config.targets, state.strengths, strict=True)),
        )
        run.finish(result.to_json())
        return result

    def _report_progress(self, rows_done: int, n_rows: int) -> None:
        if self._pace.is_due():
            self._report.validation(rows_done, n_rows)
