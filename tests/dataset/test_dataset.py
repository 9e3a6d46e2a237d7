"""Tests of an opened dataset: reading and selecting."""

import gc
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import memmap_train as mt
from memmap_train.dataset.format import FILE_NAME
from memmap_train.errors import DatasetError, ManifestError, ShardError
from tests.support.errors import refused
from tests.support.toy import (
    feature_names,
    target_names,
    toy_benchmarks,
    toy_counts,
    toy_features,
    toy_ids,
    toy_targets,
)
from tests.support.toy_benchmarks import BENCHMARKS, with_benchmarks
from tests.support.toy_datasets import (
    ERAS,
    FEATURE_SETS,
    N_FEATURES,
    N_TARGETS,
    PLAIN_ARRAYS,
    SMALL,
    MakeToy,
    without_counts,
)

# -- reading --------------------------------------------------------------------------------------


def test_a_dataset_describes_its_contents(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["float32"])
    assert dataset.eras == tuple(ERAS)
    assert dataset.rows_per_era == tuple(ERAS.values())
    assert dataset.n_rows == sum(ERAS.values())
    assert dataset.feature_names == tuple(feature_names(N_FEATURES))
    assert dataset.target_names == tuple(target_names(N_TARGETS))
    assert dataset.feature_bytes == sum(ERAS.values()) * N_FEATURES * 4
    assert mt.open_dataset(toys["int8"]).feature_bytes == sum(ERAS.values()) * N_FEATURES
    assert dataset.manifest.dtype == "float32"
    assert str(toys["float32"]) in repr(dataset)


def test_a_dataset_is_a_mapping_of_eras_to_shards(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["float32"]).select(["0003", "0001", "X"])
    assert list(dataset) == list(dataset.keys()) == ["0001", "0003", "X"]
    assert len(dataset) == 3
    assert "0003" in dataset
    assert "0002" not in dataset  # of the whole dataset, not of this part
    assert 3 not in dataset  # type: ignore[comparison-overlap]
    assert [shard.era for shard in dataset.values()] == list(dataset)
    assert {era: shard.n_rows for era, shard in dataset.items()} == {
        era: ERAS[era] for era in dataset
    }
    assert dataset.get("0001").era == "0001"
    assert dataset.get("0002") is None


def test_a_dataset_equals_only_itself_and_is_hashable(toys: dict[str, Path]) -> None:
    one, other = mt.open_dataset(toys["float32"]), mt.open_dataset(toys["float32"])
    assert one == one
    assert one != other
    assert {one: 1, other: 2}[one] == 1


def test_a_dataset_may_be_named_by_text_or_path(toys: dict[str, Path]) -> None:
    assert mt.open_dataset(str(toys["int8"])).path == mt.open_dataset(toys["int8"]).path


@pytest.mark.parametrize("store", ["float32", "int8"])
def test_every_cell_of_every_era_is_at_its_coordinates(toys: dict[str, Path], store: str) -> None:
    dataset = mt.open_dataset(toys[store])
    for era, rows in ERAS.items():
        shard = dataset[era]
        assert shard.era == era
        assert shard.n_rows == rows
        assert shard.features.dtype == store
        decoded = dataset.decode(shard.features, np.empty((rows, N_FEATURES), np.float32))
        np.testing.assert_array_equal(decoded, toy_features(era, rows, N_FEATURES, "int8"))
        np.testing.assert_array_equal(shard.targets, toy_targets(era, rows, N_TARGETS))
        assert shard.ids is not None
        np.testing.assert_array_equal(shard.ids, toy_ids(era, rows))
        assert shard.counts is not None
        np.testing.assert_array_equal(shard.counts, toy_counts(era, rows, N_FEATURES, "int8"))


def test_arrays_are_read_only_maps_and_are_made_once(toys: dict[str, Path]) -> None:
    shard = mt.open_dataset(toys["float32"])["0001"]
    for array in (shard.features, shard.targets, shard.ids, shard.counts):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
    assert shard.features is shard.features


def test_numpy_can_read_every_array_without_this_package(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["int8"])
    shard = dataset["0005"]
    for name in PLAIN_ARRAYS:
        loaded = np.load(dataset.path / "era-0005" / f"{name}.npy", mmap_mode="r")
        np.testing.assert_array_equal(loaded, getattr(shard, name))


def test_ids_are_none_where_the_source_has_none(make_toy: MakeToy) -> None:
    dataset = mt.open_dataset(make_toy(SMALL, ids=False))
    assert dataset["0001"].ids is None
    files = ["counts.npy", "features.npy", "targets.npy"]
    assert sorted(os.listdir(dataset.path / "era-0001")) == files


