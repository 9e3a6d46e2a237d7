"""A range of numbers that random draws of a sweep come from. Imports numpy alone."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

_DIGITS = 3  # of a drawn number: 1 + 3 significant ones, as people write them
_MIN_VALUES_OF_RANGE = 1000  # that so many digits leave


@dataclass(frozen=True, slots=True)
class Range:
    """A range of numbers to draw from, both ends included.

    Attributes
    ----------
    least, most : int or float
        Whole numbers are drawn where both are.
    is_log : bool
        Whether the logarithm is uniform, not the number.
    """

    least: float
    most: float
    is_log: bool

    @property
    def n_values(self) -> int:
        """How many different values are drawn, or a smaller number."""
        if isinstance(self.least, int):
            return int(self.most) - self.least + 1
        return _MIN_VALUES_OF_RANGE

    def draw(self, rng: np.random.Generator) -> float:
        """Return a number of few digits."""
        least, most, share = self.least, self.most, rng.random()
        if isinstance(least, int):
            most += 1  # each whole number is what is below the next one
        if self.is_log:
            drawn = math.exp(math.log(least) + share * (math.log(most) - math.log(least)))
        else:
            drawn = least + share * (most - least)
        if isinstance(least, int):
            return min(max(int(drawn), least), int(self.most))
        n_digits = _DIGITS - math.floor(math.log10(min(self.most - least, abs(drawn) or math.inf)))
        return min(max(round(drawn, n_digits), least), most)

    def to_json(self) -> dict[str, Any]:
        """Return the range as it is written in a file."""
        scale = {"scale": "log"} if self.is_log else {}
        return {"min": self.least, "max": self.most, **scale}
