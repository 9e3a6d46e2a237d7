"""An open parquet file: features and targets of a row group as numpy arrays.

Wide row groups are read by blocks of columns, never by batches of rows: going back into thousands
of column readers for each batch decodes four times slower and holds all the compressed pages.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import SourceError
from ..codec import MISSING_CODE
from .columns import as_floats, as_numbers, as_plain_array, columns_at_once, first_non_code
from .cross_check import DecodedSamples
from .dictionary_codes import CodeDecoder, ColumnOffsets
from .file import ParquetFileInfo, one_line


class SharedFooter:
    """The parsed footer of a file, which all handles on the file share.

    Parameters
    ----------
    path : Path
    metadata : pyarrow.parquet.FileMetaData
    """

    def __init__(self, path: Path, metadata: Any) -> None:
        self.metadata = metadata
        self.offsets = ColumnOffsets(path, metadata.num_row_groups)


class ParquetHandle:
    """An open parquet file, for one thread at a time.

    Parameters
    ----------
    info : ParquetFileInfo
    footer : SharedFooter, optional
        That of another handle on the file; by default the footer is parsed again.
    uses_decoder : bool
        Whether features are decoded from their dictionary pages where that is possible. Otherwise,
        Arrow decodes all of them.
    samples : DecodedSamples, optional
        Takes note of features that are decoded without Arrow.

    Attributes
    ----------
    info : ParquetFileInfo
    footer : SharedFooter

    Raises
    ------
    SourceError
        The file isn't the one that `info` describes, or can't be opened.
    """

    def __init__(
        self,
        info: ParquetFileInfo,
        footer: SharedFooter | None = None,
        *,
        uses_decoder: bool = True,
        samples: DecodedSamples | None = None,
    ) -> None:
        info.check_unchanged()
        self.info = info
        try:
            self._file: Any = pq.ParquetFile(info.path, metadata=footer and footer.metadata)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{info.path}: can't be opened again: {one_line(error)}") from None
        self.footer = footer or SharedFooter(info.path, self._file.metadata)
        self._samples = samples
        self._decoder: CodeDecoder | None = None
        if uses_decoder:
            self._decoder = CodeDecoder(info.path, self.footer.offsets, info.nullable)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # -- features and targets -----------------------------------------------------------------

    def features(
        self,
        group: int,
        names: Sequence[str],
        out: npt.NDArray[np.int8] | None = None,
    ) -> npt.NDArray[np.int8]:
        """Decode integer features of a row group to codes.

        Parameters
        ----------
        group : int
        names : sequence of str
        out : ndarray of int8, shape (features, rows), optional
            The array to fill; by default a new one.

        Returns
        -------
        ndarray of int8, shape (features, rows)
            `MISSING_CODE` where null.

        Raises
        ------
        SourceError
            A value outside 0 to 4.
        """
        if out is None:
            out = np.empty((len(names), self.info.row_groups[group]), np.int8)
        left: Sequence[int] = range(len(names))
        if self._decoder is not None:
            left = self._decoder.decode(group, names, out)
            if self._samples is not None:
                self._samples.add(group, names, left, out)
        self._features_from_arrow(group, names, left, out)
        return out

    def feature_from_arrow(self, group: int, name: str) -> npt.NDArray[np.int8]:
        """Return the codes of a feature as Arrow decodes them; otherwise like `features`."""
        out = np.empty(self.info.row_groups[group], np.int8)
        self._features_from_arrow(group, [name], [0], out[np.newaxis])
        return out

    def _features_from_arrow(
        self, group: int, names: Sequence[str], left: Sequence[int], out: npt.NDArray[np.int8]
    ) -> None:
        """Fill the rows of `out` at some positions."""
        columns = self.columns(group, [names[position] for position in left])
        for position, column in zip(left, columns, strict=True):
            if pa.types.is_null(column.type):
                out[position] = MISSING_CODE
                continue
            present = column.drop_null() if column.null_count else column
            self._check_codes(group, names[position], present)
            out[position] = as_numbers(column, null=MISSING_CODE)
            del column, present  # before the next one is decoded

    def floats(
        self, group: int, names: Sequence[str], *, divide_codes: bool
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Yield numeric columns of a row group as float32, NaN where null.

        Parameters
        ----------
        group : int
        names : sequence of str
        divide_codes : bool
            Whether integers are codes of features: they are checked as in `features`, and come as
            code / 4.
        """
        for name, array in zip(names, self.columns(group, names), strict=True):
            if divide_codes and pa.types.is_integer(array.type):
                self._check_codes(group, name, array.drop_null())
                yield np.multiply(as_floats(array), np.float32(0.25))
            else:
                yield as_floats(array)

    def float_pieces(
        self, group: int, name: str, at_once: int
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Yield a numeric column as float32, NaN where null, `at_once` rows at a time."""
        return map(as_floats, self.pieces(group, name, at_once))

    def _check_codes(self, group: int, name: str, array: Any) -> None:
        found = first_non_code(array)
        if found is not None:
            raise SourceError(
                f"{self.info.path}: feature {name!r}: expected integer codes 0 to 4, found {found} "
                f"(row group {group}); values that aren't codes must be floats in the file"
            )

    # -- Arrow --------------------------------------------------------------------------------

    def columns(self, group: int, names: Sequence[str]) -> Iterator[Any]:
        """Yield columns of a row group as plain arrays, decoded a few at a time."""
        at_once = columns_at_once(self.info.row_groups[group], self.info.item_bytes(names))
        for first in range(0, len(names), at_once):
            yield from self._read(group, names[first : first + at_once])

    def rows_within(self, n_bytes: int, group: int, name: str) -> int:
        """Return how many rows of a column take about so many bytes, at least one."""
        metadata = self._file.metadata.row_group(group)
        columns = map(metadata.column, range(metadata.num_columns))
        found = next(column for column in columns if column.path_in_schema == name)
        row_bytes = found.total_uncompressed_size / max(1, found.num_values)
        return max(1, int(n_bytes / max(1.0, row_bytes)))

    def pieces(self, group: int, name: str, at_once: int) -> Iterator[Any]:
        """Yield a column of a row group as plain arrays of `at_once` rows.

        One column alone is cheap to read in pieces, and texts take several times as much memory as
        what is made of them.
        """
        n_rows = 0
        try:
            for batch in self._file.iter_batches(
                at_once, row_groups=[group], columns=[name], use_threads=False
            ):
                n_rows += len(batch)
                # The batch may also hold a struct with a field of this name.
                yield as_plain_array(pa.chunked_array([batch.column(name)]))
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(group, error) from None
        self._check_rows(group, n_rows)

    def _read(self, group: int, names: Sequence[str]) -> list[Any]:
        """Return columns of a row group as plain arrays: one chunk, no dictionaries."""
        try:
            table = self._file.read_row_group(group, columns=list(names), use_threads=False)
            columns = [as_plain_array(table.column(name)) for name in names]
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(group, error) from None
        self._check_rows(group, len(table))
        return columns

    def _unreadable(self, group: int, error: Exception) -> SourceError:
        return SourceError(f"{self.info.path}: row group {group} can't be read: {one_line(error)}")

    def _check_rows(self, group: int, n_rows: int) -> None:
        if n_rows != self.info.row_groups[group]:
            raise SourceError(
                f"{self.info.path}: row group {group}: expected {self.info.row_groups[group]:,} "
                f"rows, found {n_rows:,}"
            )
