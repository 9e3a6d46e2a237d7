"""What is in parquet files, what a dataset of them would take, and what to type next.

In come sources, before anything is written; out comes a `Survey`, as JSON-ready data and as text.
Reads footers, the era, data type and id columns and the targets, a few columns of one row group at
a time; never a feature. Writes and prints nothing. Imports no pyarrow itself, but `sources` does.
"""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..dataset.eras import era_sort_key, out_of_order
from ..dataset.format import STORE_DTYPES
from ..errors import listed
from ..progress import Progress, ignore
from ..system.paths import user_path
from ..system.resources import available_memory, free_disk
from ..text import in_bytes
from .codec import refuse_infinities
from .memory_budget import default_budget
from .parquet_source import ParquetSource
from .plan import ConversionPlan, ConvertOptions
from .schema import ColumnOptions, reasons

OUT = Path("data/shards")
"""Where the suggested command writes."""
_ALL = "all"
_KEY_COLUMNS = 3  # era, data type and id, which the plan reads before the targets are


@dataclass(frozen=True, slots=True)
class TargetLabels:
    """Of a target: the eras that hold at least one label, and the last of them."""

    labelled_eras: int
    last_labelled_era: str | None


@dataclass(frozen=True, slots=True)
class StoreSize:
    """What a dataset takes in one store dtype.

    Attributes
    ----------
    bytes : int
        Of the finished dataset: features, targets, ids and manifest.
    disk_bytes : int
        That a conversion asks for: more, where row groups are too large to be turned in memory.
    fits_memory, fits_disk : bool
        Whether the dataset fits into the memory available, and its conversion on the free disk.
    """

    bytes: int
    disk_bytes: int
    fits_memory: bool
    fits_disk: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """A dataset that could be made: all features, or those of a set.

    Attributes
    ----------
    name : str
    feature_set : str or None
        What `--feature-set` would say; None for all features.
    n_features : int
    stores : dict of str to StoreSize
        By store dtype.
    """

    name: str
    feature_set: str | None
    n_features: int
    stores: dict[str, StoreSize]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What sources hold and need, and what this machine has.

    Attributes
    ----------
    sources : tuple of str
        As they were named.
    rows_per_era : dict of str to int
        In the dataset's order.
    data_types : dict of str to int
        Rows of each data type; rows without one aren't counted.
    n_features : int
    integer_features : bool
        Whether the features are codes. If not, only reading them all tells whether the int8 store
        can hold them.
    left_out : dict of str to str
        Features and targets that can't be stored, and why.
    has_ids : bool
    targets : dict of str to TargetLabels
    aliases : dict of str to str
        The named target that `target` equals in every row; empty where none does, or where there
        is no label.
    choices : tuple of Choice
        All features first, then the complete sets in the order of features.json.
    memory_available, disk_free : int
        Bytes.
    next_command : str or None
        A conversion that fits; None where none does.
    """

    sources: tuple[str, ...]
    rows_per_era: dict[str, int]
    data_types: dict[str, int]
    n_features: int
    integer_features: bool
    left_out: dict[str, str]
    has_ids: bool
    targets: dict[str, TargetLabels]
    aliases: dict[str, str]
    choices: tuple[Choice, ...]
    memory_available: int
    disk_free: int
    next_command: str | None

    @property
    def n_rows(self) -> int:
        """Rows of all eras."""
        return sum(self.rows_per_era.values())


def survey_sources(
    paths: Sequence[str | os.PathLike[str]],
    *,
    features_json: str | os.PathLike[str] | None = None,
    columns: ColumnOptions | None = None,
    progress: Progress = ignore,
) -> Survey:
    """Find out what is in parquet files, and what a dataset of them would take.

    Parameters
    ----------
    paths : sequence of paths
    features_json : path, optional
        Numerai's `features.json`, for its feature sets.
    columns : ColumnOptions, optional
        How to tell the columns apart; by default Numerai's names.
    progress : callable(what, values read, values in all), optional

    Raises
    ------
    SourceError
        A source can't be read, holds no rows, a row without an era or an id, or an infinite target.
    SchemaError
        Columns are missing or differ between sources, or `features_json` isn't one.
    """
    options = ConvertOptions(
        features_json=None if features_json is None else user_path(features_json),
        columns=ColumnOptions() if columns is None else columns,
    )
    with closing(ParquetSource([user_path(path) for path in paths])) as sources:
        chosen = sources.choose_columns(options)
        width = _KEY_COLUMNS + len(chosen.schema.targets)

        def notify(keys: int, labels: int, rows: int) -> None:
            done = _KEY_COLUMNS * keys + (width - _KEY_COLUMNS) * labels
            progress("reading eras and targets", done, width * rows)

        plan = sources.make_plan(chosen, options, lambda done, rows: notify(done, 0, rows))
        targets, aliases = _read_targets(
            plan, sources, lambda done: notify(plan.n_rows, done, plan.n_rows)
        )
        sources.check_unchanged()
    data_types: dict[str, int] = {}
    for types in plan.data_types.values():
        for name, rows in types.items():
            data_types[name] = data_types.get(name, 0) + rows
    memory, disk = available_memory(), free_disk(OUT)
    choices = tuple(_choices(plan, memory, disk))
    names = tuple(str(path) for path in paths)
    return Survey(
        sources=names,
        rows_per_era=plan.rows_per_era,
        data_types=data_types,
        n_features=len(chosen.schema.features),
        integer_features=chosen.schema.integer_features,
        left_out=chosen.schema.unusable,
        has_ids=chosen.schema.id is not None,
        targets=targets,
        aliases=aliases,
        choices=choices,
        memory_available=memory,
        disk_free=disk,
        next_command=_next_command(
            names, options, choices, integer_features=chosen.schema.integer_features
        ),
    )


def describe_survey(survey: Survey) -> dict[str, Any]:
    """Return a survey, JSON-ready."""
    eras = list(survey.rows_per_era)
    return {
        "sources": list(survey.sources),
        "n_rows": survey.n_rows,
        "n_eras": len(eras),
        "eras": [eras[0], eras[-1]],
        "rows_per_era": {
            "least": min(survey.rows_per_era.values()),
            "most": max(survey.rows_per_era.values()),
        },
        "data_type": dict(survey.data_types),
        "n_features": survey.n_features,
        "integer_features": survey.integer_features,
        "left_out": dict(survey.left_out),
        "has_ids": survey.has_ids,
        "targets": {
            name: asdict(labels)
            | ({"alias_of": survey.aliases[name]} if name in survey.aliases else {})
            for name, labels in survey.targets.items()
        },
        "choices": [asdict(choice) for choice in survey.choices],
        "memory_available": survey.memory_available,
        "disk_free": survey.disk_free,
        "next": survey.next_command,
    }


def survey_text(survey: Survey) -> str:
    """Return a survey as lines to read."""
    eras = list(survey.rows_per_era)
    rows = survey.rows_per_era.values()
    kind = "integer codes" if survey.integer_features else "floats"
    lines = [
        f"{', '.join(survey.sources)}: {survey.n_rows:,} rows x {survey.n_features:,} features "
        f"({kind})",
        f"eras      {len(eras):,} ({eras[0]} to {eras[-1]}), {min(rows):,} to {max(rows):,} rows "
        "each",
    ]
    if len(unsorted := out_of_order(eras)) > 1:
        lines.append(
            f"          {listed(unsorted, 2)}: neither numbers nor dates with the year first, so "
            "sorted as text"
        )
    if survey.left_out:
        lines.append(f"left out  {reasons(survey.left_out)}: can't be stored")
    if survey.data_types:
        kinds = ", ".join(f"{name} {n:,}" for name, n in survey.data_types.items())
        lines.append(f"rows      {kinds}")
    lines.append(f"ids       {'yes' if survey.has_ids else 'none'}")
    heading = ": name, labelled eras, the last of them" if survey.targets else ""
    lines.append(f"targets   {len(survey.targets)}{heading}")
    for name, labels in survey.targets.items():
        last = f"  {labels.last_labelled_era}" if labels.last_labelled_era is not None else ""
        equal = f"  (equals {survey.aliases[name]})" if name in survey.aliases else ""
        lines.append(f"          {name:<24} {labels.labelled_eras:>6,}{last}{equal}")
    lines.append("needs     set, features, bytes and whether the disk has them: float32, int8")
    for choice in survey.choices:
        sizes = "  ".join(
            f"{in_bytes(store.bytes):>9} {'fits' if store.fits_disk else 'too large':<9}"
            for store in choice.stores.values()
        )
        lines.append(f"          {choice.name:<24} {choice.n_features:>6,} {sizes}".rstrip())
    scratch = max(s.disk_bytes - s.bytes for c in survey.choices for s in c.stores.values())
    if scratch:
        lines.append(f"          and up to {in_bytes(scratch)} more while it is converted")
    if not survey.integer_features:
        lines.append(
            "          int8 only if all features are 0, 0.25, 0.5, 0.75 or 1, which wasn't read"
        )
    lines.append(f"memory    {in_bytes(survey.memory_available)} available")
    lines.append(f"disk      {in_bytes(survey.disk_free)} free for {OUT}")
    lines.append(f"next      {survey.next_command or _advice(survey)}")
    return "\n".join(lines)


# -- reading targets ------------------------------------------------------------------------------


def _read_targets(
    plan: ConversionPlan, sources: ParquetSource, progress: Callable[[int], None]
) -> tuple[dict[str, TargetLabels], dict[str, str]]:
    """Return each target's labels, and which named target `target` equals in every row."""
    schema, alias = plan.columns.schema, plan.columns.alias
    # The alias comes first, so that the others can be compared with it one after another.
    names = sorted(schema.targets, key=lambda name: name != alias)
    labelled: dict[str, set[str]] = {name: set() for name in names}
    equal = set(names) - {alias} if alias in labelled else set()
    done = 0
    for group in plan.groups if names else ():
        first = None
        with sources.reading(group.source) as source:
            rows = source.eras(group.index, schema.era)
            for name, values in zip(names, source.targets(group.index, names), strict=True):
                refuse_infinities("target", [name], values[:, np.newaxis], str(source.path))
                first = values if first is None else first
                counts = np.bincount(rows.codes[~np.isnan(values)], minlength=len(rows.labels))
                labelled[name].update(rows.labels[code] for code in np.flatnonzero(counts))
                if name in equal and not np.array_equal(values, first, equal_nan=True):
                    equal.discard(name)
        done += group.rows
        progress(done)
    named = next((name for name in schema.targets if name in equal), None)
    return (
        {
            name: TargetLabels(len(eras), max(eras, key=era_sort_key, default=None))
            for name, eras in ((name, labelled[name]) for name in schema.targets)
        },
        {alias: named} if named is not None and labelled[alias] else {},
    )


