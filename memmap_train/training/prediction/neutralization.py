"""Predictions of a dataset made neutral to its features, one era after another.

Takes ranks of every row; returns ranks. The features are those of the predicted dataset. Imports no
TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ...dataset.dataset import Dataset
from ...dataset.format import MISSING_COUNT
from ...errors import ConfigError, DatasetError, listed
from ...progress import Progress


@dataclass(frozen=True, slots=True)
class Neutralization:
    """What is subtracted from predictions.

    Attributes
    ----------
    features : str or tuple of str
        A feature set of the predicted dataset, "all", or names.
    proportion : float
        The share of what these features explain, from 0 to 1.
    """

    features: str | tuple[str, ...]
    proportion: float


def neutralization(
    features: str | Sequence[str] | None, proportion: float | None, *, raw: bool
) -> Neutralization | None:
    """Return what is to be subtracted, None for nothing.

    Raises
    ------
    ConfigError
        The proportion isn't a number from 0 to 1, or is given without features; or the model's own
        output is wanted, which isn't ranks.
    """
    if features is None:
        if proportion is not None:
            raise ConfigError(
                f"a proportion ({proportion!r:.40}) counts only together with features to "
                "neutralise: add --neutralize SET (neutralize=...), or leave it out"
            )
        return None
    if raw:
        raise ConfigError(
            "ranks are neutralised, not the model's own output: leave out --raw (raw=True) or "
            "--neutralize (neutralize=...)"
        )
    share = 1.0 if proportion is None else proportion
    if isinstance(share, bool) or not isinstance(share, int | float | np.number):
        raise ConfigError(f"the proportion is {share!r:.40}, expected a number from 0 to 1")
    if not 0 <= share <= 1:
        raise ConfigError(f"the proportion is {share}, expected a number from 0 to 1")
    return Neutralization(features if isinstance(features, str) else tuple(features), float(share))


def check_features(dataset: Dataset, wanted: Neutralization) -> None:
    """Raise an error, before anything is predicted, if predictions can't be made neutral.

    Raises
    ------
    DatasetError
        The dataset lacks the features, or some of their values are missing.
    """
    columns = _columns(dataset, wanted)
    if dataset.manifest.missing != "nan":
        return
    eras = [
        era
        for era in dataset.eras
        if dataset.entry(era).missing_features and _has_missing(dataset[era].counts, columns)
    ]
    if eras:
        raise _missing(dataset, eras)


def neutralized(
    dataset: Dataset,
    ranks: npt.NDArray[np.floating[Any]],
    wanted: Neutralization,
    *,
    progress: Progress,
) -> npt.NDArray[np.float64]:
    """Return the ranks of predictions after features are subtracted from them.

    Parameters
    ----------
    dataset : Dataset
    ranks : ndarray of float64, shape (rows,)
        Predictions of every row, in the dataset's order.
    wanted : Neutralization
    progress : callable(what, done, total)
        Called with rows.

    Returns
    -------
    ndarray of float64, shape (rows,)
        Between 0 and 1, within each era. Those of an era whose predictions are all equal stay as
        they are.

    Raises
    ------
    DatasetError
        Features are missing; or they explain the predictions of an era completely.
    """
    from ...runs.scores.metrics import uniform_ranks  # needs scipy
    from ...runs.scores.neutral import is_explained, to_rank
    from ...runs.scores.neutralizer import Neutralizer

    columns = _columns(dataset, wanted)
    found = ranks.astype(np.float64)
    firsts = dataset.row_offsets
    for era, (low, high) in zip(dataset.eras, pairwise(firsts), strict=True):
        of_era = ranks[low:high, None]
        if np.ptp(of_era):
            features = dataset[era].features
            if columns is not None:
                features = features[:, columns]
            neutralizer = Neutralizer(features)
            if neutralizer.has_missing:
                raise _missing(dataset, [era])
            rest = neutralizer.residual(of_era, wanted.proportion)
            if is_explained(of_era, rest).any():
                raise DatasetError(
                    f"{dataset.path}: the {neutralizer.n_independent:,} independent features of "
                    f"era {era!r} explain the predictions of its {high - low:,} rows completely: "
                    "nothing is left to rank; neutralise to fewer features, or choose a smaller "
                    "proportion"
                )
            found[low:high] = uniform_ranks(to_rank(rest[:, 0]))
        progress("neutralising", high, firsts[-1])
    return found


def _columns(dataset: Dataset, wanted: Neutralization) -> tuple[int, ...] | None:
    features = wanted.features
    return dataset.feature_columns(features if isinstance(features, str) else list(features))


def _has_missing(counts: npt.NDArray[Any] | None, columns: tuple[int, ...] | None) -> bool:
    """Return True if counts say that one of these features has missing values."""
    if counts is None:
        return False  # it is seen when the features are read
    missing = counts[:, MISSING_COUNT]
    return bool((missing if columns is None else missing[list(columns)]).any())


def _missing(dataset: Dataset, eras: Sequence[str]) -> DatasetError:
    return DatasetError(
        f"{dataset.path}: values of the features to neutralise are missing (NaN) in "
        f"{len(eras):,} eras: {listed(eras, 3)}; choose other features, or convert without "
        "--missing nan"
    )
