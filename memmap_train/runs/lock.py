"""The lock of a run's folder: one process at a time trains a run.

A `RunError` says which process holds the folder, or why the folder can't be written to.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import RunError
from ..system.locks import Lock, LockHeldError, is_held
from ..system.resources import nearest_existing
from .files import CHECKPOINTS_NAME, unwritable

_LOCK = ".lock"


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Lock a run's folder, which is made if necessary, while the block runs.

    Raises
    ------
    RunError
        Another process has locked the folder, or it can't be made or written to.
    """
    try:
        lock = Lock(path / _LOCK)
    except LockHeldError as held:
        raise _held(path, held) from None
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        # A run may be resumed by another user: find that out now, not after hours of training.
        checkpoints = path / CHECKPOINTS_NAME
        for folder in (path, *([checkpoints] if os.path.lexists(checkpoints) else [])):
            probe = folder / ".partial-probe"
            try:
                probe.touch()
                probe.unlink()
            except OSError as error:
                raise unwritable(folder, error) from error
        yield
    finally:
        lock.release()


def check_free(path: Path) -> None:
    """Raise the error that `holding` would raise for a folder, as far as that can be known.

    Raises
    ------
    RunError
        Another process has locked the folder, or it can't be made or written to.
    """
    existing = nearest_existing(path)
    is_folder = existing.is_dir()
    if not is_folder or not os.access(existing, os.W_OK | os.X_OK):
        number = errno.EACCES if is_folder else errno.ENOTDIR
        raise unwritable(path, OSError(number, os.strerror(number)))
    if is_running(path):
        raise _held(path, LockHeldError(path / _LOCK, needs_deletion=False))


def is_running(path: Path) -> bool:
    """Return True if a process trains the run in a folder; False if it can't be determined."""
    return is_held(path / _LOCK)


def _held(path: Path, held: LockHeldError) -> RunError:
    return RunError(
        f"{path}: another process is training this run{held.holder}; wait for its "
        f"end{held.advice}, or choose another --run"
    )
