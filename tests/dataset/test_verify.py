"""Tests of damage by cutting and flipping, as opening and verifying a dataset find it."""

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.dataset.file_digest import DIGEST_BYTES
from memmap_train.dataset.format import ARRAY_NAMES, FILE_NAME
from memmap_train.errors import ShardError
from memmap_train.system.resources import n_cores
from tests.support.errors import refused
from tests.support.permissions import permissions_count
from tests.support.toy_datasets import SMALL, MakeToy


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 0x10
    file.write_bytes(content)


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
    assert mt.verify(path, quick=quick) == []
    damage(path)
    (problem,) = mt.verify(path, quick=quick)
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
    assert mt.verify(path, quick=True) == []
    (problem,) = mt.verify(path)
    assert problem.path == f"era-0001/{array}.npy"
    assert "digest" in problem.what
    mt.open_dataset(path)


def test_a_flipped_byte_of_the_header_is_found_quickly(make_toy: MakeToy) -> None:
    path = make_toy(SMALL)
    flip(path / "era-0001" / "targets.npy", 3)
    for quick in (True, False):
        assert [p.path for p in mt.verify(path, quick=quick)] == ["era-0001/targets.npy"]


def test_swapped_files_of_two_eras_are_found(make_toy: MakeToy) -> None:
    path = make_toy({"0001": 5, "0002": 5, "0003": 5}, benchmarks=True)
    one, two, spare = (path / folder for folder in ("era-0001", "era-0002", ".spare"))
    one.rename(spare)
    two.rename(one)
    spare.rename(two)
    assert mt.verify(path, quick=True) == []
    assert {p.path for p in mt.verify(path)} == {
        f"{era}/{array}.npy" for era in ("era-0001", "era-0002") for array in ARRAY_NAMES
    }


def test_each_array_of_a_missing_era_is_reported(make_toy: MakeToy) -> None:
    path = make_toy(SMALL, benchmarks=True)
    shutil.rmtree(path / "era-0002")
    found = mt.verify(path)
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
    assert mt.verify(path) == mt.verify(path, quick=True) == []
    flip((path / "era-0002" / "targets.npy").resolve(), -1)
    (path / "era-X" / "counts.npy").resolve().unlink()
    (path / "era-0001" / "more.npy").symlink_to(path / "era-0001" / "features.npy")
    assert [problem.path for problem in mt.verify(path)] == [
        "era-0001/more.npy",
        "era-0002/targets.npy",
        "era-X/counts.npy",
    ]
    assert "a link to nothing" in mt.verify(path)[2].what
    with refused(ShardError, "counts.npy is a link to nothing", "verify"):
        mt.open_dataset(path)


def test_an_era_that_is_a_dangling_link_is_named(make_toy: MakeToy) -> None:
    path = make_toy(SMALL, benchmarks=True)
    shutil.rmtree(path / "era-0002")
    (path / "era-0002").symlink_to(path.parent / "elsewhere")
    with refused(ShardError, "era-0002 is a link to nothing"):
        mt.open_dataset(path)
    assert {p.path for p in mt.verify(path)} == {f"era-0002/{array}.npy" for array in ARRAY_NAMES}


def test_unexpected_files_are_reported_and_dotfiles_are_not(make_toy: MakeToy) -> None:
    path = make_toy(SMALL)
    for name in ("notes.txt", ".hidden", "era-0001/more.npy", "era-0001/.hidden"):
        (path / name).write_text("x")
    (path / "era-0009").mkdir()
    found = mt.verify(path)
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
    assert mt.verify(path) == [mt.Problem("era-0002/", "can't be listed: Permission denied")]


@pytest.mark.parametrize(("folder", "named"), [(".", "."), ("era-0002", "era-0002/")])
def test_a_folder_that_may_be_entered_but_not_listed_is_reported(
    make_toy: MakeToy, folder: str, named: str
) -> None:
    path = make_toy(SMALL)
    (path / folder).chmod(0o300)
    with permissions_count():
        assert mt.verify(path) == [mt.Problem(named, "can't be listed: Permission denied")]
        assert len(mt.open_dataset(path)["0002"].features) == SMALL["0002"]
    (path / folder).chmod(0o700)


def test_an_era_that_may_not_be_entered_is_named(make_toy: MakeToy) -> None:
    path = make_toy(SMALL, benchmarks=True)
    (path / "era-0002").chmod(0)
    with permissions_count():
        with refused(ShardError, "era-0002", "can't be read: Permission denied"):
            mt.open_dataset(path)
        assert {problem.path for problem in mt.verify(path)} == {
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
    assert [p.path for p in mt.verify(path)] == [
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
    found = mt.verify(path)
    assert [p.path.split("/")[0] for p in found] == [name.split("/")[0] for name, _ in expected]
    assert sorted(p.path for p in found) == sorted(name for name, _ in expected)
    said = dict(expected)
    assert all(said[p.path] in p.what for p in found)
    quickly = {name for name, what in expected if what != "digest"}
    assert {p.path for p in mt.verify(path, quick=True)} == quickly


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
        assert sorted(problem.path for problem in mt.verify(path)) == expected


def test_a_file_larger_than_the_buffer_is_checked_to_its_end(make_toy: MakeToy) -> None:
    path = make_toy({"0001": 3000}, n_features=300)
    file = path / "era-0001" / "features.npy"
    assert file.stat().st_size > 3 * DIGEST_BYTES
    assert mt.verify(path) == []
    for position in (DIGEST_BYTES - 1, DIGEST_BYTES, 2 * DIGEST_BYTES + 1, -1):
        flip(file, position)
        assert [p.path for p in mt.verify(path)] == ["era-0001/features.npy"]
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
    assert mt.verify(path) == []
    assert threads() == 0


def test_verifying_reports_its_progress(make_toy: MakeToy) -> None:
    path = make_toy(SMALL)
    calls: list[tuple[int, int]] = []

    def note(what: str, done: int, total: int) -> None:
        assert what == "verifying"
        assert threading.current_thread() is threading.main_thread()
        calls.append((done, total))

    assert mt.verify(path, progress=note) == []
    n_bytes = sum(file.stat().st_size for file in path.glob("era-*/*.npy"))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert {total for _, total in calls} == {n_bytes}
    assert calls[-1][0] == n_bytes
