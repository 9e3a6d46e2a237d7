"""The weekly update of a dataset to the present state of its sources.

Numerai publishes validation.parquet again each week: longer, and with late targets of earlier
eras. New eras are written, changed targets are written again, features of old eras are decoded and
compared by checksum (see `era_policy`). Here is checked that the sources still hold what the
dataset holds, and is found what has changed if they don't.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..dataset.dataset import Dataset
from ..dataset.manifest import Manifest
from ..dataset.opening import open_dataset
from ..errors import ConversionError, listed
from .era_policy import ChangedEraError
from .feature_sets import complete_sets
from .plan import Columns, ConversionPlan
from .schema import reasons
from .source import ConversionSource
from .workspace import Workspace

_COMPARED_AT_ONCE = 64  # features, to find those that have changed
_ADVICE = "choose another --out for the new files, or replace it with --overwrite"


def columns_of_update(
    columns: Columns, old: Manifest, directory: Path, source_name: str
) -> tuple[Columns, list[str]]:
    """Return the columns of the dataset, in its order, and the additional ones in the source.

    Parameters
    ----------
    columns : Columns
        The columns of the source.
    old : Manifest
        The manifest of the dataset.
    directory : Path
        The dataset's folder, for messages.
    source_name : str
        The source's name, for messages.

    Raises
    ------
    ConversionError
        The source lacks a feature or a target of the dataset, or has it as text.
    """
    schema = columns.schema
    for what, expected, found in (
        ("feature", old.features, schema.features),
        ("target", old.targets, schema.targets),
    ):
        _check_present(what, expected, found, columns, directory, source_name)
    known = {*old.features, *old.targets}
    additional = [name for name in (*schema.features, *schema.targets) if name not in known]
    updated = replace(
        columns,
        schema=replace(schema, features=old.features, targets=old.targets),
        # A set stays known if features.json isn't named again.
        feature_sets={**old.feature_sets, **complete_sets(columns.feature_sets, old.features)},
    )
    return updated, additional


def _check_present(
    what: str,
    expected: Sequence[str],
    found: Sequence[str],
    columns: Columns,
    directory: Path,
    source_name: str,
) -> None:
    """Raise a ConversionError if columns of the dataset are absent from the source."""
    present, unusable = set(found), columns.schema.unusable
    lacking = [name for name in expected if name not in present]
    if wrong := {name: unusable[name] for name in lacking if name in unusable}:
        raise ConversionError(
            f"{directory}: {len(wrong):,} of its {what}s can't be stored any more: "
            f"{reasons(wrong)}; expected numbers, as when it was made; the dataset stays as it "
            "is: write these columns as numbers, or replace the dataset with --overwrite"
        )
    if lacking:
        raise ConversionError(
            f"{directory}: {len(lacking):,} of its {what}s aren't in {source_name}: "
            f"{listed(lacking, 3)}; a new data version? The dataset stays as it is: choose "
            "another --out, or replace it with --overwrite"
        )


def check_rows(plan: ConversionPlan, old: Manifest, directory: Path, source_name: str) -> None:
    """Raise a ConversionError if a source has lost eras, or rows of old eras."""
    gone = [entry.era for entry in old.shards if entry.era not in plan.rows_per_era]
    if gone:
        raise ConversionError(
            f"{directory}: {len(gone):,} of its eras aren't in {source_name}: {listed(gone, 3)}; "
            f"the dataset stays as it is; {_ADVICE}"
        )
    for entry in old.shards:
        if plan.rows_per_era[entry.era] != entry.rows:
            raise ConversionError(
                f"{directory}: era {entry.era!r}: expected the {entry.rows:,} rows that it has, "
                f"found {plan.rows_per_era[entry.era]:,} in {source_name}; the dataset stays as it "
                f"is; {_ADVICE}"
            )


@contextmanager
def changed_eras_explained(
    workspace: Workspace, source: ConversionSource, plan: ConversionPlan
) -> Iterator[None]:
    """Turn a changed era into an error that names its features; nothing is kept to resume."""
    try:
        yield
    except ChangedEraError as changed:
        workspace.clear()
        raise changed_era_error(changed, plan, source, workspace.directory) from None


def changed_era_error(
    changed: ChangedEraError, plan: ConversionPlan, source: ConversionSource, directory: Path
) -> ConversionError:
    """Return an error that names the changed features of an old era, or its changed array."""
    names: list[str] = []
    advice = _ADVICE
    if changed.array != "ids":
        names = changed_features(changed, source, plan, open_dataset(directory))
        if plan.columns.schema.id is not None:  # or its rows may come in another order now
            advice += ", or keep its features with --trust-features"
    what = f"feature {listed(names, 3)}" if names else f"the {changed.array}"
    if changed.array == "counts":
        what = f"which rows lack {what}: the missing values"
    return ConversionError(
        f"{directory}: era {changed.era!r}: {what} of {source.name} differ from what is here; the "
        f"dataset stays as it is; {advice}"
    )


def changed_features(
    changed: ChangedEraError, source: ConversionSource, plan: ConversionPlan, dataset: Dataset
) -> list[str]:
    """Return the features of an era that differ between a source and the dataset."""
    names, era = plan.columns.schema.features, changed.era
    before, now = dataset[era].counts, changed.counts
    if changed.array == "counts" and before is not None and now is not None:
        differing = (before != now).any(axis=1)
        return [name for name, differs in zip(names, differing, strict=True) if differs]
    stored = dataset[era].features
    found: list[str] = []
    for first in range(0, len(names), _COMPARED_AT_ONCE):
        block = names[first : first + _COMPARED_AT_ONCE]
        there = source.features(plan, era, block)
        here = stored[:, first : first + len(block)]
        same = (there == here) | ((there != there) & (here != here))
        found += [name for name, equal in zip(block, same.all(axis=0), strict=True) if not equal]
    return found
