"""Parquet files as a source: opened, planned, converted, and compared with a dataset.

Takes paths; makes columns, a plan, and shards. Needs pyarrow, so it is imported only where there
are parquet files to read.
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

from ..dataset.format import N_COUNTS
from ..dataset.manifest import SourceEntry
from ..errors import SchemaError, SourceError
from ..system.resources import raise_open_file_limit
from .codec import FeatureEncoder
from .feature_sets import check_feature_set, complete_sets, read_feature_sets, select_columns
from .journal import FinishedEra, Journal
from .parquet import PYARROW_VERSION
from .parquet.cross_check import DecoderMismatchError
from .parquet.file import (
    metadata_bytes,
    read_distinct_files,
    sample_digest,
)
from .parquet.handle import ParquetHandle
from .parquet.handle_pool import MAX_FREE, HandlePool
from .parquet.row_labels import read_eras
from .pipeline import Pipeline
from .pipeline_sizes import DEFAULT_LIMITS, PipelineLimits, least_budget
from .plan import Columns, ConversionPlan, ConvertOptions
from .row_scan import scan_rows
from .schema import BEST_KEY, common_schema, read_schema, without_unusable

_LOG = logging.getLogger("memmap_train")


class ParquetSource:
    """Parquet files that are converted together: a `ConversionSource`.

    Parameters
    ----------
    paths : sequence of paths
        The files, whose rows are taken in this order.
    limits : PipelineLimits, optional
        Sizes of the pipeline's blocks and buffers.

    Attributes
    ----------
    files : list of ParquetFileInfo
        The files; their rows are read through `reading`.

    Raises
    ------
    SourceError
        There are no paths, a file can't be read, or the same file is named twice.
    """

    name = "the sources"
    own_dtype, own_missing = "float32", "0.5"
    pyarrow_version = PYARROW_VERSION
    own_benchmarks = None

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        limits: PipelineLimits = DEFAULT_LIMITS,
    ) -> None:
        self._limits = limits
        if not paths:
            raise SourceError("no sources; expected at least one parquet file")
        raise_open_file_limit()  # each of them takes a descriptor
        self.files = read_distinct_files(paths)
        self._handles = HandlePool(self.files)

    @property
    def entries(self) -> tuple[SourceEntry, ...]:
        """The files."""
        return tuple(source.entry for source in self.files)

    def identity(self) -> list[Any]:
        """Return the identity of the files' content, which is the same for copies of them."""
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
            There are no rows, a row has no era or no id, or an era has two labels.
        """
        scan = scan_rows(self._handles, columns.schema, progress)
        return ConversionPlan(
            columns=columns,
            options=options,
            sources=self.entries,
            groups=scan.groups,
            rows_per_era=scan.rows_per_era,
            data_types=scan.data_types,
            id_width=scan.id_width,
        )

    def least_budget(self, plan: ConversionPlan) -> int:
        """Return the minimum bytes of buffers for decoding the largest row group."""
        return least_budget(plan, self.files, self._limits)

    def write(
        self,
        plan: ConversionPlan,
        journal: Journal,
        budget: int,
        n_workers: int,
        progress: Callable[[float, int], None],
    ) -> dict[str, FinishedEra]:
        """Write all unfinished eras; see `ConversionSource`.

        If the cross-check finds a wrong code, all eras are written again, and Arrow decodes this
        file: in the row groups before, only one column of each was compared.
        """
        self._choose_decoder(plan)
        while True:
            counted = _RowCount(progress)
            try:
                return Pipeline(
                    plan, self._handles, journal, budget, n_workers, counted.add, self._limits
                ).run()
            except DecoderMismatchError as error:  # its traceback would keep files open
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
    """Return the bytes of memory that parsed footers take while parquet files are read.

    Raises
    ------
    SourceError
        A file can't be read.
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
