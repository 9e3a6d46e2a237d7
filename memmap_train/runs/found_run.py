"""The run that a training resumes, if there is one, and the dataset that it is trained on.

Takes the folder and the dataset that a caller names, and which kind of run is to be trained; a run
of another kind is an error. Imports no TensorFlow.
"""

import os

from ..dataset.dataset import Dataset
from ..errors import RunError
from ..system.paths import user_path
from ..text import counted
from .folds.selection import DatasetOrPath, opened_for
from .resume import check_outside, check_same_dataset
from .run import Run
from .run_folder import find_run


def found_run(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    *,
    resume: bool,
    seeds: bool = False,
    folds: bool = False,
    is_part: bool = False,
) -> tuple[Run | None, Dataset, str | None]:
    """Return the run to resume, if there is one, its dataset, and a warning about that.

    Parameters
    ----------
    dataset, run_dir, resume
        See `training.train.train_run`.
    seeds, folds : bool
        Whether a run of seeds is to be trained, and whether one of folds.
    is_part : bool
        Whether it is a part of a run of folds or seeds.

    Raises
    ------
    RunError
        The folder can't be that of a run, or holds a run of another kind; or its dataset has
        changed.
    ManifestError, ShardError
        The same errors as `open_dataset`.
    """
    path = user_path(run_dir)
    check_outside(path, is_part=is_part)
    run = find_run(path, resume=resume)
    if run is not None:
        _check_kind(run, seeds=seeds, folds=folds)
    found, warning = opened_for(run, dataset), None
    if run and not run.is_untrained():
        warning = check_same_dataset(run, found)
    return run, found, warning


def _check_kind(run: Run, *, seeds: bool, folds: bool) -> None:
    """Raise an error if a run is of another kind than the one that is to be trained."""
    if (bool(run.seeds), bool(run.folds)) == (seeds, folds):
        return
    parts = [("seed", len(run.seeds)), ("fold", len(run.folds))]
    kind = f"of {' with '.join(counted(n, name) for name, n in parts if n)}"
    if not run.part_paths:
        asked = [name for name, is_asked in (("seeds", seeds), ("folds", folds)) if is_asked]
        kind = f"without {' and '.join(asked)}"
    raise RunError(
        f"{run.path}: it is a run {kind}: resume it with `{run.resume_command}`, or choose another "
        "--run"
    )
