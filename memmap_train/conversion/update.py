"""The weekly update: a dataset taken from its sources' last state to their present one.

Numerai publishes validation.parquet again each week: longer, and with late targets of earlier
eras. New eras are written, changed targets are written again, features of old eras are decoded and
compared by their digest. The journal has what is written until everything is there.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..dataset.dataset import Dataset
from ..dataset.manifest import Manifest, ShardEntry, id_width
from ..errors import ConversionError, listed
from .journal import ChangedEraError, Journal
from .plan import Columns, ConversionPlan, whole_sets
from .schema import reasons
from .source import ConversionSource

_COMPARED_AT_ONCE = 64  # features, to find those that have changed


class UpdateJournal(Journal):
    """A journal that writes of old eras only targets.

    Parameters
    ----------
    directory : Path
        The dataset's folder, locked by this process.
    job : dict
    old : Manifest
        Of the dataset as it is.
    trusts_features : bool
        Take the features of old eras to be what they were.
    """

    def __init__(
        self, directory: Path, job: dict[str, Any], old: Manifest, *, trusts_features: bool
    ) -> None:
        self._trusts_features = trusts_features
        self._old = {entry.era: entry for entry in old.shards}
        super().__init__(directory, job)

    def only_digested(self, era: str) -> frozenset[str]:
        """Return all arrays but the targets for old eras."""
        return frozenset(("features", "ids", "counts") if era in self._old else ())

    def skips(self, era: str) -> frozenset[str]:
        """Return, for old eras, what is trusted, and counts where they have none."""
        old = self._old.get(era)
        if old is None:
            return frozenset()
        if self._trusts_features:
            return frozenset(("features", "counts"))
        return frozenset(("counts",)) - old.files.keys()

    def id_width(self, era: str, longest: int) -> int:
        """Return for old eras what it was, whatever ids new eras have."""
        old = self._old.get(era)
        return longest if old is None or "ids" not in old.files else id_width(old)

    def publish(self, entry: ShardEntry, equal_targets: list[str]) -> ShardEntry:
        """Stage a finished era; of an old one, its targets if they have changed.

        Raises
        ------
        ChangedEraError
            An old era's features or ids have changed, or which features are missing: where these
            are stored as 0.5, the counts alone tell a null from a 2.
        """
        old = self._old.get(entry.era)
        if old is not None:
            skipped = self.skips(entry.era)
            for array in ("features", "ids", "counts"):
                if array not in skipped and entry.files.get(array) != old.files.get(array):
                    raise ChangedEraError(entry.era, array)
            if entry.files["targets"] == old.files["targets"]:
                (self._partial / entry.folder / "targets.npy").unlink()
            entry = replace(
                entry,
                files={**old.files, "targets": entry.files["targets"]},
                missing_features=old.missing_features,
            )
        return super().publish(entry, equal_targets)

    def _staged_arrays(self, entry: ShardEntry) -> Iterable[str]:
        """Return all arrays, and of an old era those that differ."""
        old = self._old.get(entry.era)
        if old is None:
            return entry.files
        return [array for array, file in entry.files.items() if old.files.get(array) != file]


def narrow_to_dataset(
    columns: Columns, old: Manifest, where: Path, origin: str
) -> tuple[Columns, list[str]]:
    """Return the columns that the dataset has, in its order, and the new ones that are left out.

    Parameters
    ----------
    columns : Columns
    old : Manifest
    where : Path
        The dataset's folder, for messages.
    origin : str
        What messages call that which it is made from.

    Raises
    ------
    ConversionError
        The origin lacks a feature or a target that the dataset has, or has it as text.
    """
    schema = columns.schema
    for what, had, found in (
        ("feature", old.features, set(schema.features)),
        ("target", old.targets, set(schema.targets)),
    ):
        lacking = [name for name in had if name not in found]
        if wrong := {name: schema.unusable[name] for name in lacking if name in schema.unusable}:
            raise ConversionError(
                f"{where}: {len(wrong):,} of its {what}s can't be stored any more: "
                f"{reasons(wrong)}; expected numbers, as when it was made; the dataset stays as it "
                "is: write these columns as numbers, or replace the dataset with --overwrite"
            )
        if lacking:
            raise ConversionError(
                f"{where}: {len(lacking):,} of its {what}s aren't in {origin}: "
                f"{listed(lacking, 3)}; a new data version? The dataset stays as it is: choose "
                "another --out, or replace it with --overwrite"
            )
    known = {*old.features, *old.targets}
    added = [name for name in (*schema.features, *schema.targets) if name not in known]
    narrowed = replace(
        columns,
        schema=replace(schema, features=old.features, targets=old.targets),
        # A set stays known where features.json isn't named again.
        feature_sets={**old.feature_sets, **whole_sets(columns.feature_sets, old.features)},
    )
    return narrowed, added


def check_rows(plan: ConversionPlan, old: Manifest, where: Path, origin: str) -> None:
    """Refuse an origin that has lost eras, or rows of old eras.

    Raises
    ------
    ConversionError
    """
    gone = [entry.era for entry in old.shards if entry.era not in plan.rows_per_era]
    if gone:
        raise ConversionError(
            f"{where}: {len(gone):,} of its eras aren't in {origin}: {listed(gone, 3)}; the "
            "dataset stays as it is; choose another --out for the new files, or replace it with "
            "--overwrite"
        )
    for entry in old.shards:
        if plan.rows_per_era[entry.era] != entry.rows:
            raise ConversionError(
                f"{where}: era {entry.era!r}: expected the {entry.rows:,} rows that it has, found "
                f"{plan.rows_per_era[entry.era]:,} in {origin}; the dataset stays as it is; choose "
                "another --out for the new files, or replace it with --overwrite"
            )


def changed_features(
    error: ChangedEraError, origin: ConversionSource, plan: ConversionPlan, dataset: Dataset
) -> list[str]:
    """Return the features of an era that differ between what it is made from and the dataset."""
    names, era = plan.columns.schema.features, error.era
    had, found = dataset[era].counts, error.counts
    if error.array == "counts" and had is not None and found is not None:
        differing = (had != found).any(axis=1)
        return [name for name, differs in zip(names, differing, strict=True) if differs]
    stored = dataset[era].features
    changed: list[str] = []
    for first in range(0, len(names), _COMPARED_AT_ONCE):
        block = names[first : first + _COMPARED_AT_ONCE]
        now = origin.features(plan, era, block)
        here = stored[:, first : first + len(block)]
        same = (now == here) | ((now != now) & (here != here))
        changed += [name for name, equal in zip(block, same.all(axis=0), strict=True) if not equal]
    return changed
