"""Tests of conversions that are stopped, killed, repeated, or that meet another one at work."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.conversion import execution
from memmap_train.conversion.conversion import convert
from memmap_train.conversion.memory_budget import ConversionBudget
from memmap_train.conversion.parquet.file import describe_file
from memmap_train.dataset.format import WORKSPACE
from memmap_train.dataset.opening import open_dataset
from memmap_train.dataset.verify import verify
from memmap_train.errors import ConversionError, MemmapTrainError, SourceError
from tests.support.conversions import TinyBudget, convert_within
from tests.support.errors import refused
from tests.support.files import files_limited_to
from tests.support.interruptions import (
    ERAS,
    StoppedError,
    check_whole,
    held_up,
    marks,
    stopped_after,
    visible,
    write_source,
)
from tests.support.permissions import permissions_count
from tests.support.toy import toy_table, write_toy
from tests.support.toy_datasets import PLAIN_ARRAYS
from tests.support.watching import watched_by

pytestmark = pytest.mark.usefixtures("no_power_cut")

N_ROWS = sum(ERAS.values())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path)


@pytest.fixture
def undisturbed(source: Path) -> str:
    """Return the digest that every conversion of the source must come to."""
    return convert(source, source.with_name("undisturbed")).dataset.manifest.digest


# -- stopped and resumed ----------------------------------------------------------------------


@pytest.mark.parametrize("n_eras", [0, 1, 3])
def test_a_rerun_keeps_the_eras_that_were_finished(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str, n_eras: int
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, n_eras, lambda: convert(source, out))
    before = marks(out)
    assert len(before) == len(PLAIN_ARRAYS) * n_eras
    assert visible(out) == set()
    assert not (out / WORKSPACE / "partial").exists()
    report = convert(source, out)
    assert report.status == "converted"
    assert report.n_eras_kept == n_eras
    assert before.items() <= marks(out).items()
    check_whole(out, undisturbed)


@pytest.mark.parametrize("how", ["touched", "copied", "in another folder"])
def test_a_rerun_keeps_the_eras_of_a_source_that_was_only_touched(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str, how: str
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, 2, lambda: convert(source, out))
    before = marks(out)
    if how == "touched":
        os.utime(source)
    elif how == "copied":
        shutil.copyfile(source, source.with_name("copy"))
        os.replace(source.with_name("copy"), source)
    else:
        elsewhere = source.with_name("elsewhere")
        elsewhere.mkdir()
        source = source.rename(elsewhere / source.name)
    report = convert(source, out)
    assert report.n_eras_kept == 2
    assert before.items() <= marks(out).items()
    check_whole(out, undisturbed)


def test_a_rerun_keeps_no_era_of_a_source_with_other_values_of_the_same_layout(
    monkeypatch: pytest.MonkeyPatch, source: Path
) -> None:
    out, other = source.with_name("out"), source.with_name("other.parquet")
    for path, order in ((source, 1), (other, -1)):
        table = toy_table(ERAS)
        values = table["feature_y1"].to_numpy()[::order]
        table = table.set_column(table.column_names.index("feature_y1"), "feature_y1", [values])
        pq.write_table(table, path, compression="none", use_dictionary=["era", "data_type"])
    footers = [describe_file(path).footer_digest for path in (source, other)]
    assert footers[0] == footers[1]
    digest = convert(other, source.with_name("undisturbed")).dataset.manifest.digest
    stopped_after(monkeypatch, 2, lambda: convert(source, out))
    times = source.stat()
    source.write_bytes(other.read_bytes())
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert convert(source, out).n_eras_kept == 0
    check_whole(out, digest)


def test_a_rerun_with_every_era_finished_writes_the_manifest_only(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")

    def stop(*arguments: Any) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(execution, "commit_changes", stop)
        with pytest.raises(StoppedError):
            convert(source, out)
    before = marks(out)
    assert visible(out) == set()
    assert convert(source, out).n_eras_kept == len(ERAS)
    assert marks(out) == before
    check_whole(out, undisturbed)


def test_a_conversion_may_be_stopped_repeatedly(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")
    for _ in range(3):
        before = marks(out)
        stopped_after(monkeypatch, 1, lambda: convert(source, out))
        assert before.items() < marks(out).items()
    assert convert(source, out).n_eras_kept == 3
    check_whole(out, undisturbed)


def test_memory_and_workers_may_change_before_a_rerun(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, 2, lambda: convert(source, out, workers=1))
    report = convert_within(TinyBudget(0), [source], out, n_workers=3)  # staged in a file
    assert report.n_eras_kept == 2
    check_whole(out, undisturbed)


def test_interleaved_eras_are_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "toy.parquet"
    order = sorted(range(N_ROWS), key=lambda row: row * 40503 % 65536)
    write_toy(path, ERAS, order=order, row_group_rows=10)
    digest = convert(path, tmp_path / "undisturbed").dataset.manifest.digest
    stopped_after(monkeypatch, 2, lambda: convert(path, tmp_path / "out"))
    assert convert(path, tmp_path / "out").n_eras_kept == 2
    check_whole(tmp_path / "out", digest)


def test_a_rerun_finds_the_alias_in_the_eras_of_both_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    table = toy_table(ERAS, n_targets=3, nulls=True)
    pq.write_table(table.append_column("target_same", table["target"]), path)
    stopped_after(monkeypatch, 2, lambda: convert(path, out))
    assert convert(path, out).dataset.manifest.aliases == {"target": "target_same"}


# Python itself closes a file that was being opened at this very moment, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_ctrl_c_leaves_only_finished_eras(source: Path, undisturbed: str) -> None:
    out = source.with_name("out")

    pressed: list[int] = []

    def press(what: str, done: int, total: int) -> None:
        if what == "converting" and done and not pressed:
            pressed.append(done)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        convert(source, out, progress=press)
    assert visible(out) == set()
    assert not (out / WORKSPACE / "partial").exists()
    assert not [
        t
        for t in threading.enumerate()
        if t.is_alive() and t.name.startswith(("convert", "publish"))
    ]
    convert(source, out)
    check_whole(out, undisturbed)


# -- over a dataset that is there -------------------------------------------------------------


@pytest.fixture
def older(source: Path) -> str:
    """Make the dataset that is to be replaced; return its digest."""
    return convert(source, source.with_name("out"), dtype="int8").dataset.manifest.digest


@pytest.mark.parametrize("n_eras", [0, 1, 3])
def test_a_dataset_stays_until_the_one_that_replaces_it_is_complete(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str, older: str, n_eras: int
) -> None:
    out = source.with_name("out")
    before = marks(out)
    stopped_after(monkeypatch, n_eras, lambda: convert(source, out, overwrite=True))
    check_whole(out, older)
    assert marks(out, waiting=False) == before
    waiting = {name: mark for name, mark in marks(out).items() if before.get(name) != mark}
    assert len(waiting) == len(PLAIN_ARRAYS) * n_eras
    report = convert(source, out, overwrite=True)
    assert (report.status, report.n_eras_kept) == ("converted", n_eras)
    assert waiting.items() <= marks(out).items()
    check_whole(out, undisturbed)
    assert not (out / WORKSPACE).exists()


def test_a_wrong_value_in_the_last_era_leaves_the_dataset_that_was_to_be_replaced(
    source: Path, older: str
) -> None:
    out, table = source.with_name("out"), toy_table(ERAS)
    column = table.column_names.index("feature_y1")
    codes = [*table["feature_y1"].to_pylist()[:-1], 7]
    wrong = pa.array(codes, pa.int8())
    pq.write_table(table.set_column(column, "feature_y1", wrong), source, row_group_size=10)
    for _ in range(2):
        with refused(SourceError, "toy.parquet", "'feature_y1'", "found 7"):
            convert(source, out, overwrite=True)
        check_whole(out, older)
    write_source(source.parent)
    assert convert(source, out, dtype="int8").status == "up to date"
    check_whole(out, older)
    assert not (out / WORKSPACE).exists()


def test_a_full_disk_keeps_the_dataset_that_was_to_be_replaced(tmp_path: Path) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 20, "0002": 3000}, n_features=40, row_group_rows=2000)
    new = convert(path, out).dataset.manifest.digest
    old = convert(path, out, targets="target", overwrite=True).dataset.manifest.digest
    with files_limited_to(50_000), refused(ConversionError, str(out), "File too large"):
        convert(path, out, overwrite=True)
    assert open_dataset(out).manifest.digest == old
    assert list(verify(out)) == []
    assert convert(path, out, overwrite=True).dataset.manifest.digest == new


@pytest.mark.parametrize(
    "later", [{"0001": 9, "0002": 8, "0003": 7}, {"0002": 8, "0003": 7}], ids=str
)
def test_a_dataset_with_a_write_protected_era_stays(tmp_path: Path, later: dict[str, int]) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 9, "0002": 8})
    digest = convert(path, out).dataset.manifest.digest
    write_toy(path, later)
    (out / "era-0001").chmod(0o555)
    with permissions_count():
        for _ in range(2):
            with refused(ConversionError, str(out), "write-protected: 'era-0001';", "stays"):
                convert(path, out, overwrite=True)
            assert open_dataset(out).manifest.digest == digest
            assert list(verify(out)) == []
        (out / "era-0001").chmod(0o755)
        assert convert(path, out, overwrite=True).n_eras_kept == len(later)
    assert visible(out) == {"manifest.json", *(f"era-{era}" for era in later)}


def test_an_update_does_not_write_to_the_folders_of_unchanged_eras(tmp_path: Path) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 9, "0002": 8})
    convert(path, out)
    write_toy(path, {"0001": 9, "0002": 8, "0003": 7})
    (out / "era-0001").chmod(0o555)
    with permissions_count():
        assert convert(path, out).n_eras_new == 1
    assert list(verify(out)) == []


def test_an_open_dataset_shows_no_row_of_its_replacement(
    source: Path, undisturbed: str, older: str
) -> None:
    out = source.with_name("out")
    dataset, unread = open_dataset(out), open_dataset(out)
    maps = {(era, name): getattr(dataset[era], name) for era in ERAS for name in PLAIN_ARRAYS}
    before = {key: np.array(array) for key, array in maps.items()}
    convert(source, out, overwrite=True)
    check_whole(out, undisturbed)
    for key, array in maps.items():
        np.testing.assert_array_equal(array, before[key])
    not_opened = set()
    for era, name in maps:
        try:
            array = getattr(unread[era], name)
        except MemmapTrainError:
            not_opened.add((era, name))
        else:  # the same bytes in both
            np.testing.assert_array_equal(array, before[era, name])
    assert not_opened >= {(era, "features") for era in ERAS}


def test_eras_and_arrays_that_the_new_dataset_does_not_have_are_removed(tmp_path: Path) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 9, "0002": 8, "0003": 7})
    convert(path, out)
    write_toy(path, {"0002": 8, "0005": 4}, ids=False)
    convert(path, out, overwrite=True)
    assert visible(out) == {"manifest.json", "era-0002", "era-0005"}
    assert "ids.npy" not in os.listdir(out / "era-0002")
    assert list(verify(out)) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_copy_of_an_era_that_the_user_made_stays(tmp_path: Path, overwrite: bool) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 9, "0002": 8})
    convert(path, out)
    shutil.copytree(out / "era-0001", out / "era-0001-mine")
    write_toy(path, {"0001": 9, "0002": 8, "0003": 7})
    convert(path, out, overwrite=overwrite)
    assert visible(out) == {"manifest.json", *(f"era-{n}" for n in ("0001", "0002", "0003"))} | {
        "era-0001-mine"
    }
    assert len(os.listdir(out / "era-0001-mine")) == len(PLAIN_ARRAYS)


def test_a_dataset_with_a_damaged_manifest_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 9, "0002": 8})
    convert(path, out)
    (out / "manifest.json").write_text('{"format": "memmap-train"}')
    write_toy(path, {"0002": 8, "0003": 7})
    convert(path, out, overwrite=True)
    assert visible(out) == {"manifest.json", "era-0002", "era-0003"}
    assert list(verify(out)) == []


def test_without_space_for_both_the_old_dataset_may_be_deleted_by_hand(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str, older: str
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, 2, lambda: convert(source, out, overwrite=True))

    def refusal(free: int) -> str:
        usage = shutil._ntuple_diskusage(10**9, 10**9 - free, free)
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda path: usage)
            with pytest.raises(ConversionError, match="not enough disk") as caught:
                convert(source, out, overwrite=True)
        return str(caught.value)

    line = refusal(0)
    assert "delete" not in line  # it wouldn't do
    n_lacking = int(line.partition(" bytes too little")[0].rpartition("(")[2].replace(",", ""))
    command = refusal(n_lacking - 100).partition("(rm ")[2].removesuffix(")")
    check_whole(out, older)
    subprocess.run(f"rm {command}", shell=True, check=True)
    assert visible(out) == set()
    assert convert(source, out, overwrite=True).n_eras_kept == 2
    check_whole(out, undisturbed)


def stopped_in_mid_commit(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Convert until files of more than one era have been renamed into place."""
    replace, n_renamed = os.replace, itertools.count()

    def stop(*arguments: Any) -> None:
        if next(n_renamed) == 12:
            raise StoppedError
        replace(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        with pytest.raises(StoppedError):
            act()


@pytest.mark.parametrize("options", [{}, {"dtype": "int8"}], ids=str)
def test_an_overwrite_that_was_stopped_while_committing_is_finished_by_a_rerun(
    monkeypatch: pytest.MonkeyPatch,
    source: Path,
    undisturbed: str,
    older: str,
    options: dict[str, Any],
) -> None:
    out = source.with_name("out")
    stopped_in_mid_commit(monkeypatch, lambda: convert(source, out, overwrite=True))
    assert not (out / "manifest.json").exists()
    before = marks(out)
    report = convert(source, out, overwrite=True, **options)
    assert report.status == ("converted" if options else "up to date")
    check_whole(out, older if options else undisturbed)
    assert (marks(out) == before) == (not options)


def test_a_commit_whose_files_are_gone_is_not_finished(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str, older: str
) -> None:
    """`rm -r out/*` in mid-commit leaves the workplace, whose name begins with a dot."""
    out = source.with_name("out")
    stopped_in_mid_commit(monkeypatch, lambda: convert(source, out, overwrite=True))
    assert not (out / "manifest.json").exists()
    for name in visible(out):
        shutil.rmtree(out / name)
    report = convert(source, out)
    assert 0 < report.n_eras_kept < len(ERAS)
    check_whole(out, undisturbed)


# -- other options or sources on an unfinished folder -----------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"dtype": "int8"}, {"missing": "nan"}, {"targets": ["target"]}, {"id_column": "era"}],
    ids=lambda options: next(iter(options)),
)
def test_other_options_start_from_the_beginning(
    monkeypatch: pytest.MonkeyPatch, source: Path, options: dict[str, Any]
) -> None:
    out = source.with_name("out")
    digest = convert(source, source.with_name("fresh"), **options).dataset.manifest.digest
    stopped_after(monkeypatch, 3, lambda: convert(source, out))
    report = convert(source, out, **options)
    assert report.n_eras_kept == 0
    check_whole(out, digest)


