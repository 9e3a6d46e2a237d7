"""Scores of many eras: summarised, and under the names that they have in a run's files.

Takes the scores of eras; returns a `Summary` and its numbers by name. Imports numpy only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType

import numpy as np

from ...arrays import Float64, Floats

_NO_FURTHER: Mapping[str, "Summary"] = MappingProxyType({})

# The scores in state.json; a column of history.csv is called likewise, after "val_".
_RESULT_NAMES = (
    "corr_mean",
    "corr_std",
    "corr_sharpe",
    "max_drawdown",
    "corr_positive",
    "pearson_mean",
)


@dataclass(frozen=True, slots=True)
class Summary:
    """The scores of many eras in a few numbers.

    Attributes
    ----------
    mean : float
        NaN if no era has a score.
    std : float
        Standard deviation with ``ddof=0``; 0 if all scores are equal.
    sharpe : float
        ``mean / std``, not annualised; NaN where `std` is 0.
    max_drawdown : float
        The largest fall of the cumulative sum from its highest value so far: 0 or more. The first
        era's score is the first "highest value", so a loss in the first era is no drawdown.
    positive : float
        The share of eras whose score is above 0; NaN if no era has a score.
    n_eras : int
        Number of eras that have a score.
    """

    mean: float
    std: float
    sharpe: float
    max_drawdown: float
    positive: float
    n_eras: int


def summary(scores: Sequence[float] | Floats) -> Summary:
    """Summarise the scores of eras, given in the order of time.

    Parameters
    ----------
    scores : sequence of float, shape (eras,)
        One score per era; eras whose score is NaN are left out.

    Returns
    -------
    Summary
        All NaN and ``n_eras=0`` if no era has a score.

    Notes
    -----
    The same numbers as in Numerai's own notebook: ``std(ddof=0)`` and
    ``(cumsum.expanding(min_periods=1).max() - cumsum).max()``.

    Source: https://github.com/numerai/example-scripts/blob/master/numerai/hello_numerai.ipynb

    Examples
    --------
    >>> summary([0.75, -0.25, 0.75, -0.25, float("nan")])
    Summary(mean=0.25, std=0.5, sharpe=0.5, max_drawdown=0.25, positive=0.5, n_eras=4)
    """
    known = np.asarray(scores, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return Summary(math.nan, math.nan, math.nan, math.nan, math.nan, 0)
    mean = float(known.mean())
    # Equal scores differ from their rounded mean in the last bit: without the test their Sharpe
    # ratio would be 1e16.
    std = float(known.std()) if np.ptp(known) > 0 else 0.0
    total = np.cumsum(known)
    return Summary(
        mean=mean,
        std=std,
        sharpe=mean / std if std > 0 else math.nan,
        max_drawdown=float(np.max(np.maximum.accumulate(total) - total)),
        positive=float((known > 0).mean()),
        n_eras=len(known),
    )


@dataclass(frozen=True, slots=True)
class EraScores:
    """The scores of a model, by era and target.

    Attributes
    ----------
    corr, pearson : ndarray of float64, shape (eras, targets)
        `numerai_corr` and plain correlation; NaN where undefined.
    undefined : mapping of str to int
        Number of eras without a `numerai_corr` of the main target, by the reason.
    further : mapping of str to ndarray of float64, shape (eras, targets)
        The one of `monitor.FURTHER_SCORES` that is monitored, if there is one, by its name.
    further_undefined : mapping of str to int
        Number of eras that have a `numerai_corr` of the main target but not the further score, by
        the reason.
    """

    corr: Float64
    pearson: Float64
    undefined: Mapping[str, int] = field(default_factory=dict)
    further: Mapping[str, Float64] = field(default_factory=dict)
    further_undefined: Mapping[str, int] = field(default_factory=dict)

    def corr_summary(self) -> Summary:
        """Summarise `numerai_corr` of the main target, the first."""
        return summary(self.corr[:, 0])

    def pearson_summary(self) -> Summary:
        """Summarise the plain correlation of the main target, the first."""
        return summary(self.pearson[:, 0])

    def further_summaries(self) -> dict[str, Summary]:
        """Summarise the further scores of the main target, the first, by their names."""
        return {name: summary(scores[:, 0]) for name, scores in self.further.items()}


def history_scores(
    corr: Summary, pearson: Summary, further: Mapping[str, Summary] = _NO_FURTHER
) -> dict[str, float]:
    """Return the scores of validation by their columns in `history.csv`.

    Parameters
    ----------
    corr, pearson : Summary
        Summaries of `numerai_corr` and of the plain correlation.
    further : mapping of str to Summary
        As `EraScores.further_summaries` returns them.
    """
    return {
        "val_corr_mean": corr.mean,
        "val_corr_std": corr.std,
        "val_corr_sharpe": corr.sharpe,
        "val_max_drawdown": corr.max_drawdown,
        "val_corr_positive": corr.positive,
        "val_pearson_mean": pearson.mean,
        "val_pearson_std": pearson.std,
        "val_pearson_sharpe": pearson.sharpe,
        "val_pearson_max_drawdown": pearson.max_drawdown,
        "val_pearson_positive": pearson.positive,
        **{f"val_{name}": value for name, value in _further_scores(further).items()},
    }


def result_scores(
    corr: Summary, pearson: Summary, further: Mapping[str, Summary] = _NO_FURTHER
) -> dict[str, float]:
    """Return the scores of a finished run by their keys in `state.json`.

    Parameters
    ----------
    corr, pearson, further
        The summaries of the main target's scores, as for `history_scores`.
    """
    scores = history_scores(corr, pearson)
    return {name: scores[f"val_{name}"] for name in _RESULT_NAMES} | _further_scores(further)


def _further_scores(further: Mapping[str, Summary]) -> dict[str, float]:
    """Return all numbers of further scores by name, such as "bmc_max_drawdown"."""
    return {
        f"{name}_{statistic}": value
        for name, of_score in further.items()
        for statistic, value in asdict(of_score).items()
        if statistic != "n_eras"
    }
