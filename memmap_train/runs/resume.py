"""Checks whether a run may be resumed: its record is compared with the present state.

Takes a run's folder, an opened dataset and the record of a resolved configuration; returns the
same `Run`, held and ready to be trained, or an error that names all that differs. Imports no
TensorFlow.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..dataset.dataset import Dataset
from ..dataset.manifest_file import enclosing_dataset
from ..errors import DatasetError, RunError, listed
from ..system.checksum import Checksum
from ..system.paths import checked_path
from .changed_keys import FREE_KEYS, changed_keys
from .files import CONFIG_NAME
from .folds.fold import Fold
from .folds.selection import selection_record
from .lock import holding
from .record import RunRecord
from .run import Run
from .run_folder import begin_run, enclosing_run, find_run
from .used_values import labels_digest, used_benchmarks, used_dataset


def check_outside(path: Path, *, is_part: bool = False) -> None:
    """Check that the folder of a run lies in no dataset, and a new one in no other run.

    Parameters
    ----------
    path : Path
    is_part : bool
        Whether it is the folder of a fold or a seed, which lies in that of a run of them.

    Raises
    ------
    RunError
        It lies in a dataset, which couldn't be updated any more, or in another run.
    """
    dataset = enclosing_dataset(checked_path(path, RunError))
    if dataset is not None:
        raise RunError(
            f"{path}: lies inside the dataset {dataset}, which holds nothing but shards; "
            "choose another --run"
        )
    is_run = os.path.exists(path / CONFIG_NAME)  # False where the folder can't be read
    other = None if is_part or is_run else enclosing_run(path)
    if other is not None:
        raise RunError(
            f"{path}: lies in the folder of the run {other}; expected a folder outside of other "
            "runs: choose another --run"
        )


@contextmanager
def acquire_run(path: Path, record: RunRecord, *, resume: bool) -> Iterator[Run]:
    """Lock the folder of a run, and begin it or resume it.

    Parameters
    ----------
    path : Path
    record : RunRecord
        The record of the run, whether it begins or is resumed.
    resume : bool
        Whether a run was there when it was looked for. While somebody else held the folder one may
        have come, or have changed: it is looked at again.

    Raises
    ------
    RunError
        Another process holds the run, or has begun one there; it can't be written; or the
        configuration differs from the run's.
    """
    with holding(path):
        run = find_run(path, resume=resume)
        yield begin_run(path, record) if run is None else continue_run(run, record)


def identity_of(run: Run) -> str:
    """Return a digest of all that a run's configuration fixes; it identifies the checkpoints."""
    values = run.record.to_json()
    fixed = {key: values[key] for key in values if key not in (*FREE_KEYS, "dataset")}
    return Checksum(json.dumps(fixed, sort_keys=True).encode()).text


def finished_result(run: Run, record: RunRecord) -> dict[str, Any] | None:
    """Return the result of a run that is finished, or None where there is something left to do.

    Where files of it are gone or can't be read, they are written again: all of it
    follows from the last checkpoint.

    Raises
    ------
    RunError
        The configuration differs from the run's, as for `continue_run`.
    """
    check_same_configuration(run, record)
    if _asks_for_more(record, run.record) or not run.has_results():
        return None
    try:
        run.read_era_scores()
        return run.read_result()
    except RunError:
        return None


def dataset_record(dataset: Dataset, folds: Sequence[Fold]) -> dict[str, Any]:
    """Return the entries of `config.json` for a dataset: its path, its eras and their digests."""
    used = used_dataset(dataset, folds)
    return {
        "dataset": str(dataset.directory.resolve()),
        "dataset_digest": dataset.manifest.digest,
        "features_digest": used.array_digest("features"),
        "targets_digest": used.array_digest("targets"),
        **selection_record(dataset),
    }


