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
from memmap_train.errors import (
    ArgumentError,
    BatchError,
    ConfigError,
    DatasetError,
    FoldError,
    PathError,
    RunError,
)
from memmap_train.types import Predictions
from tests.support.errors import line_of, refused

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


# -- other arguments ------------------------------------------------------------------------------

ERAS = [f"{number:04}" for number in range(1, 41)]
# Called with arguments that a type checker refuses.
split: Any = mt.split
walk_forward: Any = mt.walk_forward
fold: Any = mt.Fold


@pytest.mark.parametrize(
    "options",
    [
        {"targets": 5},
        {"targets": ["target", 5]},
        {"era_column": 5},
        {"id_column": 5},
        {"feature_prefix": 5},
        {"target_prefix": None},
        {"feature_set": 5},
        {"memory": "1"},
        {"memory": 2.5},
        {"memory": True},
        {"workers": "1"},
        {"workers": 1.5},
        {"workers": 0},
        {"dtype": 5},
        {"dtype": np.int16},
        {"missing": 0.5},
        {"decoder": None},
    ],
    ids=repr,
)
def test_an_option_of_a_conversion_that_makes_no_sense_is_refused(
    options: dict[str, Any], toys: dict[str, Path], tmp_path: Path
) -> None:
    (name,) = options
    line = line_of(
        lambda: mt.convert(toys["int8"].with_name("source.parquet"), tmp_path / "new", **options)
    )
    assert line.startswith(f"{name}: expected ")
    assert ", found " in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [np.int8, np.dtype("int8"), "int8"], ids=repr)
def test_a_store_dtype_may_be_numpys(dtype: Any, toys: dict[str, Path], tmp_path: Path) -> None:
    mt.convert(toys["int8"].with_name("source.parquet"), tmp_path / "new", dtype=dtype)
    assert mt.open_dataset(tmp_path / "new").manifest.dtype == "int8"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: split(ERAS, ERAS, targets=[]), "targets: expected the name of one at least"),
        (lambda: split(ERAS, ERAS, targets=None), "targets: expected names as text, found None"),
        (lambda: split(ERAS, ERAS, targets=5), "targets: expected names as text, found 5"),
        (lambda: split(ERAS, ERAS, aliases=None), "aliases: expected a mapping"),
        (lambda: split(None, ERAS), "eras: expected names as text, found None"),
        (lambda: split([1, 2], ERAS), "eras: expected names as text, found 1"),
        (lambda: split(ERAS, [1, 2]), "labelled: expected names as text, found 1"),
        (
            lambda: split(ERAS, "target"),
            "labelled: expected labels of eras, as dataset.labelled_eras('target'), found 'target'",
        ),
        (lambda: walk_forward("0001", ERAS), "eras: expected labels of eras, as dataset.eras"),
        (
            lambda: walk_forward(ERAS, ERAS, rolling_eras="x"),
            "rolling_eras: expected a whole number, 1 or more, found 'x'",
        ),
        (
            lambda: walk_forward(ERAS, ERAS, rolling_eras=2.5),
            "rolling_eras: expected a whole number, 1 or more, found 2.5",
        ),
        (lambda: fold(5, ("2",), (), 1), "train: expected names as text, found 5"),
        (lambda: fold(("1",), (2,), (), 1), "validation: expected names as text, found 2"),
        (lambda: fold(("1",), ("2",), None, 1), "embargo: expected names as text, found None"),
        (lambda: fold(("1",), ("2",), (), "1"), "embargo_eras: expected a whole number, 0 or"),
    ],
)
def test_folds_are_made_of_names_and_numbers(call: Callable[[], object], said: str) -> None:
    with refused(FoldError, said):
        call()


def test_batches_are_made_of_a_dataset(toys: dict[str, Path]) -> None:
    dataset: Any
    for dataset in (None, str(toys["int8"]), toys["int8"]):
        with refused(BatchError, "dataset: expected a Dataset, found", "open_dataset"):
            mt.Batches(dataset, batch_size=20, seed=0)
    dataset = mt.open_dataset(toys["int8"])
    with refused(BatchError, "memory_budget: expected a MemoryBudget, found 5"):
        mt.Batches(dataset, batch_size=20, seed=0, memory_budget=5)  # type: ignore[arg-type]


def test_what_is_no_text_is_no_era(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["int8"])
    others: tuple[Any, ...] = (["0001"], {}, None, 1)
    for era in others:
        assert era not in dataset
        assert dataset.get(era, "none") == "none"


@pytest.mark.parametrize("store", ["float32", "int8"])
def test_only_features_as_they_are_stored_are_decoded(toys: dict[str, Path], store: str) -> None:
    dataset = mt.open_dataset(toys[store])
    shard = dataset[dataset.eras[0]]
    stored = np.array(shard.features)
    decoded = dataset.decode(stored)
    wrong: Any
    for wrong in (shard, stored.tolist(), None, stored.astype(np.int64), stored.astype(np.float16)):
        with refused(ArgumentError, "decode: expected", store, "found"):
            dataset.decode(wrong)
    if store == "int8":
        with refused(ArgumentError, "int8, found float32; what is decoded already needs no"):
            dataset.decode(decoded)
    read_only = np.empty_like(decoded)
    read_only.flags.writeable = False
    for wrong in (decoded[1:], decoded.astype(np.float64), decoded.tolist(), read_only):
        with refused(ArgumentError, "decode: out: expected a writeable array of float32"):
            dataset.decode(stored, wrong)
