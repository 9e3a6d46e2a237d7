"""What a sweep costs: a few trials are probed, and the others are scaled by their rows.

Takes a `ResolvedSweep`; returns a `SweepCost`. Nothing is written.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...runs.baseline import wants_baseline
from ...runs.configuration.config import TrainConfig
from ...runs.configuration.ridge_keys import RIDGE
from ...runs.reports.cost import TrainCost
from ...runs.reports.plan import TrainPlan
from ...runs.reports.recorded_report import finished_baseline
from ...runs.run import read_run
from ...runs.sweeps.record import SweepRecord, Trial
from ..ridge.model import seconds_per_row
from .setup import ResolvedSweep, naming, plans_of_trial, stays_failed

_Group = list[tuple[Trial, list[TrainPlan]]]  # trials with their plans

_MAX_PROBES = 3
"""Of trials with one model: more take longer to probe than they tell."""
_WITHOUT_COST = frozenset(
    {
        "seed",
        "learning_rate",
        "weight_decay",
        "epochs",
        "patience",
        "plateau_patience",
        "plateau_factor",
        "warmup_steps",
        "schedule",
        "target_weights",
        "allow_overlap",
        "baseline",
    }
)
"""Keys that don't change how long an epoch takes."""
_OF_BASELINE = ("features", "targets", "embargo_eras", "fill_missing")
"""Keys that decide, with the eras, which baseline a trial has."""


@dataclass(frozen=True, slots=True)
class SweepCost:
    """What the trials that are left to train cost.

    Attributes
    ----------
    seconds : float
        About how long they take, one after another, with their baselines.
    n_probed : int
        Trials that were probed.
    """

    seconds: float
    n_probed: int


def sweep_cost(path: Path, resolved: ResolvedSweep) -> SweepCost:
    """Measure what is left to do of a sweep.

    Of all trials that take equally long one is probed, and of many such groups with one model a
    few: each of the others is taken to cost what the next larger one does.

    Parameters
    ----------
    path : Path
        The folder of the sweep.
    resolved : ResolvedSweep
    """
    record = resolved.record
    left = [
        (trial, plans)
        for trial, plans in zip(record.trials, resolved.plans, strict=True)
        if not stays_failed(path, trial)
    ]
    groups: dict[str, _Group] = {}
    for trial, plans in left:
        if record.config_of(trial).model != RIDGE and _unfinished(plans):
            groups.setdefault(_group_of(record.config_of(trial)), []).append((trial, plans))
    seconds, n_probed = _ridge_seconds(path, record, left), 0
    for of_model in _by_model(list(groups.values())):
        n_chosen = min(_MAX_PROBES, len(of_model))
        chosen = set(np.linspace(0, len(of_model) - 1, n_chosen).round().astype(int).tolist())
        measured: tuple[TrainPlan, TrainCost] | None = None
        for number, group in enumerate(of_model):
            if number in chosen:
                trial = group[0][0]
                with naming(trial):
                    found, _ = plans_of_trial(
                        path, trial, resolved.dataset, record, measures_cost=True
                    )
                measured = next((plan, plan.cost) for plan in found if plan.cost is not None)
                n_probed += 1
            assert measured is not None  # the first group is among the chosen ones
            seconds += sum(_seconds(plan, *measured) for _, plans in group for plan in plans)
    return SweepCost(seconds, n_probed)


def _unfinished(plans: list[TrainPlan]) -> bool:
    return not all(plan.already_finished for plan in plans)


def _group_of(config: TrainConfig) -> str:
    """Return a text that configurations share whose epochs take equally long."""
    values = {key: value for key, value in config.to_dict().items() if key not in _WITHOUT_COST}
    return json.dumps(values, sort_keys=True)


def _by_model(groups: list[_Group]) -> Iterator[list[_Group]]:
    """Yield groups with one model, those with the most parameters first."""
    for model in dict.fromkeys(group[0][1][0].model for group in groups):
        own = [group for group in groups if group[0][1][0].model == model]
        yield sorted(own, key=lambda group: -group[0][1][0].n_parameters)


def _seconds(plan: TrainPlan, probed: TrainPlan, cost: TrainCost) -> float:
    """Return how long a run takes, by the cost of another one."""
    if plan.already_finished:
        return 0.0
    training = cost.training_seconds * plan.n_train_rows / probed.n_train_rows
    scoring = cost.scoring_seconds * plan.n_validation_rows / probed.n_validation_rows
    return (plan.epochs - plan.epochs_done) * (training + scoring) + sum(cost.once.values())


def _ridge_seconds(path: Path, record: SweepRecord, left: _Group) -> float:
    """Return how long ridge regressions take: trials, and baselines, each of which is fitted once.

    Trials with the same features and targets share a baseline.
    """
    fitted: set[str] = set()
    rates: dict[int, float] = {}
    total = 0.0
    for trial, plans in left:
        config = record.config_of(trial)
        baseline = json.dumps([config.to_dict()[key] for key in _OF_BASELINE])
        if config.model == RIDGE:
            counted = [plan for plan in plans if not plan.already_finished]
        elif not wants_baseline(config) or baseline in fitted:
            continue
        else:
            fitted.add(baseline)
            run = path / trial.name
            if (run / "config.json").exists() and finished_baseline(read_run(run)) is not None:
                continue
            counted = plans[: len(plans) // (record.seeds_of(trial) or 1)]
        for plan in counted:
            if plan.n_features not in rates:
                rates[plan.n_features] = seconds_per_row(plan.n_features)
            total += plan.n_train_rows * rates[plan.n_features]
    return total
