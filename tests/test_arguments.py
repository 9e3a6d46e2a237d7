"""Tests of arguments of a wrong type: each is refused by an error of ours, in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.arguments import flag, whole_number
from memmap_train.errors import ArgumentError
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
