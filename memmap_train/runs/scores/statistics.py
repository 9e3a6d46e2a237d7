"""Statistics of the scores of many eras, with a standard error that respects overlapping targets.

Takes one score per era, in the order of time; returns `ScoreStatistics`. Imports numpy and scipy
only.

A target looks ahead, so the scores of neighbouring eras share returns: a 20-day target's with the
four eras that follow, a 60-day target's with twelve. They vary together, and the mean is less
certain than ``std / sqrt(eras)`` says. `embargo.overlapping_eras` knows how many eras a target
overlaps with.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
from scipy.special import stdtrit

from ...arrays import Floats, Int64
from ...dataset.eras import era_time, weekly_era_number
from .summary import summary

ERAS_PER_YEAR = 52
LAST_ERAS = 200
"""The number of the latest eras that Numerai's own agents look at."""
_WEEK = 7 * 24 * 60 * 60 * 10**9  # nanoseconds
_COSINES_PER_OVERLAP = 0.4
_MIN_COSINES, _MAX_COSINES = 2, 64
_NORMAL_95, _TAIL_95 = 1.959963984540054, 0.975


@dataclass(frozen=True, slots=True)
class ScoreStatistics:
    """The scores of many eras in a few numbers; eras without a score count as absent.

    Attributes
    ----------
    mean : float
        NaN if no era has a score.
    standard_error : float
        The error of the mean: the true mean lies within 1.96 of it in 95 of 100 cases. NaN for
        fewer than two eras, or if it can't be known; see `score_statistics`.
    std : float
        Standard deviation with ``ddof=0``; 0 if all scores are equal.
    sharpe : float
        ``mean / std``, not annualised; NaN where `std` is 0.
    max_drawdown : float
        The largest fall of the cumulative sum from its highest value so far: 0 or more.
    positive : float
        The share of eras whose score is above 0.
    autocorrelation : float
        The correlation of scores with those of the era directly before; NaN where it isn't defined.
    n_eras : int
        Number of eras that have a score.
    """

    mean: float
    standard_error: float
    std: float
    sharpe: float
    max_drawdown: float
    positive: float
    autocorrelation: float
    n_eras: int


def score_statistics(
    scores: Sequence[float] | Floats, overlap_eras: int, positions: Int64 | None = None
) -> ScoreStatistics:
    """Return the statistics of scores.

    Parameters
    ----------
    scores : sequence of float, shape (eras,)
        One score per era, in the order of time; eras whose score is NaN are left out.
    overlap_eras : int
        Number of following eras whose targets share returns with an era's own: 4 for 20 days.
    positions : ndarray of int64, shape (eras,), optional
        Where each era lies in time, ascending, such as its number (see `era_positions`), so that
        eras with others between them don't count as neighbours. By default 0, 1, 2, …

    Returns
    -------
    ScoreStatistics

    Notes
    -----
    The standard error is that of the equal-weighted cosine estimator: the scores are projected on
    the B slowest cosines of the period, ``B = 0.4 eras / (overlap_eras + 1)`` but from 2 to 64,
    which the overlap leaves unchanged, and the mean square of the B projections estimates the
    variance that counts for the mean. (The Newey-West estimator with as many lags as eras overlap
    gives errors that are too small by a fifth: its weights fall with the lag as the shared returns
    do.) The mean divided by such an error follows Student's t distribution with B degrees of
    freedom, so the error is multiplied by the ratio of that distribution's 97.5 % quantile to the
    normal one's: for 50 eras and a 20-day target by 1.4, for 200 by 1.08. Eras further apart than
    the overlap count as just beyond it. Overlap makes a mean less certain, never more, so an error
    below that of independent eras, ``std / sqrt(eras)``, is chance and is replaced by it.

    Source: Lazarus, Lewis, Stock and Watson, "HAR Inference: Recommendations for Practice",
    Journal of Business & Economic Statistics 36 (2018).

    Examples
    --------
    >>> found = score_statistics([0.75, -0.25, 0.75, -0.25, float("nan")], overlap_eras=0)
    >>> found.mean, found.std, found.sharpe, found.max_drawdown, found.positive, found.n_eras
    (0.25, 0.5, 0.5, 0.25, 0.5, 4)
    """
    values = np.asarray(scores, dtype=np.float64)
    places = np.arange(len(values)) if positions is None else np.asarray(positions)
    known = ~np.isnan(values)
    values, places = values[known], places[known]
    found = summary(values)
    return ScoreStatistics(
        mean=found.mean,
        standard_error=_standard_error(values, places, overlap_eras),
        std=found.std,
        sharpe=found.sharpe,
        max_drawdown=found.max_drawdown,
        positive=found.positive,
        autocorrelation=_autocorrelation(values, places),
        n_eras=found.n_eras,
    )


