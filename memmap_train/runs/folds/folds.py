"""The eras of a dataset divided into folds: one fold, or several that walk forward in time.

In: the era labels of a dataset, and those of them in which the main target has labels. Out: a
`Fold` (`split`), or several (`walk_forward`). Pure functions over labels: they do no I/O.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from types import MappingProxyType
from typing import Literal

from ...arguments import flag, names, whole_number
from ...dataset.eras import weekly_era_number
from ...errors import FoldError, shown
from ...text import counted
from .embargo import far_from, resolve_embargo
from .fold import Fold
from .validation_eras import choose_validation

_NUMERAI_WINDOW = 156
"""The eras that Numerai's benchmark models predict at once. Source: as for `split`."""


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
    """Divide the eras that have labels into training eras, validation eras and an embargo.

    Parameters
    ----------
    eras : sequence of str
        All era labels of the dataset, in its order (`Dataset.eras`).
    labelled : collection of str
        The eras in which the main target has labels (`Dataset.labelled_eras`). Other eras don't
        appear in the result.
    validation_eras : int, float, str, sequence of str or None
        The eras to validate on, out of those with labels: the last so many; a share between 0 and
        1, the last ones; or eras by their labels. A text may be a range, such as ``"0575-0700"`` or
        ``"2024-01-01 - 2024-06-30"``, both ends included. None is the last fifth.
    embargo_eras : int or "auto"
        The reach of the embargo: an era is left out if its distance to a validation era, before or
        after it, is at most so many eras. The distance of two eras is the difference of the numbers
        in their labels ("era7" and "era12" are 5 apart, even if the dataset lacks eras between
        them); if a label has no number, or is a date, it is the difference of their positions in
        `eras`.
        "auto" is what Numerai's benchmark models use: 8 weeks if all targets look 20 business days
        ahead, otherwise 16, and more if a target looks farther than 60. Eras count as weeks, unless
        they are dates that aren't whole weeks apart: then the embargo has as many eras as lie at
        most so many weeks apart.
    targets : str or sequence of str
        The targets to train on, the main one first. The one that looks farthest ahead decides. A
        target whose name doesn't end in ``_20``, or in business days from ``_60`` to ``_260``,
        counts as ``_60``.
    aliases : mapping of str to str
        The named target that another target equals, as in ``dataset.manifest.aliases``: with
        ``{"target": "target_x_20"}``, ``"target"`` looks 20 business days ahead.
    allow_overlap : bool
        Whether an `embargo_eras` below 5 weeks (``_20``) or 13 weeks (``_60``) is permitted, with
        which labels of training and validation eras share returns.

    Returns
    -------
    Fold

    Raises
    ------
    FoldError
        If labels are unknown, the embargo is too short, or nothing is left to train on.

    See Also
    --------
    walk_forward : Several folds, each of which trains only on eras before those it predicts.

    Notes
    -----
    A model of a 20-day target that is trained on eras 1 to 148 is validated from era 157 on, as
    Numerai's benchmark models are.

    Source: https://docs.numer.ai/numerai-tournament/models, "Walk Forward Cross Validation".

    Examples
    --------
    The last four eras are for validation, and the eight before them are left out:

    >>> eras = [f"{number:04}" for number in range(1, 21)]
    >>> fold = split(eras, eras, validation_eras=4, targets="target_x_20")
    >>> fold.train[-1], fold.embargo[0], fold.embargo[-1], fold.validation[0]
    ('0008', '0009', '0016', '0017')

    A range in the middle has an embargo on both sides:

    >>> fold = split(eras, eras, validation_eras="0010-0011", embargo_eras=5, targets="target_x_20")
    >>> fold.train
    ('0001', '0002', '0003', '0004', '0017', '0018', '0019', '0020')

    Of an opened dataset:

    >>> fold = split(ds.eras, ds.labelled_eras("target"))  # doctest: +SKIP
    >>> batches = mt.Batches(ds.select(fold.train), batch_size=4096)  # doctest: +SKIP
    """
    chosen = _checked_targets(targets, aliases)
    eras, with_labels = _labelled_in_order(eras, labelled, chosen[0])
    allow_overlap = flag("allow_overlap", allow_overlap)
    reach = resolve_embargo(embargo_eras, eras, chosen, aliases, allow_overlap=allow_overlap)
    validation = choose_validation(eras, with_labels, validation_eras, chosen[0])
    return _fold(eras, with_labels, validation, reach)


