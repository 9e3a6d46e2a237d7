"""The baseline of a run that is trained: a ridge regression on the same eras, fitted or copied.

Takes a finished run; writes the folder of its baseline and nothing else, and returns the run's
report with the baseline's scores. What goes wrong costs a warning, and the run is what it was.
"""

from dataclasses import replace

import tensorflow as tf

from ..errors import MemmapTrainError
from ..runs.baseline import (
    baseline_config,
    copied_baseline,
    record_of_folds,
)
from ..runs.configuration.object_reference import describe_error
from ..runs.folds.selection import DatasetOrPath, opened_for
from ..runs.reports.recorded_report import baseline_scores, finished_baseline
from ..runs.reports.reporter import Reporter
from ..runs.reports.result_text import AnyReport
from ..runs.resume import acquire_run
from ..runs.run import Run
from .parts.fold_loop import conclude_folds
from .parts.resolve_folds import shared_of_fold
from .train import train_run


def add_baseline(
    run: Run, dataset: DatasetOrPath, result: AnyReport, report: Reporter
) -> AnyReport:
    """Fit the baseline of a finished run unless it has one; return the report with its scores.

    Parameters
    ----------
    run : Run
        It may be a run of folds: each fold has its own ridge regression. All seeds of a run share
        one.
    dataset : Dataset or path
    result : TrainReport, FoldsReport or SeedsReport
        What the run's training has returned.
    report : Reporter

    Raises
    ------
    KeyboardInterrupt
        Raised after a checkpoint was saved, from which the same command continues.

    Notes
    -----
    The run is finished, and nobody holds it while its baseline is fitted: others may use it, and
    may resume it for more epochs. No file of the run is written, only those in `baseline/`, which
    has a lock of its own.
    """
    try:
        if finished_baseline(run) is None:
            _fit(run, dataset, report)
        scores = baseline_scores(run)
    except (MemmapTrainError, OSError, MemoryError, tf.errors.OpError) as error:
        is_ours = isinstance(error, MemmapTrainError)
        reason = str(error) if is_ours else describe_error(error)
        report.warning(
            f"{run.baseline_path}: the ridge regression to compare with can't be fitted: {reason}; "
            "the run itself is finished, --resume tries again, and --set baseline=none does without"
        )
        return result
    if scores is None or scores == result.baseline:
        return result
    # Not finished before: the page of scores is to show it.
    return replace(result, baseline=scores, already_finished=False)


def _fit(run: Run, dataset: DatasetOrPath, report: Reporter) -> None:
    """Copy the baseline of a run beside this one, or fit it."""
    path = run.baseline_path
    if not path.exists():
        copied_baseline(run)
        if finished_baseline(run) is not None:
            return
    report.fitting_baseline(f"fits a ridge regression on the same eras, to compare with: {path}")
    found, config, own = opened_for(run, dataset), baseline_config(run), _BaselineReporter(report)
    if run.record.fold is not None:
        shared = shared_of_fold(run.record.fold)
        train_run(found, path, config, resume=True, report=own, shared=shared, draws=False)
        return
    record = record_of_folds(run)
    with acquire_run(path, record, resume=path.exists()) as folds:
        reports = [
            train_run(
                found,
                path_of_fold,
                replace(config, validation_eras=fold.validation),
                resume=True,
                report=own,
                shared=shared_of_fold(fold),
                draws=False,
            )
            for path_of_fold, fold in zip(folds.part_paths, run.folds, strict=True)
        ]
        conclude_folds(folds, found, reports, own, draws=False)


class _BaselineReporter(Reporter):
    """Passes on how far a fit is, and its warnings; its plan and its scores aren't the run's."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self.seconds_between_reports = report.seconds_between_reports

    def summing(self, rows_done: int, n_rows: int) -> None:
        self._report.summing(rows_done, n_rows)

    def validation(self, rows_done: int, n_rows: int) -> None:
        self._report.validation(rows_done, n_rows)

    def warning(self, text: str) -> None:
        self._report.warning(text)
