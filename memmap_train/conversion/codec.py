"""Encoding of values as a dataset stores them.

Takes transposed rows: int8 codes (`MISSING_CODE` for null) or float32 (NaN for missing). Returns
rows as they are stored, float32 or int8 codes, and the number of rows with each code or without
one. Values that a dataset can't hold are errors.
"""

from collections.abc import Sequence

import numpy as np

from ..arrays import Array, Float32, Int32, Mask
from ..dataset.format import MISSING_COUNT, N_COUNTS
from ..errors import SourceError
from ..system.scratch import ThreadScratch

MAX_CODE = 4
"""The largest code; the smallest is 0."""
MISSING_CODE = 5
"""The code of a null between decoding and encoding."""
_MIDDLE_CODE = np.int8(2)  # Numerai itself has written it for a missing feature since v4.2
_CODE_STEP = np.float32(0.25)
_CODES = np.arange(MAX_CODE + 1, dtype=np.int8)[:, np.newaxis]
_QUARTERS = _CODES * _CODE_STEP
_FOLD = 8  # rows added as one long row: numpy's cost per row is then a small part
_MAX_FOLDED_ROWS = 255 * _FOLD  # so that sums fit into bytes


class FeatureEncoder:
    """Encodes features for one store dtype; thread-safe.

    Parameters
    ----------
    names : sequence of str
        The names of all features, in column order.
    store_dtype : {"float32", "int8"}
    missing : {"0.5", "nan"}
    """

    def __init__(self, names: Sequence[str], store_dtype: str, missing: str) -> None:
        self._names = names
        self._as_codes = store_dtype == "int8"
        self._scratch = ThreadScratch()
        self._filler = np.float32(0.5) if missing == "0.5" else np.float32(np.nan)

    def encode(
        self, block: Array, out: Array, counts: Int32 | None, first: int, where: str
    ) -> None:
        """Write a block of columns into `out` as it is stored, and add to `counts`.

        Parameters
        ----------
        block : ndarray of int8 or float32, shape (rows, columns)
        out : ndarray of the store dtype, shape (rows, columns)
        counts : ndarray of int32, shape (columns, 6), or None
            Number of rows with code 0, 1, 2, 3, 4, and of rows without a value; other floats are
            not counted. None if they are known.
        first : int
            The position of the block's first column among all features.
        where : str
            Source and era, for messages.

        Raises
        ------
        SourceError
            An infinity; for the int8 store a float that isn't a code.
        """
        if self._as_codes and block.dtype != np.int8:
            codes = self._all_codes(block)
            block = block if codes is None else codes
        any_missing, missing = self._missing(block)
        if counts is not None:
            self._count(block, any_missing, counts)
        if block.dtype == np.int8:
            if self._as_codes:
                np.copyto(out, block)
            else:
                np.multiply(block, _CODE_STEP, out=out, dtype=np.float32)
        else:
            check_finite("feature", self._names[first : first + block.shape[1]], block, where)
            if self._as_codes:
                self._encode_floats_as_codes(block, out, missing, first, where)
            else:
                with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN like others
                    np.add(block, np.float32(0), out=out)  # turns -0.0 into 0.0
        if any_missing:
            filler = _MIDDLE_CODE if self._as_codes else self._filler
            np.copyto(out, filler, where=missing)

    def _all_codes(self, block: Array) -> Array | None:
        """Return floats as codes; None if a value is missing or isn't a code.

        Most blocks hold nothing but codes, and this takes a third of the time of `_missing`,
        `_count` and `_encode_floats_as_codes`.
        """
        scaled, codes = (
            self._scratch.array("scaled", block.shape, np.float32),
            self._scratch.array("codes", block.shape, np.int8),
        )
        equal = self._scratch.array("equal", block.shape, np.bool_)
        with np.errstate(invalid="ignore", over="ignore"):  # such values aren't equal below
            np.multiply(block, 1 / _CODE_STEP, out=scaled)
            np.copyto(codes, scaled, casting="unsafe")
        is_whole = bool(np.equal(codes, scaled, out=equal).all())
        return codes if is_whole and codes.view(np.uint8).max(initial=0) <= MAX_CODE else None

    def _missing(self, block: Array) -> tuple[bool, Mask]:
        """Return True if cells are missing, and a mask of them, undefined if none is."""
        missing = self._scratch.array("masks", (N_COUNTS, *block.shape), np.bool_)[MISSING_COUNT]
        if block.dtype != np.int8:
            return bool(np.isnan(block, out=missing).any()), missing
        any_missing = bool(block.max() == MISSING_CODE)  # the largest
        if any_missing:
            np.equal(block, MISSING_CODE, out=missing)
        return any_missing, missing

    def _count(self, block: Array, any_missing: bool, counts: Int32) -> None:
        """Add the codes of a block to `counts`; `_missing` has made the mask of missing cells.

        All codes are compared in one call: threads wait for each other at every call.
        """
        cells = block.reshape(-1)
        found = self._scratch.array("masks", (N_COUNTS, len(cells)), np.bool_)
        if block.dtype == np.int8:
            np.equal(cells, _CODES[1:MISSING_COUNT], out=found[1:MISSING_COUNT])
            found = found[1 : N_COUNTS if any_missing else MISSING_COUNT]
            n_rows = _count_true(found, block.shape[1])
            counts[:, 1 : len(found) + 1] += n_rows.T
            counts[:, 0] += len(block) - n_rows.sum(axis=0)
        else:
            np.equal(cells, _QUARTERS, out=found[:MISSING_COUNT])
            counts += _count_true(found, block.shape[1]).T

    def _encode_floats_as_codes(
        self, block: Array, out: Array, missing: Array, first: int, where: str
    ) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # an infinity is no code either
            codes = np.where(missing, np.float32(2), np.divide(block, _CODE_STEP))
        wrong = (codes != np.rint(codes)) | (codes < 0) | (codes > 4)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise SourceError(
                f"{where}: feature {self._names[first + int(column)]!r}: found "
                f"{block[row, column]}, which is none of 0, 0.25, 0.5, 0.75, 1, the values that "
                "an int8 store can hold; use --dtype float32"
            )
        np.copyto(out, codes, casting="unsafe")


