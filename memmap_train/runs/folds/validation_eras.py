"""The choice of validation eras: a number, a share, labels or ranges of eras.

Takes era labels and the value of `validation_eras`; returns the validation eras. Pure functions.
"""

from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real

from ...dataset.eras import DAY, era_time
from ...errors import FoldError, listed, nearest


def choose_validation(
    eras: Sequence[str],
    with_labels: Sequence[str],
    wanted: int | float | str | Sequence[str] | None,
    target: str,
) -> tuple[str, ...]:
    """Return the validation eras in the dataset's order.

    Parameters
    ----------
    eras : sequence of str
        All eras of the dataset, in its order.
    with_labels : sequence of str
        The eras in which the main target has labels, in the same order.
    wanted : int, float, str, sequence of str or None
        The same as `validation_eras` of `folds.split`.
    target : str
        The name of the main target, for errors.

    Raises
    ------
    FoldError
        If the number is too large, or labels or ranges aren't eras with labels.

    Examples
    --------
    >>> eras = ["0001", "0002", "0003", "0004", "0005"]
    >>> choose_validation(eras, eras[:4], 2, "target")
    ('0003', '0004')
    >>> choose_validation(eras, eras, 0.4, "target")
    ('0004', '0005')
    >>> choose_validation(eras, eras, ["0001", "0003-0004"], "target")
    ('0001', '0003', '0004')
    """
    if wanted is None:
        return _last(with_labels, max(1, len(with_labels) // 5), target)
    if isinstance(wanted, Integral) and not isinstance(wanted, bool):
        return _last(with_labels, int(wanted), target)
    if isinstance(wanted, Real) and not isinstance(wanted, bool):
        share = float(wanted)
        if not 0 < share < 1:
            raise FoldError(f"validation_eras is {share}, expected a share between 0 and 1")
        return _last(with_labels, max(1, round(share * len(with_labels))), target)
    if isinstance(wanted, str):
        return named_eras(eras, with_labels, [wanted], target)
    try:
        return named_eras(eras, with_labels, list(wanted), target)  # type: ignore[arg-type]
    except TypeError:
        raise FoldError(
            f"validation_eras is {wanted!r:.60}, expected a number of eras, a share between 0 and "
            '1, or eras by their labels such as ["0575", "0576"] or "0575-0700"'
        ) from None


def _last(with_labels: Sequence[str], number: int, target: str) -> tuple[str, ...]:
    """Return the given number of last eras."""
    if not 1 <= number <= len(with_labels):
        raise FoldError(
            f"validation_eras is {number:,}, expected 1 or more and fewer than the "
            f"{len(with_labels):,} eras in which {target!r} has labels"
        )
    return tuple(with_labels[-number:])


def named_eras(
    eras: Sequence[str],
    with_labels: Sequence[str],
    texts: Sequence[str],
    target: str,
    option: str = "validation_eras",
) -> tuple[str, ...]:
    """Return the eras with labels that texts name, each a label or a range.

    Parameters
    ----------
    eras, with_labels, target
        See `choose_validation`.
    texts : sequence of str
    option : str
        The name of what holds the texts, for errors.

    Raises
    ------
    FoldError
        Labels or ranges aren't eras with labels.
    """
    known = frozenset(eras)
    labels: set[str] = set()
    ranges: dict[str, tuple[str, str]] = {}
    for text in texts:
        if text in known or "-" not in text:
            labels.add(text)
        elif ends := _range_ends(text, eras):
            ranges[text] = ends
        else:
            labels |= _unknown_ends(text, known)
    inside, faults = _eras_of_ranges(ranges, eras, with_labels, target, option)
    faults += _faults_of_labels(labels, eras, with_labels, target, option)
    if faults:
        raise FoldError("; ".join(faults))
    return tuple(era for era in with_labels if era in labels or era in inside)


def _eras_of_ranges(
    ranges: Mapping[str, tuple[str, str]],
    eras: Sequence[str],
    with_labels: Sequence[str],
    target: str,
    option: str,
) -> tuple[set[str], list[str]]:
    """Return the eras with labels inside ranges, and what is wrong with some of the ranges."""
    positions = {era: position for position, era in enumerate(eras)}
    found: set[str] = set()
    faults = []
    for text, (begin, end) in ranges.items():
        first, last = positions[begin], positions[end]
        inside = [era for era in with_labels if first <= positions[era] <= last]
        if first > last:
            faults.append(f"{option}: the range {text!r} is reversed: write '{end}-{begin}'")
        elif not inside:
            faults.append(f"{option}: in the range {text!r} {target!r} has no labels")
        found.update(inside)
    return found, faults


def _faults_of_labels(
    labels: Collection[str],
    eras: Sequence[str],
    with_labels: Sequence[str],
    target: str,
    option: str,
) -> list[str]:
    """Return the faults of labels: unknown ones, and ones without labels of the target."""
    faults = []
    if unknown := sorted(set(labels).difference(eras)):
        faults.append(
            f"{option} has eras that aren't in the dataset: {listed(unknown)}"
            f"{nearest(unknown[0], eras)}"
        )
    if unlabelled := sorted(set(labels).intersection(eras).difference(with_labels)):
        faults.append(
            f"{option} has eras in which {target!r} has no labels: {listed(unlabelled)}; "
            f"eras with labels run from {with_labels[0]!r} to {with_labels[-1]!r}"
        )
    return faults


def _unknown_ends(text: str, known: Collection[str]) -> set[str]:
    """Return the ends of a range that aren't eras; the whole text if it can't be split.

    >>> _unknown_ends("0001-0009", ["0001"]), _unknown_ends("2024-01-05", [])
    ({'0009'}, {'2024-01-05'})
    """
    if text.count("-") != 1:
        return {text}
    return {end.strip() for end in text.split("-")}.difference(known)


def _range_ends(text: str, eras: Sequence[str]) -> tuple[str, str] | None:
    """Return the first and the last era of a range, or None.

    A label may itself contain dashes. The ends of a range of dates needn't be eras.

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
            if end % DAY == 0:  # a date without a time means the whole day
                end += DAY - 1
            times = ((era, era_time(era)) for era in eras)
            inside = [era for era, time in times if time is not None and begin <= time <= end]
            if inside:
                return inside[0], inside[-1]
    return None
