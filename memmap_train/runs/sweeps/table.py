"""The trials of a sweep side by side: ranked by a score, with its standard error.

Takes the folder of a sweep; returns plain data for JSON, and a table of it. Trials that differ in
the seed alone are one row. Folders are only read. Imports no TensorFlow.
"""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ...dataset.eras import era_sort_key
from ...errors import RunError
from ...system.paths import user_path
from ...text import counted
from ..folds.embargo import overlapping_eras
from ..reports.plan import TrainPlan
from ..run import Run, read_run
from ..run_description import begun_parts, check_known, describe_run
from ..scores.score_files import era_score_columns
from ..table import USUAL_SCORE, aligned, common_monitor, sorted_by
from .record import SweepRecord, Trial, read_sweep
from .space import SEED
from .trials import settings_text, value_text

SEEDS, ERAS = "seeds", "eras"
"""What a standard error is over."""
_ERA_SCORES = {"val_corr_mean": "numerai_corr", "val_pearson_mean": "pearson"}
_BEST_OF_MANY = (
    "the best of {} settings overstates its score: {} chose it; expect less of it on other eras"
)


def describe_sweep(sweep_dir: Path, by: str | None = None) -> list[dict[str, Any]]:
    """Describe the trials of a sweep, the best first.

    Parameters
    ----------
    sweep_dir : Path
    by : str, optional
        The score to rank by, a column of `history.csv`; by default the monitored one, or
        `val_corr_mean` where trials monitor different ones.

    Returns
    -------
    list of dict
        For all trials that differ in the seed alone a row with `trials` (their folders' names),
        `settings` (without the seed), `score_name`, `score` (the mean over trials that have one, of
        the best epoch by what they monitor), `standard_error` and `standard_error_over` ("seeds" or
        "eras"), `n_scores` (trials that have the score), `n_trials`, `n_finished`, `state`,
        `score_together` (of a run of seeds, that of their common predictions), `failures` (reasons
        by trial) and `runs` (what `describe_runs` knows of each one that has
        begun).

    Raises
    ------
    RunError
        There is no sweep, or no trial has the score.
    """
    path = user_path(sweep_dir)
    record = read_sweep(path)
    groups: dict[str, list[Trial]] = {}
    for trial in record.trials:
        groups.setdefault(_text_of(_without_seed(trial.settings)), []).append(trial)
    described = {
        trial.name: describe_run(path / trial.name, by)
        for trial in record.trials
        if (path / trial.name / "config.json").exists()
    }
    members = {
        name: [describe_run(part, by) for part in begun_parts(read_run(path / name))]
        for name, run in described.items()
        if run.get("seeds")
    }
    found = [*described.values(), *chain(*members.values())]
    check_known(by, found, str(path))
    name = by or common_monitor(found) or USUAL_SCORE
    over_seeds = record.seeds is not None or any(len(trials) > 1 for trials in groups.values())
    rows = [_row(trials, described, members, name, over_seeds) for trials in groups.values()]
    return sorted_by(rows, "score", name)


