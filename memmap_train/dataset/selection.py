"""Names that a user chooses (eras, features, targets) turned into columns, or an error."""

from collections.abc import Mapping, Sequence
from typing import Any

from .. import arguments
from ..errors import DatasetError, listed, nearest

Selection = str | Sequence[str] | None

ALL = "all"
"""The name that stands for all features, and for all eras."""


def as_names(names: Any, what: str) -> list[str]:
    """Return one name, or several, as a list; a DatasetError is raised for anything else."""
    return arguments.names(what, names, DatasetError)


def columns_of(names: Sequence[str], known: Sequence[str], what: str) -> tuple[int, ...]:
    """Return the columns of names, in their order.

    Parameters
    ----------
    names : sequence of str
    known : sequence of str
        All names, in the order of the columns.
    what : str
        The beginning of an error: where the names were looked for, and "no feature" for example.

    Raises
    ------
    DatasetError
        A name is unknown, a name occurs twice, or there is none.
    """
    position = {name: column for column, name in enumerate(known)}
    unknown = [name for name in names if name not in position]
    if unknown:
        others = nearest(unknown[0], known) or f"; there is {listed(known, 3)}"
        if not known:
            others = ": this dataset has none; convert sources that have some"
        raise DatasetError(f"{what} {listed(unknown)} among {len(known):,}{others}")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        raise DatasetError(f"{what} can be chosen twice: {listed(twice)}")
    if not names:
        raise DatasetError(f"{what}s chosen; expected at least one")
    return tuple(position[name] for name in names)


def members_of(name: str, sets: Mapping[str, Sequence[str]], what: str) -> Sequence[str]:
    """Return the features of a set; DatasetError if there is no set of that name."""
    if name not in sets:
        known = f"it has {listed(sets, 12)}{nearest(name, sets)}"
        raise DatasetError(f"{what} {name!r}; {known}")
    return sets[name]
