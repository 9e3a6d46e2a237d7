"""`train --dry-run`: what would be trained, printed; nothing is written.

Takes the parsed arguments of `train` and the configuration; prints the plan of a run, or those of
its folds or seeds.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..runs.reports.cost import cost_text
from ..runs.reports.plan import TrainPlan, plan_text
from ..runs.reports.result_text import seed_plans_text
from ..text import counted, in_time

if TYPE_CHECKING:
    from ..runs.configuration.config import TrainConfig


def dry_run(arguments: argparse.Namespace, config: "TrainConfig | None") -> None:
    """Print what `train` would do with these arguments."""
    if arguments.seeds is not None:
        _dry_run_seeds(arguments, config)
    elif arguments.folds is not None:
        _dry_run_folds(arguments, config)
    else:
        _dry_run_of_one(arguments, config)


def _dry_run_of_one(arguments: argparse.Namespace, config: "TrainConfig | None") -> None:
    from ..training import train  # needs TensorFlow

    plan = train.dry_run(arguments.dataset, arguments.run, config, resume=arguments.resume)
    print(plan_text(plan))
    files = "config.json, history.csv, era_scores.csv, model.keras, a picture, and checkpoints"
    _print_end(arguments.run, [plan], files, is_finished=plan.already_finished)


def _dry_run_folds(arguments: argparse.Namespace, config: "TrainConfig | None") -> None:
    from ..training.parts.fold_loop import dry_run_folds  # needs TensorFlow

    plans, is_finished = dry_run_folds(
        arguments.dataset,
        arguments.run,
        config,
        folds=arguments.folds,
        rolling_eras=arguments.rolling,
        resume=arguments.resume,
    )
    for number, plan in enumerate(plans, start=1):
        done = ": already finished" if plan.already_finished else ""
        print(f"fold {number} of {len(plans)}{done}\n{plan_text(plan)}")
    _print_end(arguments.run, plans, "a run for each fold", is_finished=is_finished)


def _dry_run_seeds(arguments: argparse.Namespace, config: "TrainConfig | None") -> None:
    from ..training.parts.seed_loop import dry_run_seeds  # needs TensorFlow

    plans, is_finished = dry_run_seeds(
        arguments.dataset,
        arguments.run,
        config,
        seeds=arguments.seeds,
        folds=arguments.folds,
        rolling_eras=arguments.rolling,
        resume=arguments.resume,
    )
    print(seed_plans_text(plans))
    flat = [plan for of_seed in plans.values() for plan in of_seed]
    _print_end(arguments.run, flat, "a run for each seed", is_finished=is_finished)


def _print_end(run: Path, plans: Sequence[TrainPlan], files: str, *, is_finished: bool) -> None:
    """Print what is left to do: what it costs, as far as models are left to train, and writes."""
    costs = [plan.cost for plan in plans if plan.cost is not None]
    of_ridge = [plan.ridge_seconds for plan in plans if plan.ridge_seconds is not None]
    if is_finished:
        what = f"nothing to do but its baseline, in about {in_time(sum(of_ridge))}"
        print(f"{run}: already finished; {what if of_ridge else 'nothing to do'}")
        return
    if costs:
        print(cost_text(costs, sum(of_ridge)))
    elif of_ridge:
        number = counted(len(of_ridge), "ridge regression")
        print(f"total       about {in_time(sum(of_ridge))} for {number}")
    print(f"would write {run}: {files}; nothing was written")
