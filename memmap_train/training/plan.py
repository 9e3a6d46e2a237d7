"""The plan of a training, in numbers.

Takes a resolved configuration with its model; returns a `TrainPlan`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..loading.explanation import reading_line, shuffling_line
from ..runs.baseline import wants_baseline
from ..runs.configuration.ridge_keys import RIDGE
from ..runs.folds.embargo import automatic_embargo
from ..runs.reports.cost import TrainCost, scaled_cost
from ..runs.reports.plan import TrainPlan
from ..runs.transform_benchmarks import transform_line
from .models.precision import precision_line
from .prediction.predictor import BLOCK_ROWS
from .resolve import Setup
from .ridge.model import plan_of_ridge


def plan_of(setup: Setup, model: Any, first_step: int, epochs_done: int) -> TrainPlan:
    """Return the plan of a training that begins after the given steps and epochs."""
    config, batches, fold = setup.config, setup.batches, setup.fold
    validation = setup.dataset.select(fold.validation)
    manifest, trained = setup.dataset.manifest, batches.dataset.eras
    automatic, note = automatic_embargo(
        setup.dataset.eras,
        config.targets,
        manifest.aliases,
        era_column=manifest.era_column,
    )
    reference = setup.record.monitored_against
    n_features, n_parameters = len(batches.feature_names), model.count_params()
    plan = TrainPlan(
        n_train_eras=len(trained),
        n_train_rows=batches.dataset.n_rows,
        n_validation_eras=len(fold.validation),
        n_validation_rows=validation.n_rows,
        n_embargo_eras=len(fold.embargo),
        train_range=f"{trained[0]} to {trained[-1]}",
        validation_range=f"{fold.validation[0]} to {fold.validation[-1]}",
        embargo=note if fold.embargo_eras == automatic else None,
        transform=transform_line(setup.dataset.select(fold.train), config.target_transform),
        baseline="a ridge regression, fitted afterwards" if wants_baseline(config) else None,
        monitored=None if reference is None else f"{config.monitor} ({reference})",
        n_features=n_features,
        n_targets=len(config.targets),
        n_parameters=n_parameters,
        model=config.model,
        precision=precision_line(config.precision),
        buffer_bytes=2 * (batches.pool_bytes + BLOCK_ROWS * n_features * 4),
        # Adam keeps two numbers for each weight.
        state_bytes=3 * n_parameters * 4,
        best_bytes=n_parameters * 4,
        main_target=setup.main_target,
        named_target=setup.named_target,
        batch_size=batches.batch_size,
        shuffling=shuffling_line(batches),
        reading=reading_line(batches),
        steps_per_epoch=len(batches),
        epochs=config.epochs,
        first_step=first_step,
        epochs_done=epochs_done,
        deterministic=bool(config.deterministic),
    )
    return plan_of_ridge(setup, plan) if config.model == RIDGE else plan


def with_costs(plans: Sequence[TrainPlan], cost: TrainCost) -> list[TrainPlan]:
    """Return the plans of folds with their costs, of which that of the last one is known.

    A step takes as long in each of them, and so does the scoring of a row.
    """
    probed = [plan for plan in plans if not plan.already_finished][-1]

    def of(plan: TrainPlan) -> TrainCost:
        return scaled_cost(
            cost,
            steps=plan.steps_per_epoch / probed.steps_per_epoch,
            scored_rows=plan.n_validation_rows / probed.n_validation_rows,
            epochs=plan.epochs - plan.epochs_done,
        )

    return [plan if plan.already_finished else replace(plan, cost=of(plan)) for plan in plans]
