"""`train` with a sweep: several settings trained one after another, or listed by a dry run.

Takes the parsed arguments and what is to be swept; calls functions of the package and prints the
result.
"""

import argparse
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ..errors import RunError, listed
from ..runs.reports.reporter import Reporter
from ..runs.reports.training_display import TrainingDisplay
from ..system.paths import user_path
from ..text import counted, in_bytes, in_time

if TYPE_CHECKING:
    from ..runs.request import Request

_BYTES_OF_FILES = 100_000  # of a run, apart from weights


def train_sweep(arguments: argparse.Namespace, request: "Request") -> None:
    """Train the trials of a sweep and print their table; fail if some have failed."""
    from ..training.sweeps.trained_sweep import sweep  # needs pydantic

    with nullcontext(Reporter()) if arguments.quiet else TrainingDisplay(sys.stderr) as reporter:
        done = sweep(
            arguments.dataset,
            arguments.run,
            request.swept,
            request.config,
            n_runs=request.n_runs,
            folds=arguments.folds,
            rolling_eras=arguments.rolling,
            seeds=arguments.seeds,
            resume=arguments.resume,
            progress=reporter,
        )
    print(done)
    if done.chart_path is not None:
        print(f"chart: {done.chart_path}")
    if failures := done.failures:
        n_trials = sum(row["n_trials"] for row in done.table())
        raise RunError(
            f"{arguments.run}: {len(failures):,} of {counted(n_trials, 'trial')} failed: "
            f"{listed(failures, most=3)}; the reasons are above; to try one again, remove its "
            "folder and add --resume"
        )


def dry_run_sweep(arguments: argparse.Namespace, request: "Request") -> None:
    """Print the trials of a sweep, and what they take."""
    from ..runs.sweeps.table import trial_line  # needs pydantic
    from ..training.sweeps.cost import sweep_cost  # needs TensorFlow
    from ..training.sweeps.setup import resolve_sweep

    resolved = resolve_sweep(
        arguments.dataset,
        user_path(arguments.run),
        request.swept,
        request.config,
        request.n_runs,
        arguments.folds,
        arguments.rolling,
        arguments.seeds,
        resume=arguments.resume,
    )
    n_steps = n_bytes = 0
    for trial, plans in zip(resolved.record.trials, resolved.plans, strict=True):
        print(trial_line(trial, plans))
        n_steps += sum(plan.epochs * plan.steps_per_epoch - plan.first_step for plan in plans)
        # Two checkpoints and the best one, and the best epoch's model.
        n_bytes += sum(3 * plan.state_bytes + 2 * plan.best_bytes for plan in plans)
        n_bytes += len(plans) * _BYTES_OF_FILES
    if (line := resolved.equal_line()) is not None:
        print(line)
    n_trials = counted(len(resolved.record.trials), "trial")
    if resolved.is_finished:
        print(f"{arguments.run}: {n_trials}, already finished; nothing to do")
        return
    cost = sweep_cost(user_path(arguments.run), resolved)
    by = f" by a probe of {counted(cost.n_probed, 'trial')}" if cost.n_probed else ""
    print(
        f"{n_trials}, {counted(n_steps, 'step')} at most, in about {in_time(cost.seconds)}{by}; "
        f"would write {arguments.run}: a run for each trial, {in_bytes(n_bytes)} in all; nothing "
        "was written"
    )
