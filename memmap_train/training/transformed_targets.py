"""The targets of a training, transformed era by era before its first step.

Takes the eras to train on; returns their targets as one array, which the reader of batches takes
them from. Other eras aren't read: a fold's transformed targets know nothing of the eras that it
validates on. Many targets are held in a file without a name, which the system may write to the disk
and drops when the process ends.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..arrays import Float32
from ..dataset.dataset import Dataset
from ..errors import ConfigError, RunError, ShardError
from ..runs.configuration.target_transforms import TargetTransform
from ..runs.reports.pace import Pace
from ..runs.reports.reporter import Reporter
from ..runs.scores.era_transform import transformed_era
from ..system.resources import nearest_existing
from ..text import in_bytes
from .resolve import Setup

MAX_IN_MEMORY = 2**28
"""Bytes of targets that are held in memory: 10 targets of all training rows of v5.3."""


def hold_transformed_targets(setup: Setup, run_dir: Path, report: Reporter) -> Float32 | None:
    """Transform the targets of a training, if they are to be, and let its batches have them.

    Parameters
    ----------
    setup : Setup
    run_dir : Path
        The run's folder, which may not exist yet.
    report : Reporter

    Returns
    -------
    ndarray of float32, shape (rows, targets), or None
        The same targets; None if they aren't transformed.

    Raises
    ------
    ConfigError, RunError, ShardError
        See `transformed_targets`.
    """
    transform = TargetTransform.parse(setup.config.target_transform)
    if not transform.steps:
        return None
    pace = Pace(report.seconds_between_reports)

    def progress(done: int, total: int) -> None:
        if pace.is_due():
            report.transforming(done, total)

    batches = setup.batches
    folder = nearest_existing(run_dir.absolute())
    rows = transformed_targets(batches.dataset, setup.config.targets, transform, folder, progress)
    batches.reader.hold_targets(rows)
    return rows


def transformed_targets(
    dataset: Dataset,
    targets: tuple[str, ...],
    transform: TargetTransform,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Float32:
    """Return the transformed targets of all rows of a dataset, in the order of its eras.

    Parameters
    ----------
    dataset : Dataset
        The eras to train on.
    targets : tuple of str
    transform : TargetTransform
    folder : Path
        Where more than `MAX_IN_MEMORY` bytes of targets are held.
    progress : callable(rows done, rows)
        Called after each era.

    Returns
    -------
    ndarray of float32, shape (rows, targets)
        NaN where a row has no label, or no value of a benchmark that residuals are taken to.

    Raises
    ------
    ConfigError
        No row has both a label of the first target and a value of the benchmarks.
    RunError
        There is no space for them.
    ShardError
        A file is missing, damaged, or another one than before.
    """
    n_bytes, eras = dataset.n_rows * len(targets) * 4, transformed_eras(dataset, targets, transform)
    if n_bytes > MAX_IN_MEMORY:
        found = _in_a_file(eras, (dataset.n_rows, len(targets)), folder, progress)
    else:
        found, done = np.empty((dataset.n_rows, len(targets)), np.float32), 0
        for rows in eras:
            found[done : done + len(rows)] = rows
            done += len(rows)
            progress(done, dataset.n_rows)
    if all(np.isnan(found[low:high, 0]).all() for low, high in pairwise(dataset.row_offsets)):
        raise ConfigError(
            f"target_transform: no row of the eras to train on ({dataset.eras[0]} to "
            f"{dataset.eras[-1]}) has both a label of {targets[0]!r} and a value of "
            f"{' and '.join(transform.benchmarks)}; train on other eras, or take another benchmark"
        )
    return found


def transformed_eras(
    dataset: Dataset, targets: tuple[str, ...], transform: TargetTransform
) -> Iterator[Float32]:
    """Yield the transformed targets of each era."""
    columns = dataset.target_columns(targets)
    positions = {name: dataset.benchmark_names.index(name) for name in transform.benchmarks}
    for shard in dataset.values():
        labels = np.asarray(shard.targets if columns is None else shard.targets[:, columns])
        values = {}
        if positions:
            benchmarks = shard.benchmarks
            assert benchmarks is not None  # the manifest lists them
            values = {name: np.asarray(benchmarks[:, at]) for name, at in positions.items()}
        yield transformed_era(transform, labels, values)


def _in_a_file(
    eras: Iterable[Float32],
    shape: tuple[int, int],
    folder: Path,
    progress: Callable[[int, int], None],
) -> Float32:
    """Return the rows of all eras, mapped from a file without a name."""
    done = 0
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for rows in eras:
                file.write(rows.data)
                done += len(rows)
                progress(done, shape[0])
            file.flush()
            return np.memmap(file, np.float32, mode="r", shape=shape)
    except ShardError:
        raise
    except OSError as error:
        raise RunError(
            f"{folder}: the transformed targets take {in_bytes(shape[0] * shape[1] * 4)}, which "
            f"can't be held in a temporary file there ({error.strerror}); free some disk space, or "
            "train on fewer targets"
        ) from error
