"""Windows that lie close together in a file, to be read by one request. Integers only.

What lies between two windows is read with them where that takes less time than another request
would. A rank of a distributed training, for example, needs some rows of each window.
"""

from dataclasses import dataclass

import numpy as np

from ..arrays import Int32, Int64
from .sampler import Pool

_MAX_GAP_BYTES = 2**17
"""Between windows of one request: less than the smallest window that is read at full speed, so that
windows chosen by default are never joined across one that isn't needed."""
_REQUEST_BYTES = 2**20
"""Windows that begin in different sections of so many bytes of a file aren't joined: several
threads share the requests, and each holds one in memory."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests for the rows of windows, in the order of the windows.

    Attributes
    ----------
    firsts : ndarray of int64, shape (requests,)
        Position of the first window of each request among the windows.
    eras : ndarray of int32, shape (requests,)
        Position of each request's era in the dataset.
    starts, stops : ndarray of int64, shape (requests,)
        The first row of each request in its era, and the one after its last row.
    """

    firsts: Int64
    eras: Int32
    starts: Int64
    stops: Int64


def requests_of(pool: Pool, windows: Int64, row_bytes: int) -> Requests:
    """Return the requests that read windows of a pool.

    Parameters
    ----------
    pool : Pool
    windows : ndarray of int64, shape (windows,)
        Positions of the windows in the pool, ascending.
    row_bytes : int
        Size of a row in its file.
    """
    max_gap, section_rows = (max(1, n // row_bytes) for n in (_MAX_GAP_BYTES, _REQUEST_BYTES))
    eras, starts = pool.eras[windows], pool.starts[windows]
    stops = starts + pool.lengths[windows]
    first_row = eras.astype(np.int64) * (stops.max(initial=0) + 1)  # numbers the rows of all eras
    reached = np.maximum.accumulate(first_row + stops)  # a window may lie within the one before
    gaps = starts[1:] + first_row[1:] - reached[:-1]
    is_first = np.ones(len(windows), np.bool_)
    is_first[1:] = (
        (np.diff(eras) != 0)
        | (np.diff(starts) < 0)
        | (np.diff(starts // section_rows) != 0)
        | (gaps > max_gap)
    )
    firsts = np.flatnonzero(is_first)
    ends = np.maximum.reduceat(stops, firsts)
    return Requests(firsts, eras[firsts], starts[firsts], ends)
