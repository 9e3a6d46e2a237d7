"""Tests of where predictions go: files, links, pipes and devices, and what is never written to."""

import logging
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from tests.support.random_models import make_run
from tests.support.training_data import N_ERAS, ROWS_PER_ERA

pytest_plugins = ["tests.support.training_fixtures"]


@pytest.fixture
def predicted(sample: Path, tmp_path: Path) -> Callable[..., int]:
    """Return a function that predicts on the command line, and gives the exit code."""
    make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))

    def run(out: Any, *options: str) -> int:
        return main(["predict", str(tmp_path / "run"), str(sample), "--out", str(out), *options])

    return run


@pytest.fixture
def csv_text(predicted: Callable[..., int], tmp_path: Path) -> str:
    """Return what a plain CSV file holds of the same predictions."""
    assert predicted(tmp_path / "plain.csv") == 0
    return (tmp_path / "plain.csv").read_text()


def test_a_device_stays_one(predicted: Callable[..., int], tmp_path: Path) -> None:
    try:  # a device of this test's own: /dev/null itself is everybody's
        os.mknod(tmp_path / "null.csv", 0o666 | stat.S_IFCHR, os.stat(os.devnull).st_rdev)
        open(tmp_path / "null.csv", "wb").close()
    except OSError:
        pytest.skip("devices can't be made here")
    for options in ((), ("--raw",)):
        assert predicted(tmp_path / "null.csv", *options) == 0
        assert stat.S_ISCHR(os.lstat(tmp_path / "null.csv").st_mode)


def test_a_device_that_is_full_is_one_line(
    predicted: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert predicted("/dev/full") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: /dev/full: the predictions can't be written: No space left on device"


def test_a_pipe_is_written_into_once_somebody_reads_it(
    predicted: Callable[..., int],
    csv_text: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    os.mkfifo(tmp_path / "pipe")

    class ReadsWhenAsked(logging.Handler):
        """Begins to read when it is said that nobody does."""

        def emit(self, record: logging.LogRecord) -> None:
            reading.start()

    found: list[str] = []
    reading = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_text()))
    handler = ReadsWhenAsked()
    logging.getLogger("memmap_train").addHandler(handler)
    try:
        assert predicted(tmp_path / "pipe") == 0
    finally:
        logging.getLogger("memmap_train").removeHandler(handler)
    reading.join()
    assert found == [csv_text]
    assert "waiting for a process that reads the pipe" in caplog.text
    assert stat.S_ISFIFO(os.lstat(tmp_path / "pipe").st_mode)


def test_a_pipe_whose_reader_has_seen_enough_ends_in_silence(
    predicted: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert predicted(f"/dev/fd/{writer}") == 0
    finally:
        os.close(writer)
    assert capfd.readouterr() == ("", "")


def test_stdout_gets_nothing_but_the_predictions(
    predicted: Callable[..., int], csv_text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    for out in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        assert predicted(out) == 0
        printed = capfd.readouterr()
        assert printed.out == csv_text
        assert printed.err == f"{out}: {N_ERAS * ROWS_PER_ERA:,} predictions\n"


def test_what_stdout_held_stays_before_the_predictions(
    predicted: Callable[..., int], csv_text: str, tmp_path: Path
) -> None:
    """As after `>>`: opened by its name the file would be emptied."""
    (tmp_path / "kept").write_text("kept\n")
    descriptor = os.open(tmp_path / "kept", os.O_WRONLY | os.O_APPEND)
    (tmp_path / "link.csv").symlink_to(f"/dev/fd/{descriptor}")
    try:
        assert predicted(tmp_path / "link.csv") == 0
    finally:
        os.close(descriptor)
    assert (tmp_path / "kept").read_text() == "kept\n" + csv_text


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_gets_the_predictions(
    there: bool, predicted: Callable[..., int], csv_text: str, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "week.csv"
    if there:
        target.touch()
    (tmp_path / "first.csv").symlink_to("elsewhere/week.csv")
    (tmp_path / "second.csv").symlink_to("first.csv")
    assert predicted(tmp_path / "second.csv") == 0
    assert target.read_text() == csv_text
    assert (tmp_path / "first.csv").is_symlink()
    assert (tmp_path / "second.csv").is_symlink()
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["week.csv"]


def test_permissions_are_those_of_the_file_that_is_replaced_or_of_any_new_one(
    predicted: Callable[..., int], csv_text: str, tmp_path: Path
) -> None:
    before = os.umask(0o027)
    try:
        assert predicted(tmp_path / "new.csv") == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.csv").stat().st_mode) == 0o640
    (tmp_path / "plain.csv").chmod(0o604)
    os.link(tmp_path / "plain.csv", tmp_path / "other.csv")
    assert predicted(tmp_path / "plain.csv", "--era") == 0
    assert stat.S_IMODE((tmp_path / "plain.csv").stat().st_mode) == 0o604
    assert (tmp_path / "other.csv").read_text() == csv_text


def test_a_file_that_holds_anything_else_is_left_alone(
    predicted: Callable[..., int],
    sample_files: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(sample_files / "live.parquet", tmp_path / "live.parquet")
    (tmp_path / "notes.csv").write_text("id,notes\n")
    shutil.copy(sample_files / "live.parquet", tmp_path / "live.csv")
    for name in ("live.parquet", "notes.csv", "live.csv"):
        before = (tmp_path / name).read_bytes()
        assert predicted(tmp_path / name) == 1
        assert "holds no predictions" in capsys.readouterr().err
        assert (tmp_path / name).read_bytes() == before
    for name in ("out.parquet", "out.csv"):
        assert [predicted(tmp_path / name), predicted(tmp_path / name, "--era")] == [0, 0]


def test_a_dataset_or_a_file_of_a_run_is_never_written_to(
    predicted: Callable[..., int],
    make_toy: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dataset = make_toy({"0001": 10})
    (tmp_path / "link").symlink_to(dataset)
    (tmp_path / "begun" / ".convert").mkdir(parents=True)
    (tmp_path / "linked.csv").symlink_to(dataset / "p.csv")
    for out in (
        dataset / "p.csv",
        dataset / "era-0001" / "p.parquet",
        tmp_path / "link" / "p.csv",
        tmp_path / "linked.csv",
        tmp_path / "begun" / "p.csv",
    ):
        assert predicted(out) == 1
        assert "it lies in the dataset" in capsys.readouterr().err
    assert sorted(os.listdir(dataset)) == ["era-0001", "manifest.json"]
    for name in ("history.csv", "era_scores.csv", "step_scores.csv"):
        assert predicted(tmp_path / "run" / name) == 1
        assert "it is a file of the run" in capsys.readouterr().err
    assert predicted(tmp_path / "run" / "predictions.csv") == 0