def test_other_sources_start_from_the_beginning(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, 3, lambda: convert(source, out))
    write_toy(source, ERAS, seed=1)
    report = convert(source, out)
    assert report.n_eras_kept == 0
    assert report.dataset.manifest.digest != undisturbed
    assert list(verify(out)) == []


def test_another_target_prefix_starts_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "toy.parquet"
    table = toy_table(ERAS)
    pq.write_table(table.append_column("target_same", table["target"]), path)
    out = tmp_path / "out"
    stopped_after(monkeypatch, 2, lambda: convert(path, out, target_prefix="targ"))
    assert convert(path, out).dataset.manifest.aliases == {"target": "target_same"}


# -- killed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", b'{"job_ver'])
def test_a_rerun_resumes_after_a_kill_before_the_journal(
    source: Path, undisturbed: str, content: bytes | None
) -> None:
    out = source.with_name("out")
    (out / WORKSPACE).mkdir(parents=True)
    (out / WORKSPACE / "lock").touch()
    if content is not None:
        (out / WORKSPACE / "journal.partial").write_bytes(content)
    convert(source, out)
    check_whole(out, undisturbed)


# -- two at a time ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"dtype": "int8"}, {"overwrite": True}], ids=str)
def test_a_second_conversion_is_refused_and_disturbs_nothing(
    source: Path, undisturbed: str, options: dict[str, Any]
) -> None:
    out = source.with_name("out")
    with held_up(source, out) as reports, refused(ConversionError, "another process"):
        convert(source, out, **options)
    assert reports[0].n_eras_kept == 0
    check_whole(out, undisturbed)


