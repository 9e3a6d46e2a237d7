"""Folds: which eras are trained on, which are scored, and which between them are left out.

In: the era labels of a dataset, and those of them in which the main target has labels. Out: a
`Fold` (`split`), or several that walk forward in time (`walk_forward`). Pure functions over labels:
they do no I/O.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ..dataset.eras import era_sort_key, weekly_era_number
from ..errors import FoldError, listed
from .embargo import far_from, resolve_embargo
from .validation_eras import choose_validation

# Eras of a window that Numerai's benchmark models predict at once. Source: as above.
_NUMERAI_WINDOW = 156


@dataclass(frozen=True, slots=True)
class Fold:
    """Eras to train on and eras to score, with the eras between them left out.

    Attributes
    ----------
    train, validation : tuple of str
        Era labels in the dataset's order; neither is empty.
    embargo : tuple of str
        Eras with labels that are in neither, because they are too close to a validation era.
    embargo_eras : int
        How far from a validation era the embargo reaches, in eras.

    Raises
    ------
    FoldError
        If an era is in two of the three, or nothing is left to train on or to score.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    embargo: tuple[str, ...]
    embargo_eras: int

    def __post_init__(self) -> None:
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
            raise FoldError(
                f"no train eras are left, expected at least one: {len(self.validation):,} eras are "
                f"for validation and {len(self.embargo):,} lie within {self.embargo_eras:,} eras "
                "of them; set fewer validation_eras or embargo_eras, or convert more eras"
            )


def split(
    eras: Sequence[str],
    labelled: Collection[str],
    *,
    validation_eras: int | float | str | Sequence[str] | None = None,
    embargo_eras: int | Literal["auto"] = "auto",
    targets: str | Sequence[str] = "target",
    aliases: Mapping[str, str] = MappingProxyType({}),
    allow_overlap: bool = False,
) -> Fold:
    """Divide the eras that have labels into train, validation, and the embargo between them.

    Parameters
    ----------
    eras : sequence of str
        All era labels of the dataset, in its order.
    labelled : collection of str
        The eras in which the main target has labels; the others are neither trained on nor scored
        and don't appear in the result.
    validation_eras : int, float, str, sequence of str or None
        The last so many labelled eras; or their last share, between 0 and 1 (at least one); or
        eras by their labels, of which one text may name a range, such as ``"0575-0700"`` or
        ``"2024-01-01 - 2024-06-30"``: the labelled eras from one to the other, both included. None
        is the last fifth.
    embargo_eras : int or "auto"
        An era is left out if it is this near to a validation era, or nearer, before or after it.
        The distance of two eras is the difference of the numbers in their labels ("era7" and
        "era12" are 5 apart, whatever the dataset has between them); where a label holds no
        number, or a date, it is the difference of their places in `eras`.
        "auto" is what Numerai's benchmark models use: 8 weeks if all targets look 20 days ahead,
        otherwise 16, and more if one looks farther than 60. Eras are weeks, unless they are dates
        that aren't whole weeks apart: then it is as many eras as lie at most so many days apart.
    targets : str or sequence of str
        The targets that are trained on, the main one first. The longest horizon decides; a target
        whose name doesn't end in ``_20`` or in business days from ``_60`` to ``_260`` counts as
        ``_60``.
    aliases : mapping of str to str
        Which named target a target equals, as the manifest says: ``{"target": "target_x_20"}``.
    allow_overlap : bool
        Permit an `embargo_eras` below 5 weeks (``_20``) or 13 (``_60``), with which labels of
        train and validation eras share returns.

    Returns
    -------
    Fold

    Raises
    ------
    FoldError
        If the labels are unknown, the embargo is too short, or nothing is left to train on.

    Notes
    -----
    With the defaults a model trained on eras 1 to 148 is scored from era 157 on if its target
    looks 20 days ahead, as Numerai's benchmark models are.

    Source: https://docs.numer.ai/numerai-tournament/models, "Walk Forward Cross Validation".

    Examples
    --------
    >>> eras = [f"{number:04}" for number in range(1, 21)]
    >>> fold = split(eras, eras, validation_eras=4, targets="target_x_20")
    >>> fold.train[-1], fold.embargo[0], fold.embargo[-1], fold.validation[0]
    ('0008', '0009', '0016', '0017')
    """
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    reach = resolve_embargo(embargo_eras, eras, names, aliases, allow_overlap=allow_overlap)
    with_labels = _labelled_in_order(eras, labelled, names[0])
    validation = choose_validation(eras, with_labels, validation_eras, names[0])
    return _fold(eras, with_labels, validation, reach)


