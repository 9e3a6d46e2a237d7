"""Row groups from parquet files into transpose buffers, by blocks of columns.

Takes row groups of a plan; returns buffers whose chunks hold the rows of one era each. Called by
several threads, each with blocks of its own.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array, Int64
from ..errors import SourceError
from ..system.scratch import ThreadScratch
from .parquet.handle import ParquetHandle
from .parquet.handle_pool import HandlePool
from .parquet.row_labels import read_eras, read_ids
from .pipeline_sizes import PipelineLimits, PipelineSizes
from .plan import ConversionPlan, RowGroup
from .transpose import Store, TransposeBuffer

RowSelection = Int64 | slice

_CACHE_LINE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Piece:
    """The rows of one era in one row group, which are consecutive in the shard.

    Attributes
    ----------
    era : str
    chunks : range
        The chunks of the transpose buffer that hold them.
    """

    era: str
    chunks: range


@dataclass(frozen=True, slots=True)
class RowGroupLayout:
    """The layout of a row group: which rows go into which chunk of a buffer.

    Attributes
    ----------
    group : RowGroup
    buffer : TransposeBuffer
    pieces : list of Piece
        The eras that are to be written.
    rows : list of ndarray of int64, or slice
        The rows of the group that each chunk of the buffer takes.
    """

    group: RowGroup
    buffer: TransposeBuffer
    pieces: list[Piece]
    rows: list[RowSelection]

    def blocks(self) -> Iterator[tuple[str, int, int]]:
        """Yield (name of the field, first column, columns) of all blocks."""
        for name, field in self.buffer.fields.items():
            for first, n_columns in field.blocks():
                yield name, first, n_columns


class RowGroupDecoder:
    """Decodes row groups into transpose buffers; thread-safe.

    Parameters
    ----------
    plan : ConversionPlan
    handles : HandlePool
        Handles on the plan's sources.
    sizes : PipelineSizes
    limits : PipelineLimits
    progress : callable(rows done now, rows in all)
        A decoded row counts half: a million of them come before the first is written.
    """

    def __init__(
        self,
        plan: ConversionPlan,
        handles: HandlePool,
        sizes: PipelineSizes,
        limits: PipelineLimits,
        progress: Callable[[float, int], None],
    ) -> None:
        self._plan, self._handles, self._progress = plan, handles, progress
        self._sizes, self._limits = sizes, limits
        self._schema = plan.columns.schema
        self._scratch = ThreadScratch()

    def lay_out(
        self,
        group: RowGroup,
        store: Store,
        todo: Collection[str],
        skipped: Callable[[str], Collection[str]],
    ) -> RowGroupLayout:
        """Read the eras of a row group, and decide which rows go where.

        Parameters
        ----------
        group : RowGroup
        store : Store
            Memory, or a file, for the transpose buffer.
        todo : collection of str
            The eras that are to be written.
        skipped : callable(era) -> collection of str
            Returns the arrays of an era that needn't be made.

        Raises
        ------
        SourceError
            The rows of an era aren't as many as in the plan: the file has changed.
        """
        with self._handles.take(group.source) as source:
            path = source.info.path
            labels = read_eras(source, group.index, self._schema.era)
        by_label = {label: code for code, label in enumerate(labels.labels)}
        pieces: list[Piece] = []
        rows: list[RowSelection] = []
        for era, n_rows in group.eras.items():
            if era not in todo:
                continue
            chosen = np.flatnonzero(labels.codes == by_label.get(era, -1))
            if len(chosen) != n_rows:
                raise SourceError(
                    f"{path}: the file changed while it was read; run the same command again"
                )
            first_chunk = len(rows)
            n_chunks = -(-n_rows // self._sizes.chunk_rows)
            for part in np.array_split(chosen, n_chunks):  # of much the same size
                consecutive = part[-1] - part[0] == len(part) - 1
                rows.append(slice(int(part[0]), int(part[-1]) + 1) if consecutive else part)
            pieces.append(Piece(era, range(first_chunk, len(rows))))
        lengths = [
            part.stop - part.start if isinstance(part, slice) else len(part) for part in rows
        ]
        fields = dict(self._sizes.fields)
        if all("features" in skipped(piece.era) for piece in pieces):
            del fields["features"]
        return RowGroupLayout(group, TransposeBuffer(store, fields, lengths), pieces, rows)

    def decode(self, layout: RowGroupLayout, name: str, first: int, n_columns: int) -> None:
        """Decode a block of columns of a row group into its transpose buffer."""
        group, buffer = layout.group, layout.buffer
        with self._handles.take(group.source) as source:
            if name == "ids":
                self._decode_ids(source, layout)
            else:
                block = self._block(n_columns, group.rows, buffer.fields[name].dtype)
                self._decode_columns(source, group.index, name, first, block)
                for chunk, rows in enumerate(layout.rows):
                    buffer.put(name, chunk, first, block[:, rows])
        share = n_columns / sum(field.n_columns for field in buffer.fields.values())
        self._progress(sum(buffer.chunk_rows) * share / 2, self._plan.n_rows)

    def _decode_columns(
        self, source: ParquetHandle, group: int, name: str, first: int, block: Array
    ) -> None:
        """Decode columns of a field, from the first one, into rows of a block."""
        schema = self._schema
        columns: Any
        if name == "targets":
            targets = schema.targets[first : first + len(block)]
            columns = source.floats(group, targets, divide_codes=False)
        elif schema.integer_features:
            features = schema.features[first : first + len(block)]
            source.features(group, features, block.view(np.int8))
            columns = ()
        else:
            features = schema.features[first : first + len(block)]
            columns = source.floats(group, features, divide_codes=True)
        for position, column in enumerate(columns):
            block[position] = column

    def _decode_ids(self, source: ParquetHandle, layout: RowGroupLayout) -> None:
        """Put the ids of a row group into its buffer, some at a time: they may be long."""
        assert self._schema.id is not None
        buffer, dtype = layout.buffer, layout.buffer.fields["ids"].dtype
        n_ids = self._limits.ids_at_once(dtype.itemsize)
        begin = 0
        for ids in read_ids(source, layout.group.index, self._schema.id, n_ids):
            ids, end = ids.astype(dtype, copy=False), begin + len(ids)
            for chunk, part in enumerate(layout.rows):
                if isinstance(part, slice):
                    rows = slice(max(part.start, begin), min(part.stop, end))
                    if rows.start < rows.stop:
                        here = slice(rows.start - begin, rows.stop - begin)
                        buffer.put_rows("ids", chunk, rows.start - part.start, ids[here])
                else:
                    first, last = np.searchsorted(part, (begin, end))
                    if first < last:
                        buffer.put_rows("ids", chunk, int(first), ids[part[first:last] - begin])
            begin = end

    def _block(self, n_columns: int, n_rows: int, dtype: np.dtype[np.generic]) -> Array:
        distance = column_distance(n_rows, dtype.itemsize)
        memory = self._scratch.array("block", n_columns * distance * dtype.itemsize, np.uint8)
        return memory.view(dtype).reshape(n_columns, distance)[:, :n_rows]


def column_distance(n_rows: int, item_bytes: int) -> int:
    """Return the distance of columns of `n_rows` rows, in values: an odd number of cache lines.

    Numerai's row groups have 2^20 rows: columns that far apart map to the same cache sets.
    """
    in_line = max(1, _CACHE_LINE_BYTES // item_bytes)
    return (n_rows // in_line | 1) * in_line + 2 * in_line
