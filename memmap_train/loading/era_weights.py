"""Weights of eras: how large a part of a training each era is. One meaning for all batches.

An era's weight, divided by the sum of all weights, is its share of the training. In batches of eras
that is its share of the blocks; in batches of rows, what its rows add up to in the loss.
"""

import csv
import io
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Float32, Float64
from ..dataset.eras import era_identity, weekly_era_number
from ..errors import BatchError, listed, nearest, shown
from ..text import counted
from .sampler import Sampler

BY_ROWS, EQUAL, HALF_LIFE, FROM_FILE = "rows", "equal", "half_life:", "file:"
EraWeights = str | Sequence[float] | Mapping[str, float]
"""What era weights may be given as; see `era_weights`."""

MAX_WEIGHT = 1e12
"""Sums of larger weights, and their quotients, would not be exact enough."""

_COLUMNS = ["era", "weight"]
_EXPECTED = "'rows', 'equal', 'half_life:52', 'file:weights.csv', or a number for each era"


def era_weights(
    given: EraWeights, eras: Mapping[str, int], known: Collection[str] | None = None
) -> Float64:
    """Return the weight of each era.

    Parameters
    ----------
    given : str, sequence of float, or mapping of str to float
        - "rows": an era's rows, so that all rows weigh the same.
        - "equal": 1.
        - "half_life:52": halves with every 52 eras that an era is older than the newest one. Ages
          are counted by the numbers in the labels, or by position if a label has none.
        - "file:weights.csv": a CSV file with the columns ``era,weight``.
        - One number for each era, in their order, or a mapping of eras to numbers.
    eras : mapping of str to int
        Labels of the eras to train on, in order, and their rows.
    known : collection of str, optional
        Labels that may have a weight, too, which isn't used; by default there are no others.

    Returns
    -------
    ndarray of float64, shape (eras,)
        0 to `MAX_WEIGHT`, with a sum above 0.

    Raises
    ------
    BatchError
        The weights aren't given in one of these ways, an era has none or two, or an era is unknown;
        one is negative or no number, or all are 0.

    Examples
    --------
    >>> era_weights("half_life:2", {"0001": 30, "0003": 20, "0005": 40}).tolist()
    [0.25, 0.5, 1.0]
    """
    where = "era_weights"
    if isinstance(given, Mapping):
        weights = _by_era(where, given.items(), eras, known)
    elif isinstance(given, str) and given.startswith(FROM_FILE):
        where = given.removeprefix(FROM_FILE)
        weights = _by_era(where, _read(Path(where).expanduser()), eras, known)
    elif isinstance(given, str):
        return _named(given, eras)
    else:
        weights = _in_order(given, eras)
    checked = [
        _number(f"{where}: era {era!r}", weight) for era, weight in zip(eras, weights, strict=True)
    ]
    if not any(checked):
        raise BatchError(
            f"{where}: the weights of all {counted(len(eras), 'era')} are 0; expected at least one "
            "above 0"
        )
    return np.array(checked)


def row_weights(weights: Float64, rows_per_era: Sequence[int]) -> Float32:
    """Return what the loss of each row of an era is multiplied by, in batches of rows.

    Its mean over all rows is 1. Together the rows of an era have the era's share of the weights.

    >>> row_weights(np.array([1.0, 1.0]), [20, 5]).tolist()
    [0.625, 2.5]
    """
    rows = np.asarray(rows_per_era, np.float64)
    found: Float32 = (weights / weights.sum() * rows.sum() / rows).astype(np.float32)
    return found


class RowWeights:
    """What the loss of each row of a step is multiplied by; thread-safe.

    Parameters
    ----------
    sampler : Sampler
    of_eras : ndarray of float32, shape (eras,), optional
        Of each row of an era: what `row_weights` returns. By default 1.
    """

    def __init__(self, sampler: Sampler, of_eras: Float32 | None) -> None:
        self._sampler, self._of_eras = sampler, of_eras
        self._last: tuple[tuple[int, int], Float32] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments: a pool's weights are computed again."""
        return RowWeights, (self._sampler, self._of_eras)

    def of_step(self, step: int) -> Float32:
        """Return the weights of the rows of a step; fast for steps of one pool in a row."""
        place = self._sampler.locate(step)
        if self._of_eras is None:
            return np.ones(place.high - place.low, np.float32)
        key, last = (place.epoch, place.pool), self._last
        if last is None or last[0] != key:
            pool = self._sampler.pool(*key)
            weights = np.empty(pool.n_rows, np.float32)
            weights[pool.places] = np.repeat(self._of_eras[pool.eras], pool.lengths)
            self._last = last = key, weights
        return last[1][place.low : place.high]