def test_a_lock_of_another_process_ends_with_that_process(
    source: Path, undisturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, 1, lambda: convert(source, out))
    hold = (
        "import fcntl, sys; file = open(sys.argv[1], 'ab'); fcntl.flock(file, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(out / WORKSPACE / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with refused(ConversionError, "another process"):
            convert(source, out)
        other.kill()
    assert convert(source, out).n_eras_kept == 1
    check_whole(out, undisturbed)


def test_a_conversion_that_ends_while_another_plans_stays_as_it_is(
    source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")
    before: list[dict[str, tuple[int, int]]] = []

    def overtake(what: str, done: int, total: int) -> None:
        if not before:
            convert(source, out)
            before.append(marks(out))

    with suppress(ConversionError):
        convert(source, out, progress=overtake)
    assert marks(out) == before[0]
    check_whole(out, undisturbed)


# -- a full disk ------------------------------------------------------------------------------


@pytest.mark.parametrize("in_file", [False, True])
def test_a_rerun_resumes_after_a_write_that_failed(tmp_path: Path, in_file: bool) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 20, "0002": 3000}, n_features=40, row_group_rows=2000)
    digest = convert(path, tmp_path / "undisturbed").dataset.manifest.digest
    budget = TinyBudget(0) if in_file else ConversionBudget()
    with (
        files_limited_to(50_000),
        refused(ConversionError, str(out), "File too large", "resumes"),
    ):
        convert_within(budget, [path], out, n_workers=2)
    assert not (out / "manifest.json").exists()
    assert not (out / WORKSPACE / "partial").exists()
    assert convert(path, out).dataset.manifest.digest == digest
    assert list(verify(out)) == []


