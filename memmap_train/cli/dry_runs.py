"""`train --dry-run`: what would be trained, printed; nothing is written.

Takes the parsed arguments of `train` and the configuration; prints the plan of a run, or those of
its folds or seeds.
"""

import argparse
from typing import TYPE_CHECKING

from ..runs.report import plan_text
from ..runs.result_text import seed_plans_text
from ..text import in_bytes

if TYPE_CHECKING:
    from ..runs.config import TrainConfig


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
    if plan.already_finished:
        print(f"{arguments.run}: already finished; nothing to do")
        return
    checkpoint_bytes = plan.state_bytes + plan.best_bytes
    print(
        f"would write {arguments.run}: config.json, history.csv, era_scores.csv, model.keras, "
        f"a picture, and checkpoints of about {in_bytes(checkpoint_bytes)}; nothing was written"
    )


def _dry_run_folds(arguments: argparse.Namespace, config: "TrainConfig | None") -> None:
    from ..training.fold_loop import dry_run_folds  # needs TensorFlow

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
    if is_finished:
        print(f"{arguments.run}: already finished; nothing to do")
    else:
        print(f"would write {arguments.run}: a run for each fold; nothing was written")


def _dry_run_seeds(arguments: argparse.Namespace, config: "TrainConfig | None") -> None:
    from ..training.seed_loop import dry_run_seeds  # needs TensorFlow

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
    if is_finished:
        print(f"{arguments.run}: already finished; nothing to do")
    else:
        print(f"would write {arguments.run}: a run for each seed; nothing was written")
