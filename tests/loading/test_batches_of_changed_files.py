"""Tests of batches whose files are damaged or replaced, are many, or are read elsewhere."""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.errors import BatchError, ShardError
from tests.support.toy_batches import (
    N_ROWS,
    STORES,
    all_threads_end,
    assert_same,
    reader_threads,
    run_python,
    take,
    toy_batches,
)
from tests.support.toy_datasets import ERAS, MakeToy

# -- damage ---------------------------------------------------------------------------------------


def remove(file: Path) -> None:
    file.unlink()


def replace_by_a_shorter_one(file: Path) -> None:
    """Put another file in the place: cutting a mapped one would kill its readers."""
    other = file.with_name("other")
    other.write_bytes(file.read_bytes()[:-4])
    os.replace(other, file)


@pytest.mark.parametrize("damage", [remove, replace_by_a_shorter_one])
@pytest.mark.parametrize("store", STORES)
def test_damage_found_in_a_thread_ends_the_stream_and_names_the_file(
    make_toy: MakeToy, store: str, damage: Any
) -> None:
    path = make_toy(store=store)
    batches = toy_batches(path, window_size=1)
    damage(path / "era-0003" / "features.npy")
    with all_threads_end() as threads:
        stream = batches.stream()
        with pytest.raises(ShardError, match=r"era-0003.features\.npy"):
            next(stream)
        threads += reader_threads()
    with pytest.raises(BatchError, match="closed"):
        next(stream)
    with pytest.raises(ShardError, match=r"era-0003.features\.npy"):
        list(batches)
    with pytest.raises(ShardError, match=r"era-0003.features\.npy"):
        batches[0]


@pytest.mark.parametrize("damage", [remove, replace_by_a_shorter_one])
def test_damaged_targets_are_found_when_a_stream_begins(make_toy: MakeToy, damage: Any) -> None:
    path = make_toy()
    batches = toy_batches(path, window_size=1)
    damage(path / "era-0003" / "targets.npy")
    for read in (batches.stream, lambda: list(batches), lambda: batches[0]):
        with pytest.raises(ShardError, match=r"era-0003.targets\.npy"):
            read()


def test_a_stream_keeps_its_targets_when_an_update_replaces_them(
    make_toy: MakeToy,
) -> None:
    path = make_toy()
    batches = toy_batches(path, window_size=40, pool_batches=1)
    expected = [y.copy() for _, y in batches]
    with toy_batches(path, window_size=40, pool_batches=1).stream(end=len(batches)) as stream:
        for folder in path.glob("era-*"):
            other = folder / "other"
            targets = np.load(folder / "targets.npy")
            with open(other, "wb") as file:
                np.save(file, targets[::-1])
            os.replace(other, folder / "targets.npy")
        for (_, y), before in zip(stream, expected, strict=True):
            np.testing.assert_array_equal(y, before)


@pytest.mark.parametrize("array", ["features", "targets"])
@pytest.mark.parametrize("store", STORES)
def test_a_file_that_is_cut_while_it_is_mapped_is_named(
    make_toy: MakeToy, store: str, array: str
) -> None:
    """In a process of its own: touching what was cut off would kill it."""
    path = make_toy(store=store)
    file = path / "era-0003" / f"{array}.npy"
    code = f"""
import os
import memmap_train as mt
batches = mt.Batches(mt.open_dataset({str(path)!r}), batch_size=10, seed=0, window_size=1)
for _ in batches:
    pass
os.truncate({str(file)!r}, 4)
for act in (lambda: batches[0], lambda: list(batches)):
    try:
        act()
    except mt.MemmapTrainError as error:
        print(error)
"""
    line = f"{file}: the file has become shorter while it was read; "
    assert [found.startswith(line) for found in run_python(code).splitlines()] == [True, True]


@pytest.mark.parametrize("store", STORES)
def test_batches_can_be_pickled_to_another_process(make_toy: MakeToy, store: str) -> None:
    path = make_toy(store=store)
    names = mt.open_dataset(path).feature_names
    batches = toy_batches(path, features=list(names[::-2]), pool_batches=3, window_size=4)
    expected = take(batches.stream(), 30)
    pickled = pickle.dumps(batches)
    assert len(pickled) < 20_000
    assert_same(take(pickle.loads(pickled).stream(), 30), expected)
    code = f"import pickle; print(pickle.loads({pickled!r})[7][0].tobytes().hex())"
    assert run_python(code).strip() == expected[7][0].tobytes().hex()


def test_an_era_that_is_not_selected_may_be_missing(make_toy: MakeToy) -> None:
    path = make_toy()
    dataset = mt.open_dataset(path)
    rest = dataset.select([era for era in dataset.eras if era != "0003"])
    remove(path / "era-0003" / "features.npy")
    batches = mt.Batches(rest, batch_size=10, seed=0, drop_remainder=False)
    assert sum(len(x) for x, _ in batches) == N_ROWS - ERAS["0003"]


def test_batches_survive_the_replacement_of_their_files(make_toy: MakeToy) -> None:
    path = make_toy()
    batches = toy_batches(path, window_size=1)
    expected = take(batches.stream(), 30)
    for file in path.glob("era-*/*.npy"):
        replace_by_a_shorter_one(file)
    assert_same(take(batches.stream(), 30), expected)


# -- many eras, other processes -------------------------------------------------------------------


FEW_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
import memmap_train as mt
dataset = mt.open_dataset({path!r})
train, validation = dataset.select(dataset.eras[:1000]), dataset.select(dataset.eras[1000:])
"""


def test_1300_eras_are_read_with_256_open_files(many_eras: Path) -> None:
    code = FEW_FILES.format(path=str(many_eras)) + (
        "batches = mt.Batches(dataset, batch_size=100, seed=0, window_size=1)\n"
        "print(len({float(cell) for x, y in batches for cell in y[:, 0]}))"
    )
    assert run_python(code) == "3900\n"


def test_training_and_validation_share_256_open_files(many_eras: Path) -> None:
    code = FEW_FILES.format(path=str(many_eras)) + (
        "parts = [mt.Batches(p, batch_size=100, seed=0, window_size=1)\n"
        "         for p in (train, validation, train)]\n"
        "print([sum(len(x) for x, y in part) for part in parts * 2])"
    )
    assert run_python(code) == f"{[3000, 900, 3000] * 2}\n"


def test_another_process_gets_the_same_bytes(toys: dict[str, Path]) -> None:
    code = f"""
import hashlib
import memmap_train as mt
batches = mt.Batches(mt.open_dataset({str(toys["int8"])!r}), batch_size=20, seed=5, window_size=4,
                     pool_batches=3)
print(hashlib.sha256(b"".join(a.tobytes() for s in (70, 3, 41) for a in batches[s])).hexdigest())
"""
    batches = toy_batches(toys["float32"])
    here = hashlib.sha256(b"".join(a.tobytes() for s in (70, 3, 41) for a in batches[s]))
    assert run_python(code) == here.hexdigest() + "\n"
