"""Predictions, checked by Numerai's own validators before anything is sent.

Takes the columns of a file as arrays; returns nothing, or raises a `NumeraiError` that says what is
wrong and where. The only module that uses pandas, since the validators do.

Notes
-----
Source: numerai-tools 0.7.2, `numerai_tools.submissions`. Ids that aren't of the round are refused
here and dropped there. The values 0 and 1, which its message excludes, are accepted as by its code.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Float64, Ids
from ...dataset.ids import ID_COLUMN, positions_of, repeated_ids
from ...errors import DependencyError, NumeraiError, listed
from ...text import counted

_PREDICTION = "prediction"
_MAX_NAMED = 3
_AGAIN = "predict the live rows of this round again"


def check_live(
    path: Path, ids: Ids, values: Float64, universe: Ids, *, live: Path | None = None
) -> None:
    """Check the predictions of a round's live rows.

    Parameters
    ----------
    path : Path
        The file, for the message.
    ids : ndarray of bytes, shape (rows,)
    values : ndarray of float64, shape (rows,)
    universe : ndarray of bytes, shape (live rows,)
        The ids of the round, each once.
    live : Path, optional
        The user's file that holds them, for the message.

    Raises
    ------
    NumeraiError
        Numerai would refuse the file, or drop rows of it.
    DependencyError
        numerai-tools isn't installed.
    """
    advice = _AGAIN
    if live is not None:
        advice = f"predict the rows of {live} again, if that is this round's live.parquet"
    surplus = ids[positions_of(ids, universe) < 0]
    if len(surplus):
        raise NumeraiError(
            f"{path}: {len(surplus):,} of {counted(len(ids), 'id')} aren't live ones of this "
            f"round: {_named(surplus)}{_missing(ids, universe)}; {advice}"
        )
    validators = _validators()
    import pandas as pd

    names = pd.Series(np.char.decode(universe, "utf-8"), name=ID_COLUMN, dtype=object)
    frame = pd.DataFrame({"id": np.char.decode(ids, "utf-8").astype(object), _PREDICTION: values})
    with _refusals(path, ids, values, advice, universe):
        validators.validate_submission_numerai(names, frame)


def check_validation(path: Path, ids: Ids, values: Float64) -> None:
    """Check predictions for diagnostics, whose ids are those of validation rows.

    The ids aren't compared with Numerai's validation file, which is large; Numerai does so.

    Raises
    ------
    NumeraiError, DependencyError
        The same as for `check_live`.
    """
    validators = _validators()
    import pandas as pd

    advice = "predict the validation rows again"
    repeated = repeated_ids(ids)
    if len(repeated):
        raise NumeraiError(f"{path}: ids that occur more than once: {_named(repeated)}; {advice}")
    with _refusals(path, ids, values, advice):
        validators.validate_values(pd.DataFrame({_PREDICTION: values}), _PREDICTION)


def _validators() -> Any:
    try:
        from numerai_tools import submissions  # with scikit-learn, which takes a second
    except ImportError as error:
        raise DependencyError(
            f"numerai-tools is needed to check predictions, and can't be imported ({error}): "
            "pip install 'memmap-train[numerai]'"
        ) from error
    return submissions


@contextmanager
def _refusals(
    path: Path, ids: Ids, values: Float64, advice: str, universe: Ids | None = None
) -> Iterator[None]:
    """Turn a validator's AssertionError into one line, with what was found."""
    try:
        yield
    except AssertionError as error:
        code, _, reason = " ".join(str(error).split()).partition(": ")
        found = _of_values(values) if "values" in code else _of_ids(ids, universe)
        raise NumeraiError(
            f"{path}: Numerai's validators refuse it ({code}): {reason.rstrip('.')}{found}; "
            f"{advice}"
        ) from None


def _of_values(values: Float64) -> str:
    return f"; found {values.min():.6g} to {values.max():.6g}, std {values.std():.2g}"


def _of_ids(ids: Ids, universe: Ids | None) -> str:
    repeated = repeated_ids(ids)
    missing = "" if universe is None else _missing(ids, universe)
    return f"; more than once: {_named(repeated)}{missing}" if len(repeated) else missing


def _missing(ids: Ids, universe: Ids) -> str:
    """Return which live ids are missing, as the end of a message."""
    missing = universe[positions_of(universe, np.unique(ids)) < 0]
    if not len(missing):
        return ""
    return f"; {len(missing):,} of {len(universe):,} live ids are missing: {_named(missing)}"


def _named(ids: Ids) -> str:
    head = listed(name.decode("utf-8", "replace") for name in ids[:_MAX_NAMED].tolist())
    return f"{head} and {len(ids) - _MAX_NAMED:,} more" if len(ids) > _MAX_NAMED else head
