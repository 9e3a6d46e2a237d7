"""The results of a training: its scores, its best model and its report, in the run's folder.

Takes the state of a training; writes files and returns a `TrainReport`; of a finished run, the
report that it recorded.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..runs.checkpoints.checkpoints import newest_step
from ..runs.checkpoints.state import Best, TrainingProgress
from ..runs.files import replacing, results_unwritable
from ..runs.reports.chart import draw_run
from ..runs.reports.recorded_report import recorded_report
from ..runs.reports.report import TrainReport
from ..runs.reports.reporter import Reporter
from ..runs.run import Run
from ..runs.scores.score_files import EraRow
from ..runs.scores.summary import EraScores
from .resolve import Setup
from .step import TrainStep


class Results:
    """The files of a training's results.

    Parameters
    ----------
    run : Run
    setup : Setup
    step : TrainStep
        Its model is saved with the weights of the best epoch.
    report : Reporter
    """

    def __init__(self, run: Run, setup: Setup, step: TrainStep, report: Reporter) -> None:
        self._run, self._setup, self._step, self._report = run, setup, step, report

    def write_scores(self, progress: TrainingProgress) -> None:
        """Write the scores of all epochs, and those inside of them."""
        self._run.write_history(progress.history)
        if self._setup.config.validation_steps:
            self._run.write_step_scores(progress.step_scores)

    def write_best(self, best: Best) -> None:
        """Write the best epoch's scores and model."""
        self._run.write_era_scores(era_rows(self._setup, best.scores))
        # They are the same at an epoch's end, unless a callback has changed them since. (A clone
        # would do as well, but not every user's model can be cloned.)
        model, kept = self._step.model, self._step.weights()
        model.set_weights(best.weights)
        try:
            with replacing(self._run.model_path) as temporary:
                model.save(temporary)
        finally:
            model.set_weights(kept)

    def conclude(self, progress: TrainingProgress) -> TrainReport:
        """Write the final results, including files that couldn't be written before.

        Raises
        ------
        RunError
            They can't be written, which `resume` does again.
        """
        run, best, n_steps = self._run, progress.best, self._step.count
        assert best is not None  # an epoch at least is done
        stopped_early = progress.stopped
        stopped_early |= progress.is_out_of_patience(self._setup.config.patience)
        best_possible = self._setup.best_possible
        try:
            self.write_scores(progress)
            self.write_best(best)
            chart_path = draw_run(
                run,
                best_epoch=best.epoch,
                best_possible=best_possible,
                warn=self._report.warning,
            )
            result = TrainReport(
                run_dir=str(run.path),
                n_epochs=progress.epochs_done,
                n_steps=n_steps,
                stopped_early=stopped_early,
                best_epoch=best.epoch,
                corr=best.scores.corr_summary(),
                pearson=best.scores.pearson_summary(),
                further=best.scores.further_summaries(),
                best_possible=best_possible,
                chart_path=None if chart_path is None else str(chart_path),
            )
            run.finish(result.to_json())
        except OSError as error:
            kept = newest_step(run.checkpoint_dir)
            done = "training itself is done"
            if kept != n_steps:
                done = f"the newest checkpoint is of step {kept:,} of {n_steps:,}"
            raise results_unwritable(run.path, error, done) from error
        return result


def era_rows(setup: Setup, scores: EraScores) -> Iterator[EraRow]:
    """Yield the rows of `era_scores.csv` for the scores of the validation eras."""
    # Shape (eras, targets, scores).
    stacked = np.stack([scores.corr, scores.pearson, *scores.further.values()], axis=2).tolist()
    for era, of_era in zip(setup.fold.validation, stacked, strict=True):
        for target, of_target in zip(setup.config.targets, of_era, strict=True):
            yield era, target, *of_target


def report_again(run: Run, result: Mapping[str, Any], report: Reporter) -> TrainReport:
    """Return the report of a finished run; draw its picture if it couldn't be drawn before.

    Raises
    ------
    RunError
        `state.json` lacks some of it.
    """
    draw_missing(run, result, report)
    return recorded_report(run)


def draw_missing(run: Run, result: Mapping[str, Any], report: Reporter) -> None:
    """Draw the picture of a finished run if there is none yet."""
    if not run.chart_path.exists():
        draw_run(
            run,
            best_epoch=result.get("best_epoch"),
            best_possible=result.get("best_possible"),
            warn=report.warning,
        )
