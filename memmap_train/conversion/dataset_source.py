"""A dataset as what a narrower one is made from: the parent, whose sources aren't read again.

What comes out is, byte for byte, what converting the parent's own sources with the same options
would have made. Rows come from the parent's maps, a chunk at a time, eras side by side; counts are
carried over, since a missing feature that 0.5 stands for can't be told from another any more. The
parent is only read. Imports no pyarrow.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..dataset.dataset import open_dataset
from ..dataset.file_digest import MapDigest
from ..dataset.format import FILE_NAME, WORKPLACE
from ..dataset.manifest import CODE_SCALE, Manifest, id_width
from ..dataset.manifest_file import read_manifest
from ..errors import ManifestError, SchemaError, ShardError, SourceError, listed
from ..system.disk_writer import BLOCK_BYTES, DiskWriter
from ..system.junk import is_junk
from ..system.paths import checked_path
from ..system.threads import ThreadPool
from .codec import FeatureEncoder
from .era_writer import ShardWriter
from .journal import FinishedEra, Journal
from .plan import (
    Columns,
    ConversionPlan,
    ConvertOptions,
    check_feature_set,
    narrow_schema,
    read_feature_sets,
    whole_sets,
)
from .schema import ID_CANDIDATES, ColumnOptions, Schema

Array = npt.NDArray[np.generic]
_Places = slice | npt.NDArray[np.intp]
T = TypeVar("T", bound=np.generic)

_ALL = "all"
_CHUNK_CELLS = 2**20  # of rows read, encoded and written at once
_BUFFER_BYTES = 4 * _CHUNK_CELLS  # of such rows on their way to the disk
_WORKER_BYTES = 32_000_000  # that a chunk takes: stored, encoded, masks between them; measured


class DatasetSource:
    """The dataset that is narrowed: a `ConversionSource`.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    ManifestError
        It can't be read, or isn't what this package writes.
    ShardError
        A file is missing or has another size than the manifest says.
    """

    def __init__(self, folder: Path) -> None:
        self._dataset = open_dataset(folder)
        manifest = self._manifest = self._dataset.manifest
        if manifest.scale not in (None, CODE_SCALE):
            raise ManifestError(
                f"{folder}: expected codes that are quarters (scale {CODE_SCALE.multiply}, "
                f"{CODE_SCALE.add}), found {manifest.scale}; only these can be narrowed"
            )
        with_ids = [entry.era for entry in manifest.shards if "ids" in entry.files]
        if len(with_ids) not in (0, len(manifest.shards)):
            raise ManifestError(
                f"{folder}: only {len(with_ids):,} of {len(manifest.shards):,} eras have ids "
                f"({listed(with_ids, 1)}); expected all or none; convert its sources again"
            )
        self._has_ids = bool(with_ids)
        self.name = f"the dataset {folder}"
        self.entries = manifest.sources
        self.own_dtype, self.own_missing = manifest.dtype, manifest.missing
        self.pyarrow_version = str(manifest.created_by.get("pyarrow"))

    def identity(self) -> list[Any]:
        """Return the digest of the parent's content."""
        return [self._manifest.digest]

    def choose_columns(self, options: ConvertOptions) -> Columns:
        """Choose the features of a set, and targets, from those that there are.

        The sets are the parent's own, unless a `features.json` is given.

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
        known = {_ALL: manifest.features, **sets}
        named_in = where if options.features_json is None else str(options.features_json)
        check_feature_set(options.feature_set, known, where=named_in, advice=advice)
        id_column = manifest.columns.get("id") or ID_CANDIDATES[0]
        schema = Schema(
            era=manifest.columns.get("era") or ColumnOptions().era_column,
            id=id_column if self._has_ids else None,
            features=manifest.features,
            targets=manifest.targets,
            integer_features=manifest.scale is not None,
        )
        narrow = narrow_schema(schema, options, known, where=where)
        return Columns(
            schema=narrow,
            feature_sets=whole_sets(sets, narrow.features),
            planted=manifest.planted,
            # Rows stay, so where no target has equalled another none will.
            alias=next(iter(manifest.aliases), ""),
        )

    def make_plan(
        self,
        columns: Columns,
        options: ConvertOptions,
        progress: Callable[[int, int], None] | None = None,
    ) -> ConversionPlan:
        """Return the parent's eras and rows with other columns; see `ConversionSource`.

        Raises
        ------
        SourceError
            It can't be told any more which features are missing where.
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
            id_width=max(map(id_width, shards)) if self._has_ids else 0,
        )

    def least_budget(self, plan: ConversionPlan) -> int:
        """Return the bytes of buffers that one thread takes; see `ConversionSource`."""
        return _WORKER_BYTES

    def write(
        self,
        plan: ConversionPlan,
        journal: Journal,
        budget: int,
        n_workers: int,
        progress: Callable[[float, int], None],
    ) -> dict[str, FinishedEra]:
        """Write all unfinished eras, each by one thread; see `ConversionSource`."""
        finished = dict(journal.finished)
        progress(sum(era.entry.rows for era in finished.values()), plan.n_rows)
        todo = [era for era in plan.rows_per_era if era not in finished]
        features = _Features(self._manifest, plan.columns.schema.features, plan.options)
        n_workers = max(1, min(n_workers, budget // _WORKER_BYTES))
        with ExitStack() as at_the_end:  # in reverse order, and all of it whatever happens
            row_bytes = len(plan.columns.schema.features) * np.dtype(plan.options.dtype).itemsize
            disk = DiskWriter(2 * n_workers, max(_BUFFER_BYTES, row_bytes) + BLOCK_BYTES)
            at_the_end.callback(disk.close)
            # Waiting for the disk is no work for the cores.
            publishers = ThreadPool(2, thread_name_prefix="publish")
            at_the_end.callback(publishers.shutdown)
            threads = ThreadPool(n_workers, thread_name_prefix="convert")
            at_the_end.callback(threads.shutdown, cancel_futures=True)

            def write(era: str) -> Future[FinishedEra]:
                shard = ShardWriter(era, plan, journal, disk)
                self._fill(shard, plan, features, progress)
                return publishers.submit(shard.publish)

            try:
                for era, publishing in zip(todo, threads.map(write, todo), strict=True):
                    finished[era] = publishing.result()
            except ShardError:
                self.check_unchanged()  # if it did, that is why
                raise
        return finished

    def features(self, plan: ConversionPlan, era: str, names: Sequence[str]) -> Array:
        """Return some features of an era as the plan stores them: shape (rows, features)."""
        chosen = _Features(self._manifest, names, plan.options)
        return chosen.encode(np.asarray(self._dataset[era].features), None, f"era {era!r}")

    def check_unchanged(self) -> None:
        """Raise a SourceError if it isn't the dataset that was opened."""
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
        """Do nothing: maps go with the arrays that show them."""

    def _check_missing(self, columns: Columns, options: ConvertOptions) -> None:
        """Refuse what would need to know which features are missing where 0.5 stands for them."""
        if self._manifest.missing == "nan":
            return
        names = columns.schema.features
        places = _places(names, self._manifest.features)
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
            if options.missing == "nan" and (missing := counts[places, -1]).any():
                column = int(np.argmax(missing))
                raise SourceError(
                    f"{where}: feature {names[column]!r}: 0.5 stands for {missing[column]:,} "
                    "missing values, and which these are isn't known any more; use --missing 0.5, "
                    "or convert its parquet files again"
                )

    def _fill(
        self,
        writer: ShardWriter,
        plan: ConversionPlan,
        features: "_Features",
        progress: Callable[[float, int], None],
    ) -> None:
        """Write the rows of one era."""
        schema, shard = plan.columns.schema, self._dataset[writer.era]
        where = f"{self._dataset.path}: era {writer.era!r}"
        target_places = _places(schema.targets, self._manifest.targets)
        arrays = {"targets": shard.targets}
        if "features" in writer.writers:
            arrays["features"] = shard.features
        if shard.ids is not None:
            arrays["ids"] = shard.ids
        counts = writer.counts
        if shard.counts is not None and counts is not None:
            arrays["counts"] = shard.counts
            counts[:] = shard.counts[features.places]
            counts = None
        # What is damaged isn't to come out with a digest that fits.
        digests = {name: MapDigest(shard.file(name), array) for name, array in arrays.items()}
        if "counts" in digests:
            digests["counts"].update(np.asarray(shard.counts))
        row_cells = len(schema.features) + len(schema.targets) + plan.id_width
        chunk_rows = max(1, _CHUNK_CELLS // row_cells)
        for first in range(0, shard.n_rows, chunk_rows):
            rows = slice(first, first + chunk_rows)
            if "features" in writer.writers:
                stored = np.asarray(shard.features)[rows]
                digests["features"].update(stored)
                writer.writers["features"].append(features.encode(stored, counts, where))
            targets = np.asarray(shard.targets)[rows]
            digests["targets"].update(targets)
            targets = _take(targets, target_places)
            writer.count_targets(targets)
            writer.writers["targets"].append(targets)
            if shard.ids is not None:
                ids = np.asarray(shard.ids)[rows]
                digests["ids"].update(ids)
                writer.append_ids(ids)
            progress(len(targets), plan.n_rows)
        files = self._dataset.entry(writer.era).files
        for name, digest in digests.items():
            digest.check(files[name].digest)


class _Features:
    """Some of a parent's features, as another dataset stores them; thread-safe."""

    def __init__(self, parent: Manifest, names: Sequence[str], options: ConvertOptions) -> None:
        self.places = _places(names, parent.features)
        self._encoder = FeatureEncoder(names, options.dtype, options.missing)
        self._store_dtype = np.dtype(options.dtype)
        # Where nan is asked for of 0.5, there is nothing that is missing.
        filled = (parent.missing, options.missing) == ("nan", "0.5")
        self._are_stored_so = parent.dtype == options.dtype and not filled

    def encode(self, rows: Array, counts: npt.NDArray[np.int32] | None, where: str) -> Array:
        """Return these features of whole rows as they are to be stored.

        Parameters
        ----------
        rows : ndarray, shape (rows, parent's features)
        counts : ndarray of int32, shape (features, 6), or None
            What the rows hold is added to it; None if that is known.
        where : str
            For messages.

        Raises
        ------
        SourceError
            A float that isn't a code, for the int8 store.
        """
        stored = _take(rows, self.places)
        if counts is None and self._are_stored_so:
            return stored
        out = np.empty(stored.shape, self._store_dtype)
        self._encoder.encode(stored, out, counts, 0, where)
        return out


def find_source_dataset(paths: Sequence[str | os.PathLike[str]]) -> Path | None:
    """Return the dataset that is named alone; None where there are only files, or none.

    Raises
    ------
    SourceError
        A folder that is no dataset, or one beside something else.
    """
    folders = [Path(path) for path in paths if os.path.isdir(path)]
    for folder in folders:
        checked_path(folder / FILE_NAME, SourceError)
        if not os.path.exists(folder / FILE_NAME) and not os.path.isdir(folder / WORKPLACE):
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


def _places(names: Sequence[str], known: Sequence[str]) -> _Places:
    """Return where some columns stand among those that are known; a slice where that says it."""
    place = {name: column for column, name in enumerate(known)}
    places = np.array([place[name] for name in names], np.intp)
    if (np.diff(places) == 1).all():
        first = int(places[0]) if len(places) else 0
        return slice(first, first + len(places))
    return places


def _take(rows: npt.NDArray[T], places: _Places) -> npt.NDArray[T]:
    """Return columns of rows in C order; a view where these are all."""
    if isinstance(places, slice):
        return np.ascontiguousarray(rows[:, places])
    return rows.take(places, axis=1)
