"""A comparison of runs: the scores and the state of each.

Takes folders, of runs or with runs in them; returns plain data for JSON, and a table of it.
Runs are only read. Imports no TensorFlow.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RunError, listed
from ..system.junk import is_junk
from ..system.paths import checked_path, user_paths
from .files import SWEEP_NAME, read_json
from .record import FORMAT
from .run import read_run
from .run_description import begun_parts, check_known, describe_run
from .scores.monitor import MONITORS
from .sweeps.record import is_sweep, read_sweep

USUAL_SCORE = "val_corr_mean"
"""The score to rank by where runs monitor different ones."""
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


def describe_runs(folders: Sequence[Path], by: str | None = None) -> list[dict[str, Any]]:
    """Describe the runs in some folders, the best first.

    Parameters
    ----------
    folders : sequence of Path
        Each a run, or a folder whose direct subfolders are looked through for runs and sweeps. Of a
        run of folds or seeds that is named itself these are described too.
    by : str, optional
        The score to sort by, a column of `history.csv`; by default the monitored one.

    Returns
    -------
    list of dict
        For each run `run` (its path), `state` ("finished", "stopped", "running", "damaged", or
        "newer" for one of a later version), `problem` (what is wrong with a damaged or newer one),
        `monitor`, `score` (the monitored one, or that of `by`) and the other
        scores of the best epoch so far, None where there are none yet. Of a run of folds, `folds`
        and `folds_finished`, and the scores of all folds together once they are finished. `scores`
        has all of the best epoch by name. A sweep among them is "sweep", with `n_trials` and
        `n_finished`. Sorted by `score`, or by `corr_mean` where the runs monitor different scores.

    Raises
    ------
    RunError
        There is no run in a folder; or the only one that was asked for, by its own name, is damaged
        or newer; or no run has the score to sort by.
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
    rows = [(_describe_sweep if is_sweep(path) else describe_run)(path, by) for path in paths]
    if paths == asked and len(rows) == 1 and rows[0]["problem"]:
        raise RunError(rows[0]["problem"])
    check_known(by, rows, str(folders[0]))
    decides = by or common_monitor(rows)
    return sorted_by(rows, *(("score", decides) if decides else ("corr_mean", USUAL_SCORE)))


def sorted_by(rows: Iterable[dict[str, Any]], key: str, score: str) -> list[dict[str, Any]]:
    """Return rows with the best first, by what `key` holds, which is a certain score."""
    sign = 1 if MONITORS[score] else -1
    return sorted(rows, key=lambda row: math.inf if row[key] is None else sign * row[key])


def common_monitor(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the monitored score if it is the same in all runs, or None."""
    monitors = {row["monitor"] for row in rows if row["monitor"]}
    return monitors.pop() if len(monitors) == 1 else None


def runs_text(rows: Sequence[Mapping[str, Any]], by: str | None = None) -> str:
    """Return a table of what `describe_runs` found, and what is wrong with damaged ones."""
    monitor = common_monitor(rows)
    shown = by or monitor
    columns = [name for name in _COLUMNS if name != "score" or shown not in (None, USUAL_SCORE)]
    table = [[_COLUMNS[name] for name in columns]]
    table += [[_cell(name, row) for name in columns] for row in rows]
    lines = aligned(table, [name in {*_FORMATS, "epochs"} for name in columns])
    lines += [
        f"{row['run']}: numerai_corr of one seed {row['seed_corr_mean']:.4f} ± "
        f"{row['seed_corr_standard_error']:.4f} (mean and standard error over {row['seeds']} seeds)"
        for row in rows
        if row.get("seed_corr_mean") is not None
    ]
    lines += [row["problem"] for row in rows if row["problem"]]
    if by is not None:
        lines.append(f"score: {by} of the best epoch by what each run monitors")
    elif monitor is None:
        monitors = sorted({row["monitor"] for row in rows if row["monitor"]})
        if monitors:
            lines.append(f"sorted by corr, since the runs monitor {listed(monitors)}")
    elif monitor != USUAL_SCORE:
        lines.append(f"score: {monitor} of the best epoch, which these runs monitor")
    return "\n".join(lines)


def aligned(table: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Return the lines of a table, its columns aligned to the right or to the left.

    >>> aligned([["run", "corr"], ["runs/first", "0.03"]], [False, True])
    ['run         corr', 'runs/first  0.03']
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in table
    ]


def _runs_in(folder: Path) -> list[Path]:
    """Return the runs in a folder; in that of a run none but its folds or seeds."""
    if not folder.is_dir():
        return []
    if (folder / "config.json").exists():
        try:
            return begun_parts(read_run(folder))
        except RunError:  # which is reported for the run itself
            return []
    runs = [path for path in folder.glob("*/config.json") if not _is_other_config(path)]
    found = [*runs, *folder.glob(f"*/{SWEEP_NAME}")]
    return sorted({path.parent for path in found if not is_junk(path.parent.name)})


def _describe_sweep(path: Path, by: str | None) -> dict[str, Any]:
    """Describe a sweep among runs; its trials are described where it is named itself."""
    del by  # its trials have scores
    row: dict[str, Any] = dict.fromkeys(_COLUMNS)
    row |= {"run": str(path), "state": "sweep", "problem": None, "monitor": None, "scores": {}}
    try:
        trials = read_sweep(path).trials
    except RunError as error:
        return row | {"state": "damaged", "problem": str(error)}
    n_finished = sum((path / trial.name / "state.json").exists() for trial in trials)
    return row | {"n_trials": len(trials), "n_finished": n_finished}


def _is_other_config(path: Path) -> bool:
    """Return True if a config.json is valid JSON but not that of a run."""
    try:
        return read_json(path).get("format") != FORMAT
    except OSError:  # a run's, perhaps: it is described as damaged
        return False


def _cell(name: str, row: Mapping[str, Any]) -> str:
    value = row[name]
    for parts in ("seeds", "folds"):
        if name == "state" and row.get(parts):
            return f"{value}, {row[f'{parts}_finished']} of {row[parts]} {parts}"
    if name == "state" and row.get("n_trials"):
        return f"{value}, {row['n_finished']} of {row['n_trials']} trials finished"
    return "-" if value is None else _FORMATS.get(name, "{}").format(value)
