"""The preview of a conversion: the content of parquet files, and the datasets that would fit.

Takes parquet files, before anything is written; returns a `Preview`. Reads footers, the era,
data type and id columns and the targets, a few columns of one row group at a time; never a feature.
Writes and prints nothing. Imports no pyarrow itself, but `parquet_source` does.
"""

import os
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..dataset.eras import era_sort_key
from ..progress import Progress, ignore
from ..system.paths import user_path, user_paths
from ..system.resources import available_memory, free_disk
from .choices import DatasetChoice, dataset_choices, suited_choice
from .codec import check_finite
from .memory_budget import default_budget
from .parquet.row_labels import read_eras
from .parquet_source import ParquetSource
from .plan import ConversionPlan, ConvertOptions
from .schema import ColumnOptions

OUT = Path("data/shards")
"""The folder that the suggested command writes to."""
_KEY_COLUMNS = 3  # era, data type and id, which the plan reads before the targets are


@dataclass(frozen=True, slots=True)
class TargetLabels:
    """The labels of a target.

    Attributes
    ----------
    labelled_eras : int
        Number of eras that hold at least one label.
    last_labelled_era : str or None
        The last of these eras.
    """

    labelled_eras: int
    last_labelled_era: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The content of sources, the sizes of datasets, and the space of this machine.

    Attributes
    ----------
    sources : tuple of str
        The names as they were given.
    rows_per_era : dict of str to int
        The keys are in the dataset's order.
    data_types : dict of str to int
        Rows of each data type; rows without one aren't counted.
    n_features : int
    integer_features : bool
        Whether the features are codes. If they are floats, the int8 store may hold them all the
        same, but only reading them all would show it.
    left_out : dict of str to str
        Features and targets that can't be stored, and why.
    has_ids : bool
    targets : dict of str to TargetLabels
    aliases : dict of str to str
        The named target that `target` equals in every row; empty if none does, or without any
        label.
    choices : tuple of DatasetChoice
        All features first, then the complete sets in the order of features.json.
    memory_available, disk_free : int
        Bytes.
    next_command : str or None
        A conversion that fits; None if none does.
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
    choices: tuple[DatasetChoice, ...]
    memory_available: int
    disk_free: int
    next_command: str | None

    @property
    def n_rows(self) -> int:
        """Rows of all eras."""
        return sum(self.rows_per_era.values())


def preview_sources(
    paths: Sequence[str | os.PathLike[str]],
    *,
    features_json: str | os.PathLike[str] | None = None,
    columns: ColumnOptions | None = None,
    progress: Progress = ignore,
) -> Preview:
    """Read what parquet files hold, and compute the sizes of datasets made of them.

    Parameters
    ----------
    paths : sequence of paths
    features_json : path, optional
        Numerai's `features.json`, for its feature sets.
    columns : ColumnOptions, optional
        The names of columns; by default Numerai's.
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
    with closing(ParquetSource(user_paths(paths))) as sources:
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
    return _preview_of(plan, [str(path) for path in paths], targets, aliases)


def _preview_of(
    plan: ConversionPlan,
    paths: Sequence[str],
    targets: dict[str, TargetLabels],
    aliases: dict[str, str],
) -> Preview:
    schema = plan.columns.schema
    data_types = Counter[str]()
    for types in plan.data_types.values():
        data_types.update(types)
    memory, disk = available_memory(), free_disk(OUT)
    choices = dataset_choices(plan, default_budget(memory))
    suited = suited_choice(choices, memory, disk, integer_features=schema.integer_features)
    return Preview(
        sources=tuple(paths),
        rows_per_era=plan.rows_per_era,
        data_types=dict(data_types),
        n_features=len(schema.features),
        integer_features=schema.integer_features,
        left_out=schema.unusable,
        has_ids=schema.id is not None,
        targets=targets,
        aliases=aliases,
        choices=choices,
        memory_available=memory,
        disk_free=disk,
        next_command=None if suited is None else _command(paths, plan.options, *suited),
    )


def _command(
    paths: Sequence[str], options: ConvertOptions, choice: DatasetChoice, dtype: str
) -> str:
    """Return the command that converts the sources to a dataset."""
    words = ["memmap-train", "convert", *paths, "--out", str(OUT), "--dtype", dtype]
    if options.features_json is not None:
        words += ["--features-json", str(options.features_json)]
    if choice.feature_set is not None:
        words += ["--feature-set", choice.feature_set]
    return shlex.join(words + _column_flags(options.columns))


def _column_flags(columns: ColumnOptions) -> list[str]:
    """Return the flags of the column names that aren't the defaults."""
    defaults = ColumnOptions()
    flags: list[str] = []
    for name in ("era_column", "id_column", "feature_prefix", "target_prefix"):
        value = getattr(columns, name)
        if value != getattr(defaults, name):
            flags += [f"--{name.replace('_', '-')}", value]
    return flags


def _read_targets(
    plan: ConversionPlan, sources: ParquetSource, progress: Callable[[int], None]
) -> tuple[dict[str, TargetLabels], dict[str, str]]:
    """Return each target's labels, and {alias: the named target that equals it in every row}."""
    schema, alias = plan.columns.schema, plan.columns.alias
    # The alias comes first, so that the others can be compared with it one after another.
    names = sorted(schema.targets, key=lambda name: name != alias)
    labelled: dict[str, set[str]] = {name: set() for name in names}
    equal = set(names) - {alias} if alias in labelled else set()
    done = 0
    for group in plan.groups if names else ():
        first = None
        with sources.reading(group.source) as source:
            rows = read_eras(source, group.index, schema.era)
            targets = source.floats(group.index, names, divide_codes=False)
            for name, values in zip(names, targets, strict=True):
                check_finite("target", [name], values[:, np.newaxis], str(source.info.path))
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
