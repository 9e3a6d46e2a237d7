"""The plans of models that are trained one after another, folds or seeds, with their costs.

Takes what each model follows from; returns a `TrainPlan` of each. Nothing is written.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from ..runs.cost import TrainCost, scaled_cost
from ..runs.report import TrainPlan
from ..runs.run import Run
from .compiled import compile_model, make_model
from .probe import probe
from .resolve import Setup
from .train import checked_plan

_Part = TypeVar("_Part")


def plans_of_parts(
    parts: Sequence[_Part], setup_of: Callable[[_Part], tuple[Run | None, Setup]]
) -> list[TrainPlan]:
    """Return the plans of models that are trained one after another, with their costs.

    The last one that isn't finished is probed, of folds the largest. In the others a step takes as
    long, and so does the scoring of a row.

    Parameters
    ----------
    parts : sequence
        What tells the models apart, in their order.
    setup_of : callable(part)
        Returns the run of a model, if it has begun, and its configuration resolved.
    """
    plans, last = [], 0
    for i, part in enumerate(parts):
        run, setup = setup_of(part)
        plans.append(checked_plan(run, setup, make_model(setup)))
        last = last if plans[i].already_finished else i
    if plans[last].already_finished:
        return plans
    cost = _cost(setup_of(parts[last])[1], plans[last])

    def of(plan: TrainPlan) -> TrainCost:
        return scaled_cost(
            cost,
            steps=plan.steps_per_epoch / plans[last].steps_per_epoch,
            scored_rows=plan.n_validation_rows / plans[last].n_validation_rows,
            epochs=plan.epochs - plan.epochs_done,
        )

    return [plan if plan.already_finished else replace(plan, cost=of(plan)) for plan in plans]


def _cost(setup: Setup, plan: TrainPlan) -> TrainCost:
    """Compile a model, and measure what its training costs."""
    began = time.perf_counter()
    step, predictor = compile_model(setup)
    return probe(setup, step, predictor, plan, time.perf_counter() - began)
