"""Tests of the weekly update: what is written, what stays, and that it is whole or absent."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.conversion.parquet.handle import ParquetHandle
from memmap_train.dataset.format import WORKSPACE
from memmap_train.dataset.verify import verify
from memmap_train.errors import ConversionError
from tests.support.errors import refused
from tests.support.toy import toy_table
from tests.support.updates import FIRST, LATER, write_first, write_later


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "validation.parquet"
    write_first(path)
    return path


def files(out: Path) -> dict[str, tuple[int, bytes]]:
    """Return inode and content of every file of a dataset but its manifest."""
    return {
        str(path.relative_to(out)): (path.stat().st_ino, path.read_bytes())
        for path in out.glob("era-*/*.npy")
    }


def fresh(source: Path, **options: Any) -> mt.Dataset:
    return mt.convert(source, source.with_name("fresh"), overwrite=True, **options).dataset


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("trust_features", [False, True])
def test_new_eras_and_late_targets_are_written_and_nothing_else(
    source: Path, dtype: str, trust_features: bool
) -> None:
    out = source.with_name("out")
    mt.convert(source, out, dtype=dtype)
    before = files(out)
    old_targets = np.asarray(mt.open_dataset(out)["0003"].targets)
    assert np.isnan(old_targets).all()
    write_later(source)
    report = mt.convert(source, out, dtype=dtype, trust_features=trust_features)
    assert (report.status, report.n_eras_new, report.n_eras_changed) == ("updated", 2, 1)
    after = files(out)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"era-0003/targets.npy"}
    assert np.isnan(old_targets).all()  # who has mapped the old file goes on reading it
    assert report.dataset.manifest.digest == fresh(source, dtype=dtype).manifest.digest
    assert {name: content for name, (_, content) in after.items()} == {
        name: content for name, (_, content) in files(source.with_name("fresh")).items()
    }
    assert list(verify(out)) == []
    assert sorted(os.listdir(out)) == [*(f"era-{era}" for era in LATER), "manifest.json"]


def test_the_same_again_is_up_to_date_and_history_is_kept(source: Path) -> None:
    out = source.with_name("out")
    first = mt.convert(source, out).dataset.manifest.sources
    write_later(source)
    updated = mt.convert(source, out).dataset.manifest
    assert updated.history == (first,)
    assert mt.convert(source, out).status == "up to date"
    os.utime(source, ns=(0, 0))  # another time, the same content
    before = files(out)
    assert mt.convert(source, out).status == "up to date"
    touched = mt.open_dataset(out).manifest
    assert (touched.history, touched.shards) == (updated.history, updated.shards)
    assert touched.sources[0].modified.startswith("1970-01-01")
    assert files(out) == before
    assert sorted(os.listdir(out)) == [*(f"era-{era}" for era in LATER), "manifest.json"]
    # From then on the time tells it, without a value being read.
    whole = source.read_bytes()
    kept = 8 + int.from_bytes(whole[-8:-4], "little")
    source.write_bytes(whole[:4] + bytes(len(whole) - kept - 4) + whole[-kept:])
    os.utime(source, ns=(0, 0))
    assert mt.convert(source, out).status == "up to date"


def test_other_values_of_the_same_layout_count_as_a_change(source: Path) -> None:
    out, other = source.with_name("out"), source.with_name("other.parquet")
    for path, last in ((source, 0.5), (other, 0.75)):
        labels = pa.array([0.0, 1.0, *[0.25] * 4, last], pa.float32())
        table = toy_table({"0001": 4, "0002": 3})
        table = table.set_column(table.column_names.index("target"), "target", labels)
        pq.write_table(table, path, compression="none", use_dictionary=False)
    assert source.stat().st_size == other.stat().st_size
    mt.convert(source, out)
    known = mt.open_dataset(out).manifest.sources
    source.write_bytes(other.read_bytes())
    report = mt.convert(source, out)
    assert (report.status, report.n_eras_changed) == ("updated", 1)
    assert report.dataset.manifest.sources[0].footer_digest == known[0].footer_digest
    assert report.dataset["0002"].targets[-1, 0] == 0.75


def test_feature_sets_stay_known_without_features_json(source: Path) -> None:
    out, sets = source.with_name("out"), source.with_name("features.json")
    sets.write_text('{"feature_sets": {"one": ["feature_z0"], "two": ["feature_y1"]}}')
    mt.convert(source, out, features_json=sets)
    write_later(source)
    updated = mt.convert(source, out)
    assert updated.status == "updated"
    assert updated.dataset.manifest.feature_sets == {"one": ("feature_z0",), "two": ("feature_y1",)}
    os.utime(source, ns=(0, 0))
    sets.write_text('{"feature_sets": {"one": ["feature_x2"], "three": ["feature_z3"]}}')
    again = mt.convert(source, out, features_json=sets).dataset.manifest.feature_sets
    assert again == {"one": ("feature_x2",), "two": ("feature_y1",), "three": ("feature_z3",)}


def test_columns_that_came_later_are_left_out_and_reported(source: Path) -> None:
    out = source.with_name("out")
    mt.convert(source, out)
    write_later(source, n_features=7, n_targets=3)
    report = mt.convert(source, out)
    assert report.left_out == ("feature_z6", "feature_y5", "target_t2_20") or set(
        report.left_out
    ) == {"feature_z6", "feature_x5", "target_t2_20"}
    assert len(report.dataset.feature_names) == 5
    assert len(report.dataset.eras) == 5
    assert mt.convert(source, out).status == "up to date"


def refuse(source: Path, out: Path, *said: str, **options: Any) -> None:
    """Expect an update to be refused, and the dataset to be as it was."""
    manifest, before = (out / "manifest.json").read_bytes(), files(out)
    with refused(ConversionError, str(out), *said, "stays as it is", "--overwrite"):
        mt.convert(source, out, **options)
    assert (out / "manifest.json").read_bytes() == manifest
    assert files(out) == before
    assert not (out / WORKSPACE).exists()
    assert list(verify(out)) == []


def test_a_changed_feature_of_an_old_era_is_refused_by_name(source: Path) -> None:
    out = source.with_name("out")
    mt.convert(source, out)
    table = toy_table(LATER, nulls=True)
    values = table["feature_y1"].to_pylist()
    values[14] = (values[14] or 0) ^ 1 if values[14] != 4 else 3
    column = table.column_names.index("feature_y1")
    pq.write_table(table.set_column(column, "feature_y1", pa.array(values, pa.int8())), source)
    refuse(source, out, "'feature_y1'", "'0002'", "--trust-features")
    assert mt.convert(source, out, trust_features=True).n_eras_new == 2


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("narrowed", [False, True])
def test_a_missing_value_that_became_a_code_or_the_reverse_is_refused_by_name(
    source: Path, dtype: str, narrowed: bool
) -> None:
    """A null is stored as a 2, so the features' digest is what it was."""
    out, origin = source.with_name("out"), source
    for value, other in ((None, 2), (2, None)):
        table = toy_table(LATER, nulls=True)
        column, values = table.column_names.index("feature_y1"), table["feature_y1"].to_pylist()
        for content in (value, other):
            values[14] = content
            pq.write_table(
                table.set_column(column, "feature_y1", pa.array(values, pa.int8())), source
            )
            if narrowed:
                origin = source.with_name("parent")
                mt.convert(source, origin, dtype=dtype, overwrite=True)
            if content is value:
                mt.convert(origin, out, dtype=dtype, overwrite=True)
        refuse(origin, out, "'feature_y1'", "'0002'", "--trust-features", dtype=dtype)
        trusting = mt.convert(origin, out, trust_features=True, dtype=dtype)
        assert trusting.status == "updated"


