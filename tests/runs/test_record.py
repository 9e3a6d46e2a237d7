"""A run's record: its keys as attributes, whatever version has written them."""

import copy
import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from memmap_train.errors import RunError
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.folds.fold import Fold
from memmap_train.runs.record import RunRecord, faults_of_record, fold_record
from memmap_train.runs.resume import identity_of
from memmap_train.runs.run import read_run
from memmap_train.runs.run_folder import begin_run
from memmap_train.system.checksum import Checksum
from tests.support.errors import refused
from tests.support.run_records import RECORD, run_record

FOLDS = (Fold(("1",), ("5",), ("3",), 2), Fold(("1", "3"), ("6", "7"), (), 2))

FIRST_VERSION = (
    "epochs", "features", "targets", "main_target", "model", "embargo_eras", "train_eras",
    "embargoed_eras", "validation_eras", "dataset", "dataset_digest",
)  # fmt: skip
"""Keys that the record of every run has."""


def faults(**changes: Any) -> str:
    """Return what is wrong with a record in which some keys were changed."""
    values = RECORD | changes
    with pytest.raises(ValidationError) as caught:
        RunRecord.from_json(values)
    return faults_of_record(caught.value, values)


def test_the_keys_are_attributes() -> None:
    record = run_record(asked_folds="numerai", fill_missing=0.5, kept_epoch="last")
    assert record.epochs == 3
    assert record.features[:2] == ("feature_0", "feature_1")
    assert (record.asked_folds, record.fill_missing) == ("numerai", 0.5)
    assert record.kept_epoch == "last"
    assert record.versions == {"keras_version": "3.15.1"}
    assert record.fold == Fold(("1",), ("5",), ("3",), 2)
    assert record.folds == ()


def test_a_record_of_the_first_version_has_the_later_keys_by_default() -> None:
    record = RunRecord.from_json({key: RECORD[key] for key in FIRST_VERSION})
    assert (record.monitor, record.kept_epoch) == ("val_corr_mean", "best")
    assert record.versions == {}
    assert record.selected_eras is None


@pytest.mark.parametrize("key", FIRST_VERSION)
def test_a_key_of_the_first_version_may_not_be_missing(key: str) -> None:
    values = {name: value for name, value in RECORD.items() if name != key}
    if key == "embargoed_eras":  # runs of folds have none
        assert RunRecord.from_json(values).fold == Fold(("1",), ("5",), (), 2)
        return
    with pytest.raises(ValidationError) as caught:
        RunRecord.from_json(values)
    found = faults_of_record(caught.value, values)
    if key == "train_eras":
        assert found == "its eras make no fold: no train eras are left, expected at least one"
    else:
        assert found == f"'{key}' is missing"


def test_all_values_are_kept_as_they_are() -> None:
    values = RECORD | {
        "of_a_later_version": {"a": [1, 2.0, None]},
        "fill_missing": 0,  # not 0.0: checkpoints are identified by the text
        "dataset": "/data/\udcff",
        "checkpoint_minutes": math.inf,
    }
    found = RunRecord.from_json(values).to_json()
    assert json.dumps({key: found[key] for key in values}) == json.dumps(values)
    assert found.keys() - values.keys() == {"format", "format_version"}
    assert RunRecord.from_json(found).to_json() == found


def test_a_record_is_written_and_read_as_it_is(tmp_path: Path) -> None:
    record = run_record(dataset="/data/\udcff", later=["é", {}])
    run = begin_run(tmp_path / "run", record)
    assert run.record == record
    assert read_run(run.path).record == record
    assert record.changed(epochs=4) == run_record(dataset="/data/\udcff", later=["é", {}], epochs=4)
    assert record.changed(epochs=4) != record


def test_checkpoints_are_identified_by_all_fixed_keys(tmp_path: Path) -> None:
    run = begin_run(tmp_path / "run", run_record(later=1))
    free = {
        "epochs",
        "memory",
        "checkpoint_steps",
        "checkpoint_minutes",
        "tensorboard",
        "dataset",
    } | {"baseline"}
    fixed = {key: value for key, value in RECORD.items() if key not in free}
    fixed |= {"format": "memmap-train run", "format_version": 1, "later": 1}
    expected = Checksum(json.dumps(fixed, sort_keys=True).encode()).text
    assert identity_of(run) == identity_of(read_run(run.path)) == expected


def test_a_record_can_be_copied_and_pickled_but_not_changed() -> None:
    record = run_record()
    for other in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record)):
        assert other == record
        assert (other.fold, other.to_json()) == (record.fold, record.to_json())
    with pytest.raises(ValidationError):
        record.epochs = 4


def test_a_run_of_folds_has_folds_and_no_fold() -> None:
    record = run_record(folds=[fold_record(fold) for fold in FOLDS])
    assert record.folds == FOLDS
    assert record.fold is None


def test_the_faults_of_a_record_are_named_with_their_values() -> None:
    assert faults(epochs="x") == "'epochs' is 'x', expected a whole number"
    assert faults(epochs=True) == "'epochs' is True, expected a whole number"
    assert faults(features=5) == "'features' is 5, expected a list of texts"
    assert faults(folds=[7]) == "'folds' is [7], expected a list of lists of eras"
    assert faults(kept_epoch="first") == "'kept_epoch' is 'first', expected \"best\" or \"last\""
    assert faults(asked_folds=[]) == "'asked_folds' is [], expected a whole number, or text"
    assert faults(epochs=1.5, model=None) == (
        "'epochs' is 1.5, expected a whole number; 'model' is None, expected text"
    )
    assert faults(validation_eras=["1"]).startswith("its eras make no fold: train, validation and")


def test_the_configuration_of_a_run_is_its_record_without_the_keys_of_folds(tmp_path: Path) -> None:
    run = begin_run(tmp_path / "run", run_record(seed=7, hidden=[3]))
    config = run.train_config()
    assert (config.seed, config.hidden, config.validation_eras) == (7, (3,), ("5",))
    assert config.patience == TrainConfig().patience  # which the record lacks
    of_folds = begin_run(tmp_path / "folds", run_record(folds=[fold_record(f) for f in FOLDS]))
    assert of_folds.train_config().validation_eras is None


def test_an_impossible_configuration_counts_as_damage_of_the_file(tmp_path: Path) -> None:
    run = begin_run(tmp_path / "run", run_record(dropout=1, seed=-1))
    with refused(
        RunError,
        "config.json: damaged: dropout: expected a number from 0 to below 1, found 1; seed: expe",
        "begin a new run with another --run",
    ):
        run.train_config()
