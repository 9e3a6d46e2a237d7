"""Folds: which eras are trained on, which are scored, and which between them are left out.

In: the era labels of a dataset, and those of them in which the main target has labels. Out: a
`Fold`. Pure functions over labels: this room knows no files and imports only the errors.

A target looks ahead: the label of an era is made of returns that the labels of the following eras
share. Training close to a validation era is training on a part of what is to be predicted, so the
**embargo** leaves those eras out, on both sides of every validation era.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from .errors import FoldError, listed, nearest

# Five digits last weekly eras for 1,900 years. More are a date such as 20240105, and the difference
# of two dates isn't in eras.
_ERA_LABEL = re.compile(r"\D*0*([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class _Horizon:
    """How far the labels of a kind of target look ahead.

    Attributes
    ----------
    suffix : str
        How the names of such targets end: the horizon in business days.
    least : int
        The last following era whose labels share returns with an era's own.
    usual : int
        What Numerai leaves out between training and validation, in eras.
    """

    suffix: str
    least: int
    usual: int


# Shortest first. Source: "purge_eras" on https://docs.numer.ai/numerai-tournament/models.
_HORIZONS = (_Horizon("_20", least=5, usual=8), _Horizon("_60", least=13, usual=16))


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
    validation_eras: int | Sequence[str] | None = None,
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
    validation_eras : int, sequence of str or None
        The last so many labelled eras, or these labels; None is the last fifth of the labelled
        eras, at least one.
    embargo_eras : int or "auto"
        An era is left out if it is this near to a validation era, or nearer, before or after it.
        The distance of two eras is the difference of the numbers in their labels ("era7" and
        "era12" are 5 apart, whatever the dataset has between them); where a label holds no
        number, or a date, it is the difference of their places in `eras`.
        "auto" is what Numerai's benchmark models use: 8 if all targets look 20 days ahead,
        otherwise 16.
    targets : str or sequence of str
        The targets that are trained on, the main one first. The longest horizon decides; a target
        whose name doesn't end in ``_20`` or ``_60`` counts as ``_60``.
    aliases : mapping of str to str
        Which named target a target equals, as the manifest says: ``{"target": "target_x_20"}``.
    allow_overlap : bool
        Permit an `embargo_eras` below 5 (``_20``) or 13 (``_60``), with which labels of train and
        validation eras share returns.

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
    reach = _resolve_embargo(embargo_eras, names, aliases, allow_overlap=allow_overlap)
    labelled = frozenset(labelled)
    with_labels = [era for era in eras if era in labelled]
    if not with_labels:
        raise FoldError(
            f"{names[0]!r} has labels in none of the {len(eras):,} eras, expected at least two "
            "eras with labels: set targets to one that has them"
        )
    validation = _choose_validation(eras, with_labels, validation_eras, names[0])
    places = {era: (_era_number(era), position) for position, era in enumerate(eras)}
    near = {
        era
        for era in with_labels
        if any(_distance(places[era], places[other]) <= reach for other in validation)
    }
    embargo = near.difference(validation)
    return Fold(
        train=tuple(era for era in with_labels if era not in near),
        validation=validation,
        embargo=tuple(era for era in with_labels if era in embargo),
        embargo_eras=reach,
    )


def _choose_validation(
    eras: Sequence[str],
    with_labels: Sequence[str],
    wanted: int | Sequence[str] | None,
    target: str,
) -> tuple[str, ...]:
    """Return the validation eras in the dataset's order."""
    if wanted is None:
        wanted = max(1, len(with_labels) // 5)
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(with_labels):
            raise FoldError(
                f"validation_eras is {wanted:,}, expected 1 or more and fewer than the "
                f"{len(with_labels):,} eras in which {target!r} has labels"
            )
        return tuple(with_labels[-wanted:])
    chosen = {wanted} if isinstance(wanted, str) else set(wanted)
    faults = []
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
    return tuple(era for era in with_labels if era in chosen)


def _resolve_embargo(
    wanted: int | Literal["auto"],
    targets: Sequence[str],
    aliases: Mapping[str, str],
    *,
    allow_overlap: bool,
) -> int:
    """Return the embargo in eras, after checking that it is long enough for the targets."""
    named = {target: aliases.get(target, target) for target in targets}
    longest = max(named, key=lambda target: _horizon(named[target]).least)
    horizon = _horizon(named[longest])
    if wanted == "auto":
        return horizon.usual
    if wanted < (0 if allow_overlap else horizon.least):
        same = f" (= {named[longest]!r})" if named[longest] != longest else ""
        advice = "" if wanted < 0 else ", or allow_overlap = true to accept that they overlap"
        raise FoldError(
            f"embargo_eras is {wanted}, but labels of {longest!r}{same} look up to "
            f"{horizon.least} eras ahead: expected {horizon.least} or more; set it to that, to "
            f'"auto" ({horizon.usual}){advice}'
        )
    return wanted


def _horizon(target: str) -> _Horizon:
    """Return the horizon that a target's name ends in, the longest one if it ends in none."""
    known = (horizon for horizon in _HORIZONS if target.endswith(horizon.suffix))
    return next(known, _HORIZONS[-1])


def _distance(first: tuple[int | None, int], second: tuple[int | None, int]) -> int:
    """Return how many eras lie from one (number, position) to another."""
    if first[0] is None or second[0] is None:
        return abs(first[1] - second[1])
    return abs(first[0] - second[0])


def _era_number(label: str) -> int | None:
    """Return the number that a label ends in, or None if it holds none, several, or a date.

    >>> [_era_number(label) for label in ("0007", "era12", "X", "2024-01-05", "20240105")]
    [7, 12, None, None, None]
    """
    match = _ERA_LABEL.fullmatch(label)
    return int(match[1]) if match else None