def test_a_rerun_resumes_after_a_journal_that_couldnt_be_written(tmp_path: Path) -> None:
    """What a full disk has refused once is refused again when the journal is closed."""
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {f"{era:04}": 1 for era in range(60)}, n_features=2)
    digest = convert(path, tmp_path / "undisturbed").dataset.manifest.digest
    with files_limited_to(8000), refused(ConversionError, str(out), "File too large"):
        convert(path, out)
    assert not (out / WORKSPACE / "partial").exists()
    assert 0 < convert(path, out).n_eras_kept < 60
    assert open_dataset(out).manifest.digest == digest
    assert list(verify(out)) == []


# -- the same again ---------------------------------------------------------------------------


def test_the_same_again_is_up_to_date(source: Path, undisturbed: str) -> None:
    out = source.with_name("out")
    convert(source, out)
    before = marks(out)
    report = convert(source, out)
    assert report.status == "up to date"
    assert (report.n_rows, report.n_eras, report.n_eras_kept) == (N_ROWS, len(ERAS), 0)
    assert marks(out) == before


class OpenedArrays:
    """Notes the arrays that are opened."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".npy"):
            self.paths.append(str(arguments[0]))


def test_a_conversion_of_1300_eras_is_up_to_date_without_decoding(
    source: Path, many_eras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work for a large dataset is that for its manifest: nothing is read of any row."""
    read: list[Any] = []
    read_row_group = pq.ParquetFile.read_row_group

    def note(self: Any, *arguments: Any, **options: Any) -> Any:
        read.append(options["columns"])
        return read_row_group(self, *arguments, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", note)
    opened = OpenedArrays()
    with watched_by(opened):
        convert(source, source.with_name("out"))
        assert read
        assert opened.paths
        read.clear()
        opened.paths.clear()
        report = convert(
            many_eras.with_name("source.parquet"),
            many_eras,
            features_json=many_eras.with_name("features.json"),
        )
    assert (report.status, report.n_eras) == ("up to date", 1300)
    assert (read, opened.paths) == ([], [])


def test_the_same_file_in_another_folder_is_up_to_date(source: Path) -> None:
    out = source.with_name("out")
    convert(source, out)
    (source.parent / "moved").mkdir()
    moved = source.rename(source.parent / "moved" / source.name)
    assert convert(moved, out).status == "up to date"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "int8"}, "dtype"),
        ({"missing": "nan"}, "missing"),
        ({"targets": ["target"]}, "targets"),
        ({"feature_prefix": "feature_z"}, "features"),
        ({"id_column": "data_type"}, "id column"),
        ({"era_column": "data_type"}, "era column"),
    ],
)
def test_other_options_on_a_dataset_are_refused(
    source: Path, undisturbed: str, options: dict[str, Any], said: str
) -> None:
    out = source.with_name("out")
    convert(source, out)
    before = marks(out)
    with refused(ConversionError, str(out), said, "--overwrite"):
        convert(source, out, **options)
    assert marks(out) == before
    check_whole(out, undisturbed)


