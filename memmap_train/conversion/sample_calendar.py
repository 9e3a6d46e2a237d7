"""The calendar of a sample: which eras train, validate or are live, and what is known of them.

The targets of the last eras are null, as in Numerai's validation.parquet: the days that they look
ahead to haven't happened yet. The last four eras have no labels, the last twelve no labels of
targets that look 60 days ahead. (Small samples have fewer such eras, or none.) The first eighth of
the eras has no predictions of benchmark models, which had nothing to be trained on; the meta model
has predictions of the last half of the validation eras only.
"""

from dataclasses import dataclass

import numpy as np

from ..arrays import Float32
from .sample_signal import TARGET_NAMES

LIVE = 0
"""The live era's number; the others count from 1."""
_UNRESOLVED_ERAS_20 = 4  # weeks until a 20-day target is known
_UNRESOLVED_ERAS_60 = 12
_TEST_ERAS = 8  # some with labels, as in reality
_BENCHMARKS_SINCE = (157, 1_232)
"""The eras before the first one with predictions of benchmark models, and all eras, in reality."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """The properties of an era that depend on the number of eras.

    Attributes
    ----------
    n_eras : int
        Number of eras, without the live one.
    """

    n_eras: int

    @property
    def train(self) -> range:
        """The numbers of the training eras: the first four fifths."""
        return range(1, 1 + self.n_eras * 4 // 5)

    @property
    def validation(self) -> range:
        """The numbers of the validation eras."""
        return range(self.train.stop, 1 + self.n_eras)

    @property
    def benchmarks(self) -> range:
        """The numbers of the eras that have predictions of benchmark models, beside the live one.

        Notes
        -----
        Source: Numerai's files of version 5.3, whose benchmark models begin with era 0158.
        """
        before, of = _BENCHMARKS_SINCE
        return range(1 + self.n_eras * before // of, 1 + self.n_eras)

    @property
    def meta_model(self) -> range:
        """The numbers of the eras that have predictions of the meta model: half of validation."""
        return self.validation[len(self.validation) // 2 :]

    def label(self, number: int) -> str:
        """Return the label of an era."""
        return "X" if number == LIVE else f"{number:04d}"

    def data_type(self, number: int) -> str:
        """Return the data type of an era's rows."""
        if number == LIVE:
            return "live"
        if number in self.train:
            return "train"
        n_test = min(_TEST_ERAS, len(self.validation) // 3)
        return "test" if number > self.n_eras - n_test else "validation"

    def moment(self, number: int) -> int:
        """Return the place of an era in time: the live one comes after the last."""
        return self.n_eras + 1 if number == LIVE else number

    def known(self, number: int, targets: Float32) -> Float32:
        """Return the targets of an era, with NaN in place of those that aren't known yet."""
        unknown = [
            number == LIVE or number > self.n_eras - self._n_unresolved(name)
            for name in TARGET_NAMES
        ]
        return np.where(unknown, np.float32(np.nan), targets)

    def _n_unresolved(self, target: str) -> int:
        """Return the number of last eras in which a target isn't known."""
        if target.endswith("_60"):
            return min(_UNRESOLVED_ERAS_60, max(1, len(self.validation) // 3))
        return min(_UNRESOLVED_ERAS_20, len(self.validation) // 9)
