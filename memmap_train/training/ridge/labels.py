"""What is known of all labels before the first product: which targets share rows, how large.

Takes the targets of eras; returns a `LabelPlan`, and labels as small whole numbers, whose products
with features add up exactly. Imports numpy only.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...arrays import Float32, Float64, Int64
from ...system.checksum import Checksum

_BITS = 26  # of a label: more than the 24 of a float32
_DIGIT_BITS = 9
N_DIGITS = 3
_HALF, _DIGITS = 2 ** (_DIGIT_BITS - 1), 2**_DIGIT_BITS

DIGIT_FACTORS = tuple(float(2 ** (_DIGIT_BITS * place)) for place in range(N_DIGITS))
"""What each of `digits` is multiplied by, from the lowest on."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelPlan:
    """Which targets have labels in the same rows, and the unit of each target's labels.

    Attributes
    ----------
    groups : tuple of int
        The group of each target. Targets of one group have labels in the same rows of all eras; the
        first target's group is 0.
    units : ndarray of float64, shape (targets,)
        A power of two. Labels are rounded to multiples of it: to 2**-26 of the largest one.
    """

    groups: tuple[int, ...]
    units: Float64

    @property
    def first_targets(self) -> tuple[int, ...]:
        """A target of each group."""
        return tuple(self.groups.index(group) for group in range(max(self.groups) + 1))


def label_plan(eras: Iterable[Float32], n_targets: int) -> LabelPlan:
    """Return the plan for the labels of all eras to train on.

    Parameters
    ----------
    eras : iterable of ndarray of float32, shape (rows, targets)
        NaN where a row has no label.
    n_targets : int

    Examples
    --------
    >>> nan = np.nan
    >>> eras = [np.array([[0.5, 3, nan], [nan, nan, 1]], np.float32)]
    >>> plan = label_plan(eras, 3)
    >>> plan.groups, np.log2(plan.units).tolist()
    ((0, 0, 1), [-26.0, -24.0, -25.0])
    """
    masks = [Checksum() for _ in range(n_targets)]
    largest = np.zeros(n_targets)
    for targets in eras:
        labelled = ~np.isnan(targets)
        for column, mask in enumerate(masks):
            mask.update(np.packbits(labelled[:, column]).tobytes())
        sizes = np.abs(np.where(labelled, targets, 0)).max(axis=0, initial=0)
        np.maximum(largest, sizes, out=largest)
    known = list(dict.fromkeys(mask.hex for mask in masks))
    _, exponents = np.frexp(largest)
    return LabelPlan(
        tuple(known.index(mask.hex) for mask in masks), 2.0 ** (exponents - float(_BITS))
    )


def whole_labels(targets: Float32, plan: LabelPlan) -> Int64:
    """Return labels as whole numbers of their units, 0 where there is none.

    Parameters
    ----------
    targets : ndarray of float32, shape (rows, targets)
    plan : LabelPlan

    Returns
    -------
    ndarray of int64, shape (rows, targets)
    """
    known = np.nan_to_num(targets.astype(np.float64))
    numbers: Int64 = np.rint(known / plan.units).astype(np.int64)
    return numbers


def digits(numbers: Int64) -> list[Int64]:
    """Return whole numbers as `N_DIGITS` digits of at most 2**8 in size, the lowest first.

    >>> low, middle, high = digits(np.array([-70_000]))
    >>> [int(part[0]) for part in (low, middle, high)]
    [144, -137, 0]
    """
    parts = []
    for _ in range(N_DIGITS - 1):
        low = (numbers + _HALF) % _DIGITS - _HALF
        parts.append(low)
        numbers = (numbers - low) // _DIGITS
    return [*parts, numbers]