@pytest.mark.parametrize("other", ["one more", "another name"])
def test_other_sources_on_a_dataset_are_refused(source: Path, undisturbed: str, other: str) -> None:
    out = source.with_name("out")
    convert(source, out)
    shutil.copy2(source, source.with_name("more.parquet"))
    sources = [*[source][: other == "one more"], source.with_name("more.parquet")]
    with refused(ConversionError, "sources", "--overwrite"):
        convert(sources, out)
    check_whole(out, undisturbed)


def test_overwrite_replaces_a_dataset(source: Path, undisturbed: str) -> None:
    out = source.with_name("out")
    write_toy(source.with_name("other.parquet"), {"0001": 3, "0099": 2}, seed=1)
    convert(source.with_name("other.parquet"), out, dtype="int8")
    report = convert(source, out, overwrite=True)
    assert report.status == "converted"
    check_whole(out, undisturbed)


def test_overwrite_resumes_with_an_unfinished_one_of_the_same_job(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, 2, lambda: convert(source, out))
    assert convert(source, out, overwrite=True).n_eras_kept == 2
    check_whole(out, undisturbed)


def test_overwrite_makes_a_dataset_where_there_is_none(source: Path, undisturbed: str) -> None:
    convert(source, source.with_name("out"), overwrite=True)
    check_whole(source.with_name("out"), undisturbed)