def test_benchmarks_are_read_by_row_and_by_name(make_toy: MakeToy) -> None:
    plain = mt.open_dataset(make_toy(SMALL))
    assert plain.benchmark_names == ()
    assert plain["0001"].benchmarks is None
    assert not plain["0001"].has("benchmarks")
    before = {era: plain.entry(era).files for era in plain.eras}
    dataset = mt.open_dataset(with_benchmarks(plain.path))
    assert dataset.benchmark_names == BENCHMARKS
    for era, rows in SMALL.items():
        found = dataset[era].benchmarks
        assert isinstance(found, np.memmap)
        assert not found.flags.writeable
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, toy_benchmarks(era, rows, len(BENCHMARKS), nulls=True))
        assert before[era].items() <= dataset.entry(era).files.items()
    assert dataset.benchmark_columns(None) is None
    assert dataset.benchmark_columns(list(BENCHMARKS)) is None
    assert dataset.benchmark_columns([BENCHMARKS[2], BENCHMARKS[0]]) == (2, 0)
    assert dataset.benchmark_columns(BENCHMARKS[1]) == (1,)
    with refused(DatasetError, "no benchmark 'v53_lgbm_ender2'", BENCHMARKS[0]):
        dataset.benchmark_columns("v53_lgbm_ender2")
    with refused(DatasetError, "no benchmark 'v53'", "has none", "--benchmarks"):
        plain.benchmark_columns("v53")
    assert mt.verify(dataset.path) == []


def test_the_eras_of_a_benchmark_are_those_in_which_a_row_has_a_value(make_toy: MakeToy) -> None:
    def values(era: str, rows: int) -> npt.NDArray[np.float64]:
        found = np.full((rows, 2), np.nan)
        if era != "0002":
            found[-1, 0] = 0.5
        return found

    dataset = mt.open_dataset(with_benchmarks(make_toy(SMALL), ("a", "b"), values))
    assert dataset.benchmark_eras("a") == ("0001", "X")
    assert dataset.benchmark_eras("b") == ()
    assert dataset.select(["0001", "0002"]).benchmark_eras("a") == ("0001",)


def test_datasets_of_an_earlier_version_have_no_counts(make_toy: MakeToy) -> None:
    path = make_toy(SMALL)
    dataset = mt.open_dataset(without_counts(path, ["0001"]))
    assert dataset["0001"].counts is None
    assert dataset["0002"].counts is not None
    assert mt.verify(path) == []
    (path / "era-0001" / "counts.npy").write_bytes(b"")
    assert [p.path for p in mt.verify(path)] == ["era-0001/counts.npy"]
    assert "unexpected" in mt.verify(path)[0].what


def test_decoding_writes_into_the_callers_array(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["int8"])
    out = np.full((40, N_FEATURES), -1, np.float32)
    assert dataset.decode(dataset["0001"].features, out) is out
    assert set(np.unique(out)) == {0, 0.25, 0.5, 0.75, 1}


def test_opening_a_dataset_of_1300_eras_maps_no_file(many_eras: Path) -> None:
    gc.collect()  # what other tests have left must not go meanwhile
    before = open_files()
    dataset = mt.open_dataset(many_eras)
    assert open_files() == before
    assert dataset.eras == tuple(f"{era:04}" for era in range(1, 1301))
    assert dataset["1300"].features.shape == (3, 3)
    assert mt.verify(many_eras) == []


def open_files() -> int | None:
    descriptors = Path("/proc/self/fd")
    return len(os.listdir(descriptors)) if descriptors.is_dir() else None


# -- selections -----------------------------------------------------------------------------------


def test_a_selection_keeps_the_datasets_order(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["float32"])
    part = dataset.select(["X", "0010", "0002", "X"])
    assert part.eras == ("0002", "0010", "X")
    assert part.rows_per_era == (ERAS["0002"], ERAS["0010"], ERAS["X"])
    assert part.manifest is dataset.manifest
    assert dataset.select("0003").eras == ("0003",)
    assert dataset.eras == tuple(ERAS)


def test_eras_that_were_not_selected_are_not_accessible(toys: dict[str, Path]) -> None:
    part = mt.open_dataset(toys["float32"]).select(["0001", "0003", "X"])
    for asking in (part.__getitem__, part.entry, part.select, lambda era: part.select([era])):
        with refused(DatasetError, "no era '0002' among 3"):
            asking("0002")
    assert part.select(["0003"]).eras == ("0003",)
    assert part.labelled_eras("target") == ("0001", "0003", "X")


def test_an_unknown_era_is_refused_with_the_nearest_label(toys: dict[str, Path]) -> None:
    with refused(DatasetError, "no era '005' among 7", "did you mean '0005'?"):
        mt.open_dataset(toys["float32"])["005"]
    with pytest.raises(LookupError):
        mt.open_dataset(toys["float32"])["zzz"]


@pytest.mark.parametrize("names", [1, [1], ["0001", 2.5], [["0001"]], {"0001": 1, 2: 3}, [None]])
def test_names_that_are_not_text_are_refused_in_one_line(toys: dict[str, Path], names: Any) -> None:
    dataset = mt.open_dataset(toys["float32"])
    for asking in (dataset.select, dataset.feature_columns, dataset.target_columns):
        with refused(DatasetError, "expected names as text, found"):
            asking(names)
    for era in (0, None, ["0001"]):
        with refused(DatasetError, "expected names as text, found"):
            dataset[era]  # type: ignore[index]
    with refused(DatasetError, "found None"):
        dataset.select(None)  # type: ignore[arg-type]