def _count_true(masks: Mask, n_columns: int) -> Int32:
    """Return the number of rows of each column that are true in each mask: shape (masks, columns).

    This is ten times as fast as `sum`: eight rows are added as one long row, and sums of up to 255
    fit into bytes, of which 32 are added at once.
    """
    counts = np.zeros((len(masks), n_columns), np.int32)
    cells = masks.view(np.uint8)
    for first in range(0, cells.shape[1], _MAX_FOLDED_ROWS * n_columns):
        part = cells[:, first : first + _MAX_FOLDED_ROWS * n_columns]
        whole = part.shape[1] // (_FOLD * n_columns) * (_FOLD * n_columns)
        folded = part[:, :whole].reshape(len(masks), -1, _FOLD * n_columns)
        sums = np.add.reduce(folded, axis=1, dtype=np.uint8).reshape(len(masks), _FOLD, n_columns)
        counts += np.add.reduce(sums, axis=1, dtype=np.uint16)
        if whole < part.shape[1]:
            rest = part[:, whole:].reshape(len(masks), -1, n_columns)
            counts += np.add.reduce(rest, axis=1, dtype=np.uint8)
    return counts


def canonicalize_nans(names: Sequence[str], targets: Float32, where: str) -> None:
    """Replace every NaN by the same bit pattern, in place.

    Raises
    ------
    SourceError
        A value is infinite.
    """
    check_finite("target", names, targets, where)
    np.copyto(targets, np.float32(np.nan), where=np.isnan(targets))


def check_finite(kind: str, names: Sequence[str], block: Array, where: str) -> None:
    """Raise a SourceError if a block of columns of these names holds an infinity."""
    infinite = np.isinf(block)
    if infinite.any():
        column = int(np.argmax(infinite.any(axis=0)))
        raise SourceError(
            f"{where}: {kind} {names[column]!r}: found an infinity (as float32); expected finite "
            "values, null or NaN; put null there, or leave the column out"
        )
