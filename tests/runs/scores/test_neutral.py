"""Tests of the scores of neutralised predictions, against numerai-tools."""

import math

import numpy as np
import pytest

from memmap_train.runs.scores.metrics import numerai_corr, uniform_ranks
from memmap_train.runs.scores.neutral import (
    feature_neutral_corr,
    neutralized_corr,
    why_not_neutral,
)
from memmap_train.runs.scores.neutralizer import Neutralizer
from tests.support.official_scores import as_stored, make_era, official_fnc, official_residual


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("kind", ["int8", "float32", "other float32"])
@pytest.mark.parametrize("shape", [(900, 8), (900, 200), (60, 20)], ids=str)
def test_fnc_equals_the_official_score(shape: tuple[int, int], kind: str, missing: float) -> None:
    codes, predictions, _, target = make_era(*shape, missing=missing)
    features = as_stored(codes, kind)
    labelled = ~np.isnan(target)
    found = feature_neutral_corr(
        predictions[labelled], target[labelled], Neutralizer(features, labelled)
    )
    official = official_fnc(predictions, features, target)
    np.testing.assert_allclose(found, official, rtol=0, atol=1e-9)
    assert (np.abs(found) > 1e-4).all()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("few rows", "predictions that the features explain completely"),
        ("linear", "predictions that the features explain completely"),
        ("missing", "missing features"),
        ("constant", "predictions that are all equal"),
        ("constant target", "a constant target"),
        ("NaN", "predictions that are no numbers"),
        ("one row", "fewer than two labelled rows"),
        ("no rows", "fewer than two labelled rows"),
    ],
)
def test_an_undefined_fnc_is_nan_with_a_reason(change: str, why: str) -> None:
    codes, predictions, _, target = make_era(30, 8)
    features = codes.astype(np.float32)
    of_model = predictions[:, 0]
    if change == "few rows":
        features = np.random.default_rng([1]).normal(size=(30, 40)).astype(np.float32)
    elif change == "linear":
        features = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
        of_model = np.arange(30) % 3 * 1.0
    elif change == "missing":
        features[3, 2] = math.nan
    elif change == "constant":
        of_model = np.full(30, 0.5)
    elif change == "constant target":
        target = np.full(30, 0.5)
    elif change == "NaN":
        of_model[2] = math.nan
    elif change in ("one row", "no rows"):
        n_rows = int(change == "one row")
        features, of_model, target = features[:n_rows], of_model[:n_rows], target[:n_rows]
    neutralizer = Neutralizer(features)
    assert np.isnan(feature_neutral_corr(of_model[:, None], target, neutralizer)).all()
    assert why_not_neutral(of_model, target, neutralizer) == why
    if change not in ("few rows", "linear"):
        assert np.isnan(neutralized_corr(of_model[:, None], target, neutralizer, [0.5])).all()


def test_the_score_by_proportion_is_that_of_neutralized_ranks() -> None:
    codes, predictions, _, target = make_era(500, 20)
    neutralizer = Neutralizer(codes)
    found = neutralized_corr(predictions, target, neutralizer, [0.0, 0.5, 1.0])
    ranks = uniform_ranks(predictions)
    for row, proportion in enumerate((0.0, 0.5, 1.0)):
        official = official_residual(ranks, codes, proportion)
        for model in range(2):
            expected = numerai_corr(official[:, model], target)
            assert found[row, model] == pytest.approx(expected, abs=1e-9)
    assert found[0].tolist() == [numerai_corr(predictions[:, model], target) for model in (0, 1)]


def test_rows_with_the_same_features_and_prediction_stay_tied() -> None:
    """Rounding errors may not order them: the score would depend on how blocks are cut."""
    generator = np.random.default_rng([2])
    features = generator.integers(0, 3, (400, 3)).astype(np.int8)
    predictions = generator.integers(0, 3, (400, 1)).astype(float)
    target = generator.choice([0.0, 0.25, 0.5, 0.75, 1.0], 400)
    found = feature_neutral_corr(predictions, target, Neutralizer(features))
    assert found == pytest.approx(official_fnc(predictions, features, target), abs=1e-9)
    order = generator.permutation(400)
    again = feature_neutral_corr(predictions[order], target[order], Neutralizer(features[order]))
    assert found == pytest.approx(again, abs=1e-12)


def test_a_target_with_missing_labels_is_refused() -> None:
    codes, predictions, _, target = make_era(20, 3, missing=0.2)
    with pytest.raises(ValueError, match="without a label"):
        feature_neutral_corr(predictions, target, Neutralizer(codes))
