"""Ids of one era matched with those of files, and what a benchmark holds after the join.

Takes arrays of one era; returns arrays. Reads and writes no files.
"""

from collections.abc import Callable, Iterable

import numpy as np

from ...arrays import Float32, Ids, Positions


def sorting(ids: Ids) -> Positions:
    """Return the positions that sort ids; ids of Numerai's files are sorted already."""
    if bool((ids[1:] >= ids[:-1]).all()):
        return np.arange(len(ids))
    return np.argsort(ids, kind="stable")


def repeated(ids: Ids) -> Ids:
    """Return the ids that occur more than once, each of them once, sorted.

    >>> repeated(np.array([b"c", b"a", b"b", b"a", b"c"])).tolist()
    [b'a', b'c']
    """
    found = ids[sorting(ids)]
    return np.unique(found[1:][found[1:] == found[:-1]])


def positions_of(wanted: Ids, ids: Ids) -> Positions:
    """Return the position of each wanted id among ids that are all different; -1 without one.

    >>> positions_of(np.array([b"b", b"x", b"a", b"b"]), np.array([b"a", b"b"])).tolist()
    [1, -1, 0, 1]
    """
    if not len(ids):
        return np.full(len(wanted), -1)
    if len(wanted) == len(ids) and bool((wanted == ids).all()):
        return np.arange(len(ids))
    order = sorting(ids)
    found = ids[order]
    at = np.minimum(np.searchsorted(found, wanted), len(found) - 1)
    return np.where(found[at] == wanted, order[at], -1)


def fill(
    stored: Float32,
    parts: Iterable[tuple[Positions, Callable[[Positions], Float32]]],
    *,
    keeps_stored: bool,
) -> Float32:
    """Return a benchmark of rows of one era after the rows of files were joined.

    Parameters
    ----------
    stored : ndarray of float32, shape (rows,)
        Its values before; NaN where there was none.
    parts : iterable of (ndarray of int, callable)
        Of each file that has rows of the era: the position of each of these rows there, or -1, and
        what returns the values at positions.
    keeps_stored : bool
        Whether a row for which no file has a value keeps its own. Otherwise it has none.

    Returns
    -------
    ndarray of float32, shape (rows,)
    """
    joined = np.full(len(stored), np.nan, np.float32)
    for positions, values_at in parts:
        found = positions >= 0
        joined[found] = values_at(positions[found])
    return np.where(np.isnan(joined), stored, joined) if keeps_stored else joined