def sweep_text(sweep_dir: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of what `describe_sweep` found, what it means, and what has failed."""
    record = read_sweep(user_path(sweep_dir))
    keys = varied_keys(record)
    name, over = rows[0]["score_name"], rows[0]["standard_error_over"]
    numbers = {name.removeprefix("val_"): [_number(row["score"]) for row in rows]}
    numbers["±"] = [_number(row["standard_error"]) for row in rows]
    if over == SEEDS:
        numbers["n"] = [str(row["n_scores"]) for row in rows]
    if record.seeds is not None:
        numbers["together"] = [_number(row["score_together"]) for row in rows]
    words = {key: [value_text(row["settings"].get(key)) for row in rows] for key in keys}
    words["state"] = [row["state"] for row in rows]
    columns = {"trial": [_numbers(row["trials"]) for row in rows], **numbers, **words}
    right = [name in numbers for name in columns]
    lines = aligned([[*columns], *zip(*columns.values(), strict=True)], right)
    failures = {trial: why for row in rows for trial, why in row["failures"].items()}
    lines += [f"{trial}: failed: {reason}" for trial, reason in sorted(failures.items())]
    return "\n".join([*lines, *_notes(record, rows, name, over)])


def trial_line(trial: Trial, plans: Sequence[TrainPlan]) -> str:
    """Return a trial of a dry run as a line: its settings, its size and its state."""
    first, of_parts = plans[0], f" in {counted(len(plans), 'training')}" if len(plans) > 1 else ""
    n_steps = sum(plan.epochs * plan.steps_per_epoch for plan in plans)
    state = ""
    if trial.failure is not None:
        state = f"; failed before: {trial.failure}"
    elif all(plan.already_finished for plan in plans):
        state = "; finished"
    elif any(plan.first_step for plan in plans):
        state = f"; {sum(plan.first_step for plan in plans):,} done"
    return (
        f"{trial.name.partition('-')[0]}  {settings_text(trial.settings)}: "
        f"{first.n_parameters:,} parameters, {counted(n_steps, 'step')}{of_parts}{state}"
    )


def varied_keys(record: SweepRecord) -> list[str]:
    """Return the keys of which trials have different values, without the seed."""
    keys = dict.fromkeys(key for trial in record.trials for key in trial.settings)
    return [
        key
        for key in keys
        if key != SEED and len({_text_of(trial.settings.get(key)) for trial in record.trials}) > 1
    ]


def _notes(
    record: SweepRecord, rows: Sequence[Mapping[str, Any]], name: str, over: str
) -> list[str]:
    """Return what has to be known to read the table, a line each."""
    eras = "out-of-fold eras" if record.folds else "validation eras"
    notes = [f"score: {name} of the {eras}; ±: its standard error over {over}"]
    if record.seeds is not None:
        notes[0] += ", the mean of n; together: that of their common predictions"
    elif over == SEEDS:
        notes[0] += ", the n trials that differ in the seed alone"
    else:
        notes[0] += ", which all trials share: it isn't that of a difference between trials"
    n_settings = sum(row["score"] is not None for row in rows)
    if n_settings > 1:
        notes.append(_BEST_OF_MANY.format(f"{n_settings:,}", f"these {eras}"))
    n_trials = len(record.trials)
    n_finished = sum(row["n_finished"] for row in rows)
    if n_finished < n_trials:
        notes.append(f"{n_finished:,} of {counted(n_trials, 'trial')} are finished")
    return notes


def _row(
    trials: Sequence[Trial],
    described: Mapping[str, Mapping[str, Any]],
    members: Mapping[str, Sequence[Mapping[str, Any]]],
    name: str,
    over_seeds: bool,
) -> dict[str, Any]:
    """Describe trials that differ in the seed alone."""
    runs = [described[trial.name] for trial in trials if trial.name in described]
    failures = {trial.name: trial.failure for trial in trials if trial.failure is not None}
    failures |= {Path(run["run"]).name: run["problem"] for run in runs if run["problem"]}
    whole = {
        trial.name: described[trial.name]
        for trial in trials
        if trial.name in described and trial.name not in failures
    }
    counted_runs = [
        run
        for trial, of_trial in whole.items()
        for run in members.get(trial, [of_trial])
        if run["scores"].get(name) is not None
    ]
    scores = [run["scores"][name] for run in counted_runs]
    together = [run["scores"].get(name) for trial, run in whole.items() if trial in members]
    score = float(np.mean(scores)) if scores else None
    finished = {Path(run["run"]).name for run in runs if run["state"] == "finished"}
    if not over_seeds:
        error = _error_over_eras(Path(counted_runs[0]["run"]), name) if counted_runs else None
    elif len(scores) > 1:
        error = float(np.std(scores, ddof=1) / math.sqrt(len(scores)))
    else:
        error = None
    return {
        "trials": [trial.name for trial in trials],
        "settings": _without_seed(trials[0].settings),
        "score_name": name,
        "score": score,
        "standard_error": error,
        "standard_error_over": SEEDS if over_seeds else ERAS,
        "n_scores": len(scores),
        "score_together": together[0] if together else None,
        "n_trials": len(trials),
        "n_finished": len(finished.difference(failures)),
        "state": _state(trials, runs, failures),
        "failures": failures,
        "runs": runs,
    }


def _state(
    trials: Sequence[Trial], runs: Sequence[Mapping[str, Any]], failures: Mapping[str, str]
) -> str:
    """Return the state of trials in words: that of all, or how many there are of each."""
    states = {Path(run["run"]).name: run["state"] for run in runs}
    states |= dict.fromkeys(failures, "failed")
    found = [states.get(trial.name, "waits") for trial in trials]
    if len(set(found)) == 1:
        return str(found[0])
    return ", ".join(f"{found.count(state)} {state}" for state in dict.fromkeys(found))


def _error_over_eras(path: Path, name: str) -> float | None:
    """Return the standard error of a run's mean score over its eras, if it is one of eras."""
    run = read_run(path)
    column = _ERA_SCORES.get(name, name.removeprefix("val_").removesuffix("_mean"))
    columns = era_score_columns(run.record.monitor)
    if not name.endswith("_mean") or column not in columns:
        return None
    try:
        rows = [row for row in run.read_era_scores() if row[1] == run.record.main_target]
    except RunError:  # written with the first epoch
        return None
    scores = [float(row[columns.index(column)]) for row in rows]
    from ..scores.statistics import era_positions, score_statistics  # needs scipy

    known = _eras_of(run)
    target = (*run.record.named_targets, run.record.main_target)[0]
    positions = era_positions([row[0] for row in rows], known)
    error = score_statistics(scores, overlapping_eras(known, target), positions).standard_error
    return error if math.isfinite(error) else None


def _eras_of(run: Run) -> list[str]:
    """Return all eras that a run has to do with, in order."""
    folds = run.folds or ((run.record.fold,) if run.record.fold else ())
    eras = {era for fold in folds for era in (*fold.train, *fold.embargo, *fold.validation)}
    return sorted(eras, key=era_sort_key)


def _text_of(value: object) -> str:
    """Return a value as text, which is the same in whatever order a table has its keys."""
    return json.dumps(value, sort_keys=True)


def _without_seed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != SEED}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _numbers(names: Sequence[str]) -> str:
    """Return the numbers of trials by the names of their folders.

    >>> _numbers(["001-seed=0"]), _numbers(["001-seed=0", "002-seed=1", "003-seed=2"])
    ('001', '001-003')
    >>> _numbers(["001-seed=0", "003-seed=1", "004-seed=2", "007-seed=3"])
    '001, 003-004, 007'
    """
    stretches: list[list[str]] = []
    for number in sorted((name.partition("-")[0] for name in names), key=int):
        if stretches and int(number) == int(stretches[-1][-1]) + 1:
            stretches[-1].append(number)
        else:
            stretches.append([number])
    return ", ".join(of[0] if len(of) == 1 else f"{of[0]}-{of[-1]}" for of in stretches)
