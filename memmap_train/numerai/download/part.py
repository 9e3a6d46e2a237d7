"""The part of a file that has arrived: `NAME.part`, and `NAME.part.json` with what it is a part of.

A part is continued only if the remote file is still the same, by ETag and length, and only after
the bytes that are known to be on the disk: neither a killed process nor a power cut leaves a hole.
"""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ...errors import NumeraiError, RunError
from ...runs.files import read_json, write_json
from ...system.durable import sync_file

SYNC_BYTES = 64_000_000
"""Bytes after which a part is made durable: what a killed process loses at most."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as Numerai has it now.

    Attributes
    ----------
    name : str
        With the version, such as "v5.3/train.parquet".
    etag : str
        A strong ETag, with its quotation marks; empty if the server gives none: then the file can't
        be recognized, neither to continue it nor to leave it as it is.
    n_bytes : int
    """

    name: str
    etag: str
    n_bytes: int


def part_path(path: Path) -> Path:
    """Return the path of the part of a file."""
    return path.with_name(f"{path.name}.part")


def _state_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.json")


def check_part(path: Path) -> None:
    """Raise a NumeraiError if something else than a plain file lies where a file's part goes.

    A pipe, for example, would be waited for, and a link moved to the file's name.
    """
    for part in (part_path(path), _state_path(path)):
        if os.path.lexists(part) and not stat.S_ISREG(part.lstat().st_mode):
            raise NumeraiError(
                f"{part}: expected a plain file, the part of {path.name} that has arrived, found "
                "something else; move it away, or name another --out"
            )


def part_bytes(path: Path) -> int:
    """Return the bytes of a file's part, whatever it is a part of; 0 without one."""
    try:
        return part_path(path).stat().st_size
    except OSError:
        return 0


def durable_bytes(path: Path, remote: RemoteFile) -> int:
    """Return the bytes of a file's part after which it can be continued; 0 if it can't be."""
    try:
        state, n_bytes = read_json(_state_path(path)), part_path(path).stat().st_size
    except (OSError, RunError):
        return 0
    known = state.get("durable_bytes")
    if not remote.etag or (state.get("etag"), state.get("n_bytes")) != (
        remote.etag,
        remote.n_bytes,
    ):
        return 0
    return min(n_bytes, known, remote.n_bytes) if isinstance(known, int) and known > 0 else 0


def remove_part(path: Path) -> None:
    """Delete the part of a file, if there is one."""
    for part in (part_path(path), _state_path(path)):
        try:
            part.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(part, error) from error


def unwritable(path: Path, error: OSError) -> NumeraiError:
    """Return the error of a file that can't be written."""
    return NumeraiError(
        f"{path}: can't be written: {error.strerror or error}; when it can, the same command "
        "resumes"
    )


class Part:
    """The part of a file, open for writing, as a context manager; what it holds is made durable.

    Parameters
    ----------
    path : Path
        The file's final path.
    remote : RemoteFile
        What it becomes. A part of anything else is emptied.

    Attributes
    ----------
    n_bytes : int
        Bytes that it holds.

    Raises
    ------
    NumeraiError
        The disk is full, or the folder can't be written to. So do all methods.
    """

    def __init__(self, path: Path, remote: RemoteFile) -> None:
        self._path, self._remote = path, remote
        self.n_bytes = durable_bytes(path, remote)
        try:
            self._file = open(part_path(path), "ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise unwritable(part_path(path), error) from error
        try:
            self._cut(self.n_bytes)
        except BaseException:
            self._file.close()
            raise

    def restart(self) -> None:
        """Empty the part."""
        self._cut(0)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        left = memoryview(data)
        try:
            while left:
                n_written = self._file.write(left) or 0
                self.n_bytes += n_written
                left = left[n_written:]
            if self.n_bytes - self._durable_bytes >= SYNC_BYTES:
                self._sync()
        except OSError as error:
            raise unwritable(part_path(self._path), error) from error

    def _cut(self, n_bytes: int) -> None:
        try:
            # In this order: what is recorded is never more than what the file has had.
            self._record(n_bytes)
            self._file.truncate(n_bytes)
        except OSError as error:
            raise unwritable(part_path(self._path), error) from error
        self.n_bytes = n_bytes

    def _sync(self) -> None:
        sync_file(self._file.fileno())
        self._record(self.n_bytes)

    def _record(self, n_bytes: int) -> None:
        state = {"name": self._remote.name, "etag": self._remote.etag}
        counts = {"n_bytes": self._remote.n_bytes, "durable_bytes": n_bytes}
        write_json(_state_path(self._path), {**state, **counts})
        self._durable_bytes = n_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._sync()
        except OSError as failed:
            if error is None:
                raise unwritable(part_path(self._path), failed) from failed
        finally:
            with suppress(OSError):  # all is on the disk, or was reported
                self._file.close()
