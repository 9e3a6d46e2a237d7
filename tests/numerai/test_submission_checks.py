"""Tests of the checks of predictions: what Numerai's validators refuse is refused, in one line."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerai_tools.submissions import validate_submission_numerai

from memmap_train.errors import DependencyError, NumeraiError
from memmap_train.numerai.submission.checks import check_live, check_validation
from tests.support.errors import line_of, refused

IDS = np.array([f"n{number:03}" for number in range(40)], "S4")
VALUES = np.linspace(0.01, 0.99, 40)
PATH = Path("p.csv")


def check(ids: list[str] | np.ndarray = IDS, values: list[float] | np.ndarray = VALUES) -> None:
    check_live(PATH, np.array(ids, "S"), np.array(values, float), IDS)


def test_predictions_in_any_order_are_accepted() -> None:
    check()
    check(IDS[::-1], VALUES)
    check_validation(PATH, IDS[::-1], VALUES)


def test_ids_of_another_round_are_counted_and_named() -> None:
    with refused(
        NumeraiError,
        "p.csv: 2 of 41 ids aren't live ones of this round: 'other', 'x'",
        "1 of 40 live ids are missing: 'n000'; predict the live rows of this round again",
    ):
        check([*IDS[1:], "other", "x"], [*VALUES, 0.5])
    with refused(NumeraiError, "40 of 40 ids", "'m0', 'm1', 'm2' and 37 more", "40 of 40 live ids"):
        check([f"m{number}" for number in range(40)])


def test_the_file_of_the_live_ids_is_named() -> None:
    with refused(NumeraiError, "again, if that is this round's live.parquet", "rows of train.parq"):
        check_live(PATH, IDS[1:], VALUES[1:], IDS, live=Path("train.parquet"))


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (IDS[1:], "Not enough stocks submitted. Are you using the latest live ids"),
        (IDS[1:], "or live universe?; 1 of 40 live ids are missing: 'n000'"),
        ([*IDS, "n007", "n007", "n001"], "Duplicates detected in id for live period"),
        ([*IDS, "n007", "n007", "n001"], "more than once: 'n001', 'n007'"),
        ([*IDS[1:], "n007"], "more than once: 'n007'; 1 of 40 live ids are missing: 'n000'"),
    ],
)
def test_the_ids_that_are_wrong_are_named(ids: list[str], said: str) -> None:
    with refused(NumeraiError, "Numerai's validators refuse it (invalid_submission_ids)", said):
        check(ids, np.resize(VALUES, len(ids)))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.where(IDS == b"n003", 1.5, VALUES), "found 0.01 to 1.5"),
        (np.where(IDS == b"n003", -1, VALUES), "between 0 and 1 exclusive; found -1 to 0.99"),
        (np.full(40, 0.5), "non-zero standard deviation; found 0.5 to 0.5, std 0"),
    ],
)
def test_values_that_are_wrong_are_named(values: np.ndarray, said: str) -> None:
    with refused(NumeraiError, "(invalid_submission_values)", said):
        check(values=values)
    with refused(NumeraiError, "(invalid_submission_values)", said, "predict the validation rows"):
        check_validation(PATH, IDS, values)


@pytest.mark.parametrize("value", [0, 1])
def test_the_ends_of_the_range_are_accepted(value: float) -> None:
    """Numerai's message excludes them, its code accepts them: `.rank(pct=True)` has a 1."""
    values = np.where(IDS == b"n003", value, VALUES)
    check(values=values)
    check_validation(PATH, IDS, values)


def test_validation_ids_that_repeat_are_named() -> None:
    with refused(NumeraiError, "ids that occur more than once: 'n000', 'n001', 'n002' and 37 more"):
        check_validation(PATH, np.concatenate([IDS, IDS]), np.concatenate([VALUES, VALUES]))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numerai_tools", None)
    with refused(DependencyError, "pip install 'memmap-train[numerai]'"):
        check()
    with refused(DependencyError, "pip install 'memmap-train[numerai]'"):
        check_validation(PATH, IDS, VALUES)


IDS_OF_FILES = st.one_of(
    st.permutations([name.decode() for name in IDS[:3].tolist()]),
    st.lists(
        st.sampled_from([*(name.decode() for name in IDS[:5].tolist()), "other"]),
        min_size=1,
        max_size=6,
    ),
)
GOOD_VALUES, ALL_VALUES = [0.2, 0.5, 0.7], [0.0, 0.2, 0.5, 0.7, 1.0, 1.5, -1.0, -1e-12]
ROWS = st.tuples(IDS_OF_FILES, st.sampled_from([GOOD_VALUES, ALL_VALUES])).flatmap(
    lambda drawn: st.tuples(*[st.tuples(st.just(i), st.sampled_from(drawn[1])) for i in drawn[0]])
)


@given(ROWS)
def test_what_the_validators_refuse_is_refused(rows: tuple[tuple[str, float], ...]) -> None:
    """Their answer is the same but for surplus ids."""
    universe = IDS[:3]
    ids, values = (list(column) for column in zip(*rows, strict=True))
    frame = pd.DataFrame({"id": ids, "prediction": values})
    try:
        *_, invalid = validate_submission_numerai(pd.Series(universe.astype(str), name="id"), frame)
        is_accepted = not len(invalid)
    except AssertionError:
        is_accepted = False
    line = line_of(lambda: check_live(PATH, np.array(ids, "S"), np.array(values), universe))
    assert bool(line) == (not is_accepted)
