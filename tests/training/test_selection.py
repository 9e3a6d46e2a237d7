"""Trainings and predictions of an opened dataset, whole or a selection of its eras."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import memmap_train as mt
from memmap_train.errors import RunError
from memmap_train.training.parts.fold_loop import dry_run_folds, train_folds
from memmap_train.training.prediction.predict import write_predictions
from memmap_train.training.train import dry_run, train_run
from tests.support.errors import refused
from tests.support.training_data import Script, small_config
from tests.support.training_runs import interrupt, results

pytest_plugins = ["tests.support.training_fixtures"]

N_SELECTED = 20
WALKING = small_config(validation_eras=None, epochs=1)


@pytest.fixture
def selection(sample: Path) -> mt.Dataset:
    """Return the first 20 of the small sample's 24 eras."""
    dataset = mt.open_dataset(sample)
    return dataset.select(dataset.eras[:N_SELECTED])


@pytest.fixture(scope="module")
def begun(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of one epoch on the first 20 eras: to be read only."""
    path = tmp_path_factory.mktemp("begun") / "run"
    dataset = mt.open_dataset(sample)
    train_run(dataset.select(dataset.eras[:N_SELECTED]), path, small_config(epochs=1))
    return path


def of_run(path: Path) -> Any:
    return json.loads((path / "config.json").read_text())


def test_an_opened_dataset_trains_like_its_path(sample: Path, tmp_path: Path) -> None:
    train_run(sample, tmp_path / "path", small_config(epochs=1))
    train_run(mt.open_dataset(sample), tmp_path / "opened", small_config(epochs=1))
    assert results(tmp_path / "opened") == results(tmp_path / "path")
    assert of_run(tmp_path / "opened") == of_run(tmp_path / "path")


def test_a_selection_trains_like_a_dataset_of_only_these_eras(
    growing: Callable[..., Path], sample: Path, selection: mt.Dataset, tmp_path: Path
) -> None:
    few = mt.open_dataset(growing(N_SELECTED))
    assert few.eras == selection.eras
    train_run(few, tmp_path / "few", small_config(features=list(few.feature_names)))
    train_run(selection, tmp_path / "selection", small_config(features=list(few.feature_names)))
    assert results(tmp_path / "selection") == results(tmp_path / "few")
    config = of_run(tmp_path / "selection")
    assert config["selected_eras"] == list(selection.eras)
    assert config["validation_eras"] == list(selection.eras[-4:])
    assert "selected_eras" not in of_run(tmp_path / "few")


def test_no_file_of_an_era_outside_the_selection_is_opened(
    selection: mt.Dataset, tmp_path: Path, opened: list[str]
) -> None:
    train_run(selection, tmp_path / "run", small_config(epochs=1))
    read = {Path(file).parent.name.removeprefix("era-") for file in opened}
    assert read
    assert read <= set(selection.eras)


@pytest.mark.parametrize("by_path", [False, True])
def test_an_interrupted_run_of_a_selection_is_resumed_to_the_bit(
    sample: Path, selection: mt.Dataset, tmp_path: Path, *, by_path: bool
) -> None:
    train_run(selection, tmp_path / "whole", small_config())
    with pytest.raises(KeyboardInterrupt):
        train_run(selection, tmp_path / "run", small_config(), report=Script("step 7", interrupt))
    again = sample if by_path else mt.open_dataset(sample).select(selection.eras[::-1])
    train_run(again, tmp_path / "run", resume=True)
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def fewer(eras: Sequence[str]) -> Sequence[str]:
    return eras[: N_SELECTED - 1]


def whole(eras: Sequence[str]) -> Sequence[str]:
    return eras


@pytest.mark.parametrize(
    ("chosen", "found"), [(fewer, "19 eras (0001 to 0019)"), (whole, "all eras")]
)
def test_a_run_of_a_selection_refuses_other_eras(
    begun: Path, sample: Path, chosen: Callable[[Sequence[str]], Sequence[str]], found: str
) -> None:
    before = of_run(begun)
    dataset = mt.open_dataset(sample)
    with refused(RunError, "other eras", "expected 20 eras (0001 to 0020)", f"found {found}"):
        train_run(dataset.select(chosen(dataset.eras)), begun, resume=True)
    with refused(RunError, "other eras"):
        dry_run(dataset.select(chosen(dataset.eras)), begun, resume=True)
    assert of_run(begun) == before


def test_a_run_of_a_whole_dataset_refuses_a_selection(
    sample: Path, selection: mt.Dataset, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "run", small_config(epochs=1))
    with refused(RunError, "other eras", "expected all eras", "found 20 eras (0001 to 0020)"):
        train_run(selection, tmp_path / "run", resume=True)
    assert train_run(mt.open_dataset(sample), tmp_path / "run", resume=True).already_finished


def test_a_run_of_a_selection_refuses_a_dataset_that_lacks_its_eras(
    begun: Path, growing: Callable[..., Path]
) -> None:
    with refused(RunError, "eras that the run was begun with are gone", "'0020'"):
        train_run(growing(N_SELECTED - 1), begun, resume=True)


def test_a_dry_run_plans_the_selection(sample: Path, selection: mt.Dataset, tmp_path: Path) -> None:
    plan = dry_run(selection, tmp_path / "run", small_config())
    assert plan.validation_range == "0017 to 0020"
    plans, is_finished = dry_run_folds(selection, tmp_path / "run", WALKING, folds=2)
    assert not is_finished
    assert [plan.validation_range for plan in plans] == ["0013 to 0016", "0017 to 0020"]
    assert not (tmp_path / "run").exists()


def test_folds_of_a_selection_are_made_of_its_eras_and_resumed(
    sample: Path, selection: mt.Dataset, tmp_path: Path
) -> None:
    train_folds(selection, tmp_path / "whole", WALKING, folds=2)
    script = Script("epoch 1", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_folds(selection, tmp_path / "run", WALKING, folds=2, report=script)
    other = mt.open_dataset(sample)
    with refused(RunError, "other eras", "expected 20 eras", "found all eras"):
        train_folds(other, tmp_path / "run", folds=2, resume=True)
    train_folds(other.select(selection.eras), tmp_path / "run", folds=2, resume=True)
    scores = [(tmp_path / name / "era_scores.csv").read_bytes() for name in ("whole", "run")]
    assert scores[0] == scores[1]
    assert of_run(tmp_path / "run")["selected_eras"] == list(selection.eras)
    again = train_folds(sample, tmp_path / "run", folds=2, resume=True)
    assert again.already_finished


def test_predictions_of_a_selection_are_those_of_its_eras(
    begun: Path, sample: Path, tmp_path: Path
) -> None:
    dataset = mt.open_dataset(sample)
    chosen = dataset.eras[3:20:4]
    write_predictions(begun, sample, tmp_path / "all.csv", era=True)
    report = write_predictions(begun, dataset.select(chosen), tmp_path / "some.csv", era=True)
    with open(tmp_path / "all.csv", newline="") as file:
        expected = [row for row in csv.reader(file) if row[1] in ("era", *chosen)]
    with open(tmp_path / "some.csv", newline="") as file:
        assert list(csv.reader(file)) == expected
    assert report.n_rows == len(expected) - 1
    assert report.left_out == ()
