"""The dataset of a run: given as a path or opened, whole or as a selection of its eras.

Takes the dataset as a caller names it; returns an opened `Dataset` that has the eras of
which a run's folds are made. A run that was begun with a selection records its eras, and is resumed
with the same ones. Imports no TensorFlow.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...dataset.dataset import Dataset
from ...dataset.opening import open_dataset
from ...errors import DatasetError, RunError
from ...text import counted
from ..run import Run

DatasetOrPath = Dataset | str | os.PathLike[str]
"""An opened dataset, which may be a selection of eras, or the path of a whole one."""

_KEY = "selected_eras"


def opened(dataset: DatasetOrPath) -> Dataset:
    """Return a dataset as it was given, or open the one at a path."""
    return dataset if isinstance(dataset, Dataset) else open_dataset(dataset)


def opened_for(run: Run | None, dataset: DatasetOrPath) -> Dataset:
    """Return the dataset that a run is begun or resumed with.

    Parameters
    ----------
    run : Run or None
        The run to resume, if there is one.
    dataset : Dataset or path
        A path names the dataset alone: a run that was begun with a selection of its eras keeps that
        selection.

    Raises
    ------
    RunError
        The run was begun with other eras of the dataset, or the dataset lacks some of them.
    ManifestError, ShardError
        The same errors as `open_dataset`.
    """
    recorded = run.record.selected_eras if run else None
    if run is None or (run.is_untrained() and isinstance(dataset, Dataset)):
        return opened(dataset)
    if not isinstance(dataset, Dataset):
        found = open_dataset(dataset)
        try:
            return found if recorded is None else found.select(recorded)
        except DatasetError as error:
            raise RunError(
                f"{run.path}: eras that the run was begun with are gone ({error}); begin a new run "
                "with another --run"
            ) from error
    given = dataset.eras if is_selection(dataset) else None
    if given != recorded:
        raise RunError(
            f"{run.path}: the run was begun with other eras of the dataset: expected "
            f"{_described(recorded)}, found {_described(given)} of {dataset.path}; resume with the "
            "same eras, or begin a new run in another folder"
        )
    return dataset


def reopened(dataset: Dataset) -> Dataset:
    """Open a dataset again, which may have been updated since: the same selection, or all of it."""
    found = open_dataset(dataset.directory)
    return found.select(dataset.eras) if is_selection(dataset) else found


def is_selection(dataset: Dataset) -> bool:
    """Return True if a dataset lacks some of the eras that its manifest lists."""
    return len(dataset.eras) < len(dataset.manifest.shards)


def selection_record(dataset: Dataset) -> Mapping[str, Any]:
    """Return the entry of `config.json` for a selection of eras; a whole dataset has none."""
    return {_KEY: list(dataset.eras)} if is_selection(dataset) else {}


def _described(eras: Sequence[str] | None) -> str:
    return "all eras" if eras is None else f"{counted(len(eras), 'era')} ({eras[0]} to {eras[-1]})"
