"""Locks between processes: one process at a time writes to a dataset or to a run.

A lock is a file that exists while a process holds it, with the process's number and machine in it.
Where the file system supports `flock` (on Windows, locks of byte ranges), the system itself frees
the lock of a process that has ended, however it ended. Where it doesn't (NFS and Lustre without
locks, some FUSE file systems, sandboxes), the existence of the file is the lock. A file that a
killed process has left is then recognized on the same machine alone; on another machine the user
has to delete it, and the error says which one.
"""

import contextlib
import io
import os
import socket
import tempfile
import time
from pathlib import Path

import filelock

_PATIENCE_SECONDS = 0.5  # how long to wait for a holder: `is_held` holds a lock for a moment
_POLL_SECONDS = 0.01


class LockHeldError(Exception):
    """Another process holds a lock.

    Attributes
    ----------
    holder : str
        The process in brackets, for a message: " (process 4711 on my-laptop)"; empty if unknown.
    advice : str
        What to do if that process no longer runs, in brackets; empty where the system frees the
        lock by itself.
    """

    def __init__(self, path: Path, *, needs_deletion: bool) -> None:
        super().__init__(path)
        self.holder = _recorded_holder(path)
        self.advice = f" (if it no longer runs, delete {path})" if needs_deletion else ""


class Lock:
    """An exclusive lock, held until `release` is called or the process ends.

    Parameters
    ----------
    path : Path
        The lock file; it is made together with the folders above it. `release` deletes it.

    Raises
    ------
    LockHeldError
        Another process, or another lock of this process, holds it.
    OSError
        The file can't be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            is_soft = False
            try:
                os.makedirs(path.parent, exist_ok=True)
                is_soft = not _supports_flock(path)
                self._lock = self._soft() if is_soft else self._native()
                remaining = max(0.0, deadline - time.monotonic())
                self._lock.acquire(timeout=remaining, poll_interval=_POLL_SECONDS)
                return
            except filelock.Timeout:
                raise LockHeldError(path, needs_deletion=is_soft) from None
            except (FileNotFoundError, FileExistsError, PermissionError) as error:
                # Perhaps the last holder is just deleting the file, or the folder that it is in.
                if time.monotonic() > deadline:
                    is_denied = isinstance(error, PermissionError) and path.is_file()
                    if is_denied and os.access(path.parent, os.W_OK):  # another user's file
                        raise LockHeldError(path, needs_deletion=True) from None
                    raise
                time.sleep(_POLL_SECONDS)

    def release(self) -> None:
        """Delete the file and let others hold the lock."""
        if isinstance(self._lock, filelock.UnixFileLock):  # others delete it themselves
            # While it is held: a file that others wait for would be deleted afterwards. One that
            # can't be deleted does no harm, since no process has locked it.
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(self._path), self._locked):
                    self._path.unlink()
        self._lock.release()

    def _native(self) -> filelock.BaseFileLock:
        return filelock.FileLock(
            self._path, thread_local=False, fallback_to_soft=False, on_acquired=self._sign
        )

    def _soft(self) -> filelock.BaseFileLock:
        return filelock.SoftFileLock(self._path, thread_local=False)

    def _sign(self, descriptor: int) -> None:
        """Check that the path still names the locked file, and write into it who has locked it."""
        self._locked = os.fstat(descriptor)
        if not os.path.samestat(self._locked, os.stat(self._path)):
            raise FileNotFoundError(f"{self._path}: replaced meanwhile")
        with contextlib.suppress(OSError):  # it is for messages alone, and a disk may be full
            os.truncate(descriptor, 0)
            # The mark keeps a soft lock from judging by the process's number whether it is free.
            text = f"{os.getpid()}\n{socket.gethostname()}?flock\n"
            os.write(descriptor, text.encode(errors="replace"))


def is_held(path: Path) -> bool:
    """Return True if a process holds a lock; False if that can't be determined.

    It may take the lock for a moment, for which `Lock` waits.
    """
    try:
        with _open(path) as file:
            return not filelock.lock_descriptor(file.fileno(), blocking=False)
    except FileNotFoundError:
        return False
    except OSError:
        pass  # without flock, or not readable
    lock = filelock.SoftFileLock(path, thread_local=False)
    try:
        # One try finds out that the holder has ended, the next one takes the lock.
        lock.acquire(timeout=2 * _POLL_SECONDS, poll_interval=_POLL_SECONDS)
        lock.release()
    except filelock.Timeout:
        return True
    except OSError:  # not even a killed holder's file can be deleted
        return False
    return False


def _open(path: Path) -> io.FileIO:
    """Open a lock file for writing, which NFS needs for locking it, or else for reading."""
    try:
        return open(path, "r+b", buffering=0)
    except OSError:
        return open(path, "rb", buffering=0)


def _supports_flock(path: Path) -> bool:
    """Return True if files beside a lock file can be locked; an unnamed one is locked as a test."""
    with tempfile.TemporaryFile(dir=path.parent, prefix=f"{path.name}-") as file:
        try:
            return filelock.lock_descriptor(file.fileno(), blocking=False)
        except OSError:
            return False


def _recorded_holder(path: Path) -> str:
    """Return the process that a lock file names, in brackets; empty if it names none."""
    try:
        process, machine, *_ = path.read_text("utf-8", errors="replace").splitlines()
        return f" (process {int(process)} on {machine.partition('?')[0]:.80})"
    except (OSError, ValueError):
        return ""
