"""Tests of whether a run may be resumed, and by which process."""

import os
from pathlib import Path

import pytest

import memmap_train as mt
from memmap_train.errors import RunError
from memmap_train.runs.folds.fold import Fold
from memmap_train.runs.lock import holding, is_running
from memmap_train.runs.record import fold_record
from memmap_train.runs.resume import (
    acquire_run,
    check_same_dataset,
    continue_run,
    dataset_record,
    finished_result,
)
from memmap_train.runs.run import Run, read_run
from memmap_train.runs.run_folder import begin_run
from tests.support.errors import refused
from tests.support.run_records import run_record


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run with one trained epoch."""
    begun = begin_run(tmp_path / "run", run_record())
    begun.write_history([])
    return begun


def test_a_run_continues_with_the_same_configuration(run: Run) -> None:
    before = (run.path / "config.json").stat().st_mtime_ns
    assert continue_run(run, run_record()).record == run.record
    assert (run.path / "config.json").stat().st_mtime_ns == before


def test_a_changed_configuration_is_refused_naming_all_changed_keys(run: Run) -> None:
    changed = run_record(learning_rate=0.1, features=["feature_0"], epochs=2)
    with refused(RunError, "learning_rate: 0.001 in the run, 0.1 now", "features: ", "epochs: 3"):
        continue_run(run, changed)
    assert read_run(run.path).record == run.record


def test_changed_parameters_of_a_model_are_named_one_by_one(tmp_path: Path) -> None:
    old, new = ({f"a long name of a parameter {n}": n * i for n in range(3)} for i in (1, 2))
    run = begin_run(tmp_path / "run", run_record(model_params={**old, "units": 3}))
    run.write_history([])
    changed = ("parameter 2: 2 in the run, 4 now", "model_params.units: 3 in the run, null now")
    with refused(RunError, "; model_params.a long name of a", *changed):
        continue_run(run, run_record(model_params=new))


def test_a_run_of_an_earlier_version_goes_on_with_what_it_did(run: Run) -> None:
    # Its record has neither key; their defaults are others now.
    config = run.train_config()
    assert (config.additive, config.schedule) == ("none", "constant")
    continue_run(run, run_record(additive="none", schedule="constant", epochs=9))
    with refused(RunError, 'additive: "none" in the run, "quadratic" now'):
        continue_run(run, run_record(additive="quadratic", schedule="constant", epochs=9))


def test_the_configuration_of_an_untrained_run_may_change(tmp_path: Path) -> None:
    begun = begin_run(tmp_path / "begun", run_record())
    changed = run_record(learning_rate=0.1, epochs=2)
    assert continue_run(begun, changed).record == changed
    assert read_run(begun.path).record == changed


def test_epochs_may_be_raised_and_checkpoints_changed(run: Run) -> None:
    run.finish({"best_epoch": 2})
    more_checkpoints = continue_run(run, run_record(checkpoint_steps=5))
    assert more_checkpoints.read_result() == {"best_epoch": 2}
    longer = continue_run(more_checkpoints, run_record(checkpoint_steps=5, epochs=7))
    assert longer.read_result() is None
    assert read_run(run.path).record == run.record.changed(checkpoint_steps=5, epochs=7)


def test_other_versions_and_a_moved_dataset_count_as_the_same_configuration(run: Run) -> None:
    continue_run(run, run_record(keras_version="3.99", dataset="/elsewhere"))
    assert read_run(run.path).record.versions["keras_version"] == "3.15.1"


def test_another_dataset_is_refused(tmp_path: Path, toys: dict[str, Path]) -> None:
    fold = Fold(("0001", "0002"), ("0010", "X"), ("0005",), 5)
    dataset, other = (mt.open_dataset(toys[name]) for name in ("float32", "int8"))
    record = fold_record(fold) | {"embargo_eras": 5} | dataset_record(dataset, [fold])
    run = begin_run(tmp_path / "run", run_record(**record))
    assert check_same_dataset(run, dataset) is None
    assert run.record.features_digest != record["dataset_digest"]
    with refused(
        RunError,
        "dataset has changed",
        str(run.record.features_digest),
        str(dataset.path),
        other.select(fold.train + fold.validation).array_digest("features"),
        str(other.path),
    ):
        check_same_dataset(run, other)


def test_a_run_counts_as_running_before_its_folder_is_written(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "first"
    with acquire_run(path, run_record(), resume=False) as run:
        assert is_running(path)
        assert read_run(path).record == run.record
        with (
            refused(RunError, "another process is training"),
            acquire_run(path, run_record(epochs=9), resume=True),
        ):
            pass
        assert read_run(path).record == run.record  # who comes second changes nothing
    assert not is_running(path)


def test_a_run_does_not_begin_in_a_folder_that_was_filled_while_it_waited(run: Run) -> None:
    with (
        refused(RunError, str(run.path), "a run is there already", "--resume"),
        acquire_run(run.path, run_record(learning_rate=0.5), resume=False),
    ):
        pass
    assert read_run(run.path).record == run.record


def test_a_run_that_changed_while_it_waited_is_read_again(run: Run) -> None:
    with acquire_run(run.path, run_record(epochs=9), resume=True):
        pass
    with (
        refused(RunError, "epochs: 9 in the run, 3 now"),
        acquire_run(run.path, run_record(), resume=True),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with refused(RunError, "can't be written"), holding(tmp_path / "file" / "run"):
        pass
    assert os.listdir(tmp_path) == ["file"]


def test_a_finished_run_has_nothing_to_do_unless_more_epochs_are_wanted(run: Run) -> None:
    assert finished_result(run, run_record()) is None
    run.finish({"best_epoch": 2})
    for name in ("model.keras", "history.csv", "era_scores.csv"):
        assert finished_result(run, run_record()) is None  # a file is gone: it is written again
        (run.path / name).touch()
    assert finished_result(run, run_record()) is None  # scores that can't be read are, too
    run.write_era_scores([])
    assert finished_result(run, run_record(checkpoint_steps=5)) == {"best_epoch": 2}
    assert finished_result(run, run_record(epochs=4)) is None
    with refused(RunError, "learning_rate: 0.001 in the run, 0.5 now"):
        finished_result(run, run_record(learning_rate=0.5))
    assert run.read_result() == {"best_epoch": 2}
