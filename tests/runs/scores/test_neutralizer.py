"""Tests of what the features of an era explain, against numerai-tools."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.runs.scores.neutralizer import Neutralizer
from tests.support.allocations import peak_bytes
from tests.support.official_scores import as_stored, make_era, official_residual

SHAPES = [(900, 1), (900, 8), (900, 200), (40, 8), (300, 290), (60, 80), (10, 200), (3, 2)]


@pytest.mark.parametrize("kind", ["int8", "float32", "other float32"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_residuals_equal_the_official_ones(shape: tuple[int, int], kind: str) -> None:
    codes, predictions, *_ = make_era(*shape)
    features = as_stored(codes, kind)
    neutralizer = Neutralizer(features)
    for proportion in (1.0, 0.3):
        found = neutralizer.residual(predictions, proportion)
        official = official_residual(predictions, features, proportion)
        # A sum of two float32 features is rounded: it is nearly, not exactly, collinear with them.
        np.testing.assert_allclose(
            found, official, rtol=0, atol=1e-6 if kind == "other float32" else 1e-9
        )
        assert not np.allclose(found, predictions, atol=1e-3)
    centred = codes - codes.mean(axis=0)
    assert neutralizer.n_independent == np.linalg.matrix_rank(centred)


def test_rows_without_a_label_take_no_part_in_the_fit() -> None:
    codes, predictions, _, target = make_era(900, 50, missing=0.3)
    labelled = ~np.isnan(target)
    masked = Neutralizer(codes, labelled).residual(predictions[labelled])
    alone = Neutralizer(codes[labelled]).residual(predictions[labelled])
    np.testing.assert_allclose(masked, alone, rtol=0, atol=1e-12)
    everything = Neutralizer(codes).residual(predictions)[labelled]
    assert np.abs(masked - everything).max() > 1e-3


@given(
    rows=st.integers(1, 25),
    columns=st.integers(0, 12),
    levels=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_residuals_equal_the_official_ones_for_few_rows_and_any_dependence(
    rows: int, columns: int, levels: int, seed: int
) -> None:
    generator = np.random.default_rng([seed])
    features = generator.integers(0, levels, (rows, columns)).astype(np.int8)
    predictions = generator.normal(size=(rows, 2))
    found = Neutralizer(features).residual(predictions, 0.7)
    if rows == 1:
        assert np.isnan(found).all()
    else:
        official = official_residual(predictions, features, 0.7)
        np.testing.assert_allclose(found, official, rtol=0, atol=1e-9)


def test_nearly_collinear_features_are_neutralized_to_one_millionth() -> None:
    codes, predictions, *_ = make_era(600, 40)
    generator = np.random.default_rng([3])
    for noise in (1e-1, 1e-2, 1e-3, 1e-4):
        features = codes.astype(np.float32)
        features[:, 9] = features[:, 10] + noise * generator.normal(size=600)
        found = Neutralizer(features).residual(predictions)
        official = official_residual(predictions, features)
        np.testing.assert_allclose(found, official, rtol=0, atol=1e-6)


def test_residuals_of_all_features_of_v5_3_equal_a_least_squares_fit() -> None:
    """As wide as v5.3, with few rows: the official fit of an era would take half a minute."""
    codes, predictions, *_ = make_era(120, 3555)
    codes[60:] = codes[:60]  # so that not everything is explained
    found = Neutralizer(codes).residual(predictions)
    official = official_residual(predictions, codes)
    np.testing.assert_allclose(found, official, rtol=0, atol=1e-6)
    assert np.abs(found).max() > 0.1


def test_no_copy_of_all_features_is_made() -> None:
    codes, predictions, *_ = make_era(10_000, 300)
    neutralizer = Neutralizer(codes)
    as_float32 = 4 * codes.nbytes
    assert peak_bytes(lambda: Neutralizer(codes)) < as_float32 / 2
    assert peak_bytes(lambda: neutralizer.residual(predictions)) < as_float32 / 2


def test_residuals_are_uncorrelated_with_every_feature() -> None:
    codes, predictions, *_ = make_era(500, 30)
    residual = Neutralizer(codes).residual(predictions)
    centred = codes - codes.mean(axis=0)
    assert np.abs(centred.T @ residual).max() < 1e-9
    assert np.abs(residual.sum(axis=0)).max() < 1e-9


def test_constant_predictions_and_missing_ones_have_no_residual() -> None:
    codes, predictions, *_ = make_era(100, 8)
    unusable = np.column_stack([np.full(100, 0.3), predictions[:, 0], predictions[:, 0]])
    unusable[5, 2] = math.nan
    found = Neutralizer(codes).residual(unusable)
    assert np.isnan(found[:, [0, 2]]).all()
    expected = official_residual(predictions[:, :1], codes)[:, 0]
    np.testing.assert_allclose(found[:, 1], expected, rtol=0, atol=1e-12)


def test_predictions_of_another_number_of_rows_are_refused() -> None:
    codes, predictions, *_ = make_era(20, 3)
    with pytest.raises(ValueError, match=r"\(20, models\)"):
        Neutralizer(codes).residual(predictions[:19])
