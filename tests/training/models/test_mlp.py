"""The model "mlp": its additive terms, and what a step does to them."""

from itertools import combinations
from pathlib import Path

import keras
import numpy as np
import pytest

from memmap_train.numerai.export.model_upload.operations import pair_terms
from memmap_train.training.models.build import build
from memmap_train.training.models.numpy_operations import numpy_operations
from memmap_train.training.models.pairs import PairTerms
from memmap_train.training.step import TrainStep
from tests.support.training_data import small_config

_HIDDEN = [(8, 3), (3,)]
_TARGETS = [(3, 2), (2,)]
_ROWS = np.random.default_rng([7]).integers(0, 5, (64, 8)).astype(np.float32) / 4


@pytest.mark.parametrize("additive", ["none", "linear", "quadratic", "pairs"])
def test_an_mlp_has_the_additive_terms_of_the_configuration(additive: str) -> None:
    model = build(8, 2, small_config(hidden=(3,), additive=additive))
    found = {layer.name: [w.shape for w in layer.get_weights()] for layer in model.layers}
    assert (found["hidden_1"], found["targets"]) == (_HIDDEN, _TARGETS)
    assert found.get("linear_terms") == (None if additive == "none" else [(8, 2)])
    has_squares, has_pairs = additive in ("quadratic", "pairs"), additive == "pairs"
    squares = [[(8,), (8,), (8,)], [(8, 2)]] if has_squares else [None, None]
    assert [found.get("gated_squares"), found.get("square_terms")] == squares
    assert found.get("pair_terms") == ([(8, 8), (2, 8, 8)] if has_pairs else None)


def test_an_mlp_contains_the_linear_and_the_quadratic_model() -> None:
    model = build(8, 1, small_config(hidden=(), additive="quadratic"))
    rng = np.random.default_rng([8])
    model.get_layer("targets").set_weights([np.zeros((8, 1)), np.zeros(1)])
    linear, squares = rng.standard_normal((2, 8, 1))
    share = model.get_layer("linear_share").scale
    model.get_layer("linear_terms").set_weights([linear / share])
    share = model.get_layer("squares_share").scale * model.get_layer("gated_squares").gamma[0]
    model.get_layer("square_terms").set_weights([squares / share])
    x = (_ROWS - 0.5) / 0.125**0.5
    # The first variances of its moving averages are 1, and its first means are 0.
    expected = x @ linear + (x**2 / np.sqrt(1 + 1e-3)) @ squares
    np.testing.assert_allclose(model.predict(_ROWS, verbose=0), expected, rtol=1e-3, atol=1e-4)


def test_pair_terms_are_products_of_each_pair_in_keras_and_in_numpy(tmp_path: Path) -> None:
    layer = PairTerms(2, 0.5, name="pair_terms")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layer(inputs))
    rng = np.random.default_rng([9])
    gate, kernel = rng.standard_normal((4, 4)), rng.standard_normal((2, 4, 4))
    assert np.all(layer.gate.numpy() == 0.5)
    layer.set_weights([gate, kernel])
    x = rng.standard_normal((5, 4)).astype(np.float32)
    pairs = list(combinations(range(4), 2))
    expected = [
        sum(gate[i, j] * of_target[i, j] * x[:, i] * x[:, j] for i, j in pairs)
        for of_target in kernel
    ]
    model.save(tmp_path / "model.keras")
    for found in (model, keras.models.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(found.predict(x, verbose=0), np.transpose(expected), rtol=1e-4)
    made = numpy_operations(model)
    assert made.unknown == ()
    (operation,) = made.operations
    weights = operation[3]["weights"]
    np.testing.assert_allclose(pair_terms(x, weights), np.transpose(expected), rtol=1e-4)


@pytest.mark.parametrize("target_transform", ["none", "gaussian"])
def test_an_mlp_begins_at_the_mean_of_the_targets(target_transform: str) -> None:
    keras.utils.set_random_seed(0)
    model = build(8, 2, small_config(target_transform=target_transform, additive="pairs"))
    mean = 0.5 if target_transform == "none" else 0.0
    predictions = model.predict(_ROWS, verbose=0)
    # A signal's size is a twentieth of the targets' standard deviation.
    assert 0 < np.abs(predictions - mean).max() < (0.002 if mean else 0.01)


def test_weight_decay_leaves_additive_terms_alone() -> None:
    config = small_config(
        hidden=(3,), additive="pairs", dropout=0.0, learning_rate=0.1, weight_decay=0.5
    )
    model = build(8, 2, config)
    for name in ("linear_terms", "square_terms"):
        model.get_layer(name).set_weights([np.ones((8, 2))])
    before = {layer.name: layer.get_weights() for layer in model.layers}
    step = TrainStep(model, 8, 2, config)
    # All features in the middle: their terms have no gradient.
    step(np.full((64, 8), 0.5, np.float32), np.full((64, 2), 0.75, np.float32))
    for name in ("linear_terms", "square_terms", "gated_squares", "pair_terms"):
        weight = model.get_layer(name).get_weights()[0]
        np.testing.assert_array_equal(weight, before[name][0])
    hidden = model.get_layer("hidden_1").get_weights()[0]
    np.testing.assert_allclose(hidden, 0.95 * before["hidden_1"][0], rtol=1e-5)


def test_a_model_of_other_layers_has_no_additive_terms() -> None:
    config = small_config(model="linear", learning_rate=0.1, weight_decay=0.5)
    model = build(8, 2, config)
    before = model.get_layer("targets").get_weights()[0]
    step = TrainStep(model, 8, 2, config)
    step(np.full((64, 8), 0.5, np.float32), np.full((64, 2), 0.75, np.float32))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model.get_layer("targets").kernel), 0.95 * before, rtol=1e-5
    )