def test_an_early_error_keeps_the_dataset_that_was_to_be_overwritten(
    source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")
    convert(source, out)
    with suppress(SourceError):
        convert(source.with_name("none.parquet"), out, overwrite=True)
    with suppress(ConversionError):
        convert(source, out, overwrite=True, workers=0)
    check_whole(out, undisturbed)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    "foreign", ["notes.txt", "folder/notes.txt", "era-notes.txt", "era-0001/notes.txt"]
)
def test_a_folder_with_an_unexpected_file_is_not_touched(
    monkeypatch: pytest.MonkeyPatch, source: Path, begun: bool, foreign: str
) -> None:
    out = source.with_name("out")
    if begun:
        stopped_after(monkeypatch, 1, lambda: convert(source, out))
    else:
        convert(source, out)
    path = out / foreign
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    before = marks(out), visible(out)
    with refused(ConversionError, str(out), "won't be touched"):
        convert(source, out, dtype="int8", overwrite=True)
    assert (marks(out), visible(out)) == before
    assert path.read_text() == "mine"


def test_hidden_files_are_left_alone(source: Path, undisturbed: str) -> None:
    out = source.with_name("out")
    convert(source, out)
    (out / ".gitignore").write_text("*")
    convert(source, out, overwrite=True)
    assert (out / ".gitignore").read_text() == "*"
    check_whole(out, undisturbed)