# -- what fits ------------------------------------------------------------------------------------


def _choices(plan: ConversionPlan, memory: int, disk: int) -> Iterator[Choice]:
    """Yield what all features would take, and those of each set that isn't empty."""
    everything = plan.columns.schema.features
    sets: list[tuple[str, str | None, tuple[str, ...]]] = [(_ALL, None, everything)]
    for name, features in plan.columns.feature_sets.items():
        if features and not (name == _ALL and len(features) == len(everything)):
            sets.append((name, name, features))
    budget = default_budget(memory)
    for name, feature_set, features in sets:
        stores = {}
        for dtype in STORE_DTYPES:
            part = replace(
                plan,
                columns=replace(
                    plan.columns, schema=replace(plan.columns.schema, features=features)
                ),
                options=replace(plan.options, dtype=dtype, feature_set=feature_set),
            )
            asked = part.disk_bytes(budget)
            stores[dtype] = StoreSize(part.n_bytes, asked, part.n_bytes <= memory, asked <= disk)
        yield Choice(name, feature_set, len(features), stores)


def _next_command(
    paths: Sequence[str],
    options: ConvertOptions,
    choices: Sequence[Choice],
    *,
    integer_features: bool,
) -> str | None:
    """Return the conversion of the most features that fits."""
    for choice in sorted(choices, key=lambda choice: -choice.n_features):
        dtype = _suited_dtype(choice, integer_features=integer_features)
        if dtype is not None:
            words = ["memmap-train", "convert", *paths, "--out", str(OUT), "--dtype", dtype]
            if options.features_json is not None:
                words += ["--features-json", str(options.features_json)]
            if choice.feature_set is not None:
                words += ["--feature-set", choice.feature_set]
            return shlex.join(words + _column_flags(options.columns))
    return None


