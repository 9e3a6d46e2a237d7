"""Tests of arguments of a wrong type: each is refused by an error of ours, in one line."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import memmap_train as mt
from memmap_train.arguments import flag, whole_number
from memmap_train.cli.commands import main
from memmap_train.errors import ArgumentError, ConfigError, DatasetError, PathError, RunError
from memmap_train.types import Predictions
from tests.support.errors import refused

pytest_plugins = ["tests.support.training_fixtures"]


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_numpys_flags_and_numbers_are_accepted() -> None:
    assert flag("raw", np.False_) is False
    assert whole_number("n", np.int8(3), least=0) == 3
    with refused(ArgumentError, "n: expected a whole number, 0 to 4, found 5"):
        whole_number("n", 5, least=0, most=4)


# -- paths ----------------------------------------------------------------------------------------

NO_PATHS = [None, 5, 2.5, ["toy"], pandas.DataFrame({"toy": [1]}), ""]


@pytest.mark.parametrize("value", NO_PATHS, ids=lambda value: repr(value).replace("\n", " "))
def test_what_is_no_path_is_refused_wherever_a_path_is_expected(
    value: Any, toys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset, source = mt.open_dataset(toys["int8"]), toys["int8"].with_name("source.parquet")
    calls: list[Callable[[], object]] = [
        lambda: mt.open_dataset(value),
        lambda: mt.open_run(value),
        lambda: mt.verify(value),
        lambda: mt.convert(source, value),
        lambda: mt.convert([value], "new"),
        lambda: mt.train(dataset, value),
        lambda: mt.train(value, "new"),
        lambda: mt.predict([value], dataset),
        lambda: Predictions(dataset, np.zeros(dataset.n_rows)).to_csv(value),
    ]
    if value is not None:
        calls.append(lambda: mt.convert(source, "new", features_json=value))
    if not isinstance(value, list):
        calls += [lambda: mt.convert(value, "new"), lambda: mt.predict(value, dataset)]
    for call in calls:
        with refused(PathError, "expected a path"):
            call()
    assert not list(tmp_path.iterdir())


def test_a_path_may_be_bytes(toys: dict[str, Path], tmp_path: Path) -> None:
    mt.convert(os.fsencode(toys["int8"]), os.fsencode(tmp_path / "new"))  # type: ignore[arg-type]
    assert mt.open_dataset(tmp_path / "new").eras == mt.open_dataset(toys["int8"]).eras


def test_a_dataset_stands_for_its_folder(toys: dict[str, Path], tmp_path: Path) -> None:
    dataset = mt.open_dataset(toys["int8"])
    assert mt.open_dataset(dataset).eras == dataset.eras
    assert mt.verify(dataset) == []
    mt.convert(dataset, tmp_path / "small", feature_set="small")
    assert mt.open_dataset(tmp_path / "small").eras == dataset.eras
    with refused(RunError, "not a run: it is a dataset"):
        mt.predict(dataset, dataset)
    selection = dataset.select(dataset.eras[:1])
    for call in (mt.open_dataset, mt.verify, lambda path: mt.convert(path, tmp_path / "new")):
        with refused(DatasetError, "expected a whole dataset", "found a selection of 1 of its"):
            call(selection)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_url_is_shown_as_it_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with refused(PathError, "https://x.org/train.parquet: expected a path of this machine"):
        mt.convert("https://x.org/train.parquet", tmp_path / "new")
    assert main(["convert", "https://x.org/train.parquet", "--out", str(tmp_path / "new")]) == 1
    assert "https://x.org/train.parquet: expected" in capsys.readouterr().err


# -- configurations -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"epochs": 1}, "expected a TrainConfig, found dict: write TrainConfig(epochs=1)"),
        (mt.TrainConfig, "found the class TrainConfig: write TrainConfig()"),
        ("a.toml", "found 'a.toml' (str): write TrainConfig.load('a.toml')"),
        (Path("a.toml"), "Path: write TrainConfig.load('a.toml')"),
        (5, "found 5: write TrainConfig(...)"),
    ],
)
def test_what_is_no_configuration_is_refused_with_what_to_write(
    config: Any, said: str, toys: dict[str, Path], tmp_path: Path
) -> None:
    for folds in (None, 2):
        with refused(ConfigError, said):
            mt.train(toys["int8"], tmp_path / "run", config, folds=folds)
    assert not list(tmp_path.iterdir())


# -- flags ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["no", "", 0, 1, None, [], np.float32(1)], ids=repr)
@pytest.mark.parametrize("name", ["overwrite", "trust_features"])
def test_a_conversion_takes_no_flag_but_true_and_false(
    name: str, value: Any, toys: dict[str, Path], tmp_path: Path
) -> None:
    before = files_in(toys["int8"])
    for out in (tmp_path / "new", toys["int8"]):
        with refused(ArgumentError, f"{name}: expected True or False, found"):
            mt.convert(toys["float32"], out, **{name: value})
    assert files_in(toys["int8"]) == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("value", ["no", 0, None], ids=repr)
def test_flags_of_other_functions_are_true_or_false(
    value: Any, toys: dict[str, Path], tmp_path: Path
) -> None:
    dataset = mt.open_dataset(toys["int8"])
    calls: dict[str, Callable[[], object]] = {
        "drop_remainder": lambda: mt.Batches(dataset, batch_size=9, seed=0, drop_remainder=value),
        "resume": lambda: mt.train(dataset, tmp_path / "run", resume=value),
        "raw": lambda: mt.predict(tmp_path, dataset, raw=value),
        "quick": lambda: mt.verify(toys["int8"], quick=value),
        "allow_overlap": lambda: mt.split(["1"], ["1"], allow_overlap=value),
    }
    for name, call in calls.items():
        with refused(ArgumentError, f"{name}: expected True or False, found"):
            call()
    with refused(ArgumentError, "allow_overlap: expected True or False"):
        mt.walk_forward(["1"], ["1"], allow_overlap=value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["x", 5, 0, []], ids=repr)
def test_progress_is_a_flag_or_a_function(
    value: Any, toys: dict[str, Path], tmp_path: Path
) -> None:
    dataset = mt.open_dataset(toys["int8"])
    calls: list[Callable[[], object]] = [
        lambda: mt.convert(toys["float32"], tmp_path / "new", dtype="int8", progress=value),
        lambda: mt.verify(toys["int8"], progress=value),
        lambda: mt.train(dataset, tmp_path / "run", progress=value),
    ]
    for call in calls:
        with refused(ArgumentError, "progress: expected True, False, None or a function, found"):
            call()
    assert not list(tmp_path.iterdir())
