"""The plans of folds or seeds that would be trained, with what they cost: a dry run.

Takes functions that prepare them; returns a `TrainPlan` for each. The batches of one at a time are
in memory.
"""

from collections.abc import Callable, Sequence

from ...runs.reports.plan import TrainPlan
from ...runs.run import Run
from ..compiled import make_model
from ..plan import with_costs
from ..probe import probed
from ..resolve import Setup
from ..train import checked_plan

Preparation = Callable[[], tuple[Run | None, Setup]]
"""Returns the run of a fold or a seed, if it has begun, and what is to be trained."""


def plans_of_parts(
    preparations: Sequence[Preparation], *, measures_cost: bool = True
) -> list[TrainPlan]:
    """Return the plans in order, with their costs if there is something left to do.

    Parameters
    ----------
    preparations : sequence of callable
    measures_cost : bool
        Whether costs are measured, by some steps of training.
    """
    plans = []
    for prepared in preparations:
        run, setup = prepared()
        plans.append(checked_plan(run, setup, make_model(setup)))
    left = [number for number, plan in enumerate(plans) if not plan.already_finished]
    if left and measures_cost and not plans[0].in_closed_form:
        # Of the last fold, the largest: a step of the others takes as long.
        _, setup = preparations[left[-1]]()
        plans = with_costs(plans, probed(setup, plans[left[-1]]))
    return plans
