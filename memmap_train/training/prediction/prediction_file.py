"""The file that predictions are written to: its allowed paths and its content.

Takes a path and, era by era, ids and numbers. Writes what Numerai accepts: the columns `id` and
`prediction`, with the era between them where it is asked for. A plain file is written whole or not
at all; what isn't a plain file is written into, as CSV. Imports no TensorFlow.
"""

import csv
import errno
import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...dataset.format import FILE_NAME, FORMAT, WORKSPACE
from ...errors import RunError
from ...runs.files import replacing
from ...runs.run import is_file_of_run

PREDICTION = "prediction"
SUFFIXES = (".csv", ".parquet")
_MAX_LINKS = 40  # that are followed one after another, as Linux does
_MAX_HEADER_BYTES = 4096

_log = logging.getLogger("memmap_train")


class _Writer(Protocol):
    """Takes rows: the ids, then the eras if they were requested, then the predictions."""

    def write(self, *columns: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class PredictionFile:
    """The destination of predictions; made by `prediction_file`, which checks it.

    Attributes
    ----------
    path : Path
        The path as the user named it.
    plain : Path or None
        The plain file that is written, which a link may stand for; it needn't exist. None:
        `path` isn't a plain file, and is written into.
    descriptor : int or None
        The descriptor of this process that `path` stands for, as /dev/stdout does.
    """

    path: Path
    plain: Path | None
    descriptor: int | None

    @property
    def is_stdout(self) -> bool:
        """Whether the predictions are written to this process's stdout."""
        try:
            found = os.stat(self.path) if self.descriptor is None else os.fstat(self.descriptor)
            return os.path.samestat(found, os.fstat(1))
        except OSError:
            return False

    @contextmanager
    def writing(
        self, id_name: str, dtype: npt.DTypeLike, *, with_era: bool
    ) -> Iterator["RowWriter"]:
        """Yield the writer of the rows.

        Parameters
        ----------
        id_name : str
            The name of the first column.
        dtype : dtype
            Data type of the predictions.
        with_era : bool
            Whether the file has the era as a column.

        Raises
        ------
        RunError
            The file can't be written.
        BrokenPipeError
            What reads the pipe that is written into has ended.
        """
        names = [id_name, *(["era"] if with_era else []), PREDICTION]
        try:
            with self._opened(names, np.dtype(dtype)) as writer:
                yield RowWriter(writer, with_era=with_era)
        except BrokenPipeError:
            raise
        except OSError as error:
            if isinstance(error, RunError):
                raise
            raise _unwritable(self.path, error.strerror or str(error)) from error

    @contextmanager
    def _opened(self, names: Sequence[str], dtype: np.dtype[Any]) -> Iterator[_Writer]:
        if self.plain is None:
            with open(self._open_special(), "w", encoding="utf-8", newline="") as file:
                yield _CsvWriter(file, names)
            return
        with replacing(self.plain) as temporary:
            if self.plain.suffix.lower() == ".parquet":
                from ...conversion.parquet.predictions import ColumnWriter  # needs pyarrow

                with ColumnWriter(temporary, names, dtype) as writer:
                    yield writer
            else:
                with open(temporary, "w", encoding="utf-8", newline="") as file:
                    yield _CsvWriter(file, names)
            _keep_permissions(self.plain, temporary)

    def _open_special(self) -> int:
        if self.descriptor is not None:
            return os.dup(self.descriptor)
        if not self.path.is_fifo():
            return os.open(self.path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            _log.warning("%s: waiting for a process that reads the pipe", self.path)
            return os.open(self.path, os.O_WRONLY)
        os.set_blocking(descriptor, True)
        return descriptor


class RowWriter:
    """Takes the predictions of one era after another."""

    def __init__(self, writer: _Writer, *, with_era: bool) -> None:
        self._writer, self._with_era = writer, with_era

    def write_era(self, era: str, ids: Sequence[str], predictions: npt.NDArray[Any]) -> None:
        """Append the rows of an era."""
        eras = [list(repeat(era, len(ids)))] if self._with_era else []
        self._writer.write(ids, *eras, predictions)


class _CsvWriter:
    """Writes rows as CSV, numbers as the shortest texts that give them back."""

    def __init__(self, file: Any, names: Sequence[str]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(names)

    def write(self, *columns: Any) -> None:
        """Append rows; the last column is an array of numbers."""
        *texts, numbers = columns
        written = _shortest(numbers) if numbers.dtype == np.float32 else numbers.tolist()
        self._writer.writerows(zip(*texts, written, strict=True))


def prediction_file(path: Path) -> PredictionFile:
    """Check that predictions can be written to a path, before hours of predicting.

    Parameters
    ----------
    path : Path
        A plain file whose name ends in .csv or .parquet, or will be one; a link to such; or what
        isn't a plain file: a device, a pipe, /dev/stdout.

    Raises
    ------
    RunError
        It can't be written; or it lies in a dataset, or is a file of a run, or a file that holds
        anything but predictions.

    Notes
    -----
    A plain file is replaced by a new one in one step. It keeps the old one's permissions; another
    hard link to the old one keeps the old predictions.
    """
    try:
        descriptor = _descriptor_of(path)
        if descriptor is not None:
            os.write(descriptor, b"")
            return PredictionFile(path, None, descriptor)
        try:
            kind = os.stat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            kind = stat.S_IFREG
        if stat.S_ISDIR(kind):
            example = path / "predictions.csv"
            raise _unwritable(path, f"it is a folder; name a file, such as {example}")
        if stat.S_ISBLK(kind):
            raise _unwritable(path, "it is a disk; name a file")
        if not stat.S_ISREG(kind):
            return PredictionFile(path, None, None)
        plain = Path(os.path.realpath(path))
        _check_plain(path, plain)
    except OSError as error:
        if isinstance(error, RunError):
            raise
        raise _unwritable(path, error.strerror or str(error)) from error
    return PredictionFile(path, plain, None)


def _check_plain(path: Path, plain: Path) -> None:
    """Raise an error if a plain file can't be written, or shouldn't be."""
    if plain.suffix.lower() not in SUFFIXES:
        raise _unwritable(path, "expected a name that ends in .csv or .parquet")
    if not plain.parent.is_dir():
        raise _unwritable(path, f"there is no folder {plain.parent}; make it, or name another")
    for folder in plain.parents:
        if _is_dataset(folder):
            raise _unwritable(
                path,
                f"it lies in the dataset {folder}, which holds nothing but shards; name a "
                "file elsewhere",
            )
    if is_file_of_run(plain):
        raise _unwritable(path, f"it is a file of the run {plain.parent}; choose another name")
    if plain.exists():
        if not os.access(plain, os.W_OK):
            raise _unwritable(path, "the file is write-protected; name another")
        if not _holds_predictions(plain):
            raise _unwritable(
                path, "it is there and holds no predictions; remove it, or name another file"
            )
    # It is written beside its final name.
    with tempfile.NamedTemporaryFile(prefix=".partial-", dir=plain.parent):
        pass


def _unwritable(path: Path, found: str) -> RunError:
    return RunError(f"{path}: the predictions can't be written: {found}")


def _descriptor_of(path: Path) -> int | None:
    """Return the descriptor of this process that a path stands for, or None."""
    tables = {Path("/dev/fd"), Path(os.path.realpath("/proc/self/fd"))}
    for _ in range(_MAX_LINKS):
        parent = Path(os.path.realpath(path.parent))
        if parent in tables and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = parent / os.readlink(path)
    return None


def _is_dataset(folder: Path) -> bool:
    """Return True if a folder is a dataset or an unfinished one."""
    if (folder / WORKSPACE).is_dir():
        return True
    try:
        manifest = json.loads((folder / FILE_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def _holds_predictions(file: Path) -> bool:
    """Return True if a file may be replaced: it is empty, or its last column is the predictions."""
    if file.stat().st_size == 0:
        return True
    if file.suffix.lower() == ".parquet":
        from ...conversion.parquet.predictions import column_names  # needs pyarrow

        return column_names(file)[-1:] == [PREDICTION]
    with open(file, "rb") as opened:
        return opened.readline(_MAX_HEADER_BYTES).rstrip().endswith(PREDICTION.encode())


def _keep_permissions(old: Path, new: Path) -> None:
    """Copy the permissions, and if allowed the owner, of the file that is replaced."""
    with suppress(FileNotFoundError):
        found = old.stat()
        if hasattr(os, "chown"):  # Windows has none
            with suppress(PermissionError):
                os.chown(new, found.st_uid, found.st_gid)
        new.chmod(stat.S_IMODE(found.st_mode))


def _shortest(values: npt.NDArray[np.float32]) -> list[str]:
    """Return float32 numbers as the shortest texts that give them back.

    >>> _shortest(np.array([0.1, 1 / 3], np.float32))
    ['0.1', '0.33333334']
    """
    return [np.format_float_positional(value, trim="0") for value in values]
