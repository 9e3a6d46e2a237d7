"""Writes one era: its arrays are filled with rows in order, and published with their entry.

Takes rows as they are to be stored; writes files and returns the entry for the manifest. The
journal gives the folder, and its policy says which arrays are only digested. It doesn't matter
here where rows come from.
"""

import numpy as np
import numpy.typing as npt

from ..dataset.array_writer import ArrayWriter
from ..dataset.format import MISSING_COUNT, N_COUNTS
from ..dataset.manifest import FileEntry, ShardEntry
from ..system.disk_writer import DiskWriter
from .era_policy import ChangedEraError
from .journal import FinishedEra, Journal
from .plan import ConversionPlan


class ShardWriter:
    """Writes one era.

    Parameters
    ----------
    era : str
    plan : ConversionPlan
    journal : Journal
        Gives the folder to write in, and takes the finished shard.
    disk : DiskWriter
        Writes the features.

    Attributes
    ----------
    era : str
    rows : int
        Number of rows of the era.
    writers : dict of str to ArrayWriter
        A writer for each array that is written or digested, not for skipped ones.
    counts : ndarray of int32, shape (features, 6), or None
        Number of rows with code 0, 1, 2, 3, 4, and of rows without a value, to be filled by the
        caller. None if they are skipped.
    """

    def __init__(self, era: str, plan: ConversionPlan, journal: Journal, disk: DiskWriter) -> None:
        schema = plan.columns.schema
        self.era, self.rows = era, plan.rows_per_era[era]
        self._journal, self._targets = journal, schema.targets
        self._data_type = plan.data_types[era]
        folder = journal.begin(era)
        policy = journal.policy
        digested, skipped = policy.only_digested(era), policy.skipped(era)
        layout: dict[str, tuple[np.dtype[np.generic], tuple[int, ...]]] = {
            "features": (np.dtype(plan.options.dtype), (self.rows, len(schema.features))),
            "targets": (np.dtype(np.float32), (self.rows, len(schema.targets))),
        }
        self.counts: npt.NDArray[np.int32] | None = None
        if "counts" not in skipped:
            self.counts = np.zeros((len(schema.features), N_COUNTS), np.int32)
            layout["counts"] = self.counts.dtype, self.counts.shape
        if schema.id is not None:
            id_width = policy.id_width(era, plan.id_width)
            layout["ids"] = (np.dtype(f"S{id_width}"), (self.rows,))
        self.writers = {
            name: ArrayWriter(
                None if name in digested else folder / f"{name}.npy",
                dtype,
                shape,
                disk if name == "features" else None,
            )
            for name, (dtype, shape) in layout.items()
            if name not in skipped
        }
        self._target_nulls = np.zeros(len(schema.targets), np.int64)
        alias = plan.columns.alias
        self._alias_column = schema.targets.index(alias) if alias in schema.targets else None
        # The targets that have equalled the alias in every row so far; none without an alias.
        self._equal_targets = np.full(len(schema.targets), self._alias_column is not None)

    def count_targets(self, targets: npt.NDArray[np.float32]) -> None:
        """Count missing labels, and compare the targets with the alias."""
        null = np.isnan(targets)
        self._target_nulls += null.sum(axis=0)
        if self._alias_column is not None:
            alias = targets[:, [self._alias_column]]
            equal = (targets == alias) | (null & null[:, [self._alias_column]])
            self._equal_targets &= equal.all(axis=0)

    def append_ids(self, ids: npt.NDArray[np.generic]) -> None:
        """Append ids, in the width of the era's ids.

        Raises
        ------
        ChangedEraError
            An id is longer than the ids of a known era were.
        """
        fitted = ids.astype(self.writers["ids"].dtype, copy=False)
        if (fitted != ids).any():
            raise ChangedEraError(self.era, "ids")
        self.writers["ids"].append(fitted)

    def publish(self) -> FinishedEra:
        """Make all files durable and hand them over to the journal."""
        missing = 0
        if self.counts is not None:
            self.writers["counts"].append(self.counts)
            missing = int(self.counts[:, MISSING_COUNT].sum(dtype=np.int64))
        files = {}
        for name, writer in self.writers.items():
            size, digest = writer.finish()
            files[name] = FileEntry(size, digest)
        entry = ShardEntry(
            era=self.era,
            rows=self.rows,
            data_type=self._data_type,
            missing_features=missing,
            target_nulls=dict(zip(self._targets, map(int, self._target_nulls), strict=True)),
            files=files,
        )
        targets = zip(self._targets, self._equal_targets, strict=True)
        equal = tuple(name for name, is_equal in targets if is_equal)
        try:
            return self._journal.publish(FinishedEra(entry, equal))
        except ChangedEraError as error:
            error.counts = self.counts
            raise
