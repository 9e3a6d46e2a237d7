"""Predictions, checked as Numerai's validators check them, before anything is sent.

Takes the columns of a file as arrays; returns nothing, or raises a `NumeraiError` with all faults.

Notes
-----
Source: numerai-tools 0.7.2, `submissions.validate_submission_numerai`, to which a test compares
these checks. Two are stricter: ids that aren't of the round are refused here and dropped there, and
the values 0 and 1, which its message excludes, are refused here.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...errors import NumeraiError, listed

HEADER = ("id", "prediction")


def check_predictions(
    where: str,
    header: Sequence[str],
    ids: npt.NDArray[np.str_],
    values: npt.NDArray[np.float64],
    universe: npt.NDArray[np.str_],
) -> None:
    """Check the predictions of a file.

    Parameters
    ----------
    where : str
        The file, for the message.
    header : sequence of str
        The names of all its columns.
    ids : ndarray of str, shape (rows,)
    values : ndarray of float64, shape (rows,)
        NaN where the file has no number.
    universe : ndarray of str, shape (live rows,)
        The ids of the round, each once.

    Raises
    ------
    NumeraiError
        Numerai would refuse the file, or drop rows of it.
    """
    if tuple(header) != HEADER:
        raise NumeraiError(
            f"{where}: expected the columns id and prediction, found {listed(header)}; "
            "`memmap-train predict` writes them so without --era"
        )
    faults = [*_faults_of_ids(ids, universe), *_faults_of_values(values)]
    if faults:
        raise NumeraiError(
            f"{where}: Numerai wouldn't accept these predictions: {'; '.join(faults)}; predict the "
            "live rows of this round again"
        )


def _faults_of_ids(ids: npt.NDArray[np.str_], universe: npt.NDArray[np.str_]) -> list[str]:
    faults = []
    found, counts = np.unique(ids, return_counts=True)
    repeated = found[counts > 1]
    if len(repeated):
        faults.append(f"ids that occur more than once: {_named(repeated)}")
    missing = np.setdiff1d(universe, found, assume_unique=True)
    if len(missing):
        faults.append(
            f"{len(missing):,} of {len(universe):,} live ids are missing: {_named(missing)}"
        )
    surplus = np.setdiff1d(found, universe, assume_unique=True)
    if len(surplus):
        faults.append(f"ids that aren't of the live rows: {_named(surplus)}")
    return faults


def _faults_of_values(values: npt.NDArray[np.float64]) -> list[str]:
    n_missing = int(np.isnan(values).sum())
    if n_missing:
        return [f"{n_missing:,} of {len(values):,} predictions are no numbers"]
    if not len(values):
        return ["there are none"]
    low, high = values.min(), values.max()
    if low <= 0 or high >= 1:
        return [f"expected values between 0 and 1, both excluded, found {low:.6g} to {high:.6g}"]
    if low == high:
        return [f"all are {low:.6g}"]
    return []


def _named(ids: npt.NDArray[np.str_]) -> str:
    return listed((str(item) for item in ids), most=3)
