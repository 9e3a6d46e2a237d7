"""What a dry run says of ridge regressions: whether one is fitted, and how long that takes.

Takes the plans of a run, whose model or whose baseline is a ridge regression; returns them with its
time. Nothing is written.
"""

from collections.abc import Sequence
from dataclasses import replace

from ...runs.baseline import same_baseline, wants_baseline
from ...runs.reports.plan import TrainPlan
from ...runs.reports.recorded_report import finished_baseline
from ...runs.run import Run
from ...text import in_time
from .model import seconds_per_row


def timed_plans(plans: Sequence[TrainPlan], run: Run) -> list[TrainPlan]:
    """Return the plans of a run, or of each of its folds, with the times of ridge regressions.

    Parameters
    ----------
    plans : sequence of TrainPlan
        Of a run of seeds those of one seed: all seeds have one baseline.
    run : Run
        The run as it would be; its folder needn't exist.
    """
    if plans[0].in_closed_form:
        return [plan if plan.already_finished else _in_time(plan) for plan in plans]
    if not wants_baseline(run.train_config()):
        return list(plans)
    if finished_baseline(run) is not None:
        return [replace(plan, baseline="a ridge regression, which is there") for plan in plans]
    if (found := same_baseline(run)) is not None:
        text = f"a ridge regression, copied from {found.path}"
        return [replace(plan, baseline=text) for plan in plans]
    return [replace(plan, ridge_seconds=_seconds(plan)) for plan in plans]


def _in_time(plan: TrainPlan) -> TrainPlan:
    seconds = _seconds(plan)
    text = f"{plan.shuffling}, in about {in_time(seconds)}"
    return replace(plan, shuffling=text, ridge_seconds=seconds)


def _seconds(plan: TrainPlan) -> float:
    return plan.n_train_rows * seconds_per_row(plan.n_features)
