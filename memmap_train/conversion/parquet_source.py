"""Parquet sources as what a dataset is made from: opened, planned, piped into shards, compared.

Reads footers and the era, data type and id columns for the plan; the rest goes through the
pipeline. Needs pyarrow, and is imported only by who has parquet files to read.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..dataset.eras import era_folder, era_identity, era_sort_key
from ..dataset.format import MAX_FOLDER_BYTES, N_COUNTS
from ..dataset.manifest import SourceEntry
from ..errors import SchemaError, SourceError, listed
from ..system.resources import raise_open_file_limit
from ..system.threads import ThreadPool
from .codec import FeatureEncoder
from .feature_sets import check_feature_set, complete_sets, read_feature_sets, select_columns
from .journal import FinishedEra, Journal
from .parquet import PYARROW_VERSION
from .parquet.cross_check import DecoderMismatchError
from .parquet.file import ParquetFileInfo, metadata_bytes, read_file_info, sample_digest
from .parquet.handle import ParquetHandle
from .parquet.handle_pool import MAX_FREE, HandlePool
from .parquet.row_labels import count_rows, longest_id, read_eras
from .pipeline import Pipeline
from .pipeline_sizes import DEFAULT_LIMITS, PipelineLimits, least_budget
from .plan import Columns, ConversionPlan, ConvertOptions, RowGroup
from .schema import BEST_KEY, Schema, common_schema, data_type_column, read_schema, without_unusable

_LOG = logging.getLogger("memmap_train")
_N_READERS = 2  # of row groups' eras and ids: each holds those of up to a million rows


class ParquetSource:
    """Parquet files that are converted together: a `ConversionSource`.

    Parameters
    ----------
    paths : sequence of paths
        Their rows are taken in this order.
    limits : PipelineLimits, optional

    Attributes
    ----------
    files : list of ParquetFileInfo
        Their rows are read through `reading`.

    Raises
    ------
    SourceError
        None given, one that can't be read, or the same file twice.
    """

    name = "the sources"
    own_dtype, own_missing = "float32", "0.5"
    pyarrow_version = PYARROW_VERSION

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        limits: PipelineLimits = DEFAULT_LIMITS,
    ) -> None:
        self._limits = limits
        if not paths:
            raise SourceError("no sources; expected at least one parquet file")
        self.files: list[ParquetFileInfo] = []
        raise_open_file_limit()  # each of them takes a descriptor
        found: set[tuple[object, ...]] = set()
        for path in paths:
            source = read_file_info(path)
            status = os.stat(path)
            if self.files:
                source = source.sharing_columns(self.files[0])
            self.files.append(source)
            # Some network file systems give all files one inode number, or one file several.
            entry = source.entry
            same = {
                (os.path.realpath(path),),
                (status.st_dev, status.st_ino, entry.bytes, entry.footer_digest),
            }
            if same & found:
                raise SourceError(
                    f"{path}: the same file is named twice; its rows would come twice: name it once"
                )
            found |= same
        self._handles = HandlePool(self.files)

    @property
    def entries(self) -> tuple[SourceEntry, ...]:
        """The files."""
        return tuple(source.entry for source in self.files)

    def identity(self) -> list[Any]:
        """Return what tells the files from others; a copy, or one that was touched, is the same."""
        return [
            [entry.name, entry.bytes, entry.footer_digest, sample_digest(source.path)]
            for source, entry in zip(self.files, self.entries, strict=True)
        ]

    def choose_columns(self, options: ConvertOptions) -> Columns:
        """Choose the columns that all files share and the options ask for.

        Raises
        ------
        SchemaError
            A column that is needed is absent, or files differ in their columns.
        """
        sets: dict[str, tuple[str, ...]] = {}
        if options.features_json is not None:
            sets = read_feature_sets(Path(options.features_json))
            check_feature_set(options.feature_set, sets, where=str(options.features_json))
        elif options.feature_set is not None:
            raise SchemaError(
                f"feature set {options.feature_set!r}: which features it holds is said by "
                "Numerai's features.json; name that file with --features-json"
            )
        read = {
            where: read_schema(source.kinds, options.columns, where=where)
            for where, source in ((str(source.path), source) for source in self.files)
        }
        schema = common_schema(
            {
                where: select_columns(schema, options, sets, where=where)
                for where, schema in without_unusable(read).items()
            }
        )
        scores = {source.metadata.get(BEST_KEY) for source in self.files} - {None}
        return Columns(
            schema=schema,
            feature_sets=complete_sets(sets, schema.features),
            best_possible=_score(scores.pop()) if len(scores) == 1 else None,
            alias=options.columns.target_prefix,
        )

    def make_plan(
        self,
        columns: Columns,
        options: ConvertOptions,
        progress: Callable[[int, int], None] | None = None,
    ) -> ConversionPlan:
        """Read the eras, data types and ids of all rows and plan the conversion.

        Parameters
        ----------
        columns : Columns
        options : ConvertOptions
        progress : callable(rows done, rows in all), optional

        Raises
        ------
        SourceError
            No rows, a row without an era or an id, one era under two labels.
        """
        schema = columns.schema
        n_rows = sum(sum(source.row_groups) for source in self.files)
        if n_rows == 0:
            raise SourceError(
                f"{listed(str(s.path) for s in self.files)}: no rows; nothing to convert: name "
                "other files"
            )
        places = [
            (position, index)
            for position, source in enumerate(self.files)
            for index, rows in enumerate(source.row_groups)
            if rows
        ]
        groups: list[RowGroup] = []
        data_types: dict[str, dict[str, int]] = {}
        id_width = 0
        done = 0
        with ThreadPool(_N_READERS, thread_name_prefix="plan") as threads:
            found = threads.map(partial(self._count, schema), places)
            for (position, index), (counts, width) in zip(places, found, strict=True):
                rows = {era: sum(types.values()) for era, types in counts.items()}
                groups.append(RowGroup(position, index, sum(rows.values()), rows))
                for era, types in counts.items():
                    total = data_types.setdefault(era, {})
                    for name, n in types.items():
                        total[name] = total.get(name, 0) + n
                id_width = max(id_width, width)
                done += groups[-1].rows
                if progress is not None:
                    progress(done, n_rows)
        self._check_labels(groups, schema.era)
        rows_per_era = {
            era: sum(data_types[era].values()) for era in sorted(data_types, key=era_sort_key)
        }
        return ConversionPlan(
            columns=columns,
            options=options,
            sources=self.entries,
            groups=tuple(groups),
            rows_per_era=rows_per_era,
            data_types={
                era: {name: n for name, n in types.items() if name}
                for era, types in data_types.items()
            },
            id_width=id_width,
        )

    def _check_labels(self, groups: Sequence[RowGroup], column: str) -> None:
        """Refuse labels that are different texts for one era: it would become two."""
        first_in: dict[str, int] = {}
        for group in groups:
            for era in group.eras:
                first_in.setdefault(era, group.source)
        known: dict[tuple[str, int | None], str] = {}
        for era, source in first_in.items():
            other = known.setdefault(era_identity(era), era)
            if other != era:
                raise SourceError(
                    f"{self.files[source].path}: era column {column!r}: {era!r} and {other!r} (in "
                    f"{self.files[first_in[other]].path}) are two labels of one era; expected the "
                    "same label in all rows and files: write the column again with one of them"
                )

    def _count(
        self, schema: Schema, place: tuple[int, int]
    ) -> tuple[dict[str, dict[str, int]], int]:
        """Return {era: {data_type: rows}} of a row group, and how wide its ids are."""
        position, index = place
        with self._handles.take(position) as source:
            eras = read_eras(source, index, schema.era)
            counts = count_rows(source, index, eras, data_type_column(source.info.kinds))
            width = 0 if schema.id is None else max(1, longest_id(source, index, schema.id))
        for era in counts:
            if len(era_folder(era)) > MAX_FOLDER_BYTES:
                raise SourceError(
                    f"{source.info.path}: era column {schema.era!r}: {era[:40]!r}… is too long for "
                    f"the name of a folder ({MAX_FOLDER_BYTES} bytes)"
                )
        return counts, width

    def least_budget(self, plan: ConversionPlan) -> int:
        """Return the bytes of buffers that decoding a row group needs at least."""
        return least_budget(plan, self.files, self._limits)

    def write(
        self,
        plan: ConversionPlan,
        journal: Journal,
        budget: int,
        n_workers: int,
        progress: Callable[[float, int], None],
    ) -> dict[str, FinishedEra]:
        """Pipe all row groups with unfinished eras into shards; see `ConversionSource`.

        If the cross-check finds that the decoder of dictionary pages is wrong, everything is
        written again, and Arrow decodes this file: in the eras that were written before, only one
        column of each row group was compared.
        """
        self._choose_decoder(plan)
        while True:
            counted = _RowCount(progress)
            pipeline = Pipeline(
                plan, self._handles, journal, budget, n_workers, counted.add, self._limits
            )
            try:
                return pipeline.run()
            except DecoderMismatchError as error:  # not kept, since it would keep files open
                file, group, name = error.file, error.group, error.name
            _LOG.warning(
                "%s: row group %d, column %r: codes decoded from its dictionary pages differ from "
                "Arrow's; all eras are converted again, this file by Arrow (--decoder arrow does "
                "so from the start); please report this, and what wrote the file",
                self.files[file].path,
                group,
                name,
            )
            self._handles.use_arrow(file)
            journal.restart()
            counted.undo(plan.n_rows)

    def _choose_decoder(self, plan: ConversionPlan) -> None:
        if plan.options.decoder == "arrow":
            for file in range(len(self.files)):
                self._handles.use_arrow(file)

    def features(
        self, plan: ConversionPlan, era: str, names: Sequence[str]
    ) -> npt.NDArray[np.generic]:
        """Return some features of an era as the plan stores them: shape (rows, features)."""
        encoder = FeatureEncoder(names, plan.options.dtype, plan.options.missing)
        rows = []
        for group in plan.groups:
            if era in group.eras:
                codes = plan.columns.schema.integer_features
                with self.reading(group.source) as source:
                    eras = read_eras(source, group.index, plan.columns.schema.era)
                    chosen = eras.codes == eras.labels.index(era)
                    read = source.features if codes else partial(source.floats, divide_codes=True)
                    columns = [column[chosen] for column in read(group.index, names)]
                rows.append(np.stack(columns, 1))
        staged = np.concatenate(rows)
        found = np.empty(staged.shape, plan.options.dtype)
        counts = np.zeros((len(names), N_COUNTS), np.int32)
        encoder.encode(staged, found, counts, 0, f"era {era!r}")
        return found

    def reading(self, position: int) -> AbstractContextManager[ParquetHandle]:
        """Lend a handle on the file at a position for as long as the context lasts."""
        return self._handles.take(position)

    def check_unchanged(self) -> None:
        """Raise a SourceError if a file isn't the one that was opened."""
        for source in self.files:
            source.check_unchanged()

    def close(self) -> None:
        """Close the files."""
        self._handles.close()


def opened_bytes(paths: Sequence[str | os.PathLike[str]]) -> int:
    """Return what those of some parquet files take of memory that are open at the same time.

    Raises
    ------
    SourceError
        One can't be read.
    """
    each = sorted((metadata_bytes(Path(path)) for path in paths), reverse=True)
    return sum(each[: MAX_FREE + 1])


class _RowCount:
    """Passes progress on, and can take it back. Thread-safe.

    Parameters
    ----------
    progress : callable(rows done now, rows in all)
    """

    def __init__(self, progress: Callable[[float, int], None]) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._rows = 0.0

    def add(self, rows: float, n_rows: int) -> None:
        """Count rows as done."""
        with self._lock:
            self._rows += rows
        self._progress(rows, n_rows)

    def undo(self, n_rows: int) -> None:
        """Count the rows that were done as not done."""
        self._progress(-self._rows, n_rows)


def _score(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if np.isfinite(value) else None
