"""The manifest of a finished conversion.

Takes the plan and the finished eras; returns a `Manifest`. Reads and writes no files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .._version import __version__
from ..dataset.manifest import CODE_SCALE, Manifest, SourceEntry
from .benchmarks.join import BenchmarkJoin
from .journal import FinishedEra
from .plan import ConversionPlan


def make_manifest(
    plan: ConversionPlan,
    eras: Mapping[str, FinishedEra],
    old: Manifest | None,
    pyarrow_version: str,
    benchmarks: BenchmarkJoin,
) -> Manifest:
    """Return the manifest of a dataset.

    Parameters
    ----------
    plan : ConversionPlan
    eras : mapping of era to FinishedEra
        All eras of the plan.
    old : Manifest or None
        The manifest of the dataset that is updated.
    pyarrow_version : str
        Version of the pyarrow that has decoded the sources.
    benchmarks : BenchmarkJoin
        The benchmarks that the eras have.
    """
    schema = plan.columns.schema
    return Manifest(
        dtype=plan.options.dtype,
        scale=CODE_SCALE if plan.options.dtype == "int8" else None,
        missing=plan.options.missing,
        features=schema.features,
        targets=schema.targets,
        aliases=_aliases(plan, eras),
        feature_sets=plan.columns.feature_sets,
        columns={"era": schema.era, "id": schema.id},
        sources=plan.sources,
        shards=tuple(eras[era].entry for era in plan.rows_per_era),
        created_by={"package": __version__, "numpy": np.__version__, "pyarrow": pyarrow_version},
        planted=plan.columns.best_possible,
        history=() if old is None else (*old.history, old.sources),
        benchmarks=benchmarks.names,
        benchmark_sources=benchmarks.sources,
    )


def differs_in_times_alone(old: Manifest, new: Manifest) -> bool:
    """Return True if nothing has changed but the modification times of the sources."""
    return old == replace(
        new,
        sources=tuple(
            replace(now, modified=before.modified)
            for before, now in zip(old.sources, new.sources, strict=True)
        ),
        benchmark_sources=_with_times_of(old.benchmark_sources, new.benchmark_sources),
        history=old.history,
        created_by=old.created_by,
    )


def _with_times_of(
    old: Sequence[SourceEntry], new: Sequence[SourceEntry]
) -> tuple[SourceEntry, ...]:
    """Return new entries with the times of old ones of the same name, and in their order."""
    known = {entry.name: entry for entry in old}
    places = {entry.name: place for place, entry in enumerate(old)}
    timed = [
        replace(entry, modified=known[entry.name].modified) if entry.name in known else entry
        for entry in new
    ]
    return tuple(sorted(timed, key=lambda entry: places.get(entry.name, len(old))))


def _aliases(plan: ConversionPlan, eras: Mapping[str, FinishedEra]) -> dict[str, str]:
    """Return {alias: the named target that equals it in every row}; empty without any label."""
    alias, targets = plan.columns.alias, plan.columns.schema.targets
    entries = [era.entry for era in eras.values()]
    if alias not in targets or all(entry.target_nulls[alias] == entry.rows for entry in entries):
        return {}
    equal = set.intersection(*(set(era.equal_targets) for era in eras.values())) - {alias}
    return {alias: next(name for name in targets if name in equal)} if equal else {}
