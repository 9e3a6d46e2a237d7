"""A fold: eras to train on, eras to validate on, and the eras between them that are left out.

A record of labels, checked when it is made. It does no I/O.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ...arguments import names, whole_number
from ...dataset.eras import era_sort_key
from ...errors import FoldError, listed
from ...text import counted


@dataclass(frozen=True, slots=True)
class Fold:
    """Eras to train on, eras to validate on, and the eras between them that are left out.

    Attributes
    ----------
    train, validation : tuple of str
        Era labels in the dataset's order. Neither is empty.
    embargo : tuple of str
        Eras with labels that are too close to a validation era to be trained on.
    embargo_eras : int
        The reach of the embargo: every training era is farther than this from every validation
        era, counted in eras.

    Raises
    ------
    FoldError
        If an era is in two of the three, there is nothing to train or to validate on, or an era
        isn't text.

    Examples
    --------
    >>> fold = Fold(train=("0001", "0002"), validation=("0005",), embargo=("0003",), embargo_eras=2)
    >>> fold.validation
    ('0005',)
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    embargo: tuple[str, ...]
    embargo_eras: int

    def __post_init__(self) -> None:
        for part in ("train", "validation", "embargo"):
            eras = tuple(names(part, getattr(self, part), FoldError))
            object.__setattr__(self, part, eras)
        reach = whole_number("embargo_eras", self.embargo_eras, FoldError, least=0)
        object.__setattr__(self, "embargo_eras", reach)
        counts = Counter((*self.train, *self.validation, *self.embargo))
        repeated = [era for era, count in counts.items() if count > 1]
        if repeated:
            raise FoldError(
                "train, validation and embargo must share no era, and hold none twice; found "
                f"{listed(repeated)} again: remove the repetition"
            )
        if not self.validation:
            raise FoldError(
                "no validation eras are left, expected at least one: set validation_eras to 1 or "
                "more, or to a list of era labels"
            )
        if not self.train:
            are = "is" if len(self.validation) == 1 else "are"
            validation = f"{counted(len(self.validation), 'era')} {are}"
            raise FoldError(
                f"no train eras are left, expected at least one: {validation} for validation and "
                f"{len(self.embargo):,} lie within {self.embargo_eras:,} eras of them; set fewer "
                "validation_eras or embargo_eras, or convert more eras"
            )


def fold_of(era: str, folds: Sequence[Fold]) -> int | None:
    """Return the index of the walk-forward fold whose model may predict an era, or None.

    It is the last fold whose validation begins with that era or before it, so an era after all
    folds belongs to the last one. None: the era lies before all validation eras.

    Examples
    --------
    >>> folds = [Fold(("1",), ("4", "5"), (), 2), Fold(("1", "2", "3"), ("6", "7"), (), 2)]
    >>> [fold_of(era, folds) for era in ("3", "4", "5", "7", "12", "X")]
    [None, 0, 0, 1, 1, 1]
    """
    key = era_sort_key(era)
    begun = [i for i, fold in enumerate(folds) if era_sort_key(fold.validation[0]) <= key]
    return begun[-1] if begun else None
