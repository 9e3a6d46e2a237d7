"""Values as a dataset holds them: what stands for a missing one, and which ones are refused.

In come rows from the stage: int8 codes (`MISSING_CODE` where null) or float32 (NaN where missing).
Out go rows as stored: float32, or int8 codes.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .errors import SourceError
from .parquet.reading import MISSING_CODE

Array = npt.NDArray[np.generic]

_MIDDLE_CODE = np.int8(2)  # what Numerai itself writes for a missing feature since v4.2
_CODE_STEP = np.float32(0.25)


class FeatureEncoder:
    """Encodes staged features for one store dtype.

    Parameters
    ----------
    names : sequence of str
        Of all features, in column order.
    store_dtype : {"float32", "int8"}
    missing : {"0.5", "nan"}
    """

    def __init__(self, names: Sequence[str], store_dtype: str, missing: str) -> None:
        self._names = names
        self._as_codes = store_dtype == "int8"
        self._filler = np.float32(0.5) if missing == "0.5" else np.float32(np.nan)

    def encode(self, block: Array, out: Array, first: int, where: str) -> int:
        """Write a block of staged columns into `out`; return how many values were missing.

        Parameters
        ----------
        block : ndarray of int8 or float32, shape (rows, columns)
        out : ndarray of the store dtype, shape (rows, columns)
        first : int
            Column of the block's first one.
        where : str
            Source and era, for messages.

        Raises
        ------
        SourceError
            An infinity; for the int8 store a float that isn't a code.
        """
        if block.dtype == np.int8:
            missing = block == MISSING_CODE
            if self._as_codes:
                np.copyto(out, block)
            else:
                np.multiply(block, _CODE_STEP, out=out, dtype=np.float32)
        else:
            missing = np.isnan(block)
            refuse_infinities("feature", self._names[first : first + block.shape[1]], block, where)
            if self._as_codes:
                self._encode_floats_as_codes(block, out, missing, first, where)
            else:
                np.add(block, np.float32(0), out=out)  # turns -0.0 into 0.0
        n_missing = int(np.count_nonzero(missing))
        if n_missing:
            filler = _MIDDLE_CODE if self._as_codes else self._filler
            np.copyto(out, filler, where=missing)
        return n_missing

    def _encode_floats_as_codes(
        self, block: Array, out: Array, missing: Array, first: int, where: str
    ) -> None:
        with np.errstate(over="ignore"):  # an infinity is no code either
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


def refuse_infinities(kind: str, names: Sequence[str], block: Array, where: str) -> None:
    """Raise a SourceError if a block of columns of these names holds an infinity."""
    infinite = np.isinf(block)
    if infinite.any():
        column = int(np.argmax(infinite.any(axis=0)))
        raise SourceError(
            f"{where}: {kind} {names[column]!r}: found an infinity (as float32); expected finite "
            "values, null or NaN"
        )
