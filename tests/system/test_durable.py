"""Tests of syncing on file systems that can't sync a folder or a file, and of disk errors."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import memmap_train as mt
from memmap_train.errors import ConversionError, RunError
from memmap_train.runs.lock import holding
from memmap_train.runs.run import read_run
from memmap_train.runs.run_folder import begin_run
from memmap_train.system.durable import sync_directory, sync_file
from tests.support.errors import refused
from tests.support.run_records import run_record
from tests.support.toy import write_toy

UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
FOR_FOLDERS = (*UNSUPPORTED, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR)
FAILED = (errno.EIO, errno.ENOSPC, errno.EDQUOT)


def failing(number: int, applies: Callable[[int], bool]) -> Callable[[int], None]:
    """Return an `os.fsync` that fails for files with a mode to which `applies` returns True."""

    def fsync(descriptor: int) -> None:
        if applies(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    return fsync


@pytest.mark.parametrize("number", FOR_FOLDERS, ids=errno.errorcode.__getitem__)
def test_a_folder_that_cannot_be_synced_is_still_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    source, out = tmp_path / "source.parquet", tmp_path / "deep" / "out"
    write_toy(source, {"0001": 4, "0002": 3})
    monkeypatch.setattr(os, "fsync", failing(number, stat.S_ISDIR))
    assert mt.convert(source, out, workers=1).status == "converted"
    write_toy(source, {"0001": 4, "0002": 3, "0003": 2})
    assert mt.convert(source, out, workers=1).status == "updated"
    assert mt.convert(source, out, workers=1, overwrite=True).n_rows == 9
    assert list(mt.verify(out)) == []
    with holding(tmp_path / "run"):
        begin_run(tmp_path / "run", run_record(epochs=1))
    assert read_run(tmp_path / "run").record.epochs == 1


@pytest.mark.parametrize("number", UNSUPPORTED, ids=errno.errorcode.__getitem__)
def test_a_file_need_not_be_synced_where_no_file_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    source, out = tmp_path / "source.parquet", tmp_path / "out"
    write_toy(source, {"0001": 4})
    monkeypatch.setattr(os, "fsync", failing(number, stat.S_ISREG))
    mt.convert(source, out, workers=1)
    assert list(mt.verify(out)) == []


@pytest.mark.parametrize("number", FAILED, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize("applies", [stat.S_ISDIR, stat.S_ISREG])
def test_a_disk_error_is_never_ignored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    applies: Callable[[int], bool],
) -> None:
    source, out = tmp_path / "source.parquet", tmp_path / "out"
    write_toy(source, {"0001": 4})
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(number, applies))
        with refused(ConversionError, str(out)):
            mt.convert(source, out, workers=1)
        with refused(RunError, str(tmp_path / "run")):
            begin_run(tmp_path / "run", run_record())
    assert not (out / "manifest.json").exists()
    assert mt.convert(source, out, workers=1).status == "converted"


@pytest.mark.parametrize("number", [errno.EBADF, errno.EACCES, errno.EPERM, errno.EIO])
def test_a_failed_sync_is_an_error_where_other_files_can_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", failing(number, stat.S_ISREG))
    with open(tmp_path / "file", "w") as file, pytest.raises(OSError, match=os.strerror(number)):
        sync_file(file.fileno())


def test_a_folder_that_cannot_be_opened_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", denied)
        sync_directory(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "nowhere")
