"""The files of an evaluation: `era_scores.csv` and `summary.json`, written both or neither.

Takes an `Evaluation` and a path. Files of these names are replaced if an evaluation has written
them, and left alone otherwise. An old `summary.json` is removed before the new table is there, and
the new one comes last: where it is, both are whole and belong together.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..dataset.format import WORKSPACE
from ..dataset.manifest_file import enclosing_dataset
from ..errors import RunError
from ..runs.files import CONFIG_NAME, read_json, replacing, write_csv, write_json
from ..runs.run_folder import enclosing_run
from ..system.paths import checked_path
from .era_table import ERA_COLUMNS, era_lines
from .evaluation import Evaluation
from .summary import FORMAT, summarized

ERA_SCORES_NAME, SUMMARY_NAME = "era_scores.csv", "summary.json"
_MAX_HEADER_BYTES = 4096


def check_directory(directory: str | os.PathLike[str]) -> Path:
    """Check that an evaluation can be saved in a folder, before hours of scoring; return its path.

    Raises
    ------
    RunError
        It is a run's or a dataset's folder or lies in one, it is a file, or it can't be written
        to; or files of these names hold anything else.
    """
    path = checked_path(directory, RunError)
    if path.exists() and not path.is_dir():
        raise _unwritable(path, "it is a file; name a folder")
    if (path / CONFIG_NAME).exists():
        raise _unwritable(path, "it is the folder of a run; name another folder")
    _check_outside_datasets(path)
    run = enclosing_run(path)
    if run is not None:
        raise _unwritable(path, f"it lies in the folder of the run {run}; name a folder elsewhere")
    try:
        _check_is_ours(path / ERA_SCORES_NAME)
        if (path / SUMMARY_NAME).exists() and _format_of(path / SUMMARY_NAME) != FORMAT:
            raise _unwritable(
                path / SUMMARY_NAME, "it is there and isn't of an evaluation; name another folder"
            )
        around = (path, *path.absolute().parents)
        existing = next(folder for folder in around if os.path.lexists(folder))
        if not existing.is_dir():
            raise _unwritable(path, f"{existing} isn't a folder; name another folder")
        if not os.access(existing, os.W_OK):
            raise _unwritable(path, f"{existing} is write-protected; name another folder")
    except OSError as error:
        raise _as_run_error(path, error) from error
    return path


def save(evaluation: Evaluation, directory: str | os.PathLike[str]) -> None:
    """Write both files into a folder, which is made if need be; neither if one of them fails.

    Raises
    ------
    RunError
        The same errors as `check_directory`.
    """
    path = check_directory(directory)
    summary_path = path / SUMMARY_NAME
    try:
        with (
            _made(path),
            replacing(summary_path) as summary,
            replacing(path / ERA_SCORES_NAME) as era_scores,
        ):
            write_json(summary, summarized(evaluation))
            write_csv(era_scores, ERA_COLUMNS, era_lines(evaluation))
            summary_path.unlink(missing_ok=True)
    except OSError as error:
        raise _as_run_error(path, error) from error


def write_era_scores(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Write the scores of all eras to a CSV file, whole or not at all.

    Raises
    ------
    RunError
        It can't be written, lies in a dataset, or is there and holds anything else.
    """
    file = checked_path(path, RunError)
    _check_outside_datasets(file)
    try:
        if file.is_dir():
            raise _unwritable(file, f"it is a folder; name a file, such as {file / 'scores.csv'}")
        _check_is_ours(file)
        write_csv(file, ERA_COLUMNS, era_lines(evaluation))
    except OSError as error:
        raise _as_run_error(file, error) from error


def why_unwritable(error: OSError) -> str:
    """Return why something can't be written, and what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; make space there, or name another"
    return f"{error.strerror or error}; name another"


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder with those above it; if the block fails, remove those that are new."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):  # it holds what somebody else has written meanwhile
            for path in new:
                path.rmdir()
        raise


def _check_outside_datasets(path: Path) -> None:
    dataset = enclosing_dataset(path)
    if dataset is None and (path / WORKSPACE).is_dir():
        dataset = path  # which isn't finished
    if dataset is not None:
        raise _unwritable(
            path, f"it lies in the dataset {dataset}, which holds nothing but shards; name another"
        )


def _check_is_ours(file: Path) -> None:
    """Raise a RunError if a file is there that isn't a table of an evaluation."""
    if not file.exists():
        return
    if file.is_file():
        with open(file, "rb") as opened:
            if opened.readline(_MAX_HEADER_BYTES).strip() == ",".join(ERA_COLUMNS).encode():
                return
    raise _unwritable(file, "it is there and isn't of an evaluation; remove it, or name another")


def _format_of(file: Path) -> object:
    with suppress(RunError):  # it is damaged, and so no evaluation's
        return read_json(file).get("format")
    return None


def _unwritable(path: Path, found: str) -> RunError:
    return RunError(f"{path}: the scores can't be written: {found}")


def _as_run_error(path: Path, error: OSError) -> RunError:
    if isinstance(error, RunError):
        return error
    return _unwritable(path, why_unwritable(error))
