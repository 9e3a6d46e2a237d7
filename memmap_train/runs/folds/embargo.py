"""The embargo: how many eras must lie between training and validation, and which are too near.

Takes era labels and the names of targets; returns numbers of eras, and eras. Pure functions.

A target looks ahead: the label of an era is computed from returns that the labels of the following
eras share. A model that is trained close to a validation era has been trained on a part of what it
is to predict, so the embargo leaves out the eras on both sides of every validation era.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from types import MappingProxyType
from typing import Literal

from ...dataset.eras import DAY, ERA_COLUMN, era_sort_key, era_time, weekly_era_number
from ...errors import FoldError


@dataclass(frozen=True, slots=True)
class _Horizon:
    """The period after an era that the labels of a target depend on.

    Attributes
    ----------
    business_days : int
        The length of the period.
    """

    business_days: int

    @property
    def min_weeks(self) -> int:
        """The number of following weeks whose labels share returns with a week's own."""
        return -(-self.business_days // 5) + 1

    @property
    def usual_weeks(self) -> int:
        """The number of weeks that Numerai's benchmark models leave out: 8 or 16."""
        return self.min_weeks + 3


# Source: "purge_eras" on https://docs.numer.ai/numerai-tournament/models.
_SHORT, _LONG = _Horizon(20), _Horizon(60)
_MAX_BUSINESSDAYS = 260  # a year: a larger number at the end of a name isn't a horizon


def automatic_embargo(
    eras: Sequence[str],
    targets: str | Sequence[str],
    aliases: Mapping[str, str] = MappingProxyType({}),
    *,
    era_column: str = ERA_COLUMN,
) -> tuple[int, str | None]:
    """Return the embargo that "auto" stands for, and the assumptions behind it.

    Parameters
    ----------
    eras, targets, aliases
        See `folds.split`.
    era_column : str
        The column of the sources that the eras are from. Numbers are known to be weeks only in
        Numerai's column.

    Returns
    -------
    reach : int
        The number of eras.
    note : str or None
        The assumptions in words; None if the target's name has its horizon and eras are weeks.

    Examples
    --------
    >>> automatic_embargo(["0001", "0002"], "target_x_20")
    (8, None)
    >>> automatic_embargo([f"2024-01-{day:02}" for day in range(1, 32)], "target_x_20")[1]
    "8 weeks for 'target_x_20' are up to 30 eras: these are dates that aren't a week apart"
    """
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    longest, named, horizon = _longest_horizon(names, aliases)
    reach = _in_eras(horizon.usual_weeks, eras)
    notes = []
    is_unknown = _horizon(named) is None
    if is_unknown:
        notes.append(
            f"it is unknown how far {longest!r} looks ahead, so {horizon.business_days} business "
            "days are assumed"
        )
    if _uneven_times(eras) is not None:
        notes.append(
            f"{horizon.usual_weeks} weeks for {longest!r} are up to {reach} eras: these are dates "
            "that aren't a week apart"
        )
    elif era_time(eras[0]) is None and (
        era_column != ERA_COLUMN or weekly_era_number(eras[0]) is None
    ):
        notes.append(f"eras such as {eras[0]!r} are assumed to be weeks")
        is_unknown = True
    if is_unknown:
        notes.append("set embargo_eras where that is wrong")
    return reach, "; ".join(notes) or None


def resolve_embargo(
    wanted: int | Literal["auto"],
    eras: Sequence[str],
    targets: Sequence[str],
    aliases: Mapping[str, str],
    *,
    allow_overlap: bool,
) -> int:
    """Return the embargo in eras, after checking that it is long enough for the targets.

    Parameters
    ----------
    wanted : int or "auto"
        The value of `embargo_eras`.
    eras, targets, aliases, allow_overlap
        See `folds.split`.

    Raises
    ------
    FoldError
        If the embargo is too short.
    """
    longest, named, horizon = _longest_horizon(targets, aliases)
    usual, least = _in_eras(horizon.usual_weeks, eras), _in_eras(horizon.min_weeks, eras)
    if wanted == "auto":
        return usual
    if not isinstance(wanted, Integral) or isinstance(wanted, bool):
        raise FoldError(f'embargo_eras is {wanted!r:.60}, expected a whole number, or "auto"')
    if wanted < (0 if allow_overlap else least):
        same = f" (= {named!r})" if named != longest else ""
        weeks = "" if _uneven_times(eras) is None else f" ({horizon.min_weeks} weeks)"
        found = f"labels of {longest!r}{same} look up to {least} eras{weeks} ahead"
        allowed = "accept that they overlap"
        if _horizon(named) is None:
            found = (
                f"it is unknown how far {longest!r}{same} looks ahead, so {least} eras{weeks} are "
                "assumed"
            )
            allowed = "declare that it looks less far"
        advice = "" if wanted < 0 else f", or allow_overlap = true to {allowed}"
        raise FoldError(
            f"embargo_eras is {wanted}, but {found}: expected {least} or more; set it to that, to "
            f'"auto" ({usual}){advice}'
        )
    return wanted


def min_embargo(eras: Sequence[str], targets: Sequence[str]) -> int:
    """Return the smallest distance of two eras whose labels share no returns, for any target.

    >>> min_embargo(["0001"], ["target_x_20"]), min_embargo(["0001"], ["target_x_60"])
    (5, 13)
    """
    _, _, horizon = _longest_horizon(targets, {})
    return _in_eras(horizon.min_weeks, eras)


def overlapping_eras(
    eras: Sequence[str], target: str, aliases: Mapping[str, str] = MappingProxyType({})
) -> int:
    """Return the number of following eras whose labels share returns with an era's own.

    >>> eras = ["0001", "0002"]
    >>> overlapping_eras(eras, "target_x_20"), overlapping_eras(eras, "target_x_60")
    (4, 12)
    """
    _, _, horizon = _longest_horizon([target], aliases)
    return max(0, _in_eras(horizon.min_weeks, eras) - 1)


def too_near(
    seen: Collection[str], validation: Sequence[str], eras: Sequence[str], reach: int
) -> set[str]:
    """Return the eras that lie within `reach` of a validation era, or are one.

    Parameters
    ----------
    seen : collection of str
        Eras that a model was trained on; the dataset may lack some of them.
    validation : sequence of str
        The validation eras.
    eras : sequence of str
        All eras of the dataset.
    reach : int
        The number of eras, as `embargo_eras` of a `Fold`.

    Examples
    --------
    >>> eras = [f"{number:04}" for number in range(1, 31)]
    >>> sorted(too_near(eras[:26], eras[26:], eras, 5))
    ['0022', '0023', '0024', '0025', '0026']
    """
    known = sorted({*eras, *seen}, key=era_sort_key)
    return set(seen).difference(far_from(known, tuple(seen), validation, reach))


def far_from(
    eras: Sequence[str], candidates: Sequence[str], validation: Sequence[str], reach: int
) -> tuple[str, ...]:
    """Return the candidates that are farther than `reach` eras from every validation era."""
    locations = {era: (weekly_era_number(era), position) for position, era in enumerate(eras)}
    return tuple(
        era
        for era in candidates
        if all(_distance(locations[era], locations[other]) > reach for other in validation)
    )


def _longest_horizon(
    targets: Sequence[str], aliases: Mapping[str, str]
) -> tuple[str, str, _Horizon]:
    """Return the target that looks farthest ahead, the target that it equals, and its horizon."""
    named = {target: aliases.get(target, target) for target in targets}
    horizons = {target: _horizon(named[target]) or _LONG for target in named}
    longest = max(horizons, key=lambda target: horizons[target].business_days)
    return longest, named[longest], horizons[longest]


def _horizon(target: str) -> _Horizon | None:
    """Return the horizon at the end of a target's name, or None.

    Other numbers below 60 than Numerai's own may number the targets ("responder_6"): then the
    longest of Numerai's horizons is the safe one.

    >>> [_horizon(name) for name in ("target_x_20", "target_120", "responder_6", "target_2024")]
    [_Horizon(business_days=20), _Horizon(business_days=120), None, None]
    """
    match = re.search(r"_([1-9][0-9]{1,2})$", target)
    days = int(match[1]) if match else 0
    is_known = days == _SHORT.business_days or _LONG.business_days <= days <= _MAX_BUSINESSDAYS
    return _Horizon(days) if is_known else None


def _in_eras(weeks: int, eras: Sequence[str]) -> int:
    """Return a number of weeks in eras: the same number, unless eras aren't whole weeks apart."""
    times = _uneven_times(eras)
    if times is None:
        return weeks
    within = (bisect_right(times, time + 7 * weeks * DAY) for time in times)
    return max(end - position - 1 for position, end in enumerate(within))


def _uneven_times(eras: Sequence[str]) -> list[int] | None:
    """Return the sorted times of eras that are dates and not whole weeks apart, or None."""
    times = sorted(time for time in map(era_time, eras) if time is not None)
    weekly = all((later - time) % (7 * DAY) == 0 for time, later in pairwise(times))
    return None if weekly else times


def _distance(first: tuple[int | None, int], second: tuple[int | None, int]) -> int:
    """Return the distance of two eras, each given as (number or None, position)."""
    if first[0] is None or second[0] is None:
        return abs(first[1] - second[1])
    return abs(first[0] - second[0])
