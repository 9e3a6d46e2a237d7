import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numerai_tools import scoring
from numpy.typing import NDArray

from memmap_train.runs.scores.metrics import numerai_corr, pearson

Array: TypeAlias = NDArray[np.floating[Any]]
Score: TypeAlias = Callable[[Array, Array], float]

BINS = np.array([0, 0.25, 0.5, 0.75, 1])


def official_corr(predictions: Array, target: Array) -> float:
    """Return the score of numerai-tools for the same arrays, including NaN targets."""
    score = scoring.numerai_corr(
        pd.DataFrame({"prediction": predictions}),
        pd.Series(target, name="target"),
        max_filtered_index_ratio=1.0,
    )
    return float(score["prediction"])


def era(rows: int = 5600, missing: float = 0.1, seed: int = 0) -> tuple[Array, Array]:
    """Return predictions with a weak correlation with a target in five bins, and the target."""
    generator = np.random.default_rng([seed])
    target = generator.choice(BINS, size=rows, p=[0.05, 0.2, 0.5, 0.2, 0.05])
    predictions = target + generator.normal(scale=5, size=rows)
    target[generator.random(rows) < missing] = np.nan
    return predictions, target


@pytest.mark.parametrize("missing", [0.0, 0.1, 0.9])
def test_numerai_corr_equals_the_official_score(missing: float) -> None:
    predictions, target = era(missing=missing)
    official = official_corr(predictions, target)
    assert abs(official) > 1e-3
    assert numerai_corr(predictions, target) == pytest.approx(official, abs=1e-12)


def test_numerai_corr_equals_the_official_score_on_heavily_tied_predictions() -> None:
    predictions, target = era()
    predictions = np.round(predictions / 5)
    assert len(np.unique(predictions)) < 20
    official = official_corr(predictions, target)
    assert numerai_corr(predictions, target) == pytest.approx(official, abs=1e-12)
    first_come = pd.Series(predictions).rank(method="first").to_numpy()
    assert numerai_corr(first_come, target) != pytest.approx(official, abs=1e-4)


def test_numerai_corr_equals_the_official_score_on_float32() -> None:
    predictions, target = (values.astype(np.float32) for values in era())
    official = official_corr(predictions, target)
    assert numerai_corr(predictions, target) == pytest.approx(official, abs=1e-12)


def test_numerai_corr_equals_the_official_score_on_an_older_target_of_seven_bins() -> None:
    generator = np.random.default_rng([7])
    target = generator.choice(np.arange(7) / 6, size=1000)
    predictions = generator.random(1000)
    official = official_corr(predictions, target)
    assert numerai_corr(predictions, target) == pytest.approx(official, abs=1e-12)


@given(data=st.data(), rows=st.integers(2, 40))
def test_numerai_corr_equals_the_official_score_for_any_ties_and_gaps(
    data: st.DataObject, rows: int
) -> None:
    few = st.sampled_from([-3.0, 0.0, 1e-30, 0.5, 0.5000001, 7e8])
    many = st.floats(-1e9, 1e9, width=32)
    predictions = data.draw(hnp.arrays(np.float64, rows, elements=st.one_of(few, many)))
    target = data.draw(
        hnp.arrays(np.float64, rows, elements=st.sampled_from([*BINS, math.nan]), fill=st.nothing())
    )
    labelled = ~np.isnan(target)
    assume(len(np.unique(target[labelled])) > 1 and len(np.unique(predictions[labelled])) > 1)
    official = official_corr(predictions, target)
    assert numerai_corr(predictions, target) == pytest.approx(official, abs=1e-12)


@given(
    predictions=hnp.arrays(np.float64, 12, elements=st.integers(-50, 50).map(float)),
    target=hnp.arrays(np.float64, 12, elements=st.sampled_from(BINS.tolist())),
)
def test_scores_stay_within_bounds_and_change_sign_with_the_predictions(
    predictions: Array, target: Array
) -> None:
    for score in (numerai_corr, pearson):
        value, opposite = score(predictions, target), score(-predictions, target)
        if math.isnan(value):
            assert math.isnan(opposite)
            assert len(np.unique(predictions)) == 1 or len(np.unique(target)) == 1
        else:
            assert -1 <= value <= 1
            assert opposite == pytest.approx(-value, abs=1e-12)