def test_names_may_come_as_arrays_and_iterators(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["float32"])
    assert dataset.select(era for era in ("0003", "0001")).eras == ("0001", "0003")  # type: ignore[arg-type]
    assert dataset.select(np.array(["0003", "0001"])).eras == ("0001", "0003")  # type: ignore[arg-type]
    names = np.array(dataset.feature_names)[[4, 2]]
    assert dataset.feature_columns(names) == (4, 2)  # type: ignore[arg-type]
    assert dataset.target_columns(iter(dataset.target_names[1:2])) == (1,)  # type: ignore[arg-type]


def test_a_dataset_opened_by_a_relative_path_stays_usable_after_chdir(
    toys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(toys["float32"].parent)
    dataset = mt.open_dataset(toys["float32"].name)
    assert str(dataset.path) == toys["float32"].name
    monkeypatch.chdir("/")
    assert dataset["0003"].features.shape == (ERAS["0003"], N_FEATURES)
    assert len(mt.Batches(dataset.select("0003"), batch_size=5, seed=0)[0][0]) == 5


def test_a_file_that_cannot_be_accessed_is_not_reported_as_missing(make_toy: MakeToy) -> None:
    path = make_toy(SMALL)
    shutil.rmtree(path / "era-0002")
    (path / "era-0002").symlink_to("era-0002")
    with refused(ShardError, "era-0002/", "can't be read: Too many levels"):
        mt.open_dataset(path)


def test_an_empty_selection_of_eras_is_refused(toys: dict[str, Path]) -> None:
    with refused(DatasetError, "no eras selected"):
        mt.open_dataset(toys["float32"]).select([])


def test_labelled_eras_are_listed_per_target(make_toy: MakeToy) -> None:
    """The manifest's counts are used: no array needs to be read."""
    path = make_toy(SMALL, n_targets=2)
    data = json.loads((path / FILE_NAME).read_bytes())
    for shard, nulls in zip(data["shards"], [(6, 0), (3, 4), (5, 5)], strict=True):
        shard["target_nulls"] = dict(zip(data["targets"], nulls, strict=True))
    (path / FILE_NAME).write_text(json.dumps(data))
    dataset = mt.open_dataset(path)
    assert dataset.labelled_eras("target") == ("0002",)
    assert dataset.labelled_eras("target_t1_20") == ("0001",)
    assert dataset.select(["0001", "X"]).labelled_eras("target") == ()
    with refused(DatasetError, "no target 'targe'", "did you mean 'target'?"):
        dataset.labelled_eras("targe")


def test_an_era_without_any_label_is_not_labelled(make_toy: MakeToy) -> None:
    path = make_toy({f"{era:04}": 1 for era in range(1, 21)}, nulls=True)
    dataset = mt.open_dataset(path)
    expected = [era for era in dataset.eras if not np.isnan(dataset[era].targets[0, 0])]
    assert 0 < len(expected) < 20
    assert list(dataset.labelled_eras("target")) == expected


# -- columns --------------------------------------------------------------------------------------


def test_selected_features_become_columns(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["float32"])
    names = dataset.feature_names
    assert dataset.feature_columns(None) is None
    assert dataset.feature_columns("all") is None
    assert dataset.feature_columns(names) is None
    assert dataset.feature_columns("small") == (2, 5, 7)
    assert dataset.feature_columns(FEATURE_SETS["small"]) == (7, 2, 5)
    assert dataset.feature_columns(names[::-1]) == tuple(range(N_FEATURES))[::-1]


def test_selected_targets_become_columns(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["float32"])
    assert dataset.target_columns(None) is None
    assert dataset.target_columns(["target_t2_20", "target"]) == (2, 0)
    assert dataset.target_columns("target_t1_20") == (1,)


@pytest.mark.parametrize("wrong", ["medum", ["feature_q"], [], ["feature_z0", "feature_z0"]])
def test_invalid_selections_of_features_are_refused(toys: dict[str, Path], wrong: Any) -> None:
    with refused(DatasetError, str(toys["float32"])):
        mt.open_dataset(toys["float32"]).feature_columns(wrong)


# -- refused ---------------------------------------------------------------------------------------


def test_a_folder_that_is_not_a_dataset_is_refused(tmp_path: Path) -> None:
    for function in (mt.open_dataset, mt.verify):
        with refused(ManifestError, "not a dataset", "convert"):
            function(tmp_path)


def test_a_target_of_a_dataset_without_targets_is_refused_with_advice(make_toy: MakeToy) -> None:
    dataset = mt.open_dataset(make_toy({"0001": 5}, n_targets=0))
    with refused(DatasetError, "no target 'target' among 0", "this dataset has none", "convert"):
        dataset.labelled_eras("target")
