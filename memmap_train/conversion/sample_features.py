"""The features of a sample: codes in equal bins, of families that share a factor; ids of rows.

Takes the number of features and random generators; returns codes, ids and feature sets. Imports
numpy alone, and does no I/O.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..arrays import Float32, Ids, Int8

MIN_FEATURES = 5
MAX_FEATURES = 50_000
"""With more, sums could depend on their order; see `sample_terms`."""

_FAMILIES = (
    "intelligence",
    "charisma",
    "strength",
    "dexterity",
    "constitution",
    "wisdom",
    "agility",
    "serenity",
)
_MAX_LOADING = 0.25  # of a factor on a feature, beside noise uniform in 0..1
_EDGES = (0.2, 0.4, 0.6, 0.8)  # shares of an era's rows below each of the edges between bins


class Features:
    """How strongly each feature of a sample depends on the factor of its family.

    Parameters
    ----------
    n_features : int
    rng : Generator
        Draws the loadings.

    Attributes
    ----------
    families : list of slice
        The columns of each family.
    loadings : ndarray of float64, shape (features, 1)
    """

    def __init__(self, n_features: int, rng: np.random.Generator) -> None:
        self.families = list(_families(n_features).values())
        self.loadings = rng.uniform(-_MAX_LOADING, _MAX_LOADING, (n_features, 1))

    def codes(self, rng: np.random.Generator, n_rows: int) -> Int8:
        """Return an era's features, shape (features, rows)."""
        codes = np.empty((len(self.loadings), n_rows), np.int8)
        # A family at a time, so that its values stay in the processor's cache between the steps.
        for members in self.families:
            factor = rng.standard_normal(n_rows, dtype=np.float32)
            # Uniform and not normal, which takes five times as long and would look the same: only
            # ranks are kept.
            latent = rng.random((members.stop - members.start, n_rows), dtype=np.float32)
            latent += self.loadings[members].astype(np.float32) * factor
            codes[members] = rank_bins(latent, _EDGES)
        return codes


def rank_bins(values: Float32, edges: Sequence[float]) -> Int8:
    """Cut each line of values into bins of fixed shares, by rank.

    Parameters
    ----------
    values : ndarray of float32, shape (lines, rows)
    edges : sequence of float
        The share of rows below each edge, ascending.

    Returns
    -------
    ndarray of int8, shape (lines, rows)
        The number of edges below; equal values are ordered by their position.

    Examples
    --------
    >>> rank_bins(np.array([[5, 3, 1, 4, 2]], np.float32), [0.2, 0.4, 0.6, 0.8])
    array([[4, 2, 0, 3, 1]], dtype=int8)
    >>> rank_bins(np.zeros((1, 5), np.float32), [0.2, 0.4, 0.6, 0.8])
    array([[0, 1, 2, 3, 4]], dtype=int8)
    """
    n_rows = values.shape[1]
    cuts = np.rint(np.multiply(edges, n_rows)).astype(np.intp)
    ordered = np.sort(values, axis=1)  # vectorised, unlike argsort
    bins = np.zeros(values.shape, np.int8)
    for cut in cuts:
        bins += values >= ordered[:, cut, np.newaxis]
    # A value on both sides of a cut (about one line in 1,000) puts too many rows above it.
    tied = (ordered[:, cuts] == ordered[:, cuts - 1]).any(axis=1)
    for line in np.flatnonzero(tied):
        ranked = np.argsort(values[line], kind="stable")
        bins[line, ranked] = np.searchsorted(cuts, np.arange(n_rows), side="right")
    return bins


def feature_sets(n_features: int) -> dict[str, list[str]]:
    """Return overlapping sets of features, each in the order of the columns."""
    families = _families(n_features)
    every = [
        f"feature_{family}_{number:04d}"
        for family, members in families.items()
        for number in range(1, 1 + members.stop - members.start)
    ]
    return {
        "small": every[::4],
        "medium": every[::2],
        "all": every,
        **{family: every[members] for family, members in families.items()},
        "sunshine": every[::3],
        "rain": every[::5],
    }


def ids(rng: np.random.Generator, number: int, n_rows: int) -> Ids:
    """Return `n` and 15 hexadecimal digits per row: ascending, and unique over all eras.

    The last four digits are the era's number, which keeps eras apart; the others grow by steps of
    random length, which keeps rows apart.
    """
    step = 2**44 // n_rows
    leading = np.arange(n_rows) * step + rng.integers(step, size=n_rows)
    values = leading << 16 | number
    digits = values[:, np.newaxis] >> np.arange(56, -4, -4) & 15
    text = np.empty((n_rows, 16), np.uint8)
    text[:, 0] = ord("n")
    text[:, 1:] = np.frombuffer(b"0123456789abcdef", np.uint8)[digits]
    return text.view("S16")[:, 0]


def _families(n_features: int) -> dict[str, slice]:
    """Cut the features into runs that share a factor, of at least two features each."""
    n_families = min(len(_FAMILIES), n_features // 2)
    edges = [n_features * i // n_families for i in range(n_families + 1)]
    return {
        name: slice(start, stop)
        for name, (start, stop) in zip(_FAMILIES, pairwise(edges), strict=False)
    }
