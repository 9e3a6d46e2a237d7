"""The eras of `validation_eras`: a number, a share, labels or ranges, and which eras they are.

In come era labels and the value of that key; out come the validation eras. Pure functions.
"""

from collections.abc import Sequence

from ..dataset.eras import era_time
from ..errors import FoldError, listed, nearest

_DAY = 24 * 60 * 60 * 10**9  # nanoseconds


def choose_validation(
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
