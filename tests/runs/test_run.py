import csv
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from memmap_train.errors import RunError
from memmap_train.runs.files import replacing
from memmap_train.runs.folds.fold import Fold
from memmap_train.runs.record import fold_record
from memmap_train.runs.run import NewerRunError, Run, read_run
from memmap_train.runs.run_folder import begin_run, find_run
from memmap_train.runs.scores.score_files import HISTORY_COLUMNS
from tests.support.errors import refused
from tests.support.run_records import run_record


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return begin_run(tmp_path / "run", run_record())


def write_values(run: Run, values: dict[str, object]) -> None:
    (run.path / "config.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": "x"},
        {"epochs": True},
        {"train_eras": 5},
        {"train_eras": [5]},
        {"train_eras": []},
        {"train_eras": ["5"]},  # which it is scored on
        {"folds": 5},
        {"folds": [{}]},
        {"folds": [7]},
        {"kept_epoch": "first"},
    ],
)
def test_a_record_of_the_wrong_kind_is_damaged(run: Run, change: dict[str, object]) -> None:
    write_values(run, json.loads((run.path / "config.json").read_text()) | change)
    with refused(RunError, str(run.path / "config.json"), "damaged", "another --run"):
        read_run(run.path)


def test_all_faults_of_a_record_are_named_in_one_line(run: Run) -> None:
    values = json.loads((run.path / "config.json").read_text())
    del values["main_target"]
    write_values(run, values | {"epochs": "x", "features": 5})
    with refused(
        RunError,
        "config.json: damaged: 'epochs' is 'x', expected a whole number; "
        "'features' is 5, expected a list of texts; 'main_target' is missing; begin a new run",
    ):
        read_run(run.path)


def test_a_configuration_file_that_isnt_json_is_damaged(run: Run) -> None:
    (run.path / "config.json").write_text("[" * 100_000)
    with refused(RunError, "config.json: damaged: not valid JSON"):
        read_run(run.path)
    (run.path / "config.json").unlink()
    (run.path / "config.json").mkdir()
    with refused(RunError, "config.json: can't be read: Is a directory"):
        read_run(run.path)


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            assert temporary.suffix == ".keras"
            temporary.write_text("ne")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["model.keras"]
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["model.keras"]


@pytest.mark.parametrize("name", ["x" * 255, "x" * 251 + ".csv", "é" * 125 + ".csv"])
def test_a_file_may_have_the_longest_possible_name(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as temporary:
        assert temporary.suffix == (tmp_path / name).suffix
        temporary.write_text("whole")
    assert os.listdir(tmp_path) == [name]


def test_a_run_begins_in_a_new_or_an_empty_folder(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "first"
    assert find_run(path, resume=False) is None
    path.mkdir(parents=True)
    (path / ".partial-config.json").write_text("{")  # of a run that was killed at once
    assert find_run(path, resume=False) is None
    begin_run(path, run_record())
    assert read_run(path).record == run_record()


def test_the_configuration_is_flat_and_sorted(run: Run) -> None:
    text = (run.path / "config.json").read_text()
    keys = list(json.loads(text))
    assert keys == sorted(keys)
    assert not any(isinstance(value, dict) for value in json.loads(text).values())


def test_an_existing_run_is_refused_naming_resume(run: Run) -> None:
    run.write_history([])
    with refused(RunError, str(run.path), "a run is there", "--resume", "another --run"):
        find_run(run.path, resume=False)
    found = find_run(run.path, resume=True)
    assert found is not None
    assert found.record == run.record


def test_an_untrained_run_may_begin_again(run: Run) -> None:
    """As after a kill or an error in its first steps; the process that trains it holds its lock."""
    assert find_run(run.path, resume=False) is None
    assert find_run(run.path, resume=True) is not None
    run.checkpoint_dir.mkdir()
    for name in (".partial-step-000000003.npz", ".DS_Store"):  # killed while the first was written
        (run.checkpoint_dir / name).touch()
    assert find_run(run.path, resume=False) is None
    (run.checkpoint_dir / "step-000000003.damaged").touch()
    with refused(RunError, "a run is there", "--resume"):
        find_run(run.path, resume=False)


def test_a_finished_run_is_refused_as_finished(run: Run) -> None:
    run.finish({"best_epoch": 2})
    with refused(RunError, "a finished run", "--resume"):
        find_run(run.path, resume=False)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with refused(RunError, str(tmp_path), "thesis.tex", "another --run"):
        find_run(tmp_path, resume=resume)
    with refused(RunError, "it is a file"):
        find_run(tmp_path / "thesis.tex", resume=resume)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_configuration_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"name": "other"}')
    with refused(RunError, "config.json", "not the configuration of a run"):
        find_run(tmp_path, resume=True)


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_damaged_configuration_is_refused(run: Run, text: str) -> None:
    (run.path / "config.json").write_text(text)
    with refused(RunError, "config.json", "damaged"):
        read_run(run.path)


def test_a_configuration_of_a_later_version_is_refused(run: Run) -> None:
    begin_run(run.path, run_record())
    path = run.path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))
    with refused(NewerRunError, "format_version 2", "upgrade"):
        read_run(run.path)