def walk_forward(
    eras: Sequence[str],
    labelled: Collection[str],
    *,
    folds: int | Literal["numerai"] = 5,
    rolling_eras: int | None = None,
    embargo_eras: int | Literal["auto"] = "auto",
    targets: str | Sequence[str] = "target",
    aliases: Mapping[str, str] = MappingProxyType({}),
    allow_overlap: bool = False,
) -> tuple[Fold, ...]:
    """Return folds that walk forward in time: each trains only on eras before those it predicts.

    Parameters
    ----------
    eras, labelled, embargo_eras, targets, aliases, allow_overlap
        See `split`.
    folds : int or "numerai"
        The number of folds: the last eras with labels are cut into this many blocks of equal size,
        and as many eras, and the embargo, are left before the first block. Or "numerai" for the
        windows of Numerai's benchmark models: 156 eras by the numbers in their labels, 157 to 312,
        313 to 468 and so on. The last window may be shorter, and windows that have nothing to train
        on before them are left out.
    rolling_eras : int or None
        The largest number of eras to train on, the last ones before the embargo. None: all eras
        before the embargo.

    Returns
    -------
    tuple of Fold
        The folds in the order of time. Every era with labels, from the first validation era on, is
        a validation era of exactly one fold.

    Raises
    ------
    FoldError
        The same errors as `split`; or there are too few eras for the number of folds.

    Notes
    -----
    Numerai's models of 20-day targets are trained on eras 1 to 148 to predict 157 to 312, on 1 to
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
    >>> for fold in walk_forward(eras, eras, folds=3, rolling_eras=50, targets="target_x_20"):
    ...     print(fold.train[0], fold.train[-1], fold.validation[0], fold.validation[-1])
    0049 0098 0107 0204
    0147 0196 0205 0302
    0245 0294 0303 0400
    """
    chosen = _checked_targets(targets, aliases)
    eras, with_labels = _labelled_in_order(eras, labelled, chosen[0])
    allow_overlap = flag("allow_overlap", allow_overlap)
    reach = resolve_embargo(embargo_eras, eras, chosen, aliases, allow_overlap=allow_overlap)
    if rolling_eras is not None:
        rolling_eras = whole_number("rolling_eras", rolling_eras, FoldError, least=1)
    if folds == "numerai":
        blocks = _numerai_windows(with_labels)
    else:
        blocks = _equal_blocks(with_labels, folds, reach)
    found = tuple(
        fold for block in blocks if (fold := _fold_before(eras, with_labels, block, reach))
    )
    if not found:
        raise FoldError(
            f"no window of {_NUMERAI_WINDOW} eras has eras to train on before it: labels run from "
            f"{with_labels[0]!r} to {with_labels[-1]!r}, and {reach} eras before a window are left "
            "out; choose a number of folds"
        )
    if rolling_eras is None:
        return found
    return tuple(replace(fold, train=fold.train[-rolling_eras:]) for fold in found)


def _checked_targets(targets: object, aliases: object) -> list[str]:
    """Return the names of targets, at least one; aliases must be a mapping."""
    if not isinstance(aliases, Mapping):
        raise FoldError(
            f"aliases: expected a mapping, as dataset.manifest.aliases, found {shown(aliases)}"
        )
    found = names("targets", targets, FoldError)
    if not found:
        raise FoldError("targets: expected the name of one at least, found none")
    return found


def _labelled_in_order(
    eras: Sequence[str], labelled: Collection[str], target: str
) -> tuple[list[str], tuple[str, ...]]:
    """Return the eras, and those with labels, at least one, in the dataset's order."""
    for name, value, example in (
        ("eras", eras, "dataset.eras"),
        ("labelled", labelled, f"dataset.labelled_eras({target!r})"),
    ):
        if isinstance(value, str):
            raise FoldError(f"{name}: expected labels of eras, as {example}, found {value!r:.60}")
    eras = names("eras", eras, FoldError)
    known = frozenset(names("labelled", labelled, FoldError))
    with_labels = tuple(era for era in eras if era in known)
    if not with_labels:
        raise FoldError(
            f"{target!r} has labels in none of the {counted(len(eras), 'era')}, expected at least "
            "two eras with labels: set targets to one that has them"
        )
    return eras, with_labels


def _fold_before(
    eras: Sequence[str], with_labels: Sequence[str], block: Sequence[str], reach: int
) -> Fold | None:
    """Return the fold that trains on all eras before a block; None if none are left."""
    before = with_labels[: with_labels.index(block[0])]
    train = far_from(eras, before, block, reach)
    if not train:
        return None
    kept = frozenset(train)
    embargo = tuple(era for era in before if era not in kept)
    return Fold(train, tuple(block), embargo, embargo_eras=reach)


def _fold(
    eras: Sequence[str], with_labels: Sequence[str], validation: tuple[str, ...], reach: int
) -> Fold:
    """Return the fold with these validation eras and an embargo on both sides of each."""
    train = far_from(eras, with_labels, validation, reach)
    elsewhere = {*train, *validation}
    embargo = tuple(era for era in with_labels if era not in elsewhere)
    return Fold(train, validation, embargo, embargo_eras=reach)


def _equal_blocks(with_labels: Sequence[str], folds: int, reach: int) -> list[Sequence[str]]:
    """Cut the last eras into blocks, and leave a block and the embargo before them."""
    if not isinstance(folds, Integral) or isinstance(folds, bool):
        raise FoldError(f"the folds are {folds!r:.60}, expected a whole number, or 'numerai'")
    size = (len(with_labels) - reach) // (folds + 1) if folds > 0 else 0
    if size < 1:
        raise FoldError(
            f"the folds are {folds:,}, expected 1 or more and, for "
            f"{counted(len(with_labels), 'era')} with labels and an embargo of {reach:,}, at most "
            f"{max(0, len(with_labels) - reach - 1):,}"
        )
    first = len(with_labels) - folds * size
    return [with_labels[low : low + size] for low in range(first, len(with_labels), size)]


def _numerai_windows(with_labels: Sequence[str]) -> list[Sequence[str]]:
    """Divide the eras into windows by the numbers in their labels, or by their positions."""
    numbers = [weekly_era_number(era) for era in with_labels]
    windows: dict[int, list[str]] = {}
    for position, era in enumerate(with_labels, start=1):
        number = position if None in numbers else numbers[position - 1]
        assert number is not None  # otherwise all windows go by positions
        windows.setdefault((number - 1) // _NUMERAI_WINDOW, []).append(era)
    return list(windows.values())
