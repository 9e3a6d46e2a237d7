"""A folder of downloads: which files of it were downloaded, what they are, and how they get there.

`.numerai.json` in the folder names each downloaded file with its ETag, length and time. A file that
it doesn't name, or that was changed since, is the user's own and isn't replaced.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import NumeraiError, RunError
from ...runs.files import read_json, write_json
from ...system.durable import sync_directory
from ...system.locks import Lock, LockHeldError
from .part import RemoteFile, part_path, remove_part, unwritable

RECORD_NAME, LOCK_NAME = ".numerai.json", ".numerai.lock"


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A downloaded file: what it was at Numerai, and the time by which it is recognized here."""

    name: str
    etag: str
    n_bytes: int
    mtime_ns: int

    def is_at(self, path: Path) -> bool:
        """Return True if the file at a path is this one."""
        status = path.lstat()
        return (status.st_size, status.st_mtime_ns) == (self.n_bytes, self.mtime_ns)


Record = dict[str, list[Downloaded]]
"""By file name: what is there, and for a moment what is about to replace it."""


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Make a folder, and lock it while the block runs.

    Raises
    ------
    NumeraiError
        Another process downloads into it, or it can't be written to.
    """
    try:
        lock = Lock(folder / LOCK_NAME)
    except LockHeldError as held:
        raise NumeraiError(
            f"{folder}: another process is downloading into this folder{held.holder}; wait for its "
            f"end{held.advice}, or name another --out"
        ) from None
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def read_record(folder: Path) -> Record:
    """Return what was downloaded into a folder; nothing if its record is missing or damaged."""
    try:
        data = read_json(folder / RECORD_NAME)
        return {
            name: [Downloaded(**item) for item in items] for name, items in data["files"].items()
        }
    except (OSError, RunError, KeyError, TypeError, AttributeError):
        return {}


def downloaded(path: Path, record: Record) -> Downloaded | None:
    """Return what the file at a path was at Numerai; None if there is no file.

    Raises
    ------
    NumeraiError
        Something is there that wasn't downloaded, or was changed since.
    """
    if not os.path.lexists(path):
        return None
    for item in record.get(path.name, []):
        if path.is_file() and item.is_at(path):
            return item
    raise NumeraiError(
        f"{path}: it is there and wasn't downloaded by memmap-train, or was changed since; move it "
        "away, or name another --out"
    )


def publish(path: Path, remote: RemoteFile, record: Record) -> None:
    """Move a complete and checked part to its final name, and record what it is.

    Raises
    ------
    NumeraiError
        The folder can't be written to.
    """
    part = part_path(path)
    try:
        new = Downloaded(remote.name, remote.etag, remote.n_bytes, part.stat().st_mtime_ns)
        old = downloaded(path, record)
        # Recorded before it is moved, beside the old one: a kill in between leaves a known file.
        record[path.name] = [new] if old is None else [new, old]
        files = {name: [asdict(item) for item in items] for name, items in record.items()}
        write_json(path.with_name(RECORD_NAME), {"files": files})
        os.replace(part, path)
        sync_directory(path.parent)
    except OSError as error:
        if isinstance(error, NumeraiError):
            raise
        raise unwritable(path, error) from error
    remove_part(path)
