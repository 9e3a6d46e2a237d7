"""Tests of an opened dataset: reading, selecting, verifying, and damage by cutting and flipping."""

import errno
import gc
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import memmap_train as mt
from memmap_train.dataset.file_digest import DIGEST_BYTES
from memmap_train.dataset.format import ARRAY_NAMES, FILE_NAME
from memmap_train.errors import DatasetError, ManifestError, ShardError
from memmap_train.system.resources import n_cores
from tests.support.errors import refused
from tests.support.permissions import permissions_count
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
    MakeToy,
    without_counts,
)

SMALL = {"0001": 6, "0002": 4, "X": 5}


def problems(path: Path, **options: Any) -> list[mt.Problem]:
    return mt.verify(path, **options)


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 0x10
    file.write_bytes(content)


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
    assert problems(dataset.path) == []


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
    assert problems(path) == []
    (path / "era-0001" / "counts.npy").write_bytes(b"")
    assert [p.path for p in problems(path)] == ["era-0001/counts.npy"]
    assert "unexpected" in problems(path)[0].what


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
    assert problems(many_eras) == []


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


# -- damage ---------------------------------------------------------------------------------------


def test_a_folder_that_is_not_a_dataset_is_refused(tmp_path: Path) -> None:
    for function in (mt.open_dataset, problems):
        with refused(ManifestError, "not a dataset", "convert"):
            function(tmp_path)


@pytest.mark.parametrize("array", ARRAY_NAMES)
def test_opening_finds_a_file_of_another_size(make_toy: MakeToy, array: str) -> None:
    path = make_toy(SMALL, benchmarks=True)
    file = path / "era-0002" / f"{array}.npy"
    whole = file.read_bytes()
    for content, said in ((whole[:-1], "cut short"), (whole + b"x", "too long")):
        file.write_bytes(content)
        with refused(ShardError, str(file), said, f"expected {len(whole)} bytes", "verify"):
            mt.open_dataset(path)
    file.unlink()
    with refused(ShardError, str(file), "missing", "verify"):
        mt.open_dataset(path)


def cut_short(path: Path) -> None:
    file = path / "era-0002" / "features.npy"
    file.write_bytes(file.read_bytes()[:-1])


def make_longer(path: Path) -> None:
    file = path / "era-0002" / "features.npy"
    file.write_bytes(file.read_bytes() + b"\0")


def remove_file(path: Path) -> None:
    (path / "era-0002" / "features.npy").unlink()


def edit_the_header(path: Path) -> None:
    """Write int32 in place of float32: the same size, other numbers."""
    file = path / "era-0002" / "features.npy"
    content = file.read_bytes()
    assert b"<f4" in content
    file.write_bytes(content.replace(b"<f4", b"<i4", 1))


def put_a_folder_in_its_place(path: Path) -> None:
    remove_file(path)
    (path / "era-0002" / "features.npy").mkdir()


def put_a_pipe_in_its_place(path: Path) -> None:
    remove_file(path)
    os.mkfifo(path / "era-0002" / "features.npy")


def empty_it(path: Path) -> None:
    (path / "era-0002" / "features.npy").write_bytes(b"")


def put_a_link_to_nothing_in_its_place(path: Path) -> None:
    remove_file(path)
    (path / "era-0002" / "features.npy").symlink_to(path.parent / "elsewhere.npy")


def say_another_size_in_the_manifest(path: Path) -> None:
    data = json.loads((path / FILE_NAME).read_bytes())
    data["shards"][1]["files"]["features"]["bytes"] += 4
    (path / FILE_NAME).write_text(json.dumps(data))


DAMAGES = [
    cut_short,
    make_longer,
    remove_file,
    edit_the_header,
    put_a_folder_in_its_place,
    put_a_pipe_in_its_place,
    empty_it,
    put_a_link_to_nothing_in_its_place,
    say_another_size_in_the_manifest,
]


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_verifying_reports_the_damage_and_nothing_else(
    make_toy: MakeToy, damage: Callable[[Path], None], quick: bool
) -> None:
    path = make_toy(SMALL)
    assert problems(path, quick=quick) == []
    damage(path)
    (problem,) = problems(path, quick=quick)
    assert problem.path == "era-0002/features.npy"
    assert problem.what
    assert problem.what[0] not in ": "
    assert "\n" not in problem.what
    assert str(path) not in problem.what


