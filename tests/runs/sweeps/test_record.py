"""Tests of the folder of a sweep: its record, the names of trials, and how a sweep grows."""

import json
from pathlib import Path
from typing import Any

import pytest

from memmap_train.errors import RunError
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.run import read_run
from memmap_train.runs.run_folder import begin_run, find_run
from memmap_train.runs.sweeps.record import (
    SweepRecord,
    Trial,
    find_sweep,
    read_sweep,
    trained_run,
    write_sweep,
)
from memmap_train.runs.sweeps.space import sweep_space
from memmap_train.runs.sweeps.trials import grown_trials
from tests.support.errors import refused
from tests.support.run_records import run_record


def make_sweep(path: Path, swept: dict[str, Any] | None = None, **changes: Any) -> SweepRecord:
    """Write a sweep of which nothing was trained."""
    path.mkdir(parents=True, exist_ok=True)
    swept = swept or {"learning_rate": [0.01, 0.001], "dropout": [0.5]}
    record = SweepRecord(
        swept=swept,
        n_runs=None,
        config=TrainConfig(epochs=4).to_dict(),
        folds=None,
        rolling_eras=None,
        eras=["0001", "0002"],
        trials=grown_trials([], sweep_space(swept, None).settings(0), path),
    ).model_copy(update=changes)
    write_sweep(path, record)
    return record


def train(path: Path, trial: Trial) -> None:
    """Write a run in the folder of a trial of which something was trained."""
    begin_run(path / trial.name, run_record())
    (path / trial.name / "model.keras").touch()


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = make_sweep(tmp_path)
    again = read_sweep(tmp_path)
    assert again == record
    assert [*again.swept] == ["learning_rate", "dropout"]
    assert [*again.trials[0].settings] == ["learning_rate", "dropout"]
    config = again.config_of(again.trials[1].model_copy(update={"order": {"window_size": 16}}))
    assert config == TrainConfig(epochs=4, learning_rate=0.001, dropout=0.5, window_size=16)
    failed = record.with_failure(record.trials[1].name, "too large")
    assert [trial.failure for trial in failed.trials] == [None, "too large"]
    assert failed.with_failure(record.trials[1].name, None) == record


def test_a_sweep_is_found_where_something_of_it_was_trained(tmp_path: Path) -> None:
    path = tmp_path / "sweep"
    assert find_sweep(path, resume=True) is None
    record = make_sweep(path)
    begin_run(path / record.trials[0].name, run_record())
    assert trained_run(path, record.trials[0]) is None
    assert find_sweep(path, resume=True) is find_sweep(path, resume=False) is None
    train(path, record.trials[0])
    assert trained_run(path, record.trials[0]) is not None
    assert trained_run(path, record.trials[1]) is None
    assert find_sweep(path, resume=True) == record
    with refused(RunError, "a sweep is there already, with 1 of 2 trials", "--resume"):
        find_sweep(path, resume=False)
    with refused(RunError, "not a run: it is a sweep"):
        read_run(path)
    with refused(RunError, "the folder isn't a run, a sweep"):
        find_run(path, resume=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [("config.json", "a run"), ("notes.txt", "it holds 'notes.txt'"), ("", "it is a file")],
)
def test_a_folder_with_other_contents_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "sweep"
    if content:
        path.mkdir()
        (path / content).write_text("{}")
    else:
        path.touch()
    for resume in (False, True):
        with refused(RunError, said, "--run"):
            find_sweep(path, resume=resume)


DAMAGES: dict[str, tuple[Any, str]] = {
    "no json": ("{", "begin a new sweep with another --run"),
    "another format": ({"format": "x"}, "isn't the record of a sweep"),
    "newer": ({"format_version": 2}, "format_version 2 isn't known here (expected 1)"),
    "trials a text": ({"trials": "x"}, "damaged: 'trials' is 'x', expected a list"),
    "unknown key": ({"config": {"epohcs": 1}}, "damaged: "),
    "wrong value": ({"config": {"epochs": 0}}, "damaged: epochs: expected"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_an_error_of_one_line(damage: str, tmp_path: Path) -> None:
    change, said = DAMAGES[damage]
    make_sweep(tmp_path)
    file = tmp_path / "sweep.json"
    if isinstance(change, str):
        file.write_text(change)
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with refused(RunError, "sweep.json", said):
        read_sweep(tmp_path)
