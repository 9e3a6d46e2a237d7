"""The values that a run uses besides features: labels and benchmarks of its eras, as digests.

Takes an opened dataset and the folds of a run; returns checksums. The manifest has those of whole
files, in which values may change that the run doesn't use.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..dataset.dataset import Dataset
from ..system.checksum import Checksum
from .configuration.target_transforms import TargetTransform
from .folds.fold import Fold
from .record import RunRecord
from .scores.monitor import further_score


def used_dataset(dataset: Dataset, folds: Sequence[Fold]) -> Dataset:
    """Return the eras that folds train on or score."""
    return dataset.select([era for fold in folds for era in (*fold.train, *fold.validation)])


def labels_digest(dataset: Dataset, folds: Sequence[Fold], targets: Sequence[str]) -> str:
    """Return one digest of some targets in the eras of folds; these are read."""
    used = used_dataset(dataset, folds)
    return _values_digest(used, "targets", dataset.target_columns(targets))


@dataclass(frozen=True, slots=True)
class UsedBenchmarks:
    """Benchmarks that a run uses.

    Attributes
    ----------
    key : str
        The key of their digest in `config.json`.
    names : tuple of str
    what_for : str
        What the run does with them, in words that precede "a benchmark".
    is_in_training : bool
        Whether those of the training eras are used, or those of the validation eras.
    """

    key: str
    names: tuple[str, ...]
    what_for: str
    is_in_training: bool

    def digest(self, dataset: Dataset, folds: Sequence[Fold]) -> str:
        """Return a digest of their values in the eras of folds; these are read."""
        eras = [
            era
            for fold in folds
            for era in (fold.train if self.is_in_training else fold.validation)
        ]
        columns = dataset.benchmark_columns(self.names)
        return _values_digest(dataset.select(eras), "benchmarks", columns)


def used_benchmarks(record: RunRecord) -> list[UsedBenchmarks]:
    """Return the benchmarks that a run monitors against, and those it takes residuals to."""
    found, against = [], record.monitored_against
    if against is not None and further_score(record.monitor) != "fnc":
        what_for = f"monitors {record.monitor} against"
        found.append(UsedBenchmarks("benchmark_digest", (against,), what_for, False))
    if names := TargetTransform.parse(record.target_transform).benchmarks:
        found.append(UsedBenchmarks("residual_digest", names, "takes residuals to", True))
    return found


def _values_digest(dataset: Dataset, array: str, columns: tuple[int, ...] | None) -> str:
    """Return one digest of columns of an array in all eras of a dataset."""
    digest = Checksum()
    for era in dataset.eras:
        values = np.asarray(getattr(dataset[era], array))
        values = np.ascontiguousarray(values if columns is None else values[:, columns])
        digest.update(json.dumps([era, len(values)]).encode())
        digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.text
