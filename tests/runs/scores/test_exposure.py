import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numerai_tools import signals

from memmap_train.runs.scores.exposure import exposures, maximal_exposure, rms_exposure, turnover
from tests.support.allocations import peak_bytes
from tests.support.official_scores import make_era, official_exposure


@pytest.mark.parametrize("kind", ["int8", "float32"])
@pytest.mark.parametrize("shape", [(700, 60), (20, 40), (5000, 8)], ids=str)
def test_the_maximal_exposure_equals_the_official_one(shape: tuple[int, int], kind: str) -> None:
    codes, predictions, *_ = make_era(*shape)
    features = codes if kind == "int8" else (codes / 4).astype(np.float32)
    positions, values = maximal_exposure(exposures(features, predictions))
    for model in range(2):
        name, value = official_exposure(predictions[:, model], features)
        assert positions[model] == name
        assert values[model] == pytest.approx(value, abs=1e-12)
        assert value > 0.05


def test_exposures_are_plain_correlations_with_each_feature() -> None:
    codes, predictions, *_ = make_era(300, 12)
    found = exposures(codes, predictions)
    for feature in range(12):
        if feature == 1:
            assert np.isnan(found[feature]).all()  # it is constant
            continue
        for model in range(2):
            expected = np.corrcoef(codes[:, feature], predictions[:, model])[0, 1]
            assert found[feature, model] == pytest.approx(expected, abs=1e-12)
    known = np.delete(found, 1, axis=0)
    np.testing.assert_allclose(rms_exposure(found), np.sqrt((known**2).mean(axis=0)), rtol=1e-12)


def test_either_store_gives_the_same_exposures() -> None:
    codes, predictions, *_ = make_era(300, 12)
    decoded = (codes / 4).astype(np.float32)
    np.testing.assert_allclose(
        exposures(codes, predictions), exposures(decoded, predictions), rtol=0, atol=1e-12
    )


def test_of_a_feature_that_is_there_twice_the_first_is_named() -> None:
    generator = np.random.default_rng([4])
    for n_features in (3, 17, 100):
        column = generator.integers(0, 5, (777, 1)).astype(np.int8)
        features = np.repeat(column, n_features, axis=1)
        features[:, 0] = generator.integers(0, 5, 777)
        position, _ = maximal_exposure(exposures(features, column + generator.random((777, 1))))
        assert position.tolist() == [1]


def test_predictions_equal_to_a_feature_are_exposed_completely() -> None:
    codes, *_ = make_era(300, 5)
    for sign in (1, -1):
        positions, values = maximal_exposure(exposures(codes, sign * codes[:, [3]] / 4))
        assert positions.tolist() == [3]
        assert values[0] == pytest.approx(1, abs=1e-12)
        assert values[0] <= 1


def test_undefined_exposures_are_nan_without_a_warning() -> None:
    codes, predictions, *_ = make_era(50, 8)
    features = codes.astype(np.float32)
    features[4, 6] = math.nan
    unusable = np.column_stack([np.full(50, 0.3), predictions[:, 0], predictions])
    unusable[3, 1], unusable[4, 2] = math.nan, math.inf
    found = exposures(features, unusable)
    assert np.isnan(found[:, :3]).all()
    assert np.flatnonzero(np.isnan(found[:, 3])).tolist() == [1, 6]
    positions, values = maximal_exposure(found)
    assert positions[:3].tolist() == [-1, -1, -1]
    assert np.isnan(values[:3]).all()
    assert np.isnan(rms_exposure(found)[:3]).all()
    for n_rows in (0, 1):
        assert np.isnan(exposures(codes[:n_rows], predictions[:n_rows])).all()
    nothing = exposures(codes[:, :0], predictions)
    assert maximal_exposure(nothing)[0].tolist() == [-1, -1]
    assert np.isnan(rms_exposure(nothing)).all()


def test_no_copy_of_all_features_is_made() -> None:
    codes, predictions, *_ = make_era(20_000, 300)
    assert peak_bytes(lambda: exposures(codes, predictions)) < codes.nbytes / 2


@pytest.mark.parametrize("shapes", [((3, 2), (3,)), ((3, 2), (2, 1)), ((3,), (3, 1))])
def test_arrays_of_other_shapes_are_refused(shapes: Any) -> None:
    with pytest.raises(ValueError, match=r"\(rows, models\)"):
        exposures(*(np.ones(shape) for shape in shapes))


# -- turnover -------------------------------------------------------------------------------------


def two_eras(n_rows: int, n_shared: int) -> tuple[Any, Any, Any, Any]:
    generator = np.random.default_rng([8])
    names = np.array([f"n{number:05}".encode() for number in range(2 * n_rows - n_shared)])
    names = generator.permutation(names)
    now, then = names[:n_rows], names[n_rows - n_shared :]
    predictions = generator.normal(size=(n_rows, 2)).round(1)
    before = generator.normal(size=(n_rows, 2)).round(1)
    return predictions, now, before, generator.permutation(then)


def test_turnover_equals_the_official_churn() -> None:
    predictions, ids, before, ids_before = two_eras(400, 350)
    found = turnover(predictions, ids, before, ids_before)
    for model in range(2):
        official = signals.churn(
            pd.Series(predictions[:, model], ids), pd.Series(before[:, model], ids_before)
        )
        assert found[model] == pytest.approx(official, abs=1e-12)


def test_turnover_counts_only_ids_that_repeat() -> None:
    predictions, ids, before, ids_before = two_eras(400, 100)
    shared = np.isin(ids, ids_before)
    assert shared.sum() == 100
    found = turnover(predictions, ids, before, ids_before)
    alone = turnover(predictions[shared], ids[shared], before, ids_before)
    assert found.tolist() == alone.tolist()
    same = turnover(predictions, ids, predictions, ids)
    assert same.tolist() == pytest.approx([0, 0], abs=1e-12)
    assert turnover(predictions, ids, -predictions, ids) == pytest.approx([2, 2], abs=1e-12)


def test_undefined_turnover_is_nan() -> None:
    predictions, ids, before, ids_before = two_eras(50, 40)
    predictions[:, 0], before[3, 1] = 0.5, math.nan
    assert np.isnan(turnover(predictions, ids, before, ids_before)).all()
    for n_shared in (0, 1):
        arrays = two_eras(50, n_shared)
        assert np.isnan(turnover(*arrays)).all()
