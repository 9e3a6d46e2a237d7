"""A comparison of runs: the scores and the state of each.

Takes folders, of runs or with runs in them; returns plain data for JSON, and a table of it.
Runs are only read. Imports no TensorFlow.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RunError, listed, nearest
from ..system.junk import is_junk
from ..system.paths import checked_path, user_paths
from .files import read_json
from .lock import is_running
from .monitor import MONITORS, is_better
from .record import FORMAT
from .run import NewerRunError, Run, read_run

_USUAL = "val_corr_mean"
_NUMBERS = ("score", "corr_mean", "corr_std", "corr_sharpe", "rows_per_second")
_COLUMNS = {
    "run": "run",
    "score": "score",
    "corr_mean": "corr",
    "corr_std": "std",
    "corr_sharpe": "Sharpe",
    "target": "target",
    "n_features": "features",
    "model": "model",
    "rows_per_second": "rows/s",
    "epochs": "epochs",
    "state": "state",
}
_FORMATS = {
    "score": "{:.4f}",
    "corr_mean": "{:.4f}",
    "corr_std": "{:.4f}",
    "corr_sharpe": "{:.2f}",
    "n_features": "{:,}",
    "rows_per_second": "{:,.0f}",
}


def describe_runs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Describe the runs in some folders, the best first.

    Parameters
    ----------
    folders : sequence of Path
        Each a run, or a folder whose direct subfolders are looked through for runs. Of a run of
        folds or seeds that is named itself these are described too.

    Returns
    -------
    list of dict
        For each run `run` (its path), `state` ("finished", "stopped", "running", "damaged", or
        "newer" for one of a later version), `problem` (what is wrong with a damaged or newer one),
        `monitor`, `score` (the monitored one) and the other
        scores of the best epoch so far, None where there are none yet. Of a run of folds, `folds`
        and `folds_finished`, and the scores of all folds together once they are finished. Sorted by
        `score`, or by `corr_mean` where the runs monitor different scores.

    Raises
    ------
    RunError
        There is no run in a folder; or the only one that was asked for, by its own name, is damaged
        or newer.
    """
    paths, asked = [], user_paths(folders)
    for folder in asked:
        checked_path(folder / "config.json", RunError)
        within = _runs_in(folder)
        found = [folder, *within] if (folder / "config.json").exists() else within
        if not found:
            what = "no run in it" if folder.is_dir() else "no such folder"
            if folder.exists() and not folder.is_dir():
                what = "a file"
            raise RunError(
                f"{folder}: {what}; expected a run, or a folder of runs (a run is made by "
                "`memmap-train train DATASET --run DIR`)"
            )
        paths += [path for path in found if path not in paths]
    rows = [_describe(path) for path in paths]
    if paths == asked and len(rows) == 1 and rows[0]["problem"]:
        raise RunError(rows[0]["problem"])
    monitor = common_monitor(rows)
    key, decides = ("score", monitor) if monitor else ("corr_mean", _USUAL)
    sign = 1 if MONITORS[decides] else -1
    return sorted(rows, key=lambda row: math.inf if row[key] is None else sign * row[key])


def common_monitor(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the monitored score if it is the same in all runs, or None."""
    monitors = {row["monitor"] for row in rows if row["monitor"]}
    return monitors.pop() if len(monitors) == 1 else None


def runs_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of what `describe_runs` found, and what is wrong with damaged ones."""
    monitor = common_monitor(rows)
    columns = [name for name in _COLUMNS if name != "score" or monitor not in (None, _USUAL)]
    table = [[_COLUMNS[name] for name in columns]]
    table += [[_cell(name, row) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    right = {*_FORMATS, "epochs"}
    lines = [
        "  ".join(
            text.rjust(width) if name in right else text.ljust(width)
            for name, text, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in table
    ]
    lines += [row["problem"] for row in rows if row["problem"]]
    if monitor is None:
        monitors = sorted({row["monitor"] for row in rows if row["monitor"]})
        if monitors:
            lines.append(f"sorted by corr, since the runs monitor {listed(monitors)}")
    elif monitor != _USUAL:
        lines.append(f"score: {monitor} of the best epoch, which these runs monitor")
    return "\n".join(lines)


def _runs_in(folder: Path) -> list[Path]:
    """Return the runs in a folder; in that of a run none but its folds or seeds."""
    if not folder.is_dir():
        return []
    if (folder / "config.json").exists():
        return _begun_parts(folder)
    return sorted(
        path.parent
        for path in folder.glob("*/config.json")
        if not is_junk(path.parent.name) and not _is_other_config(path)
    )


def _begun_parts(folder: Path) -> list[Path]:
    try:
        run = read_run(folder)
    except RunError:  # which is reported for the run itself
        return []
    return [path for path in run.part_paths if (path / "config.json").exists()]


def _with_histories(run: Run) -> list[Run]:
    """Return the runs that have a history: the folds or seeds that have begun, or the run."""
    if not run.part_paths:
        return [run]
    return [one for path in _begun_parts(run.path) for one in _with_histories(read_run(path))]


def _is_other_config(path: Path) -> bool:
    """Return True if a config.json is valid JSON but not that of a run."""
    try:
        return read_json(path).get("format") != FORMAT
    except OSError:  # a run's, perhaps: it is described as damaged
        return False


def _describe(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_COLUMNS)
    row |= {"run": str(path), "state": "damaged", "problem": None, "monitor": None}
    try:
        run = read_run(path)
        result = run.read_result()
        parts = [read_run(part) for part in _begun_parts(path)]
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
        }
        if history:
            row["rows_per_second"] = history[-1]["rows_per_second"]
        if run.part_paths:
            n_finished = sum(part.read_result() is not None for part in parts)
            row["seeds_finished" if run.seeds else "folds_finished"] = n_finished
            scores = result or {}
            row |= {name: scores.get(name) for name in ("corr_mean", "corr_std", "corr_sharpe")}
            row["score"] = scores.get(monitor.removeprefix("val_"))
        elif history:
            best = history[0]
            for epoch in history[1:]:
                if is_better(monitor, epoch[monitor], best[monitor]):
                    best = epoch
            kept = (result or {}).get("best_epoch")  # of a fold the last one, whatever its score
            best = next((epoch for epoch in history if epoch["epoch"] == kept), best)
            row |= {
                "best_epoch": int(best["epoch"]),
                "score": best[monitor],
                "corr_mean": best["val_corr_mean"],
                "corr_std": best["val_corr_std"],
                "corr_sharpe": best["val_corr_sharpe"],
            }
    except RunError as error:
        state = "newer" if isinstance(error, NewerRunError) else "damaged"
        return row | {"state": state, "problem": str(error)}
    # JSON has neither NaN nor infinities.
    row |= {name: None for name in _NUMBERS if not math.isfinite(row[name] or 0)}
    if result is not None:
        return row | {"state": "finished"}
    return row | {"state": "running" if is_running(path) else "stopped"}


def _cell(name: str, row: Mapping[str, Any]) -> str:
    value = row[name]
    for parts in ("seeds", "folds"):
        if name == "state" and row.get(parts):
            return f"{value}, {row[f'{parts}_finished']} of {row[parts]} {parts}"
    return "-" if value is None else _FORMATS.get(name, "{}").format(value)
