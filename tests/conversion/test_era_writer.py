"""Tests of an era on its way to disk: its files, what is counted, what is only digested."""

from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from memmap_train.conversion.era_writer import ShardWriter
from memmap_train.conversion.journal import STAGED, Journal
from memmap_train.conversion.plan import Columns, ConversionPlan, ConvertOptions
from memmap_train.conversion.schema import Schema
from memmap_train.dataset.file_digest import digest_file
from memmap_train.dataset.format import WORKPLACE
from memmap_train.dataset.manifest import ShardEntry
from memmap_train.system.disk_writer import DiskWriter

FEATURES = np.array([[0, 1], [4, 2], [3, 3]], np.int8)
TARGETS = np.array([[0.5, 0.5, 0.5], [np.nan, np.nan, 0.25], [1, 1, 1]], np.float32)
COUNTS = np.array([[1, 0, 0, 1, 1, 5], [0, 1, 1, 1, 0, 2]], np.int32)
IDS = np.array([b"a", b"bc", b"d"], "S2")


def plan_of(*, ids: bool = True, alias: str = "target") -> ConversionPlan:
    schema = Schema("era", "id" if ids else None, ("f", "g"), ("target", "same", "other"), True)
    return ConversionPlan(
        columns=Columns(schema=schema, feature_sets={}, planted=None, alias=alias),
        options=ConvertOptions(dtype="int8"),
        sources=(),
        groups=(),
        rows_per_era={"0001": 3},
        data_types={"0001": {"train": 3}},
        id_width=2 if ids else 0,
    )


def written(journal: Journal, plan: ConversionPlan) -> tuple[ShardEntry, list[str]]:
    """Write the rows one by one."""
    with closing(DiskWriter(1, 8192)) as disk:
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
    journal = Journal(tmp_path, {})
    entry, equal = written(journal, plan_of(ids=ids))
    journal.close()
    expected = {"features": FEATURES, "targets": TARGETS, "counts": COUNTS}
    expected |= {"ids": IDS} if ids else {}
    assert entry.files.keys() == expected.keys()
    for name, array in expected.items():
        path = tmp_path / WORKPLACE / STAGED / "era-0001" / f"{name}.npy"
        np.testing.assert_array_equal(np.load(path), array)
        assert entry.files[name].digest == digest_file(path)
        assert entry.files[name].bytes == path.stat().st_size
    assert (entry.era, entry.rows, entry.data_type) == ("0001", 3, {"train": 3})
    assert entry.missing_features == 7
    assert entry.target_nulls == {"target": 1, "same": 1, "other": 0}
    assert equal == ["target", "same"]


@pytest.mark.parametrize(
    ("alias", "expected"), [("other", ["other"]), ("same", ["target", "same"]), ("none", [])]
)
def test_any_target_may_be_the_alias_or_none(
    tmp_path: Path, alias: str, expected: list[str]
) -> None:
    journal = Journal(tmp_path, {})
    _, equal = written(journal, plan_of(alias=alias))
    journal.close()
    assert equal == expected


class Trusting(Journal):
    """A journal for an era whose features are trusted and whose ids are only compared."""

    def only_digested(self, era: str) -> frozenset[str]:
        return frozenset(("ids",))

    def skips(self, era: str) -> frozenset[str]:
        return frozenset(("features", "counts"))


def test_what_the_journal_does_not_want_is_not_written(tmp_path: Path) -> None:
    journal = Trusting(tmp_path, {})
    entry, _ = written(journal, plan_of())
    journal.close()
    assert entry.files.keys() == {"targets", "ids"}
    assert [path.name for path in (tmp_path / WORKPLACE / STAGED / "era-0001").iterdir()] == [
        "targets.npy"
    ]
