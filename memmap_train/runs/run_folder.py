"""The folder that is named for a run: one to resume, or one in which a new run begins.

Takes a path, and the record of a new run; returns a `Run`. Imports no TensorFlow.
"""

import os
from contextlib import suppress
from pathlib import Path

from ..errors import RunError, listed
from ..system.junk import names_in
from ..system.paths import checked_path
from .files import CONFIG_NAME, SWEEP_NAME, read_json, unwritable, write_json
from .record import FORMAT, RunRecord
from .run import Run, read_run


def enclosing_run(path: Path) -> Path | None:
    """Return the folder of the run that a path lies in, or None; a fold lies in a run of folds."""
    for folder in Path(os.path.realpath(path)).parents:
        with suppress(OSError):  # there is none, or it can't be read
            if read_json(folder / CONFIG_NAME).get("format") == FORMAT:
                return folder
    return None


def find_run(path: Path, *, resume: bool) -> Run | None:
    """Return the run to resume, or None if a new run can begin in a folder.

    Parameters
    ----------
    path : Path
        The folder, which needn't exist.
    resume : bool
        Whether an existing run may be resumed. Otherwise only one that `is_untrained` is permitted,
        which begins again.

    Raises
    ------
    RunError
        There is a run and `resume` is false, or the folder has other contents.
    """
    checked_path(path, RunError)
    try:
        if not path.exists():
            return None
        if not path.is_dir():
            raise RunError(
                f"{path}: it is a file; expected a folder for the run: choose another --run"
            )
        is_run = (path / CONFIG_NAME).exists()
    except PermissionError as error:
        raise RunError(f"{path}: can't be read: {error.strerror}; choose another --run") from None
    if is_run:
        run = read_run(path)
        if not resume:
            if run.is_untrained():  # nothing is lost
                return None
            finished = "a finished run" if run.read_result() else "a run"
            finished += " of seeds" if run.seeds else " of folds" if run.folds else ""
            raise RunError(
                f"{path}: {finished} is there already; resume it with --resume, or choose "
                "another --run"
            )
        return run
    others = sorted(names_in(path))
    if others:
        what = "a sweep" if SWEEP_NAME in others else f"it holds {listed(others, most=3)}"
        raise RunError(
            f"{path}: the folder isn't a run, {what}; expected a new or an empty folder: choose "
            "another --run"
        )
    return None


def begin_run(path: Path, record: RunRecord) -> Run:
    """Make the folder of a new run and write its record.

    Raises
    ------
    RunError
        The folder can't be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / CONFIG_NAME, record.to_json())
    except OSError as error:
        raise unwritable(path, error) from error
    return Run(path, record)