def test_numerai_corr_depends_only_on_the_order_of_predictions() -> None:
    predictions, target = era(rows=500)
    assert numerai_corr(np.exp(predictions / 10), target) == numerai_corr(predictions, target)
    assert pearson(np.exp(predictions / 10), target) != pytest.approx(pearson(predictions, target))


def test_numerai_corr_weighs_the_tails_more_than_pearson_does() -> None:
    target = np.repeat(BINS, 20)
    middle_wrong, tails_wrong = target.copy(), target.copy()
    middle_wrong[40:42], middle_wrong[60:62] = 0.75, 0.5
    tails_wrong[18:20], tails_wrong[20:22] = 0.25, 0.0
    assert pearson(middle_wrong, target) == pytest.approx(pearson(tails_wrong, target))
    assert numerai_corr(middle_wrong, target) > numerai_corr(tails_wrong, target)


def test_pearson_equals_numpys_on_the_labelled_rows() -> None:
    predictions, target = era()
    labelled = ~np.isnan(target)
    assert not labelled.all()
    expected = np.corrcoef(predictions[labelled], target[labelled])[0, 1]
    assert pearson(predictions, target) == pytest.approx(expected, abs=1e-14)


def test_rounding_never_makes_a_score_exceed_one() -> None:
    for seed in range(50):
        values = np.random.default_rng([seed]).random(20)
        assert pearson(values, values) <= 1
        assert pearson(-values, values) >= -1


def test_pearson_of_tiny_values_does_not_divide_by_zero() -> None:
    assert pearson(np.array([1e-200, 2e-200, 3e-200]), np.array([0, 0.5, 1])) == pytest.approx(1)


@pytest.mark.parametrize("score", [numerai_corr, pearson])
@pytest.mark.parametrize(
    ("predictions", "target"),
    [
        ([], []),
        ([0.3], [0.5]),
        ([0.3, 0.4], [math.nan, math.nan]),
        ([0.3, 0.4, 0.5], [math.nan, 1.0, math.nan]),
        ([0.1, 0.1, 0.1], [0.0, 0.5, 1.0]),
        ([0.1, 0.2, 0.3], [0.1, 0.1, 0.1]),
        ([0.1, 0.1, 0.9], [0.0, 1.0, math.nan]),
        ([0.1, math.nan, 0.3], [0.0, 0.5, 1.0]),
    ],
    ids=[
        "no rows",
        "one row",
        "no labels",
        "one label",
        "constant predictions",
        "constant target",
        "predictions constant where labelled",
        "NaN prediction",
    ],
)
def test_an_undefined_score_is_nan_without_a_warning(
    score: Score, predictions: list[float], target: list[float]
) -> None:
    assert math.isnan(score(np.array(predictions), np.array(target)))


@pytest.mark.parametrize("score", [numerai_corr, pearson])
def test_a_nan_prediction_without_a_label_is_ignored(score: Score) -> None:
    predictions, target = np.array([0.1, math.nan, 0.3]), np.array([0.0, math.nan, 1.0])
    assert score(predictions, target) == pytest.approx(1)


def test_an_infinite_prediction_counts_as_the_highest_in_numerai_corr() -> None:
    target = np.array([0.0, 0.5, 1.0])
    infinite = np.array([0.1, 0.2, math.inf])
    assert numerai_corr(infinite, target) == numerai_corr(np.array([0.1, 0.2, 0.3]), target)
    assert math.isnan(pearson(infinite, target))


@pytest.mark.parametrize("score", [numerai_corr, pearson])
@pytest.mark.parametrize("shapes", [((3,), (2,)), ((3, 1), (3,)), ((3, 2), (3, 2))])
def test_arrays_of_other_shapes_are_refused_with_both_shapes(
    score: Score, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    predictions, target = (
        np.arange(np.prod(shape), dtype=float).reshape(shape) for shape in shapes
    )
    with pytest.raises(ValueError, match="1-D") as caught:
        score(predictions, target)
    assert str(shapes[0]) in str(caught.value)
    assert str(shapes[1]) in str(caught.value)


@pytest.mark.parametrize("score", [numerai_corr, pearson])
def test_scoring_does_not_modify_its_arrays(score: Score) -> None:
    predictions, target = era(rows=50)
    before = predictions.copy(), target.copy()
    predictions.flags.writeable = target.flags.writeable = False
    score(predictions, target)
    np.testing.assert_array_equal((predictions, target), before)