@pytest.mark.parametrize("array", ARRAY_NAMES)
@pytest.mark.parametrize("position", [128, -1])
def test_a_flipped_byte_is_found_only_by_its_checksum(
    make_toy: MakeToy, array: str, position: int
) -> None:
    path = make_toy(SMALL, benchmarks=True)
    flip(path / "era-0001" / f"{array}.npy", position)
    assert problems(path, quick=True) == []
    (problem,) = problems(path)
    assert problem.path == f"era-0001/{array}.npy"
    assert "digest" in problem.what
    mt.open_dataset(path)


def test_a_flipped_byte_of_the_header_is_found_quickly(make_toy: MakeToy) -> None:
    path = make_toy(SMALL)
    flip(path / "era-0001" / "targets.npy", 3)
    for quick in (True, False):
        assert [p.path for p in problems(path, quick=quick)] == ["era-0001/targets.npy"]


def test_swapped_files_of_two_eras_are_found(make_toy: MakeToy) -> None:
    path = make_toy({"0001": 5, "0002": 5, "0003": 5}, benchmarks=True)
    one, two, spare = (path / folder for folder in ("era-0001", "era-0002", ".spare"))
    one.rename(spare)
    two.rename(one)
    spare.rename(two)
    assert problems(path, quick=True) == []
    assert {p.path for p in problems(path)} == {
        f"{era}/{array}.npy" for era in ("era-0001", "era-0002") for array in ARRAY_NAMES
    }


def test_each_array_of_a_missing_era_is_reported(make_toy: MakeToy) -> None:
    path = make_toy(SMALL, benchmarks=True)
    shutil.rmtree(path / "era-0002")
    found = problems(path)
    assert sorted(p.path for p in found) == sorted(f"era-0002/{a}.npy" for a in ARRAY_NAMES)
    assert {p.what for p in found} == {"the file is missing"}


def put_links_in_place(path: Path, store: Path) -> None:
    """Replace all files by links, as DVC, git-annex and the caches of hubs do."""
    store.mkdir()
    for number, file in enumerate([path / FILE_NAME, *sorted(path.glob("era-*/*.npy"))]):
        os.replace(file, store / str(number))
        file.symlink_to(store / str(number))


def test_links_are_followed_and_their_targets_are_verified(make_toy: MakeToy) -> None:
    path = make_toy(SMALL)
    expected = {era: np.asarray(shard.features) for era, shard in mt.open_dataset(path).items()}
    put_links_in_place(path, path.parent / "store")
    os.replace(path / "era-0002", path.parent / "elsewhere")
    (path / "era-0002").symlink_to(path.parent / "elsewhere")
    os.replace(path, path.parent / "moved")
    path.symlink_to(path.parent / "moved")
    for era, shard in mt.open_dataset(path).items():
        np.testing.assert_array_equal(shard.features, expected[era])
    assert problems(path) == problems(path, quick=True) == []
    flip((path / "era-0002" / "targets.npy").resolve(), -1)
    (path / "era-X" / "counts.npy").resolve().unlink()
    (path / "era-0001" / "more.npy").symlink_to(path / "era-0001" / "features.npy")
    assert [problem.path for problem in problems(path)] == [
        "era-0001/more.npy",
        "era-0002/targets.npy",
        "era-X/counts.npy",
    ]
    assert "a link to nothing" in problems(path)[2].what
    with refused(ShardError, "counts.npy is a link to nothing", "verify"):
        mt.open_dataset(path)


def test_an_era_that_is_a_dangling_link_is_named(make_toy: MakeToy) -> None:
    path = make_toy(SMALL, benchmarks=True)
    shutil.rmtree(path / "era-0002")
    (path / "era-0002").symlink_to(path.parent / "elsewhere")
    with refused(ShardError, "era-0002 is a link to nothing"):
        mt.open_dataset(path)
    assert {p.path for p in problems(path)} == {f"era-0002/{array}.npy" for array in ARRAY_NAMES}