def test_eras_without_counts_are_updated_without_counts(source: Path) -> None:
    out = source.with_name("out")
    mt.convert(source, out)
    manifest = out / "manifest.json"
    data = json.loads(manifest.read_bytes())
    for shard in data["shards"]:
        del shard["files"]["counts"]
        (out / f"era-{shard['era']}" / "counts.npy").unlink()
    manifest.write_text(json.dumps(data))
    write_later(source)
    dataset = mt.convert(source, out).dataset
    assert dataset["0003"].counts is None
    assert dataset["0004"].counts is not None


def test_changed_ids_of_an_old_era_are_refused(source: Path) -> None:
    out = source.with_name("out")
    mt.convert(source, out)
    table = toy_table(LATER, nulls=True)
    ids = table["id"].to_pylist()
    ids[3] = "x" * len(ids[3])
    pq.write_table(table.set_column(table.column_names.index("id"), "id", pa.array(ids)), source)
    refuse(source, out, "ids", "'0001'")


def numbered(eras: dict[str, int], first: int) -> pa.Table:
    """Return a source whose ids are numbers, as of a frame whose index was written out."""
    table = toy_table(eras, nulls=True)
    ids = pa.array(range(first, first + len(table)))
    return table.set_column(table.column_names.index("id"), "id", ids)


