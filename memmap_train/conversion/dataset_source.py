"""A dataset as the source of a subset of it: its columns are chosen and its eras planned.

A subset is, byte for byte, what the parquet files of the source dataset would have been converted
to with the same options. Counts are copied, since a missing feature that 0.5 stands for can't be
distinguished from a code any more. The source dataset is only read. Imports no pyarrow.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from ..dataset.format import FILE_NAME, WORKSPACE
from ..dataset.manifest import CODE_SCALE, id_width
from ..dataset.manifest_file import read_manifest
from ..dataset.opening import open_dataset
from ..dataset.selection import ALL
from ..errors import ManifestError, SchemaError, ShardError, SourceError, listed
from ..system.junk import is_junk
from ..system.paths import checked_path
from .benchmarks.stored import StoredBenchmarks
from .feature_sets import check_feature_set, complete_sets, read_feature_sets, select_columns
from .journal import FinishedEra, Journal
from .plan import Columns, ConversionPlan, ConvertOptions
from .schema import ColumnOptions, schema_of_dataset
from .subset_writer import (
    CHUNK_CELLS,
    WORKER_BYTES,
    SubsetFeatures,
    SubsetWriter,
    column_selection,
    workers_within,
)


class DatasetSource:
    """The source dataset of a subset: a `ConversionSource`.

    Parameters
    ----------
    folder : Path
    chunk_cells : int, optional
        Cells of rows that are read at once.

    Raises
    ------
    ManifestError
        The manifest can't be read, or wasn't written by this package.
    ShardError
        A file is missing, or its size differs from the manifest.
    """

    def __init__(self, folder: Path, *, chunk_cells: int = CHUNK_CELLS) -> None:
        self._chunk_cells = chunk_cells
        self._dataset = open_dataset(folder)
        manifest = self._manifest = self._dataset.manifest
        if manifest.scale not in (None, CODE_SCALE):
            raise ManifestError(
                f"{folder}: expected codes that are quarters (scale {CODE_SCALE.multiply}, "
                f"{CODE_SCALE.add}), found {manifest.scale}; a subset can be made only of these"
            )
        with_ids = [entry.era for entry in manifest.shards if "ids" in entry.files]
        if len(with_ids) not in (0, len(manifest.shards)):
            raise ManifestError(
                f"{folder}: only {len(with_ids):,} of {len(manifest.shards):,} eras have ids "
                f"({listed(with_ids, 1)}); expected all or none; convert its sources again"
            )
        self.name = f"the dataset {folder}"
        self.entries = manifest.sources
        self.own_dtype, self.own_missing = manifest.dtype, manifest.missing
        self.pyarrow_version = str(manifest.created_by.get("pyarrow"))
        stored = StoredBenchmarks(self._dataset.directory, manifest)
        self.own_benchmarks = stored if stored.names else None

    def identity(self) -> list[Any]:
        """Return the digest of the dataset's content."""
        return [self._manifest.digest]

    def choose_columns(self, options: ConvertOptions) -> Columns:
        """Choose the features of a set, and targets, from those of the dataset.

        The sets are those of the dataset, unless a `features.json` is given.

        Raises
        ------
        SchemaError
            An unknown set or target, a set of which features are missing, or column names that only
            parquet files have.
        """
        manifest, where = self._manifest, str(self._dataset.path)
        if options.columns != ColumnOptions():
            raise SchemaError(
                f"{where}: a dataset knows its columns; --era-column, --id-column, "
                "--feature-prefix and --target-prefix are for parquet files: leave them out"
            )
        sets: Mapping[str, tuple[str, ...]] = manifest.feature_sets
        advice = "; --features-json FILE would name others"
        if options.features_json is not None:
            sets, advice = read_feature_sets(Path(options.features_json)), ""
        known = {ALL: manifest.features, **sets}
        named_in = where if options.features_json is None else str(options.features_json)
        check_feature_set(options.feature_set, known, where=named_in, advice=advice)
        selected = select_columns(schema_of_dataset(manifest), options, known, where=where)
        return Columns(
            schema=selected,
            feature_sets=complete_sets(sets, selected.features),
            best_possible=manifest.planted,
            # The rows are the same, so a target that has no alias has none here.
            alias=next(iter(manifest.aliases), ""),
        )

    def make_plan(
        self,
        columns: Columns,
        options: ConvertOptions,
        progress: Callable[[int, int], None] | None = None,
    ) -> ConversionPlan:
        """Return the dataset's eras and rows with other columns; see `ConversionSource`.

        Raises
        ------
        SourceError
            The dataset doesn't record any more which of its features are missing.
        """
        self._check_missing(columns, options)
        shards = self._manifest.shards
        return ConversionPlan(
            columns=columns,
            options=options,
            sources=self.entries,
            groups=(),
            rows_per_era={entry.era: entry.rows for entry in shards},
            data_types={entry.era: dict(entry.data_type) for entry in shards},
            id_width=max(map(id_width, shards)) if self._manifest.has_ids else 0,
        )

    def least_budget(self, plan: ConversionPlan) -> int:
        """Return the bytes of buffers that one thread takes; see `ConversionSource`."""
        return WORKER_BYTES

    def write(
        self,
        plan: ConversionPlan,
        journal: Journal,
        budget: int,
        n_workers: int,
        progress: Callable[[float, int], None],
    ) -> dict[str, FinishedEra]:
        """Write all unfinished eras, each by one thread; see `ConversionSource`."""
        writer = SubsetWriter(self._dataset, plan, journal, progress, chunk_cells=self._chunk_cells)
        try:
            return writer.run(workers_within(budget, n_workers))
        except ShardError:
            self.check_unchanged()  # perhaps because it was changed
            raise

    def features(self, plan: ConversionPlan, era: str, names: Sequence[str]) -> Array:
        """Return some features of an era as the plan stores them: shape (rows, features)."""
        chosen = SubsetFeatures(self._manifest, names, plan.options)
        return chosen.encode(np.asarray(self._dataset[era].features), None, f"era {era!r}")

    def check_unchanged(self) -> None:
        """Raise a SourceError if the dataset has changed since it was opened."""
        try:
            changed = read_manifest(self._dataset.path) != self._manifest
        except ManifestError:
            changed = True
        if changed:
            raise SourceError(
                f"{self._dataset.path}: the dataset changed while it was read; run the same "
                "command again"
            )

    def close(self) -> None:
        """Do nothing: a map is released with the last array that refers to it."""

    def _check_missing(self, columns: Columns, options: ConvertOptions) -> None:
        """Raise a SourceError if missing features would have to be known that 0.5 stands for."""
        if self._manifest.missing == "nan":
            return
        names = columns.schema.features
        selected = column_selection(names, self._manifest.features)
        for entry in self._manifest.shards:
            if not entry.missing_features:
                continue
            counts = self._dataset[entry.era].counts
            where = f"{self._dataset.path}: era {entry.era!r}"
            if counts is None:
                raise SourceError(
                    f"{where}: has no counts.npy (it was made by an earlier version), so which "
                    f"features its {entry.missing_features:,} missing values are of isn't known; "
                    "convert its parquet files again"
                )
            if options.missing == "nan" and (missing := counts[selected, -1]).any():
                column = int(np.argmax(missing))
                raise SourceError(
                    f"{where}: feature {names[column]!r}: 0.5 stands for {missing[column]:,} "
                    "missing values, and which these are isn't known any more; use --missing 0.5, "
                    "or convert its parquet files again"
                )


def find_source_dataset(paths: Sequence[str | os.PathLike[str]]) -> Path | None:
    """Return the source dataset that paths name; None if they name files, or nothing.

    Raises
    ------
    SourceError
        A folder that isn't a dataset, or a dataset together with other paths.
    """
    folders = [Path(path) for path in paths if os.path.isdir(path)]
    for folder in folders:
        checked_path(folder / FILE_NAME, SourceError)
        if not os.path.exists(folder / FILE_NAME) and not os.path.isdir(folder / WORKSPACE):
            inside = sorted(
                str(file) for file in folder.glob("*.parquet") if not is_junk(file.name)
            )
            advice = f"; name the files in it: {listed(inside, 3)}" if inside else ""
            raise SourceError(
                f"{folder}: a folder without {FILE_NAME}, so not a dataset; expected parquet "
                f"files, or one dataset{advice}"
            )
    if folders and len(paths) > 1:
        raise SourceError(
            f"{folders[0]}: a dataset among {len(paths):,} sources; expected one dataset alone, or "
            "parquet files alone; to join them, convert their parquet files together"
        )
    return folders[0] if folders else None
