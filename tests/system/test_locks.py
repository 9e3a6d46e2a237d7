"""Tests of locks that real processes hold: one at a time, with and without `flock`."""

import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memmap_train.system.locks import Lock, LockHeldError, is_held

REFUSALS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EINVAL)

HOLD = """
import sys
from pathlib import Path
from memmap_train.system.locks import Lock

lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
lock.release()
"""

ASK = """
import sys
from pathlib import Path
from memmap_train.system.locks import is_held

print("asks", flush=True)
n_held = 0
while True:
    n_held += is_held(Path(sys.argv[1]))
    if n_held == 1:
        print("held", flush=True)
"""

# Every process writes its number into a file while it holds the lock, and looks for it at the end.
CONTEND = """
import os, sys
from pathlib import Path
from memmap_train.system.locks import Lock, LockHeldError

folder, mark = Path(sys.argv[1]), Path(sys.argv[2])
n_held = 0
for _ in range(60):
    try:
        lock = Lock(folder / "lock")
    except LockHeldError:
        continue
    descriptor = os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY)  # FileExistsError: two hold it
    os.close(descriptor)
    n_held += 1
    mark.unlink()
    lock.release()
    try:
        folder.rmdir()
    except OSError:
        pass
print(n_held)
"""

WITHOUT_FLOCK = """
import errno, fcntl

def refuse(descriptor, operation):
    raise OSError(errno.ENOSYS, "Function not implemented")

fcntl.flock = refuse
"""


