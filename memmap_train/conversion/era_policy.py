"""The policy that decides what is written of an era: all of it, or only changed targets.

An update finds most eras in the dataset already. Their features, ids and counts are compared with
the dataset by checksum and not written again. Reads and writes nothing.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ..dataset.manifest import Manifest, ShardEntry, id_width

_COMPARED = ("features", "ids", "counts")


class ChangedEraError(Exception):
    """An array of a known era differs from the dataset; `update` finds the columns that differ.

    Attributes
    ----------
    era, array : str
    counts : ndarray of int32, shape (features, 6), or None
        The counts of the era's features in the source, where they are known.
    """

    def __init__(self, era: str, array: str) -> None:
        super().__init__(era, array)
        self.era, self.array = era, array
        self.counts: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True, slots=True)
class EraPolicy:
    """Decides for each era which arrays are written, compared or skipped.

    Attributes
    ----------
    known : mapping of era to ShardEntry
        Eras of the dataset that is updated; empty for a new dataset. All other eras are written in
        full.
    trusts_features : bool
        Whether features of known eras are taken to be unchanged, without decoding them.
    """

    known: Mapping[str, ShardEntry] = field(default_factory=dict)
    trusts_features: bool = False

    @classmethod
    def of_update(cls, old: Manifest, *, trusts_features: bool) -> "EraPolicy":
        """Return the policy of an update of a dataset."""
        return cls({entry.era: entry for entry in old.shards}, trusts_features)

    def only_digested(self, era: str) -> Set[str]:
        """Return the arrays of an era that are compared by checksum, and not written."""
        return frozenset(_COMPARED if era in self.known else ())

    def skipped(self, era: str) -> Set[str]:
        """Return the arrays of an era that needn't be computed."""
        old = self.known.get(era)
        if old is None:
            return frozenset()
        if self.trusts_features:
            return frozenset(("features", "counts"))
        return frozenset(("counts",)) - old.files.keys()  # earlier versions wrote no counts

    def id_width(self, era: str, longest: int) -> int:
        """Return the bytes of an era's ids; ids of a known era are as wide as they were.

        Parameters
        ----------
        era : str
        longest : int
            Bytes of the longest id of all eras.
        """
        old = self.known.get(era)
        return longest if old is None or "ids" not in old.files else id_width(old)

    def merge(self, entry: ShardEntry) -> ShardEntry:
        """Return the entry of an era in the new manifest.

        Parameters
        ----------
        entry : ShardEntry
            The era as the source has it, without skipped arrays.

        Raises
        ------
        ChangedEraError
            Features or ids of a known era have changed, or which features are missing. Where 0.5
            stands for missing features, only the counts distinguish a null from a 2.
        """
        old = self.known.get(entry.era)
        if old is None:
            return entry
        skipped = self.skipped(entry.era)
        for array in _COMPARED:
            if array not in skipped and entry.files.get(array) != old.files.get(array):
                raise ChangedEraError(entry.era, array)
        return replace(
            entry,
            files={**old.files, "targets": entry.files["targets"]},
            missing_features=old.missing_features,
            benchmark_nulls=old.benchmark_nulls,
        )

    def staged_arrays(self, entry: ShardEntry) -> Set[str]:
        """Return the arrays of an era that are staged: all, or those that differ from a known era.

        Parameters
        ----------
        entry : ShardEntry
            An entry that `merge` has returned.
        """
        old = self.known.get(entry.era)
        if old is None:
            return entry.files.keys()
        return {array for array, file in entry.files.items() if old.files.get(array) != file}