def paired_difference(
    first: Sequence[float] | Floats,
    second: Sequence[float] | Floats,
    overlap_eras: int,
    positions: Int64 | None = None,
) -> ScoreStatistics:
    """Return the statistics of the difference of two models' scores, over eras that both have.

    Parameters
    ----------
    first, second : sequence of float, shape (eras,)
        The scores of two models in the same eras; the second ones are subtracted.
    overlap_eras, positions
        See `score_statistics`.

    Examples
    --------
    >>> paired_difference([0.5, 0.25, float("nan")], [0.25, 0.25, 0.5], overlap_eras=0).mean
    0.125
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    return score_statistics(difference, overlap_eras, positions)


def era_positions(eras: Sequence[str], known: Sequence[str]) -> Int64:
    """Return where eras lie in time, for `score_statistics`.

    Parameters
    ----------
    eras : sequence of str
        Labels of the scored eras, in order.
    known : sequence of str
        All eras of the dataset, in order: for labels that are neither numbers nor weekly dates.

    Examples
    --------
    >>> era_positions(["0005", "0009"], ["0001", "0005", "0009"]).tolist()
    [5, 9]
    >>> era_positions(["2024-01-05", "2024-01-26"], ["2024-01-05", "2024-01-26"]).tolist()
    [2818, 2821]
    >>> era_positions(["b"], ["a", "b"]).tolist()
    [1]
    """
    numbers = [weekly_era_number(era) for era in eras]
    if all(number is not None for number in numbers):
        return np.array(numbers, np.int64)
    times = [time for time in map(era_time, known) if time is not None]
    if len(times) == len(known) and all((time - times[0]) % _WEEK == 0 for time in times):
        of_eras = [era_time(era) for era in eras]
        return np.array([(time or 0) // _WEEK for time in of_eras], np.int64)
    place = {era: position for position, era in enumerate(known)}
    return np.array([place[era] for era in eras], np.int64)


def by_year(eras: Sequence[str]) -> list[tuple[str, slice]]:
    """Return the years that eras lie in, each with its name and its part of the eras.

    A year is that of the calendar where labels are dates, and 52 eras where they are numbers (era 1
    begins the first); eras of other labels are one group.

    Parameters
    ----------
    eras : sequence of str
        Labels, in order.

    Examples
    --------
    >>> by_year(["0051", "0052", "0053", "0104"])
    [('0051-0052', slice(0, 2, None)), ('0053-0104', slice(2, 4, None))]
    >>> by_year(["2023-12-29", "2024-01-05", "2024-01-12"])
    [('2023', slice(0, 1, None)), ('2024', slice(1, 3, None))]
    """
    years = [_year(era) for era in eras]
    firsts = [place for place in range(len(eras)) if not place or years[place] != years[place - 1]]
    groups = []
    for low, high in pairwise([*firsts, len(eras)]):
        ends = eras[low] if high - low == 1 else f"{eras[low]}-{eras[high - 1]}"
        groups.append((years[low] if era_time(eras[low]) is not None else ends, slice(low, high)))
    return groups


def _year(era: str) -> str:
    """Return a name of the year that an era lies in; eras of one year have one name."""
    number, time = weekly_era_number(era), era_time(era)
    if number is not None:
        return str((number - 1) // ERAS_PER_YEAR)
    if time is None:
        return ""
    return str((datetime(1970, 1, 1) + timedelta(microseconds=time // 1000)).year)


def _standard_error(values: Floats, positions: Int64, overlap_eras: int) -> float:
    """Return the standard error of the mean of scores at some positions in time."""
    n = len(values)
    if n < 2:
        return math.nan
    steps = np.minimum(np.diff(positions), overlap_eras + 1)
    times = np.concatenate([[0], np.cumsum(steps)]) + 0.5
    period = times[-1] + 0.5
    n_cosines = int(_COSINES_PER_OVERLAP * period / (overlap_eras + 1))
    n_cosines = min(max(n_cosines, _MIN_COSINES), _MAX_COSINES, n - 1)
    cosines = np.cos(np.pi / period * np.outer(times, np.arange(n_cosines + 1)))
    if period > n:  # otherwise they are orthogonal
        cosines, _ = np.linalg.qr(cosines)
    basis = cosines[:, 1:]  # the first is constant
    projections = (values - values.mean()) @ basis / np.linalg.norm(basis, axis=0)
    error = math.sqrt(float(np.mean(projections**2)) / n)
    error *= float(stdtrit(n_cosines, _TAIL_95)) / _NORMAL_95
    return max(error, float(values.std(ddof=1)) / math.sqrt(n))


def _autocorrelation(values: Floats, positions: Int64) -> float:
    """Return the correlation of the scores of neighbouring eras."""
    neighbours = np.flatnonzero(np.diff(positions) == 1)
    before, after = values[neighbours], values[neighbours + 1]
    if len(neighbours) < 2 or np.ptp(before) == 0 or np.ptp(after) == 0:
        return math.nan
    return float(np.corrcoef(before, after)[0, 1])