def _suited_dtype(choice: Choice, *, integer_features: bool) -> str | None:
    """Return float32 where it fits into memory, for then nothing is decoded while training.

    Otherwise int8, if the features are codes; None where the disk is too small.
    """
    float32, int8 = choice.stores["float32"], choice.stores["int8"]
    if float32.fits_disk and (float32.fits_memory or not integer_features):
        return "float32"
    return "int8" if int8.fits_disk and integer_features else None


def _column_flags(columns: ColumnOptions) -> list[str]:
    """Return the flags that say how to tell the columns apart, where they aren't the defaults."""
    defaults = ColumnOptions()
    flags: list[str] = []
    for name in ("era_column", "id_column", "feature_prefix", "target_prefix"):
        value = getattr(columns, name)
        if value != getattr(defaults, name):
            flags += [f"--{name.replace('_', '-')}", value]
    return flags


def _advice(survey: Survey) -> str:
    """Say what to do where nothing fits."""
    dtypes = STORE_DTYPES if survey.integer_features else ("float32",)
    least = min(choice.stores[dtype].disk_bytes for choice in survey.choices for dtype in dtypes)
    advice = (
        f"nothing fits: free {in_bytes(least - survey.disk_free)} of disk, or convert to another "
        "disk with --out"
    )
    if len(survey.choices) == 1:
        advice += ", or fewer features: name features.json with --features-json to see its sets"
    return advice