@pytest.fixture(params=["flock", "no flock"])
def prelude(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return code that gives another process the same `flock`, or none, as this process."""
    if request.param == "flock":
        return ""
    refuse_flock(monkeypatch, errno.ENOSYS)
    return WITHOUT_FLOCK


def refuse_flock(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make `flock` fail, as on a file system without it."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@contextmanager
def held_by_another(path: Path, prelude: str = "") -> Iterator["subprocess.Popen[str]"]:
    """Let another process hold a lock; it is killed at the end if it still runs."""
    with subprocess.Popen(
        [sys.executable, "-c", prelude + HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_lock_of_another_process_is_held_until_that_process_ends(
    tmp_path: Path, prelude: str
) -> None:
    path = tmp_path / "new" / "lock"
    with held_by_another(path, prelude) as process:
        assert is_held(path)
        with pytest.raises(LockHeldError) as caught:
            Lock(path)
        assert f"process {process.pid} on " in caught.value.holder
        assert caught.value.advice == (f" (if it no longer runs, delete {path})" if prelude else "")
        process.communicate()
    assert not path.exists()
    Lock(path).release()
    assert os.listdir(path.parent) == []


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path, prelude: str) -> None:
    path = tmp_path / "lock"
    with held_by_another(path, prelude) as process:
        process.kill()
        process.wait()
        assert path.exists()
        assert not is_held(path)
        lock = Lock(path)
        assert is_held(path)
        lock.release()
    assert not is_held(path)
    assert os.listdir(tmp_path) == []


def test_several_processes_never_hold_a_lock_together(tmp_path: Path, prelude: str) -> None:
    command = [sys.executable, "-c", prelude + CONTEND, f"{tmp_path}/folder", f"{tmp_path}/mark"]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate() for process in processes]
    assert [error for _, error in outputs if error] == []
    assert all(int(n_held) > 0 for n_held, _ in outputs)
    assert os.listdir(tmp_path) == []


def test_polling_is_held_never_blocks_acquiring(tmp_path: Path, prelude: str) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", prelude + ASK, path], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "asks\n"
            lock = Lock(path)
            assert process.stdout.readline() == "held\n"
            lock.release()
            for _ in range(200):
                Lock(path).release()
            assert process.poll() is None
        finally:
            process.kill()


@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.__getitem__)
def test_without_flock_the_file_is_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse_flock(monkeypatch, number)
    lock = Lock(tmp_path / "lock")
    assert is_held(tmp_path / "lock")
    with pytest.raises(LockHeldError):
        Lock(tmp_path / "lock")
    lock.release()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", ["", "4711\nanother-machine\n", "7\n"])
def test_a_lock_file_of_unknown_origin_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    path = tmp_path / "lock"
    path.write_text(content)
    refuse_flock(monkeypatch, errno.ENOLCK)
    assert is_held(path)
    with pytest.raises(LockHeldError) as caught:
        Lock(path)
    assert f"delete {path}" in caught.value.advice
    assert caught.value.holder == (
        " (process 4711 on another-machine)" if "4711" in content else ""
    )
    path.unlink()
    Lock(path).release()


def test_a_process_with_flock_excludes_one_without_flock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held_by_another(tmp_path / "lock") as process:
        process.kill()
        process.wait()
        refuse_flock(monkeypatch, errno.ENOSYS)
        # Its number may belong to a process of another namespace: it isn't asked whether that runs.
        with pytest.raises(LockHeldError):
            Lock(tmp_path / "lock")


def test_is_held_changes_nothing(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "nowhere" / "lock")
    assert not is_held(tmp_path / "lock")
    assert os.listdir(tmp_path) == []
    (tmp_path / "lock").write_text("left by a killed process")
    assert not is_held(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == "left by a killed process"


def test_a_lock_that_is_held_briefly_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, answers = fcntl.flock, Counter[str]()

    def busy_at_first(descriptor: int, operation: int) -> None:
        n_links = os.fstat(descriptor).st_nlink
        if n_links and answers["busy"] < 3:
            answers["busy"] += 1
            raise BlockingIOError(errno.EWOULDBLOCK, "held")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", busy_at_first)
    Lock(tmp_path / "lock").release()
    assert answers["busy"] == 3


def remove_file(path: Path) -> None:
    path.unlink()


def remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def replace_file(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.touch()


@pytest.mark.parametrize("meddle", [remove_file, remove_folder, replace_file])
def test_a_lock_whose_file_is_replaced_while_locking_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meddle: Callable[[Path], None]
) -> None:
    path = tmp_path / "folder" / "lock"
    flock = fcntl.flock
    meddled: list[int] = []

    def meddle_once(descriptor: int, operation: int) -> None:
        if path.exists() and not meddled:
            meddled.append(path.stat().st_ino)
            meddle(path)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", meddle_once)
    lock = Lock(path)
    assert len(meddled) == 1
    assert is_held(path)
    lock.release()
    assert not path.exists()


def test_releasing_does_not_remove_a_lock_that_another_process_holds(
    tmp_path: Path, prelude: str
) -> None:
    path = tmp_path / "lock"
    first = Lock(path)
    path.unlink()
    second = Lock(path)
    first.release()
    assert is_held(path)
    second.release()
    assert os.listdir(tmp_path) == []


def test_a_machine_with_any_host_name_can_hold_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "b\udcfcro")
    lock = Lock(tmp_path / "lock")
    with pytest.raises(LockHeldError) as caught:
        Lock(tmp_path / "lock")
    assert f"process {os.getpid()} on b" in caught.value.holder
    lock.release()


def test_a_lock_file_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        Lock(tmp_path / "file" / "folder" / "lock")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "lock").mkdir()
    with pytest.raises(IsADirectoryError):
        Lock(tmp_path / "folder" / "lock")


def test_a_lock_file_of_another_user_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = tmp_path / "lock", os.open
    path.write_text("4711\nsome-machine?flock\n")

    def denied(name: str, flags: int, mode: int = 0o777) -> int:
        if Path(name) == path and flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return opened(name, flags, mode)

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(LockHeldError) as caught:
        Lock(path)
    assert caught.value.holder == " (process 4711 on some-machine)"
    assert f"delete {path}" in caught.value.advice
    path.unlink()
    with pytest.raises(PermissionError):  # it can't be made in this folder
        Lock(path)


def test_a_forked_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    fork = "print('held', flush=True)\nimport os\nos.fork()\n"
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD.replace("print('held', flush=True)\n", fork), path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_held(path)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        Lock(path).release()


def test_a_lock_can_be_held_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    lock = Lock(tmp_path / "lock")
    with pytest.raises(LockHeldError) as caught:
        Lock(tmp_path / "lock")
    assert caught.value.holder == ""
    lock.release()
