"""The files of an evaluation: `era_scores.csv` and `summary.json`, written both or neither.

Takes an `Evaluation` and a path. Files of these names are replaced if an evaluation has written
them, and left alone otherwise. `summary.json` is removed first and written last: where it is, both
are whole and belong together.
"""

import os
from contextlib import suppress
from pathlib import Path

from ..dataset.format import WORKSPACE
from ..dataset.manifest_file import enclosing_dataset
from ..errors import RunError
from ..runs.files import CONFIG_NAME, read_json, write_csv, write_json
from ..system.paths import checked_path
from .era_table import ERA_COLUMNS, era_lines
from .records import Evaluation
from .summary import FORMAT, summarized

ERA_SCORES_NAME, SUMMARY_NAME = "era_scores.csv", "summary.json"
_MAX_HEADER_BYTES = 4096


def check_directory(directory: str | os.PathLike[str]) -> Path:
    """Check that an evaluation can be saved in a folder, before hours of scoring; return its path.

    Raises
    ------
    RunError
        It is a run's or a dataset's folder, a file, or it can't be written to; or files of these
        names hold anything else.
    """
    path = checked_path(directory, RunError)
    if path.exists() and not path.is_dir():
        raise _unwritable(path, "it is a file; name a folder")
    if (path / CONFIG_NAME).exists():
        raise _unwritable(path, "it is the folder of a run; name another folder")
    _check_outside_datasets(path)
    try:
        _check_is_ours(path / ERA_SCORES_NAME)
        if (path / SUMMARY_NAME).exists() and _format_of(path / SUMMARY_NAME) != FORMAT:
            raise _unwritable(
                path / SUMMARY_NAME, "it is there and isn't of an evaluation; name another folder"
            )
        existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        if not os.access(existing, os.W_OK):
            raise _unwritable(path, f"{existing} is write-protected; name another folder")
    except OSError as error:
        raise _as_run_error(path, error) from error
    return path


def save(evaluation: Evaluation, directory: str | os.PathLike[str]) -> None:
    """Write both files into a folder, which is made if need be.

    Raises
    ------
    RunError
        The same errors as `check_directory`.
    """
    path = check_directory(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / SUMMARY_NAME).unlink(missing_ok=True)
        write_csv(path / ERA_SCORES_NAME, ERA_COLUMNS, era_lines(evaluation))
        write_json(path / SUMMARY_NAME, summarized(evaluation))
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
    return _unwritable(path, error.strerror or str(error))
