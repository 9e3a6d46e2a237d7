"""Tests of an era on its way to disk: its files, what is counted, what is only digested."""

import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from memmap_train.conversion.era_policy import ChangedEraError, EraPolicy
from memmap_train.conversion.era_writer import ShardWriter
from memmap_train.conversion.journal import FinishedEra, Journal
from memmap_train.conversion.plan import Columns, ConversionPlan, ConvertOptions
from memmap_train.conversion.schema import Schema
from memmap_train.conversion.workspace import Workspace
from memmap_train.dataset.file_digest import digest_file
from memmap_train.dataset.manifest import FileEntry
from memmap_train.system.disk_writer import DiskWriter

FEATURES = np.array([[0, 1], [4, 2], [3, 3]], np.int8)
TARGETS = np.array([[0.5, 0.5, 0.5], [np.nan, np.nan, 0.25], [1, 1, 1]], np.float32)
COUNTS = np.array([[1, 0, 0, 1, 1, 5], [0, 1, 1, 1, 0, 2]], np.int32)
IDS = np.array([b"a", b"bc", b"d"], "S2")


def plan_of(*, ids: bool = True, alias: str = "target") -> ConversionPlan:
    schema = Schema("era", "id" if ids else None, ("f", "g"), ("target", "same", "other"), True)
    return ConversionPlan(
        columns=Columns(schema=schema, feature_sets={}, best_possible=None, alias=alias),
        options=ConvertOptions(dtype="int8"),
        sources=(),
        groups=(),
        rows_per_era={"0001": 3},
        data_types={"0001": {"train": 3}},
        id_width=2 if ids else 0,
    )


def written(journal: Journal, plan: ConversionPlan) -> FinishedEra:
    """Write the rows one by one, and close the journal."""
    with closing(journal), closing(DiskWriter(1, 8192)) as disk:
        shard = ShardWriter("0001", plan, journal, disk)
        for row in range(3):
            rows: dict[str, npt.NDArray[np.generic]] = {"features": FEATURES, "ids": IDS}
            for name, array in rows.items():
                if name in shard.writers:
                    shard.writers[name].append(array[row : row + 1])
            shard.count_targets(TARGETS[row : row + 1])
            shard.writers["targets"].append(TARGETS[row : row + 1])
        if shard.counts is not None:
            shard.counts += COUNTS
        return shard.publish()


@pytest.mark.parametrize("ids", [False, True])
def test_an_era_is_published_with_all_that_its_manifest_will_say(tmp_path: Path, ids: bool) -> None:
    workspace = Workspace(tmp_path)
    era = written(Journal(workspace, {}), plan_of(ids=ids))
    entry = era.entry
    expected = {"features": FEATURES, "targets": TARGETS, "counts": COUNTS}
    expected |= {"ids": IDS} if ids else {}
    assert entry.files.keys() == expected.keys()
    for name, array in expected.items():
        path = workspace.staged / "era-0001" / f"{name}.npy"
        np.testing.assert_array_equal(np.load(path), array)
        assert entry.files[name].digest == digest_file(path)
        assert entry.files[name].bytes == path.stat().st_size
    assert (entry.era, entry.rows, entry.data_type) == ("0001", 3, {"train": 3})
    assert entry.missing_features == 7
    assert entry.target_nulls == {"target": 1, "same": 1, "other": 0}
    assert era.equal_targets == ("target", "same")


@pytest.mark.parametrize(
    ("alias", "expected"), [("other", ("other",)), ("same", ("target", "same")), ("none", ())]
)
def test_any_target_may_be_the_alias_or_none(
    tmp_path: Path, alias: str, expected: tuple[str, ...]
) -> None:
    era = written(Journal(Workspace(tmp_path), {}), plan_of(alias=alias))
    assert era.equal_targets == expected


def test_only_changed_targets_of_a_known_era_are_written(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first = written(Journal(workspace, {}), plan_of()).entry
    old = replace(first, files={**first.files, "targets": FileEntry(1, "other")})
    policy = EraPolicy({"0001": old}, trusts_features=True)
    era = written(Journal(workspace, {"update": 1}, policy), plan_of())
    assert era.entry == first
    assert os.listdir(workspace.staged / "era-0001") == ["targets.npy"]


def test_nothing_of_an_unchanged_era_is_written(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first = written(Journal(workspace, {}), plan_of()).entry
    era = written(Journal(workspace, {"update": 1}, EraPolicy({"0001": first})), plan_of())
    assert era.entry == first
    assert os.listdir(workspace.staged / "era-0001") == []


@pytest.mark.parametrize("array", ["features", "counts", "ids"])
def test_a_known_era_that_has_changed_is_an_error(tmp_path: Path, array: str) -> None:
    workspace = Workspace(tmp_path)
    first = written(Journal(workspace, {}), plan_of()).entry
    old = replace(first, files={**first.files, array: FileEntry(first.files[array].bytes, "other")})
    with pytest.raises(ChangedEraError) as changed:
        written(Journal(workspace, {"update": 1}, EraPolicy({"0001": old})), plan_of())
    assert (changed.value.era, changed.value.array) == ("0001", array)
    np.testing.assert_array_equal(changed.value.counts, COUNTS)
    assert os.listdir(workspace.staged) == []
