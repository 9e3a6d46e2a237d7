"""Tests of the checks of predictions: what Numerai's validators refuse is refused, in one line."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerai_tools.submissions import validate_submission_numerai

from memmap_train.errors import NumeraiError
from memmap_train.numerai.submission.checks import check_predictions
from tests.support.errors import refused

IDS = np.array([f"n{number:03}" for number in range(40)])
VALUES = np.linspace(0.01, 0.99, 40)


def check(
    ids: list[str] | np.ndarray = IDS,
    values: list[float] | np.ndarray = VALUES,
    header: tuple[str, ...] = ("id", "prediction"),
) -> None:
    check_predictions("p.csv", header, np.array(ids, str), np.array(values, float), IDS)


def test_predictions_in_any_order_are_accepted() -> None:
    check()
    check(IDS[::-1], VALUES)


@pytest.mark.parametrize("header", [("id",), ("prediction", "id"), ("id", "era", "prediction"), ()])
def test_other_columns_are_refused(header: tuple[str, ...]) -> None:
    with refused(NumeraiError, "p.csv: expected the columns id and prediction"):
        check(header=header)


def test_all_faults_are_in_one_line() -> None:
    with refused(
        NumeraiError,
        "ids that occur more than once: 'n001'",
        "1 of 40 live ids are missing: 'n000'",
        "ids that aren't of the live rows: 'other'",
        "found 0 to 0.99",
    ):
        check([*IDS[1:], "n001", "other"], [0, *VALUES])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.where(IDS == "n003", np.nan, VALUES), "1 of 40 predictions are no numbers"),
        (np.where(IDS == "n003", np.inf, VALUES), "found 0.01 to inf"),
        (np.where(IDS == "n003", 1, VALUES), "found 0.01 to 1"),
        (np.where(IDS == "n003", -1e-9, VALUES), "found -1e-09 to 0.99"),
        (np.full(40, 0.5), "all are 0.5"),
    ],
)
def test_values_that_score_nothing_are_refused(values: np.ndarray, said: str) -> None:
    with refused(NumeraiError, said):
        check(values=values)


def test_no_predictions_are_refused() -> None:
    with refused(NumeraiError, "40 of 40 live ids are missing", "there are none"):
        check([], [])


IDS_OF_FILES = st.one_of(
    st.permutations([str(name) for name in IDS[:3]]),
    st.lists(st.sampled_from([*map(str, IDS[:5]), "other"]), min_size=1, max_size=6),
)
GOOD_VALUES, ALL_VALUES = [0.2, 0.5, 0.7], [0.0, 0.2, 0.5, 0.7, 1.0, 1.5, -1.0, np.nan, np.inf]
ROWS = st.tuples(IDS_OF_FILES, st.sampled_from([GOOD_VALUES, ALL_VALUES])).flatmap(
    lambda drawn: st.tuples(*[st.tuples(st.just(i), st.sampled_from(drawn[1])) for i in drawn[0]])
)


@given(ROWS)
def test_what_the_validators_refuse_is_refused(rows: tuple[tuple[str, float], ...]) -> None:
    """Their answer is the same but for surplus ids, and for the values 0 and 1."""
    universe = IDS[:3]
    ids, values = (list(column) for column in zip(*rows, strict=True))
    frame = pd.DataFrame({"id": ids, "prediction": values})
    try:
        *_, invalid = validate_submission_numerai(pd.Series(universe, name="id"), frame)
        is_accepted = not len(invalid)
    except AssertionError:
        is_accepted = False
    is_strict = {0.0, 1.0} & set(values)
    try:
        check_predictions("p.csv", ("id", "prediction"), np.array(ids), np.array(values), universe)
    except NumeraiError:
        assert not is_accepted or is_strict
    else:
        assert is_accepted