def walk_forward(
    eras: Sequence[str],
    labelled: Collection[str],
    *,
    folds: int | Literal["numerai"],
    rolling_eras: int | None = None,
    embargo_eras: int | Literal["auto"] = "auto",
    targets: str | Sequence[str] = "target",
    aliases: Mapping[str, str] = MappingProxyType({}),
    allow_overlap: bool = False,
) -> tuple[Fold, ...]:
    """Return folds that walk forward in time: each trains only on eras before those it scores.

    Parameters
    ----------
    eras, labelled, embargo_eras, targets, aliases, allow_overlap
        As for `split`.
    folds : int or "numerai"
        So many blocks of equally many labelled eras, up to the last one; the eras before the first
        block are as many again, and the embargo. Or the windows of Numerai's benchmark models: 156
        eras by the numbers in their labels, 157 to 312, 313 to 468 and so on; the last may be
        shorter, and windows before which there is nothing to train on are left out.
    rolling_eras : int or None
        Train only on the last so many eras before the embargo (fewer where there aren't as many);
        None: on all of them.

    Returns
    -------
    tuple of Fold
        In the order of time. Their validation eras share none and leave none out from the first of
        them to the last labelled era.

    Raises
    ------
    FoldError
        As for `split`; or there are too few eras for so many folds.

    Notes
    -----
    Numerai's models for 20-day targets are trained on eras 1 to 148 to predict 157 to 312, on 1 to
    304 to predict 313 to 468, and so on: the 8 eras before each window are purged, 16 for 60-day
    targets.

    Source: https://docs.numer.ai/numerai-tournament/models, "Walk Forward Cross Validation".

    Examples
    --------
    >>> eras = [f"{number:04}" for number in range(1, 401)]
    >>> for fold in walk_forward(eras, eras, folds="numerai", targets="target_x_20"):
    ...     print(fold.train[0], fold.train[-1], fold.validation[0], fold.validation[-1])
    0001 0148 0157 0312
    0001 0304 0313 0400
    """
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    reach = resolve_embargo(embargo_eras, eras, names, aliases, allow_overlap=allow_overlap)
    with_labels = _labelled_in_order(eras, labelled, names[0])
    if rolling_eras is not None and rolling_eras < 1:
        raise FoldError(f"the rolling eras are {rolling_eras}, expected 1 or more")
    if folds == "numerai":
        blocks = _numerai_windows(with_labels)
    else:
        blocks = _equal_blocks(with_labels, folds, reach)
    found = []
    for block in blocks:
        before = with_labels[: with_labels.index(block[0])]
        far = far_from(eras, before, block, reach)
        if far:
            near = set(before).difference(far)
            embargo = tuple(era for era in before if era in near)
            train = far if rolling_eras is None else far[-rolling_eras:]
            found.append(Fold(train, tuple(block), embargo, reach))
    if not found:
        raise FoldError(
            f"no window of {_NUMERAI_WINDOW} eras has eras to train on before it: labels run from "
            f"{with_labels[0]!r} to {with_labels[-1]!r}, and {reach} eras before a window are left "
            "out; choose a number of folds"
        )
    return tuple(found)


def fold_of(era: str, folds: Sequence[Fold]) -> int | None:
    """Return which of some walk-forward folds may predict an era, from 0.

    It is the last one whose validation begins with that era or before it: an era behind all folds
    belongs to the last of them. None: the era lies before the first fold's validation eras.

    >>> folds = [Fold(("1",), ("4", "5"), (), 2), Fold(("1", "2", "3"), ("6", "7"), (), 2)]
    >>> [fold_of(era, folds) for era in ("3", "4", "5", "7", "12", "X")]
    [None, 0, 0, 1, 1, 1]
    """
    key = era_sort_key(era)
    begun = [i for i, fold in enumerate(folds) if era_sort_key(fold.validation[0]) <= key]
    return begun[-1] if begun else None


def _labelled_in_order(
    eras: Sequence[str], labelled: Collection[str], target: str
) -> tuple[str, ...]:
    """Return the eras with labels in the dataset's order; there are some."""
    labelled = frozenset(labelled)
    with_labels = tuple(era for era in eras if era in labelled)
    if not with_labels:
        raise FoldError(
            f"{target!r} has labels in none of the {len(eras):,} eras, expected at least two "
            "eras with labels: set targets to one that has them"
        )
    return with_labels


def _fold(
    eras: Sequence[str], with_labels: Sequence[str], validation: tuple[str, ...], reach: int
) -> Fold:
    """Return the fold with these validation eras and an embargo on both sides of each."""
    train = far_from(eras, with_labels, validation, reach)
    elsewhere = {*train, *validation}
    embargo = tuple(era for era in with_labels if era not in elsewhere)
    return Fold(train, validation, embargo, embargo_eras=reach)


def _equal_blocks(with_labels: Sequence[str], folds: int, reach: int) -> list[Sequence[str]]:
    """Cut the last eras into blocks, leaving as many as a block and the embargo before them."""
    size = (len(with_labels) - reach) // (folds + 1) if folds > 0 else 0
    if size < 1:
        raise FoldError(
            f"the folds are {folds:,}, expected 1 or more and, for {len(with_labels):,} eras with "
            f"labels and an embargo of {reach:,}, at most {max(0, len(with_labels) - reach - 1):,}"
        )
    first = len(with_labels) - folds * size
    return [with_labels[low : low + size] for low in range(first, len(with_labels), size)]


def _numerai_windows(with_labels: Sequence[str]) -> list[Sequence[str]]:
    """Divide the eras into windows by the numbers in their labels, or else by their places."""
    numbers = [weekly_era_number(era) for era in with_labels]
    windows: dict[int, list[str]] = {}
    for position, era in enumerate(with_labels, start=1):
        number = position if None in numbers else numbers[position - 1]
        assert number is not None  # else all go by their places
        windows.setdefault((number - 1) // _NUMERAI_WINDOW, []).append(era)
    return list(windows.values())
