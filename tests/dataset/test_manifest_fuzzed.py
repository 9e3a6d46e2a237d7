"""Tests of manifests changed at random: each is refused in one line, or consistent."""

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.dataset.format import ARRAY_NAMES, FILE_NAME
from memmap_train.dataset.manifest_file import read_manifest, write_manifest
from memmap_train.dataset.opening import open_dataset
from memmap_train.dataset.verify import verify
from memmap_train.errors import ManifestError, MemmapTrainError
from memmap_train.loading.batches import Batches
from memmap_train.loading.inspect import describe_dataset, describe_era, describe_features
from memmap_train.loading.inspect_text import era_text, features_text
from tests.support.errors import line_of
from tests.support.manifests import manifest, shard
from tests.support.toy_benchmarks import with_benchmarks as with_toy_benchmarks
from tests.support.toy_datasets import MakeToy

NONSENSE: list[Any] = [
    None, True, False, -1, 0, 1, 2.5, float("nan"), float("inf"), 2**70, -(2**70), 10**400,
    "", "x", "../x", "/etc", "\ud800", "\0", "int8", [], [[]], [None], ["x", 1], {}, {"x": None},
]  # fmt: skip


def mutations(data: Any) -> Iterator[Any]:
    """Yield the data changed in one place: each value replaced, each key and item removed."""

    def places(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        keys = node.keys() if isinstance(node, dict) else range(len(node))
        for key in list(keys):
            yield (*path, key)
            if isinstance(node[key], dict | list):
                yield from places(node[key], (*path, key))

    for *path, last in list(places(data, ())):
        for value in [*NONSENSE, "take away", "twice"]:
            changed = copy.deepcopy(data)
            node = changed
            for key in path:
                node = node[key]
            if value == "take away":
                del node[last]
            elif value == "twice":
                if isinstance(node, dict):
                    continue
                node.append(node[last])
            else:
                node[last] = value
            yield changed


def use_all(directory: Path) -> None:
    """Read a manifest, and use all properties of it and of its dataset."""
    found = read_manifest(directory)
    assert found.digest
    for entry in found.shards:
        assert entry.rows >= 1
        assert found.layout(entry)["features"][1][0] == entry.rows
        assert (directory / entry.folder).resolve().parent == directory.resolve()
    dataset = open_dataset(directory)
    for target in dataset.target_names:
        dataset.labelled_eras(target)
    for name in found.feature_sets:
        if found.feature_sets[name]:
            dataset.feature_columns(name)


def test_no_mutation_of_a_manifest_ends_in_a_traceback(make_toy: MakeToy) -> None:
    directory = make_toy({"0001": 3, "X": 2}, n_features=2, n_targets=2, store="int8")
    good = json.loads((directory / FILE_NAME).read_bytes())
    use_all(directory)
    n_mutations, n_refused, wrong = 0, 0, {}
    for changed in mutations(good):
        n_mutations += 1
        (directory / FILE_NAME).write_text(json.dumps(changed))
        try:
            use_all(directory)
        except MemmapTrainError as error:
            n_refused += 1
            if "\n" in str(error):
                wrong["several lines"] = str(error)
        except Exception as error:  # what must not be: collected, to show all kinds at once
            wrong[repr(error)[:100]] = json.dumps(changed)[:200]
    assert wrong == {}
    assert n_mutations > 1000
    assert n_refused > n_mutations / 2


def test_a_randomly_changed_manifest_is_refused_or_consistent(
    make_toy: MakeToy,
) -> None:
    """2,000 manifests with values replaced, copied elsewhere or removed, and bytes changed.

    Accepted ones are mapped, shuffled and shown; no more is mapped than the files hold.
    """
    directory = make_toy({"0001": 3, "0002": 1, "X": 2}, n_features=2, n_targets=2, nulls=True)
    with_toy_benchmarks(directory)
    good = json.loads((directory / FILE_NAME).read_bytes())
    random = np.random.default_rng([6, 1])
    n_opened, n_refused = 0, 0
    for _ in range(2000):
        changed = copy.deepcopy(good)
        for _ in range(random.integers(1, 4)):
            node, key = some_place(changed, random)
            match random.integers(4):
                case 0:
                    del node[key]
                case 1:
                    other, its_key = some_place(changed, random)
                    node[key] = copy.deepcopy(other[its_key])
                case 2 if isinstance(node[key], int):
                    node[key] += int(random.choice([-1, 1, 4, 128]))
                case _:
                    node[key] = NONSENSE[random.integers(len(NONSENSE))]
        text = bytearray(json.dumps(changed).encode())
        if random.integers(4) == 0:
            for _ in range(3):
                text[random.integers(len(text))] = random.choice(list(b'0123456789-.eE{}[]",:tf'))
        (directory / FILE_NAME).write_bytes(text)
        if line_of(lambda: use_all(directory)):
            n_refused += 1
            continue
        assert not any("\n" in problem.what for problem in verify(directory))
        n_opened += not line_of(lambda: check_consistent(directory))
    assert n_refused > 1000
    assert n_opened > 100


def some_place(data: Any, random: np.random.Generator) -> tuple[Any, Any]:
    """Return a random object or list in the data, and a key of it."""
    while True:
        keys = list(data) if isinstance(data, dict) else range(len(data))
        key = keys[random.integers(len(keys))]
        if not isinstance(data[key], dict | list) or not data[key] or random.integers(4) == 0:
            return data, key
        data = data[key]


def check_consistent(directory: Path) -> None:
    """Compare each array with numpy's, and use all functions of the dataset."""
    dataset = open_dataset(directory)
    for era in dataset.eras:
        shard = dataset[era]
        for name in ARRAY_NAMES:
            array = getattr(shard, name)
            if array is not None:
                alone = np.load(shard.file(name), mmap_mode="r")
                assert (array.shape, array.dtype) == (alone.shape, alone.dtype)
        assert len(shard.features) == len(shard.targets) == shard.n_rows
    batches = Batches(dataset, batch_size=1, seed=0, window_size=1)
    assert len(batches) == dataset.n_rows
    assert batches[0][0].shape == (1, len(dataset.feature_names))
    json.dumps(describe_dataset(dataset))
    features_text(describe_features(dataset, dataset.eras[0]))
    for era in dataset.eras:
        era_text(describe_era(dataset, era))


@given(st.data())
def test_no_flipped_byte_of_a_manifest_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.getbasetemp() / "flipped"
    directory.mkdir(exist_ok=True)
    write_manifest(manifest(), directory)
    content = bytearray((directory / FILE_NAME).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (directory / FILE_NAME).write_bytes(content)
    try:
        found = read_manifest(directory)
    except ManifestError:
        return
    assert [len(entry.folder) > 4 for entry in found.shards] == [True] * len(found.shards)


@pytest.mark.parametrize(
    "label", ["../x", "/", "/etc/passwd", "a/b", "..", ".", "", "\\..\\x", "é✓", "\0", "C:", "~"]
)
def test_no_label_names_a_folder_outside_the_dataset(tmp_path: Path, label: str) -> None:
    write_manifest(manifest(shards=(shard(label),)), tmp_path)
    (entry,) = read_manifest(tmp_path).shards
    assert entry.era == label
    folder = tmp_path / entry.folder
    folder.mkdir()
    assert folder.resolve().parent == tmp_path.resolve()
    assert sorted(os.listdir(tmp_path)) == sorted([entry.folder, FILE_NAME])
