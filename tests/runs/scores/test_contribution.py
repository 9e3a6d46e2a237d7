import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from memmap_train.runs.scores.contribution import (
    correlation_contribution,
    correlation_with,
    why_no_contribution,
)
from memmap_train.runs.scores.metrics import numerai_corr
from tests.support.official_scores import BINS, make_era, official_contribution

NAN = math.nan


@pytest.mark.parametrize("missing", [0.0, 0.1, 0.6])
def test_contribution_equals_the_official_score(missing: float) -> None:
    _, predictions, other, target = make_era(5600, 5, missing=missing)
    official = official_contribution(predictions, other, target)
    assert (np.abs(official) > 1e-4).all()
    found = correlation_contribution(predictions, other, target)
    np.testing.assert_allclose(found, official, rtol=0, atol=1e-12)


def test_rows_without_a_meta_model_leave_before_ranking() -> None:
    _, predictions, other, target = make_era(3000, 5, missing=0.1)
    other[np.random.default_rng([5]).random(3000) < 0.4] = NAN
    found = correlation_contribution(predictions, other, target)
    official = official_contribution(predictions, other, target)
    np.testing.assert_allclose(found, official, rtol=0, atol=1e-12)
    filled = correlation_contribution(predictions, np.nan_to_num(other, nan=0.0), target)
    assert (np.abs(found - filled) > 1e-4).all()


def test_contribution_equals_the_official_score_for_float32_and_other_scales_of_targets() -> None:
    _, predictions, other, target = make_era(500, 5)
    for scaled in (target * 4 - 2, target * 100, (target > 0.5).astype(float), target * 0 + 0.5):
        official = official_contribution(predictions, other, scaled)
        found = correlation_contribution(predictions, other, scaled)
        np.testing.assert_allclose(found, official, rtol=0, atol=1e-9)
    narrow = [values.astype(np.float32) for values in (predictions, other, target)]
    np.testing.assert_allclose(
        correlation_contribution(*narrow), official_contribution(*narrow), rtol=0, atol=1e-9
    )


@given(data=st.data(), rows=st.integers(2, 30))
def test_contribution_equals_the_official_score_for_any_ties_and_gaps(
    data: st.DataObject, rows: int
) -> None:
    values = st.sampled_from([-3.0, 0.0, 1e-30, 0.5, 0.5000001, 7e8])
    of_rows = hnp.arrays(np.float64, rows, elements=values, fill=st.nothing())
    predictions = data.draw(hnp.arrays(np.float64, (rows, 2), elements=values))
    gaps = st.sampled_from([*BINS, NAN])
    target = data.draw(hnp.arrays(np.float64, rows, elements=gaps, fill=st.nothing()))
    other = data.draw(of_rows)
    other[data.draw(hnp.arrays(np.bool_, rows))] = NAN
    common = ~(np.isnan(other) | np.isnan(target))
    assume(np.unique(other[common]).size > 1)
    official = official_contribution(predictions, other, target)
    found = correlation_contribution(predictions, other, target)
    np.testing.assert_allclose(found, official, rtol=0, atol=1e-9)


def test_a_model_contributes_nothing_to_itself_and_constant_predictions_nothing_at_all() -> None:
    _, _, other, target = make_era(300, 5)
    constant = np.full(300, 0.3)
    found = correlation_contribution(np.column_stack([other, constant]), other, target)
    assert abs(found[0]) < 1e-15
    assert found[1] == 0
    assert official_contribution(constant[:, None], other, target)[0] == 0


def test_each_model_is_scored_as_if_alone() -> None:
    _, predictions, other, target = make_era(300, 5)
    predictions[7, 1] = NAN
    found = correlation_contribution(predictions, other, target)
    alone = correlation_contribution(predictions[:, :1], other, target)
    assert found[0] == pytest.approx(alone[0], abs=1e-15)
    assert math.isnan(found[1])
    assert (
        why_no_contribution(predictions[:, 1], other, target) == "predictions that are no numbers"
    )


@pytest.mark.parametrize(
    ("other", "target", "why"),
    [
        ([NAN, NAN, NAN], [0.0, 0.5, 1.0], "the other model has no row with a label"),
        ([0.1, NAN, NAN], [NAN, 0.5, 1.0], "the other model has no row with a label"),
        ([0.1, 0.2, 0.3], [NAN, NAN, NAN], "fewer than two labelled rows"),
        ([0.1, NAN, 0.3], [0.0, 0.5, NAN], "fewer than two rows that the other model has too"),
        ([0.2, 0.2, 0.2], [0.0, 0.5, 1.0], "the other model's predictions are all equal"),
    ],
)
def test_an_undefined_contribution_is_nan_with_a_reason(
    other: list[float], target: list[float], why: str
) -> None:
    arrays = np.array([0.1, 0.2, 0.4]), np.array(other), np.array(target)
    (found,) = correlation_contribution(arrays[0][:, None], *arrays[1:])
    assert math.isnan(found)
    assert why_no_contribution(*arrays) == why


def test_the_correlation_with_a_benchmark_is_numerai_corr_with_it_as_the_target() -> None:
    _, predictions, other, _ = make_era(300, 5)
    other[:50] = NAN
    found = correlation_with(predictions, other)
    assert found.tolist() == [numerai_corr(predictions[:, model], other) for model in range(2)]
    assert (found > 0.2).all()


@pytest.mark.parametrize("shapes", [((3,), (3,), (3,)), ((3, 1), (2,), (3,)), ((3, 1), (3,), (2,))])
def test_arrays_of_other_shapes_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"\(rows, models\)"):
        correlation_contribution(*(np.ones(shape) for shape in shapes))


def test_scoring_modifies_no_array() -> None:
    _, *arrays = make_era(50, 5, missing=0.1)
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    correlation_contribution(*arrays)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