def test_ids_may_grow_longer_in_new_eras(source: Path) -> None:
    out = source.with_name("out")
    pq.write_table(numbered(FIRST, 0), source)  # 0 to 27, then to 40: two digits
    mt.convert(source, out)
    before = files(out)
    pq.write_table(numbered({**FIRST, "0004": 80}, 0), source)
    report = mt.convert(source, out)
    assert (report.status, report.n_eras_new, report.n_eras_changed) == ("updated", 1, 0)
    assert before.items() <= files(out).items()
    old, new = report.dataset["0003"].ids, report.dataset["0004"].ids
    assert old is not None
    assert new is not None
    assert old.tolist() == [str(number).encode() for number in range(19, 28)]
    assert new.tolist() == [str(number).encode() for number in range(28, 108)]
    assert list(verify(out)) == []
    assert mt.convert(source, out).status == "up to date"


def test_ids_of_old_eras_that_grew_longer_have_changed(source: Path) -> None:
    """Cut to the old width, all of them would be what they were."""
    out = source.with_name("out")
    pq.write_table(numbered(FIRST, 10), source)
    mt.convert(source, out)
    table = numbered(FIRST, 10)
    ids = pa.array([f"{number}0" for number in table["id"].to_pylist()])
    pq.write_table(table.set_column(table.column_names.index("id"), "id", ids), source)
    refuse(source, out, "the ids of the sources differ")


def test_a_missing_or_renamed_feature_or_target_is_refused_by_name(source: Path) -> None:
    out = source.with_name("out")
    mt.convert(source, out)
    for name in ("feature_y1", "target"):
        table = toy_table(LATER, nulls=True)
        names = [f"{name}_renamed" if n == name else n for n in table.column_names]
        pq.write_table(table.rename_columns(names), source)
        refuse(source, out, repr(name))


def test_missing_eras_and_rows_are_refused(source: Path) -> None:
    out = source.with_name("out")
    mt.convert(source, out)
    pq.write_table(toy_table({"0001": 12, "0003": 9, "0004": 5}, nulls=True), source)
    refuse(source, out, "'0002'")
    pq.write_table(toy_table({**LATER, "0002": 8}, nulls=True), source)
    refuse(source, out, "'0002'", "7 rows", "8")


def test_maps_of_old_eras_keep_showing_the_old_bytes(source: Path) -> None:
    out = source.with_name("out")
    mt.convert(source, out)
    dataset = mt.open_dataset(out)
    maps = {
        (era, name): getattr(dataset[era], name)
        for era in FIRST
        for name in ("features", "targets", "ids", "counts")
    }
    before = {key: np.array(array) for key, array in maps.items()}
    write_later(source)
    assert mt.convert(source, out).n_eras_changed == 1
    for key, array in maps.items():
        np.testing.assert_array_equal(array, before[key])
    new = mt.open_dataset(out)["0003"].targets
    assert not np.array_equal(new, before["0003", "targets"], equal_nan=True)