# -- a source that changes --------------------------------------------------------------------


def touch(source: Path) -> None:
    os.utime(source, ns=(0, 0))


def write_into(source: Path) -> None:
    other = source.with_name("other.parquet")
    write_toy(other, ERAS, seed=1, row_group_rows=10, nulls=True)
    source.write_bytes(other.read_bytes())


def replace(source: Path) -> None:
    other = source.with_name("other.parquet")
    write_toy(other, {"0001": 200}, n_features=9)
    os.replace(other, source)


def cut(source: Path) -> None:
    os.truncate(source, source.stat().st_size // 2)


def append(source: Path) -> None:
    with open(source, "ab") as file:
        file.write(b"more")


MOMENTS = {
    "planning": ("reading eras", 0.5),
    "begun": ("converting", 0),
    "half": ("converting", 0.5),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("change", [touch, write_into, replace, cut, append, Path.unlink])
def test_a_source_that_changes_while_it_is_read_is_noticed(
    source: Path, undisturbed: str, moment: str, change: Callable[[Path], None]
) -> None:
    out = source.with_name("out")
    whole, times = source.read_bytes(), source.stat()
    changed: list[int] = []

    def meddle(what: str, done: int, total: int) -> None:
        if what == MOMENTS[moment][0] and done >= total * MOMENTS[moment][1] and not changed:
            changed.append(done)
            change(source)

    with refused(SourceError, "toy.parquet"):
        convert(source, out, progress=meddle, workers=1)
    assert changed
    assert (changed[0] > 0) == (moment != "begun")
    assert not (out / "manifest.json").exists()
    source.write_bytes(whole)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    convert(source, out)
    check_whole(out, undisturbed)


def test_no_era_is_kept_of_a_content_that_a_source_held_only_for_a_while(tmp_path: Path) -> None:
    """Another content of the same layout, then the first one again with its old time."""
    source, other, out = (tmp_path / name for name in ("toy.parquet", "other.parquet", "out"))
    for path, seed in ((source, 0), (other, 1)):
        table = toy_table(ERAS, seed=seed)
        pq.write_table(
            table, path, row_group_size=10, compression="none", use_dictionary=["era", "data_type"]
        )
    whole, times = source.read_bytes(), source.stat()
    assert len(whole) == other.stat().st_size
    digest = convert(source, tmp_path / "undisturbed").dataset.manifest.digest
    changed: list[int] = []

    def meddle(what: str, done: int, total: int) -> None:
        if what == "converting" and done > 40 and not changed:
            changed.append(done)
            source.write_bytes(other.read_bytes())

    with refused(SourceError, "toy.parquet", "changed"):
        convert(source, out, progress=meddle, workers=1)
    assert changed
    source.write_bytes(whole)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    convert(source, out)
    check_whole(out, digest)
