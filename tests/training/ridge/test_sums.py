"""Sums of products: exact for codes, and those of a reference in float64."""

from typing import Any

import numpy as np
import pytest

from memmap_train.arrays import Float32, Float64
from memmap_train.training.ridge.labels import digits, label_plan, whole_labels
from memmap_train.training.ridge.strength import solved
from memmap_train.training.ridge.sums import Sums

N_ROWS, N_FEATURES, CONSTANT = 600, 270, 7  # more features than a strip of a matrix has rows
WEIGHTS = np.repeat([1.0, 0.3, 1.7], N_ROWS // 3)


def rows(*, are_codes: bool) -> tuple[Float32, Float32]:
    """Return features, of which one is constant, and three targets, two of them labelled alike."""
    rng = np.random.default_rng(0)
    features = rng.integers(0, 5, (N_ROWS, N_FEATURES)) / 4
    if not are_codes:
        features = features + rng.normal(size=features.shape)
    features[:, CONSTANT] = 0.75
    targets = rng.normal(size=(N_ROWS, 3)) * [1, 100, 0.01]
    targets[:20, [0, 2]] = targets[10:50, 1] = np.nan
    return features.astype(np.float32), targets.astype(np.float32)


def summed(
    features: Float32, targets: Float32, weights: Float64, n_block: int, **kind: Any
) -> Sums:
    plan = label_plan([targets], targets.shape[1])
    sums = Sums(features.shape[1], plan, **kind)
    for low in range(0, len(features), n_block):
        block = slice(low, low + n_block)
        sums.add(features[block].copy(), targets[block], float(weights[low]))
    return sums


@pytest.mark.parametrize("are_codes", [True, False])
def test_the_solution_is_that_of_a_reference_in_float64(are_codes: bool) -> None:
    features, targets = rows(are_codes=are_codes)
    sums = summed(features, targets, WEIGHTS, 200, are_codes=are_codes)
    assert sums.plan.groups == (0, 1, 0)
    for target, models in enumerate(solved(sums, [(0.1, 2.0)] * 3)):
        labelled = ~np.isnan(targets[:, target])
        x, y, w = features[labelled].astype(float), targets[labelled, target], WEIGHTS[labelled]
        mean, mean_y = np.average(x, axis=0, weights=w), np.average(y, weights=w)
        std = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=w))
        std[CONSTANT] = np.inf
        z = (x - mean) / std
        correlations, right = (z.T * w) @ z / w.sum(), (z.T * w) @ (y - mean_y) / w.sum()
        for strength, model in zip((0.1, 2.0), models, strict=True):
            expected = np.linalg.solve(correlations + strength * np.eye(N_FEATURES), right) / std
            own, bias = model.weights[:, 0], float(model.biases[0])
            size = np.abs(expected).max()
            np.testing.assert_allclose(own, expected, atol=1e-6 * size)
            assert own[CONSTANT] == 0
            assert bias == pytest.approx(
                mean_y - mean @ expected, abs=1e-5 * float(np.abs(y).max())
            )
            errors = w @ (y - x @ own.astype(float) - bias) ** 2
            assert sums.squared_errors(target, own, bias) == pytest.approx(errors, rel=1e-6)
    assert sums.labels.tolist() == [N_ROWS - 20, N_ROWS - 40, N_ROWS - 20]


def test_sums_of_codes_are_exact_whatever_the_blocks() -> None:
    features, targets = rows(are_codes=True)
    ones = np.ones(N_ROWS)
    found = [summed(features, targets, ones, n, are_codes=True).arrays() for n in (600, 250, 70)]
    for other in found[1:]:
        for name in found[0].keys() - {"squares"}:
            assert found[0][name].tobytes() == other[name].tobytes(), name
    labelled = ~np.isnan(targets[:, 0])
    exact = features[labelled].astype(float)
    product = found[0]["products/0"]
    assert (np.triu(product) == np.triu(exact.T @ exact)).all()
    assert not (features.T @ features == product).all()  # rows without a label don't count


def test_targets_with_labels_in_other_rows_differ_from_the_first_by_these_rows() -> None:
    features, targets = rows(are_codes=True)
    arrays = summed(features, targets, np.ones(N_ROWS), 100, are_codes=True).arrays()
    labelled = ~np.isnan(targets[:, 1])
    exact = features[labelled].astype(float)
    product = arrays["products/0"] + arrays["products/1"]
    assert (np.triu(product) == np.triu(exact.T @ exact)).all()
    assert not np.array_equal(np.triu(arrays["products/0"]), np.triu(product))


def test_restored_sums_continue_to_the_same_bits() -> None:
    features, targets = rows(are_codes=False)
    whole = summed(features, targets, WEIGHTS, 100, are_codes=False)
    first = Sums(N_FEATURES, whole.plan, are_codes=False)
    second = Sums(N_FEATURES, whole.plan, are_codes=False)
    for low in range(0, N_ROWS, 100):
        sums = first if low < 300 else second
        if low == 300:
            second.restore({name: array.copy() for name, array in first.arrays().items()})
        block = slice(low, low + 100)
        sums.add(features[block].copy(), targets[block], float(WEIGHTS[low]))
    for name, array in whole.arrays().items():
        assert array.tobytes() == second.arrays()[name].tobytes(), name


def test_labels_are_digits_of_whole_numbers_as_exact_as_float32() -> None:
    targets = np.array([[1.5], [-0.3], [np.nan], [1e-3]], np.float32)
    plan = label_plan([targets], 1)
    numbers = whole_labels(targets, plan)
    back = numbers * plan.units
    assert np.abs(back - np.nan_to_num(targets)).max() <= plan.units[0] / 2 < 2.0**-25
    low, middle, high = digits(numbers)
    assert (low + 2**9 * middle + 2**18 * high == numbers).all()
    assert max(np.abs(part).max() for part in (low, middle, high)) <= 2**8
