"""Ids of rows: their order, the repeated ones, and where some ids are among others.

Takes arrays of ids; returns arrays. Does no I/O.
"""

import numpy as np

from ..arrays import Ids, Positions

ID_COLUMN = "id"
"""The column of ids in Numerai's files."""


def order_of(ids: Ids) -> Positions:
    """Return the positions that sort ids; equal ones keep their order.

    Ids that are sorted already, as in Numerai's files, take one comparison each.
    """
    if bool((ids[1:] >= ids[:-1]).all()):
        return np.arange(len(ids))
    return np.argsort(ids, kind="stable")


def repeated_ids(ids: Ids) -> Ids:
    """Return the ids that occur more than once, each of them once, sorted.

    >>> repeated_ids(np.array([b"c", b"a", b"b", b"a", b"c"])).tolist()
    [b'a', b'c']
    """
    found = ids[order_of(ids)]
    return np.unique(found[1:][found[1:] == found[:-1]])


def positions_of(wanted: Ids, ids: Ids) -> Positions:
    """Return the position of each wanted id among ids that are all different; -1 without one.

    >>> positions_of(np.array([b"b", b"x", b"a", b"b"]), np.array([b"b", b"a"])).tolist()
    [0, -1, 1, 0]
    """
    if len(wanted) == len(ids) and bool((wanted == ids).all()):
        return np.arange(len(ids))
    order = order_of(ids)
    places = positions_in_sorted(wanted, ids[order])
    return np.where(places < 0, -1, order[places]) if len(ids) else places


def positions_in_sorted(wanted: Ids, ids: Ids) -> Positions:
    """Return the position of each wanted id among sorted ids; -1 without one.

    >>> positions_in_sorted(np.array([b"c", b"b", b"a"]), np.array([b"a", b"c"])).tolist()
    [1, -1, 0]
    """
    if not len(ids):
        return np.full(len(wanted), -1)
    places = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[places] == wanted, places, -1)
