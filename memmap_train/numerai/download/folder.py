"""A folder of downloads: which files of it were downloaded, what they are, and how they get there.

`.numerai.json` in the folder names each downloaded file with its ETag, length and time, and a
checksum of both ends. A file that it doesn't name, or that was changed since, is the user's own and
isn't replaced. Where only the time differs (the folder was copied, or lies on a drive that rounds
times), the checksum decides: a parquet file of another content has another footer, at its end.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import NumeraiError, RunError
from ...runs.files import read_json, write_json
from ...system.checksum import Checksum
from ...system.durable import sync_directory
from ...system.locks import Lock, LockHeldError
from .part import RemoteFile, part_path, remove_part, unwritable

RECORD_NAME, LOCK_NAME = ".numerai.json", ".numerai.lock"
END_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A downloaded file: what it was at Numerai, and by what it is recognized here."""

    name: str
    etag: str
    n_bytes: int
    mtime_ns: int
    ends: str = ""  # of its first and last `END_BYTES`

    def is_at(self, path: Path) -> bool:
        """Return True if the file at a path is this one."""
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != self.n_bytes:
            return False
        return status.st_mtime_ns == self.mtime_ns or _ends(path, self.n_bytes) == self.ends


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
    """Return what was downloaded into a folder; nothing if its record is missing or damaged.

    Raises
    ------
    NumeraiError
        Something else than a file lies in the record's place.
    """
    path = folder / RECORD_NAME
    if path.exists() and not path.is_file():
        raise NumeraiError(
            f"{path}: expected a plain file, the record of downloads, found something else; move "
            "it away, or name another --out"
        )
    try:
        data = read_json(path)
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
    try:
        for item in record.get(path.name, []):
            if item.is_at(path):
                return item
    except OSError as error:
        raise NumeraiError(f"{path}: can't be read: {error.strerror}") from error
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
        time, ends = part.stat().st_mtime_ns, _ends(part, remote.n_bytes)
        new = Downloaded(remote.name, remote.etag, remote.n_bytes, time, ends)
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


def _ends(path: Path, n_bytes: int) -> str:
    """Return the checksum of both ends of a file of so many bytes."""
    with open(path, "rb", buffering=0) as file:
        digest = Checksum(file.read(END_BYTES))
        file.seek(max(0, n_bytes - END_BYTES))
        digest.update(file.read(END_BYTES))
    return digest.text