def test_an_update_finishes_once_the_files_that_it_replaces_are_closed(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows a file that another process has open can't be replaced."""
    out = source.with_name("out")
    mt.convert(source, out)
    write_later(source)
    in_use = out / "era-0003" / "targets.npy"
    before = in_use.read_bytes()
    replace = os.replace

    def replace_unused(old: Path, new: Path) -> None:
        if Path(new) == in_use:
            raise PermissionError(13, "The process cannot access the file", str(old), 5, str(new))
        replace(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_unused)
        for _ in range(2):
            with refused(ConversionError, str(in_use), "reads it", "the same command again"):
                mt.convert(source, out)
            assert in_use.read_bytes() == before
    assert mt.convert(source, out).dataset.manifest.digest == fresh(source).manifest.digest
    assert list(verify(out)) == []
    assert not (out / WORKSPACE).exists()


def test_trusted_features_of_old_eras_are_not_decoded(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = source.with_name("out")
    mt.convert(source, out)
    read: list[int] = []
    features = ParquetHandle.features

    def noting(self: ParquetHandle, group: int, names: Any, out: Any) -> Any:
        read.append(group)
        return features(self, group, names, out)

    pq.write_table(toy_table(LATER, nulls=True), source, row_group_size=sum(FIRST.values()))
    monkeypatch.setattr(ParquetHandle, "features", noting)
    assert mt.convert(source, out, trust_features=True).n_eras_new == 2
    assert set(read) == {1}


def test_an_era_that_is_opened_after_an_update_is_refused_as_changed(source: Path) -> None:
    out = source.with_name("out")
    mt.convert(source, out)
    dataset = mt.open_dataset(out)
    write_later(source)
    mt.convert(source, out)
    assert dataset["0001"].targets.shape == (12, 2)  # the file is the one that it was
    with pytest.raises(mt.MemmapTrainError, match="updated"):
        _ = dataset["0003"].targets


@pytest.mark.parametrize("overwrite", [False, True])
def test_links_are_replaced_and_their_targets_are_never_touched(
    source: Path, overwrite: bool
) -> None:
    """As DVC, git-annex and the caches of hubs keep files."""
    out, store = source.with_name("out"), source.with_name("store")
    mt.convert(source, out)
    store.mkdir()
    for number, file in enumerate([out / "manifest.json", *sorted(out.glob("era-*/*.npy"))]):
        os.replace(file, store / str(number))
        file.symlink_to(store / str(number))
    before = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in store.iterdir()}
    write_later(source)
    report = mt.convert(source, out, overwrite=overwrite)
    assert report.status == ("converted" if overwrite else "updated")
    assert list(verify(out)) == []
    after = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in store.iterdir()}
    assert after == before
    assert (out / "era-0001" / "features.npy").is_symlink() == (not overwrite)
    assert not (out / "era-0003" / "targets.npy").is_symlink()
    assert not (out / "manifest.json").is_symlink()


def test_eras_of_a_dataset_whose_manifest_is_a_relative_link_are_removed(source: Path) -> None:
    out, kept = source.with_name("out"), source.with_name("kept.json")
    mt.convert(source, out)
    os.replace(out / "manifest.json", kept)
    (out / "manifest.json").symlink_to("../kept.json")
    before = kept.read_bytes()
    pq.write_table(toy_table({"0002": 7, "0004": 5}), source)
    mt.convert(source, out, overwrite=True)
    assert {path.name for path in out.iterdir()} == {"manifest.json", "era-0002", "era-0004"}
    assert kept.read_bytes() == before


def test_dangling_links_are_overwritten(source: Path) -> None:
    out = source.with_name("out")
    mt.convert(source, out)
    for name in ("features", "targets"):
        (out / "era-0001" / f"{name}.npy").unlink()
        (out / "era-0001" / f"{name}.npy").symlink_to("nothing")
    mt.convert(source, out, overwrite=True)
    assert list(verify(out)) == []