def begun_record(record: RunRecord, dataset: Dataset, folds: Sequence[Fold]) -> RunRecord:
    """Return the record of a run that begins now: with a digest of its labels.

    The manifest has digests of whole files, in which the labels of other targets may change. So it
    is with the benchmarks that the run uses, if it uses some.
    """
    changes = {"labels_digest": labels_digest(dataset, folds, record.targets)}
    for used in used_benchmarks(record):
        changes[used.key] = used.digest(dataset, folds)
    return record.changed(**changes)


def check_same_dataset(run: Run, dataset: Dataset) -> str | None:
    """Check that a dataset is the one that the run began with, whatever its path.

    Eras outside the run's folds may have changed and others may have come: they are never read.
    Labels of its eras, and benchmarks, may have changed, as late ones do in a weekly update.

    Returns
    -------
    str or None
        A warning where labels have changed that the run uses, or the benchmark that it monitors
        against.

    Raises
    ------
    RunError
        Eras are gone, or the features of some have changed; or the benchmark is gone.
    """
    old = run.record
    if dataset.manifest.digest == old.dataset_digest:
        return None
    folds = old.folds or ((old.fold,) if old.fold else ())
    try:
        new = dataset_record(dataset, folds)
    except DatasetError as error:
        found = f"eras of the run are gone ({error})"
    else:
        if new["features_digest"] == old.features_digest:
            changed = _changed_values(old, dataset, folds, new["targets_digest"])
            if not changed:
                return None
            return (
                f"{run.path}: {' and '.join(changed)} of the run's eras have changed since it "
                "began, as late ones do; from here on it trains and scores with the new ones, and "
                "no longer ends in the bits of an uninterrupted run"
            )
        found = f"features of the run's eras have digest {new['features_digest']}"
    raise RunError(
        f"{run.path}: the dataset has changed since the run began: expected features of its eras "
        f"with digest {old.features_digest} (then in {old.dataset}), found that {found} "
        f"in {dataset.path}; begin a new run with another --run"
    )


def _changed_values(
    old: RunRecord, dataset: Dataset, folds: Sequence[Fold], targets_digest: str
) -> list[str]:
    """Return in words which values that a run uses differ from those that it began with."""
    changed = []
    labels = old.labels_digest  # runs of earlier versions have none
    if targets_digest != old.targets_digest and not (
        labels and labels_digest(dataset, folds, old.targets) == labels
    ):
        changed.append("targets")
    for used in used_benchmarks(old):
        try:
            digest = used.digest(dataset, folds)
        except DatasetError as error:
            raise RunError(
                f"{old.dataset}: the run {used.what_for} a benchmark that is gone: {error}"
            ) from error
        if digest != old.to_json().get(used.key):
            changed.append(f"values of {listed(used.names)}")
    return changed


def continue_run(run: Run, record: RunRecord) -> Run:
    """Check that a run can be resumed with a configuration, and record what may change.

    Raises
    ------
    RunError
        A key differs, or fewer epochs or seeds are wanted than before; it names all such keys.
    """
    check_same_configuration(run, record)
    if run.is_untrained():
        return begin_run(run.path, record)
    if _asks_for_more(record, run.record):
        # Before the new number is written: a finished run must not have anything left to do.
        run.reopen()
    old, new = run.record.to_json(), record.to_json()
    kept = {key: new[key] for key in FREE_KEYS if key in new}
    if all(old.get(key) == value for key, value in kept.items()):
        return run
    return begin_run(run.path, run.record.changed(**kept))


def check_same_configuration(run: Run, record: RunRecord) -> None:
    """Raise a RunError if a run can't be resumed with a configuration; it names all reasons.

    If nothing was trained yet, anything may change.
    """
    if run.is_untrained():
        return
    if changed := changed_keys(run.record, record):
        raise RunError(
            f"{run.path}: the configuration differs from the run's: {'; '.join(changed)}; resume "
            "without these changes, or begin a new run with another --run"
        )


def _asks_for_more(record: RunRecord, old: RunRecord) -> bool:
    """Return True if a record has more epochs or more seeds than an older one."""
    return record.epochs > old.epochs or len(record.seeds) > len(old.seeds)
