"""The description of one run: its scores and its state, as plain values.

Takes a run's folder; returns values for JSON and for a table, whatever the state of the run. Runs
are only read. Imports no TensorFlow.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RunError, listed, nearest
from .lock import is_running
from .run import NewerRunError, Run, read_run
from .scores.monitor import MONITORS, is_better

SEED_SCORES = ("seed_corr_mean", "seed_corr_standard_error")
_SHOWN_SCORES = ("corr_mean", "corr_std", "corr_sharpe")
_DESCRIBED = ("run", "score", *_SHOWN_SCORES, "rows_per_second", "target", "n_features", "model")


def describe_run(path: Path, by: str | None = None) -> dict[str, Any]:
    """Describe a run.

    Parameters
    ----------
    path : Path
    by : str, optional
        The column of `history.csv` that `score` is, by default the monitored one.

    Returns
    -------
    dict
        See `table.describe_runs`.
    """
    row: dict[str, Any] = dict.fromkeys((*_DESCRIBED, "epochs"))
    row |= {"run": str(path), "state": "damaged", "problem": None, "monitor": None, "scores": {}}
    try:
        run = read_run(path)
        result = run.read_result()
        scores: Mapping[str, Any] = {}
        parts = [read_run(part) for part in begun_parts(run)]
        history = [epoch for one in _with_histories(run) for epoch in one.read_history()]
        monitor = run.record.monitor
        if monitor not in MONITORS:
            raise RunError(
                f"{path / 'config.json'}: it monitors {monitor!r:.40}, which isn't a score here"
                f"{nearest(monitor, MONITORS)}; expected one of {listed(MONITORS, most=3)}"
            )
        row |= {
            "monitor": monitor,
            "target": run.record.main_target,
            "n_features": len(run.record.features),
            "model": run.record.model,
            "epochs": len(history),
            "most_epochs": run.record.epochs,
            "best_epoch": None,
            "folds": len(run.folds),
            "folds_finished": 0,
            "seeds": len(run.seeds),
            "seeds_finished": 0,
            # Of runs of seeds: the mean of their own scores, and the error of it.
            **{name: (result or {}).get(name) for name in SEED_SCORES},
        }
        if run.part_paths:
            n_finished = sum(part.read_result() is not None for part in parts)
            row["seeds_finished" if run.seeds else "folds_finished"] = n_finished
            scores = {f"val_{name}": value for name, value in (result or {}).items()}
        elif history:
            best = history[0]
            for epoch in history[1:]:
                if is_better(monitor, epoch[monitor], best[monitor]):
                    best = epoch
            kept = (result or {}).get("best_epoch")  # of a fold the last one, whatever its score
            best = next((epoch for epoch in history if epoch["epoch"] == kept), best)
            row["best_epoch"], scores = int(best["epoch"]), best
        row["scores"] = {name: _finite(scores[name]) for name in MONITORS if name in scores}
    except RunError as error:
        state = "newer" if isinstance(error, NewerRunError) else "damaged"
        return row | {"state": state, "problem": str(error)}
    row |= {
        "score": row["scores"].get(by or monitor),
        **{name: row["scores"].get(f"val_{name}") for name in _SHOWN_SCORES},
        "rows_per_second": _finite(history[-1]["rows_per_second"]) if history else None,
    }
    if result is not None:
        return row | {"state": "finished"}
    return row | {"state": "running" if is_running(path) else "stopped"}


def _finite(value: float | None) -> float | None:
    """Return a number, or None for NaN and infinities, which JSON hasn't."""
    return value if value is not None and math.isfinite(value) else None


def begun_parts(run: Run) -> list[Path]:
    """Return the folders of the folds or seeds that have begun."""
    return [path for path in run.part_paths if (path / "config.json").exists()]


def _with_histories(run: Run) -> list[Run]:
    """Return the runs that have a history: the folds or seeds that have begun, or the run."""
    if not run.part_paths:
        return [run]
    return [one for path in begun_parts(run) for one in _with_histories(read_run(path))]


def check_known(by: str | None, rows: Sequence[Mapping[str, Any]], where: str) -> None:
    """Check that a run has the score that runs are to be ranked by.

    Raises
    ------
    RunError
        None of those that have a score at all has this one; it names those that there are.
    """
    if by is None:
        return
    known = {name for row in rows for name in row["scores"]}
    if by not in known and (known or by not in MONITORS):
        names = sorted(known) or list(MONITORS)
        raise RunError(
            f"{where}: --by {by}: no run has this score{nearest(by, names)}; expected one of "
            f"{listed(names, most=len(names))}"
        )
