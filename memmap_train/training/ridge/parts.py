"""The training eras of a ridge regression in parts: those to choose by, held out, and in between.

Takes the eras to train on; returns them in the order in which their rows are added, and the blocks
of rows of each part. Integers only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...arrays import Floats
from ...dataset.dataset import Dataset
from ...runs.folds.fold import Fold
from ...runs.folds.folds import split

_HELD_OUT = 0.2  # of the training eras, the last ones


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that are read and added together.

    Attributes
    ----------
    low, high : int
        The rows, counted over all eras of the part.
    weight : float
        The weight of each row.
    ends_era : bool
        Whether the last row is that of an era.
    """

    low: int
    high: int
    weight: float
    ends_era: bool


def inner_fold(train: Dataset, fold: Fold, targets: Sequence[str]) -> Fold:
    """Return a fold inside the training eras, to choose the strength by.

    The last fifth of the eras is held out, and the embargo is that of the run.

    Parameters
    ----------
    train : Dataset
        The eras to train on.
    fold : Fold
    targets : sequence of str

    Raises
    ------
    FoldError
        The training eras are too few.
    """
    return split(
        train.eras,
        train.labelled_eras(targets[0]),
        validation_eras=_HELD_OUT,
        embargo_eras=fold.embargo_eras,
        targets=targets,
        aliases=train.manifest.aliases,
        allow_overlap=True,  # an embargo that the run has is permitted
    )


def parts_of(train: Dataset, inner: Fold | None) -> tuple[tuple[str, ...], ...]:
    """Return the eras to choose by, those held out, and the others; or all eras at once.

    Whatever the order, the sums are the same: models are made of the first part, scored on the
    second, and made again of all three.
    """
    if inner is None:
        return (train.eras,)
    chosen = {*inner.train, *inner.validation}
    rest = tuple(era for era in train.eras if era not in chosen)
    return tuple(filter(None, (inner.train, inner.validation, rest)))


def blocks_of(
    rows_per_era: Sequence[int], weights: Floats, most_rows: int, *, by_era: bool
) -> list[Block]:
    """Return the blocks of the eras of a part.

    Parameters
    ----------
    rows_per_era : sequence of int
    weights : ndarray of float, shape (eras,)
        The weight of a row of each era.
    most_rows : int
    by_era : bool
        Whether each block has rows of one era. Otherwise eras of the same weight may share one.

    Examples
    --------
    >>> import numpy as np
    >>> [(b.low, b.high) for b in blocks_of([3, 5, 2], np.ones(3), 4, by_era=False)]
    [(0, 4), (4, 8), (8, 10)]
    >>> [(b.low, b.high) for b in blocks_of([3, 5, 2], np.ones(3), 4, by_era=True)]
    [(0, 3), (3, 7), (7, 8), (8, 10)]
    """
    runs: list[tuple[int, float]] = []  # rows of one weight
    for n_rows, weight in zip(rows_per_era, weights.tolist(), strict=True):
        if runs and not by_era and runs[-1][1] == weight:
            runs[-1] = (runs[-1][0] + n_rows, weight)
        else:
            runs.append((n_rows, weight))
    blocks, first = [], 0
    for n_rows, weight in runs:
        bounds = [*range(first, first + n_rows, most_rows), first + n_rows]
        blocks += [Block(low, high, weight, high == bounds[-1]) for low, high in pairwise(bounds)]
        first += n_rows
    return blocks