def test_a_folder_without_a_run_is_refused_with_how_to_make_one(tmp_path: Path) -> None:
    with refused(RunError, "no such folder", "memmap-train train"):
        read_run(tmp_path / "none")
    with refused(RunError, "no config.json", "memmap-train train"):
        read_run(tmp_path)


def test_a_run_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with refused(RunError, "can't be written"):
        begin_run(tmp_path / "file" / "run", run_record())


def test_the_folds_of_a_run_are_read_from_its_record(run: Run) -> None:
    assert run.folds == ()
    folds = (Fold(("1",), ("5",), ("3",), 2), Fold(("1", "3"), ("6", "7"), (), 2))
    begin_run(run.path, run_record(folds=[fold_record(fold) for fold in folds]))
    assert read_run(run.path).folds == folds
    assert read_run(run.path).part_paths == (run.path / "fold-01", run.path / "fold-02")


def test_a_run_of_seeds_knows_its_parts_and_the_command_that_trains_it(run: Run) -> None:
    folds = [fold_record(Fold(("1",), ("5",), ("3",), 2))] * 2
    begin_run(run.path, run_record(seeds=[3, 4], folds=folds, asked_folds=2, asked_rolling_eras=9))
    found = read_run(run.path)
    assert (found.seeds, len(found.folds)) == ((3, 4), 2)
    assert found.part_paths == (run.path / "seed-01", run.path / "seed-02")
    flags = "--seeds 2 --folds 2 --rolling 9 --resume"
    assert found.resume_command == f"memmap-train train /data/shards --run {run.path} {flags}"
    begin_run(run.path, run_record(asked_validation_eras=4))
    command = f"memmap-train train /data/shards --run {run.path} --resume"
    assert read_run(run.path).resume_command == command


@pytest.mark.parametrize("changes", [{"seed": 5}, {"train_eras": ["2"]}])
def test_a_seed_of_another_run_is_none_of_its_results(run: Run, changes: dict[str, Any]) -> None:
    begin_run(run.path, run_record(seeds=[3, 4]))
    (run.path / "era_scores.csv").touch()
    for number in (1, 2):
        part = begin_run(run.path / f"seed-0{number}", run_record(seed=2 + number))
        for name in ("model.keras", "history.csv", "era_scores.csv"):
            (part.path / name).touch()
        part.finish({"best_epoch": 1})
    assert read_run(run.path).has_results()
    begin_run(run.path / "seed-02", run_record(**{"seed": 4} | changes))
    assert not read_run(run.path).has_results()


def test_era_scores_are_restored_to_the_last_bit(run: Run) -> None:
    rows = [("0001", "target", 1 / 3, -0.1), ('a,"b', "target_x", 0.0, 1e-300)]
    run.write_era_scores(rows)
    assert run.read_era_scores() == rows
    (run.path / "era_scores.csv").write_text("era,target\n0001\n")
    with refused(RunError, "era_scores.csv", "can't be read"):
        run.read_era_scores()


def test_history_is_restored_to_the_last_bit(run: Run) -> None:
    row = {name: 1 / (3 + number) for number, name in enumerate(HISTORY_COLUMNS)}
    row |= {"epoch": 1, "val_corr_sharpe": math.nan}
    run.write_history([row, row | {"epoch": 2}])
    with open(run.path / "history.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert [line["epoch"] for line in found] == ["1", "2"]
    assert tuple(found[0]) == HISTORY_COLUMNS
    assert math.isnan(float(found[0].pop("val_corr_sharpe")))
    assert all(float(value) == row[name] for name, value in found[0].items())


def test_history_is_read_as_it_was_written(run: Run) -> None:
    assert run.read_history() == []
    rows = [dict.fromkeys(HISTORY_COLUMNS, epoch / 3) | {"epoch": epoch} for epoch in (1, 2)]
    run.write_history(rows)
    assert run.read_history() == rows
    text = (run.path / "history.csv").read_text()
    for damaged in (text.replace("2,", "x,"), text + "3,4\n", text[:-40]):
        (run.path / "history.csv").write_text(damaged)
        with refused(RunError, "history.csv", "damaged"):
            run.read_history()


def test_era_scores_are_readable_for_any_label(run: Run) -> None:
    run.write_era_scores([('a,"b', "target", 0.125, math.nan)])
    with open(run.path / "era_scores.csv", newline="") as file:
        found = list(csv.reader(file))
    assert found == [
        ["era", "target", "numerai_corr", "pearson"],
        ['a,"b', "target", "0.125", "nan"],
    ]


def test_a_result_is_valid_json(run: Run) -> None:
    assert run.read_result() is None
    run.finish({"corr_sharpe": math.nan, "chart_path": None, "stopped_early": True})
    text = (run.path / "state.json").read_text()
    assert "NaN" not in text
    assert run.read_result() == {"corr_sharpe": None, "chart_path": None, "stopped_early": True}
