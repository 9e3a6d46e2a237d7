"""The JSON and CSV files of a run's folder: written whole or not at all, read with one-line errors.

Takes paths and plain values; writes files, or returns the values that they hold.
"""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..system.durable import sync_directory, sync_file

CONFIG_NAME = "config.json"
CHECKPOINTS_NAME = "checkpoints"
SWEEP_NAME = "sweep.json"

_MAX_NAME = 60  # characters: 240 bytes at most


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and move the file written there to `path` when the block ends.

    The file is durable before it is moved. If the block fails, `path` stays as it was and the
    temporary file is deleted.

    Yields
    ------
    Path
        A path in the same folder, with the same suffix.
    """
    # The name itself may have the largest length that is allowed.
    temporary = path.with_name(f".partial-{path.name[-_MAX_NAME:]}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            sync_file(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def unwritable(path: Path, error: OSError) -> RunError:
    """Return the error of a run's folder that can't be written to."""
    return RunError(f"{path}: the run can't be written there: {error.strerror}")


def results_unwritable(path: Path, error: OSError, done: str) -> RunError:
    """Return the error of a run whose results can't be written; `done` says what of it is done."""
    return RunError(
        f"{path}: the results can't be written: {error.strerror}; {done}: free some disk space, "
        "and add --resume to continue from there"
    )


def damaged(file: Path, what: str) -> RunError:
    """Return the error of a damaged file of a run, with what to do about it."""
    remedy = {
        CONFIG_NAME: "begin a new run with another --run",
        SWEEP_NAME: "its trials are runs in the same folder; begin a new sweep with another --run",
    }.get(file.name, "remove the file, which `memmap-train train … --resume` writes again")
    return RunError(f"{file}: damaged: {what}; {remedy}")


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file of a run.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        The file doesn't exist.
    RunError
        The file can't be read, or isn't a JSON object.
    """
    try:
        data = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise damaged(path, "expected a JSON object")
    return data


def read_csv(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file: at least one, the last of them complete."""
    try:
        text = _read(path).decode()
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise damaged(path, str(error)) from None
    if not lines or not text.endswith("\n"):
        raise damaged(path, "its last line is cut short" if lines else "it is empty")
    return lines


def _read(path: Path) -> bytes:
    try:
        if path.is_fifo():  # reading it may wait for ever
            raise RunError(f"{path}: can't be read: expected a file, found a pipe")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, RunError):
        raise
    except OSError as error:
        raise RunError(f"{path}: can't be read: {error.strerror}") from None


def write_json(path: Path, data: Mapping[str, Any], *, sorts_keys: bool = True) -> None:
    """Write a JSON file, with sorted keys unless their order has a meaning."""
    text = json.dumps(data, sort_keys=sorts_keys, ensure_ascii=False, indent=1) + "\n"
    with replacing(path) as temporary:
        # A path that isn't UTF-8 holds lone surrogates, which JSON can escape.
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_csv(path: Path, columns: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Write a CSV file with a line of column names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(lines)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="\n")