def test_unexpected_files_are_reported_and_dotfiles_are_not(make_toy: MakeToy) -> None:
    path = make_toy(SMALL)
    for name in ("notes.txt", ".hidden", "era-0001/more.npy", "era-0001/.hidden"):
        (path / name).write_text("x")
    (path / "era-0009").mkdir()
    found = problems(path)
    assert [p.path for p in found] == ["era-0001/more.npy", "era-0009", "notes.txt"]
    assert all("unexpected" in p.what for p in found)


def test_a_folder_that_cannot_be_listed_is_reported(
    make_toy: MakeToy, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_toy(SMALL)
    listdir = os.listdir

    def list_or_fail(folder: Path) -> list[str]:
        if folder == path / "era-0002":
            raise PermissionError(errno.EACCES, "Permission denied")
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", list_or_fail)
    assert problems(path) == [mt.Problem("era-0002/", "can't be listed: Permission denied")]


@pytest.mark.parametrize(("folder", "named"), [(".", "."), ("era-0002", "era-0002/")])
def test_a_folder_that_may_be_entered_but_not_listed_is_reported(
    make_toy: MakeToy, folder: str, named: str
) -> None:
    path = make_toy(SMALL)
    (path / folder).chmod(0o300)
    with permissions_count():
        assert problems(path) == [mt.Problem(named, "can't be listed: Permission denied")]
        assert len(mt.open_dataset(path)["0002"].features) == SMALL["0002"]
    (path / folder).chmod(0o700)


def test_an_era_that_may_not_be_entered_is_named(make_toy: MakeToy) -> None:
    path = make_toy(SMALL, benchmarks=True)
    (path / "era-0002").chmod(0)
    with permissions_count():
        with refused(ShardError, "era-0002", "can't be read: Permission denied"):
            mt.open_dataset(path)
        assert {problem.path for problem in problems(path)} == {
            "era-0002/",
            *(f"era-0002/{array}.npy" for array in ARRAY_NAMES),
        }
    (path / "era-0002").chmod(0o700)


def test_every_problem_is_listed(make_toy: MakeToy) -> None:
    path = make_toy(SMALL)
    flip(path / "era-0001" / "features.npy", 200)
    (path / "era-0002" / "targets.npy").unlink()
    (path / "era-X" / "ids.npy").write_bytes(b"")
    (path / "unexpected").write_text("x")
    assert [p.path for p in problems(path)] == [
        "era-0001/features.npy",
        "era-0002/targets.npy",
        "era-X/ids.npy",
        "unexpected",
    ]


def test_one_report_lists_swaps_sizes_checksums_and_unexpected_files_in_order(
    make_toy: MakeToy,
) -> None:
    path = make_toy({f"{era:04}": 5 for era in range(1, 30)})
    elsewhere = path.parent / "elsewhere"
    elsewhere.mkdir()
    os.replace(path / "era-0003", elsewhere / "era")
    (path / "era-0003").symlink_to(elsewhere / "era")
    flip(elsewhere / "era" / "ids.npy", -1)
    os.replace(path / "era-0005" / "ids.npy", elsewhere / "ids.npy")
    (path / "era-0005" / "ids.npy").symlink_to(elsewhere / "ids.npy")
    flip(elsewhere / "ids.npy", -1)
    for array in ("features", "targets"):
        first, second = path / "era-0008" / f"{array}.npy", path / "era-0021" / f"{array}.npy"
        os.replace(first, elsewhere / "spare")
        os.replace(second, first)
        os.replace(elsewhere / "spare", second)
    flip(path / "era-0010" / "counts.npy", -1)
    file = path / "era-0011" / "counts.npy"
    file.write_bytes(file.read_bytes() + b"x")
    (path / "era-0012" / "more.npy").write_bytes(b"")
    (path / "era-0028" / "targets.npy").unlink()
    (path / "notes.txt").write_text("x")
    expected = [
        ("era-0003/ids.npy", "digest"),
        ("era-0005/ids.npy", "digest"),
        ("era-0008/features.npy", "digest"),
        ("era-0008/targets.npy", "digest"),
        ("era-0010/counts.npy", "digest"),
        ("era-0011/counts.npy", "too long"),
        ("era-0012/more.npy", "unexpected"),
        ("era-0021/features.npy", "digest"),
        ("era-0021/targets.npy", "digest"),
        ("era-0028/targets.npy", "missing"),
        ("notes.txt", "unexpected"),
    ]
    found = problems(path)
    assert [p.path.split("/")[0] for p in found] == [name.split("/")[0] for name, _ in expected]
    assert sorted(p.path for p in found) == sorted(name for name, _ in expected)
    said = dict(expected)
    assert all(said[p.path] in p.what for p in found)
    quickly = {name for name, what in expected if what != "digest"}
    assert {p.path for p in problems(path, quick=True)} == quickly


def flip_a_byte(file: Path) -> None:
    flip(file, file.stat().st_size * 2 // 3)


def link_to_nothing(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.parents[2] / f"{file.parent.name}-{file.name}")


def make_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


ONE_BY_ONE: list[Callable[[Path], object]] = [
    flip_a_byte,
    Path.unlink,
    link_to_nothing,
    make_a_folder,
    lambda file: file.write_bytes(b""),
    lambda file: file.write_bytes(file.read_bytes()[:-1]),
    lambda file: file.write_bytes(file.read_bytes() + b"x"),
    lambda file: file.write_bytes(os.urandom(file.stat().st_size)),
]


def test_any_combination_of_damages_is_listed_and_nothing_else(make_toy: MakeToy) -> None:
    """40 datasets share 300 damages."""
    whole = make_toy({f"{era:04}": 5 for era in range(1, 9)})
    files = sorted(str(file.relative_to(whole)) for file in whole.glob("era-*/*.npy"))
    random = np.random.default_rng([7, 1])
    for number in range(40):
        path = whole.with_name(f"damaged{number}") / "dataset"
        shutil.copytree(whole, path)
        damaged = random.choice(files, int(random.integers(16)), replace=False).tolist()
        for name in damaged:
            ONE_BY_ONE[random.integers(len(ONE_BY_ONE))](path / name)
        foreign = [f"era-0009/{number}.npy", "more.txt"][: int(random.integers(3))]
        for name in foreign:
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_bytes(b"x")
        expected = sorted([*damaged, *(name.split("/")[0] for name in foreign)])
        assert sorted(problem.path for problem in problems(path)) == expected


def test_a_file_larger_than_the_buffer_is_checked_to_its_end(make_toy: MakeToy) -> None:
    path = make_toy({"0001": 3000}, n_features=300)
    file = path / "era-0001" / "features.npy"
    assert file.stat().st_size > 3 * DIGEST_BYTES
    assert problems(path) == []
    for position in (DIGEST_BYTES - 1, DIGEST_BYTES, 2 * DIGEST_BYTES + 1, -1):
        flip(file, position)
        assert [p.path for p in problems(path)] == ["era-0001/features.npy"]
        flip(file, position)


def test_interrupted_verifying_leaves_no_threads(make_toy: MakeToy) -> None:
    path = make_toy({f"{era:04}": 5 for era in range(1, 30)})

    def threads() -> int:
        return sum(thread.name.startswith("verify") for thread in threading.enumerate())

    def stop(what: str, done: int, total: int) -> None:
        assert 1 <= threads() <= n_cores()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mt.verify(path, progress=stop)
    assert threads() == 0
    assert problems(path) == []
    assert threads() == 0


def test_verifying_reports_its_progress(make_toy: MakeToy) -> None:
    path = make_toy(SMALL)
    calls: list[tuple[int, int]] = []

    def note(what: str, done: int, total: int) -> None:
        assert what == "verifying"
        assert threading.current_thread() is threading.main_thread()
        calls.append((done, total))

    assert problems(path, progress=note) == []
    n_bytes = sum(file.stat().st_size for file in path.glob("era-*/*.npy"))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert {total for _, total in calls} == {n_bytes}
    assert calls[-1][0] == n_bytes


def test_a_target_of_a_dataset_without_targets_is_refused_with_advice(make_toy: MakeToy) -> None:
    dataset = mt.open_dataset(make_toy({"0001": 5}, n_targets=0))
    with refused(DatasetError, "no target 'target' among 0", "this dataset has none", "convert"):
        dataset.labelled_eras("target")
