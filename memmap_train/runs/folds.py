"""Folds: which eras are trained on, which are scored, and which between them are left out.

In: the era labels of a dataset, and those of them in which the main target has labels. Out: a
`Fold` (`split`), or several that walk forward in time (`walk_forward`). Pure functions over labels:
they do no I/O.

A target looks ahead: the label of an era is made of returns that the labels of the following eras
share. Training close to a validation era is training on a part of what is to be predicted, so the
**embargo** leaves those eras out, on both sides of every validation era.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

from ..dataset.eras import ERA_COLUMN, era_sort_key, era_time, weekly_era_number
from ..errors import FoldError, listed, nearest


@dataclass(frozen=True, slots=True)
class _Horizon:
    """How far the labels of a target look ahead.

    Attributes
    ----------
    business_days : int
    """

    business_days: int

    @property
    def least(self) -> int:
        """The last following week whose labels share returns with a week's own."""
        return -(-self.business_days // 5) + 1

    @property
    def usual(self) -> int:
        """Weeks left out between training and validation: as Numerai has it, 8 or 16."""
        return self.least + 3


# Source: "purge_eras" on https://docs.numer.ai/numerai-tournament/models.
_SHORT, _LONG = _Horizon(20), _Horizon(60)
_MAX_BUSINESS_DAYS = 260  # a year: what follows a name and is more isn't a horizon
_DAY = 24 * 60 * 60 * 10**9  # nanoseconds

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
    reach = _resolve_embargo(embargo_eras, eras, names, aliases, allow_overlap=allow_overlap)
    with_labels = _labelled_in_order(eras, labelled, names[0])
    validation = _choose_validation(eras, with_labels, validation_eras, names[0])
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
    reach = _resolve_embargo(embargo_eras, eras, names, aliases, allow_overlap=allow_overlap)
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
        far = _far(eras, before, block, reach)
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


def least_embargo(eras: Sequence[str], targets: Sequence[str]) -> int:
    """Return how many eras apart two eras' labels share no returns, in any of the targets.

    >>> least_embargo(["0001"], ["target_x_20"]), least_embargo(["0001"], ["target_x_60"])
    (5, 13)
    """
    _, _, horizon = _longest_horizon(targets, {})
    return _in_eras(horizon.least, eras)


def too_near(
    seen: Collection[str], validation: Sequence[str], eras: Sequence[str], reach: int
) -> set[str]:
    """Return those of the eras seen that lie within `reach` of a validation era, or are one.

    Parameters
    ----------
    seen : collection of str
        Also eras that the dataset doesn't have.
    validation, eras : sequence of str
        Eras of the dataset, and all of them.
    reach : int
        In eras, as the embargo of a `Fold`.

    >>> eras = [f"{number:04}" for number in range(1, 31)]
    >>> sorted(too_near(eras[:26], eras[26:], eras, 5))
    ['0022', '0023', '0024', '0025', '0026']
    """
    known = sorted({*eras, *seen}, key=era_sort_key)
    return set(seen).difference(_far(known, tuple(seen), validation, reach))


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


def _far(
    eras: Sequence[str], candidates: Sequence[str], validation: Sequence[str], reach: int
) -> tuple[str, ...]:
    """Return those candidates that are farther than `reach` from every validation era."""
    places = {era: (weekly_era_number(era), position) for position, era in enumerate(eras)}
    return tuple(
        era
        for era in candidates
        if all(_distance(places[era], places[other]) > reach for other in validation)
    )


def _fold(
    eras: Sequence[str], with_labels: Sequence[str], validation: tuple[str, ...], reach: int
) -> Fold:
    """Return the fold with these validation eras and an embargo on both sides of each."""
    train = _far(eras, with_labels, validation, reach)
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


def _choose_validation(
    eras: Sequence[str],
    with_labels: Sequence[str],
    wanted: int | float | str | Sequence[str] | None,
    target: str,
) -> tuple[str, ...]:
    """Return the validation eras in the dataset's order."""
    if wanted is None:
        wanted = max(1, len(with_labels) // 5)
    if isinstance(wanted, float):
        if not 0 < wanted < 1:
            raise FoldError(f"validation_eras is {wanted}, expected a share between 0 and 1")
        wanted = max(1, round(wanted * len(with_labels)))
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(with_labels):
            raise FoldError(
                f"validation_eras is {wanted:,}, expected 1 or more and fewer than the "
                f"{len(with_labels):,} eras in which {target!r} has labels"
            )
        return tuple(with_labels[-wanted:])
    named = [wanted] if isinstance(wanted, str) else list(wanted)
    ranges = {text: _range_ends(text, eras) for text in named if text not in eras and "-" in text}
    chosen: set[str] = set()
    for text in named:
        if text not in ranges:
            chosen.add(text)
        elif ranges[text] is None:  # name the end that isn't there, if it can be told
            ends_named = (
                {end.strip() for end in text.split("-")} if text.count("-") == 1 else {text}
            )
            chosen.update(ends_named.difference(eras))
    positions = {era: position for position, era in enumerate(eras)}
    faults, of_ranges = [], set()
    for text, ends in ranges.items():
        if ends is None:
            continue
        first, last = positions[ends[0]], positions[ends[1]]
        inside = [era for era in with_labels if first <= positions[era] <= last]
        if first > last:
            faults.append(
                f"validation_eras: the range {text!r} is reversed: write '{ends[1]}-{ends[0]}'"
            )
        elif not inside:
            faults.append(f"validation_eras: in the range {text!r} {target!r} has no labels")
        of_ranges.update(inside)
    if unknown := sorted(chosen.difference(eras)):
        faults.append(
            f"validation_eras has eras that aren't in the dataset: {listed(unknown)}"
            f"{nearest(unknown[0], eras)}"
        )
    if unlabelled := sorted(chosen.intersection(eras).difference(with_labels)):
        faults.append(
            f"validation_eras has eras in which {target!r} has no labels: {listed(unlabelled)}; "
            f"eras with labels run from {with_labels[0]!r} to {with_labels[-1]!r}"
        )
    if faults:
        raise FoldError("; ".join(faults))
    return tuple(era for era in with_labels if era in chosen or era in of_ranges)


def _range_ends(text: str, eras: Sequence[str]) -> tuple[str, str] | None:
    """Return the first and the last era of a range, or None.

    A label may itself hold the sign between the two. The ends of a range of dates needn't be eras.

    >>> eras = ["2024-01-05", "2024-01-12", "2024-01-19"]
    >>> _range_ends("2024-01-05-2024-01-19", eras)
    ('2024-01-05', '2024-01-19')
    >>> _range_ends("2024-01-01 - 2024-01-15", eras)
    ('2024-01-05', '2024-01-12')
    """
    parts = text.split("-")
    ends = [
        ("-".join(parts[:cut]).strip(), "-".join(parts[cut:]).strip())
        for cut in range(1, len(parts))
    ]
    for first, last in ends:
        if first in eras and last in eras:
            return first, last
    for first, last in ends:
        begin, end = era_time(first), era_time(last)
        if begin is not None and end is not None:
            if end % _DAY == 0:  # a date, all of which is meant
                end += _DAY - 1
            times = ((era, era_time(era)) for era in eras)
            inside = [era for era, time in times if time is not None and begin <= time <= end]
            if inside:
                return inside[0], inside[-1]
    return None


def automatic_embargo(
    eras: Sequence[str],
    targets: str | Sequence[str],
    aliases: Mapping[str, str] = MappingProxyType({}),
    *,
    era_column: str = ERA_COLUMN,
) -> tuple[int, str | None]:
    """Return the embargo that "auto" stands for, and what it takes for granted.

    Parameters
    ----------
    eras, targets, aliases
        As for `split`.
    era_column : str
        Which column of the sources the eras are from: numbers are weeks only in Numerai's.

    Returns
    -------
    eras : int
    note : str or None
        None where the target says how far it looks ahead, and eras are weeks.

    Examples
    --------
    >>> automatic_embargo(["0001", "0002"], "target_x_20")
    (8, None)
    >>> automatic_embargo([f"2024-01-{day:02}" for day in range(1, 32)], "target_x_20")[1]
    "8 weeks for 'target_x_20' are up to 30 eras: these are dates that aren't a week apart"
    """
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    longest, named, horizon = _longest_horizon(names, aliases)
    reach = _in_eras(horizon.usual, eras)
    notes = []
    is_unknown = _horizon(named) is None
    if is_unknown:
        notes.append(
            f"nothing says how far {longest!r} looks ahead, so {horizon.business_days} business "
            "days are taken"
        )
    if _uneven_times(eras) is not None:
        notes.append(
            f"{horizon.usual} weeks for {longest!r} are up to {reach} eras: these are dates that "
            "aren't a week apart"
        )
    elif era_time(eras[0]) is None and (
        era_column != ERA_COLUMN or weekly_era_number(eras[0]) is None
    ):
        notes.append(f"eras such as {eras[0]!r} are taken to be weeks")
        is_unknown = True
    if is_unknown:
        notes.append("set embargo_eras where that is wrong")
    return reach, "; ".join(notes) or None


def _resolve_embargo(
    wanted: int | Literal["auto"],
    eras: Sequence[str],
    targets: Sequence[str],
    aliases: Mapping[str, str],
    *,
    allow_overlap: bool,
) -> int:
    """Return the embargo in eras, after checking that it is long enough for the targets."""
    longest, named, horizon = _longest_horizon(targets, aliases)
    usual, least = _in_eras(horizon.usual, eras), _in_eras(horizon.least, eras)
    if wanted == "auto":
        return usual
    if wanted < (0 if allow_overlap else least):
        same = f" (= {named!r})" if named != longest else ""
        weeks = "" if _uneven_times(eras) is None else f" ({horizon.least} weeks)"
        found = f"labels of {longest!r}{same} look up to {least} eras{weeks} ahead"
        allowed = "accept that they overlap"
        if _horizon(named) is None:
            found = (
                f"nothing says how far {longest!r}{same} looks ahead, so {least} eras{weeks} are "
                "taken"
            )
            allowed = "say that it looks less far"
        advice = "" if wanted < 0 else f", or allow_overlap = true to {allowed}"
        raise FoldError(
            f"embargo_eras is {wanted}, but {found}: expected {least} or more; set it to that, to "
            f'"auto" ({usual}){advice}'
        )
    return wanted


def _longest_horizon(
    targets: Sequence[str], aliases: Mapping[str, str]
) -> tuple[str, str, _Horizon]:
    """Return the target that looks farthest ahead, which one it is an alias of, and how far."""
    named = {target: aliases.get(target, target) for target in targets}
    horizons = {target: _horizon(named[target]) or _LONG for target in named}
    longest = max(horizons, key=lambda target: horizons[target].business_days)
    return longest, named[longest], horizons[longest]


def _horizon(target: str) -> _Horizon | None:
    """Return the horizon that a target's name ends in; None if it ends in none.

    A number below 60 may as well count targets ("responder_6"), but for Numerai's own: then the
    longest of Numerai's horizons is the safe one.

    >>> [_horizon(name) for name in ("target_x_20", "target_120", "responder_6", "target_2024")]
    [_Horizon(business_days=20), _Horizon(business_days=120), None, None]
    """
    match = re.search(r"_([1-9][0-9]{1,2})$", target)
    days = int(match[1]) if match else 0
    is_known = days == _SHORT.business_days or _LONG.business_days <= days <= _MAX_BUSINESS_DAYS
    return _Horizon(days) if is_known else None


def _in_eras(weeks: int, eras: Sequence[str]) -> int:
    """Return so many weeks in eras: as many, or how many eras are at most so near to each other."""
    times = _uneven_times(eras)
    if times is None:
        return weeks
    within = (bisect_right(times, time + 7 * weeks * _DAY) for time in times)
    return max(end - place - 1 for place, end in enumerate(within))


def _uneven_times(eras: Sequence[str]) -> list[int] | None:
    """Return the times of eras that are dates, in order, if they aren't whole weeks apart."""
    times = sorted(time for time in map(era_time, eras) if time is not None)
    weekly = all((later - time) % (7 * _DAY) == 0 for time, later in pairwise(times))
    return None if weekly else times


def _distance(first: tuple[int | None, int], second: tuple[int | None, int]) -> int:
    """Return how many eras lie from one (number, position) to another."""
    if first[0] is None or second[0] is None:
        return abs(first[1] - second[1])
    return abs(first[0] - second[0])