def _named(given: str, eras: Mapping[str, int]) -> Float64:
    """Return the weights that a word stands for."""
    if given == BY_ROWS:
        return np.array(list(eras.values()), np.float64)
    if given == EQUAL:
        return np.ones(len(eras))
    if given.startswith(HALF_LIFE):
        text = given.removeprefix(HALF_LIFE)
        half_life = _as_float(text)
        if half_life is None or not 0 < half_life < np.inf:
            raise BatchError(
                f"era_weights: expected a number of eras above 0 after {HALF_LIFE!r}, found "
                f"{text!r:.60}"
            )
        return np.array([2.0 ** (-age / half_life) for age in _ages(list(eras))])
    advice = nearest(given, (BY_ROWS, EQUAL, f"{HALF_LIFE}52"))
    raise BatchError(f"era_weights: expected {_EXPECTED}, found {shown(given)}{advice}")


def _ages(eras: Sequence[str]) -> list[int]:
    """Return how many eras each one is older than the newest."""
    found = [weekly_era_number(era) for era in eras]
    numbers = [number for number in found if number is not None]
    if len(numbers) < len(eras):
        numbers = list(range(len(eras)))
    return [max(numbers) - number for number in numbers]


def _in_order(given: Any, eras: Mapping[str, int]) -> list[Any]:
    """Return weights that are given as one number for each era."""
    try:
        weights = list(given)
    except TypeError:
        raise BatchError(f"era_weights: expected {_EXPECTED}, found {shown(given)}") from None
    if len(weights) != len(eras):
        raise BatchError(
            f"era_weights: expected {counted(len(eras), 'number')}, one for each era of the "
            f"dataset, found {len(weights):,}"
        )
    return weights


def _by_era(
    where: str,
    pairs: Iterable[tuple[Any, Any]],
    eras: Mapping[str, int],
    known: Collection[str] | None,
) -> list[Any]:
    """Return weights that are given by label, in the order of the eras."""
    spellings = {era_identity(era): era for era in (*(known or ()), *eras)}
    found: dict[str, Any] = {}
    unknown, twice = [], []
    for label, weight in pairs:
        era = spellings.get(era_identity(str(label)))
        if era is None:
            unknown.append(str(label))
        elif era in found:
            twice.append(era)
        else:
            found[era] = weight
    missing = [era for era in eras if era not in found]
    if unknown:
        raise BatchError(
            f"{where}: the dataset has no era {listed(unknown)}"
            f"{nearest(unknown[0], spellings.values())}; leave such lines out"
        )
    if twice:
        raise BatchError(f"{where}: expected one weight for each era, found two of {listed(twice)}")
    if missing:
        raise BatchError(
            f"{where}: expected a weight for each era, found none for {listed(missing)}; a weight "
            "of 0 leaves an era out"
        )
    return [found[era] for era in eras]


def _read(path: Path) -> list[tuple[str, str]]:
    """Return the lines of a CSV file of eras and weights."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it isn't UTF-8 text"
        raise BatchError(f"era_weights: {os.fspath(path)!r} can't be read: {reason}") from None
    try:
        header, *lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except (csv.Error, ValueError):
        header, lines = [text[:40]], []
    names = [name.strip() for name in header]
    if names != _COLUMNS:
        raise BatchError(
            f"{path}: expected a CSV file with the columns {','.join(_COLUMNS)}, found "
            f"{','.join(names)!r:.60}"
        )
    for number, line in enumerate(lines, start=2):
        if len(line) != len(_COLUMNS):
            raise BatchError(
                f"{path}: line {number}: expected an era and a weight, found {','.join(line)!r:.60}"
            )
    return [(era.strip(), weight) for era, weight in lines]


def _number(where: str, value: Any) -> float:
    """Return a weight as a float, once it is checked."""
    number = _as_float(value)
    if number is None or not 0 <= number <= MAX_WEIGHT:
        raise BatchError(f"{where}: expected a weight, 0 to {MAX_WEIGHT:g}, found {shown(value)}")
    return number


def _as_float(value: Any) -> float | None:
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
