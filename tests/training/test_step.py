"""A step of a training: tensors of batches, the loss, the update of weights; built-in models."""

import gc
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from memmap_train.errors import (
    ConfigError,
    RunError,
)
from memmap_train.system.buffers import BufferPool
from memmap_train.training.models.build import build
from memmap_train.training.step import TrainStep, as_tensor
from tests.support.errors import refused
from tests.support.training_data import (
    numpy_loss,
    small_config,
)

pytest_plugins = ["tests.support.training_fixtures"]


# -- tensors --------------------------------------------------------------------------------------


def aligned(n_values: int) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = BufferPool().array((n_values,), np.dtype(np.float32))
    array[:] = np.arange(n_values)
    return array


def test_an_aligned_array_becomes_a_tensor_without_a_copy() -> None:
    array = aligned(64)
    tensor = as_tensor(array)
    array[5] = 77
    assert tensor[5] == 77


@pytest.mark.parametrize("first", [1, 4, 8, 15])
def test_an_array_that_isnt_aligned_is_copied(first: int) -> None:
    # Taken over, it would abort the process.
    array = aligned(64)[first:]
    tensor = as_tensor(array)
    np.testing.assert_array_equal(tensor.numpy(), array)
    array[5] = 77
    assert tensor[5] != 77


def test_arrays_that_cant_be_shared_are_copied() -> None:
    columns = aligned(64).reshape(8, 8)[:, :3]
    np.testing.assert_array_equal(as_tensor(columns).numpy(), columns)
    frozen = aligned(64)
    frozen.flags.writeable = False
    np.testing.assert_array_equal(as_tensor(frozen).numpy(), frozen)


def test_memory_is_used_again_only_after_the_tensor_is_gone() -> None:
    memory, shape, dtype = BufferPool(), (64,), np.dtype(np.float32)
    array = memory.array(shape, dtype)
    array[:] = 1
    address = array.ctypes.data
    tensor = as_tensor(array)
    del array
    gc.collect()
    others = [memory.array(shape, dtype) for _ in range(3)]
    for other in others:
        other[:] = 2
    assert address not in [other.ctypes.data for other in others]
    np.testing.assert_array_equal(tensor.numpy(), np.ones(64))
    del tensor
    gc.collect()
    assert memory.array(shape, dtype).ctypes.data == address


# -- the step -------------------------------------------------------------------------------------


def some_targets(rows: int, columns: int, seed: int = 0) -> npt.NDArray[np.float32]:
    generator = np.random.default_rng([seed])
    targets = generator.choice([0, 0.25, 0.5, 0.75, 1], (rows, columns)).astype(np.float32)
    targets[generator.random(targets.shape) < 0.3] = np.nan
    return targets


def linear_step(batch_size: int = 16, n_targets: int = 2, **changes: Any) -> TrainStep:
    config = small_config(model="linear", batch_size=batch_size, **changes)
    keras.utils.set_random_seed(0)
    return TrainStep(build(4, n_targets, config), 4, n_targets, config)


def test_sums_and_steps_are_counted_over_batches() -> None:
    step = linear_step(learning_rate=1e-12, weight_decay=0.0)
    generator = np.random.default_rng([2])
    expected, n_labels = 0.0, 0
    for number in range(3):
        x = generator.random((16, 4), np.float32)
        y = some_targets(16, 2, seed=number)
        loss, labels = numpy_loss("mse", step.model(x).numpy(), y)
        expected, n_labels = expected + loss, n_labels + labels
        step(x, y)
    assert step.count == 3
    assert step.sums == pytest.approx((expected, n_labels), rel=1e-5)


def test_a_batch_without_labels_counts_nothing_and_only_decays() -> None:
    step = linear_step(learning_rate=0.1, weight_decay=0.5)
    kernel, bias = step.weights()
    step(np.ones((16, 4), np.float32), np.full((16, 2), np.nan, np.float32))
    assert step.sums == (0.0, 0.0)
    assert step.count == 1
    after = step.weights()
    np.testing.assert_allclose(after[0], kernel * (1 - 0.1 * 0.5), rtol=1e-6)
    np.testing.assert_array_equal(after[1], bias)


def test_a_target_without_labels_leaves_the_other_as_it_is() -> None:
    x = np.random.default_rng([3]).random((16, 4), np.float32)
    y = some_targets(16, 2)
    y[:, 1] = np.nan
    both, alone = linear_step(), linear_step(n_targets=1)
    alone.model.set_weights([w[..., :1] for w in both.weights()])
    for _ in range(5):
        both(x, y)
        alone(x, np.ascontiguousarray(y[:, :1]))
    for together, single in zip(both.weights(), alone.weights(), strict=True):
        np.testing.assert_allclose(together[..., :1], single, rtol=1e-5)


def test_missing_features_are_filled_in_the_step() -> None:
    x = (np.random.default_rng([4]).integers(0, 5, (16, 4)) / 4).astype(np.float32)
    y, holes = some_targets(16, 2), x.copy()
    holes[::3, 1] = np.nan
    x[::3, 1] = 0.25
    filling, plain = linear_step(fill_missing=0.25), linear_step()
    for _ in range(3):
        filling(holes, y)
        plain(x, y)
    assert [w.tobytes() for w in filling.weights()] == [w.tobytes() for w in plain.weights()]


def test_state_comes_back_to_the_last_bit() -> None:
    config = small_config(batch_size=16, dropout=0.5)
    x, y = np.ones((16, 4), np.float32), some_targets(16, 1)
    first, second = (TrainStep(build(4, 1, config), 4, 1, config) for _ in range(2))
    for _ in range(3):
        first(x, y)
    kept = first.arrays()
    for _ in range(3):
        first(x, y)
    second.restore(kept)
    assert second.count == 3
    for _ in range(3):
        second(x, y)
    assert first.sums == second.sums
    for name, array in first.arrays().items():
        assert second.arrays()[name].tobytes() == array.tobytes(), name
    assert not np.array_equal(kept["model/0000"], first.arrays()["model/0000"])


def test_the_state_of_another_model_is_refused() -> None:
    with refused(RunError, "checkpoint", "begin a new run"):
        linear_step(n_targets=1).restore(linear_step(n_targets=2).arrays())


# -- models ---------------------------------------------------------------------------------------


def test_models_begin_near_the_middle_of_the_targets() -> None:
    x = np.random.default_rng([5]).integers(0, 5, (500, 20)).astype(np.float32) / 4
    for name in ("mlp", "linear"):
        predictions = build(20, 2, small_config(model=name)).predict(x, verbose=0)
        assert predictions.shape == (500, 2)
        assert np.abs(predictions - 0.5).max() < 0.3


def test_hidden_layers_are_those_of_the_configuration() -> None:
    model = build(20, 2, small_config(hidden=(7, 5), dropout=0.0))
    assert [w.shape for w in model.get_weights()] == [(20, 7), (7,), (7, 5), (5,), (5, 2), (2,)]
    assert len(build(20, 2, small_config(model="linear")).get_weights()) == 2


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "leaky_relu", "elu", "tanh"])
def test_hidden_layers_have_the_activation_of_the_configuration(activation: str) -> None:
    for name in ("mlp", "resnet"):
        model = build(20, 1, small_config(model=name, hidden=(7, 5), activation=activation))
        for number in (1, 2):
            layer = model.get_layer(f"hidden_{number}")
            assert layer.activation is keras.activations.get(activation)


@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_hidden_layers_are_normalised_before_their_activation(kind: str) -> None:
    config = small_config(hidden=(7, 5), dropout=0.0, normalization=kind, activation="tanh")
    model = build(20, 1, config)
    names = [layer.name for layer in model.layers[2:]]
    of_layers = [[f"{what}_{n}" for what in ("hidden", "normalised", "activation")] for n in (1, 2)]
    assert names == [*of_layers[0], *of_layers[1], "targets"]
    x = np.random.default_rng([6]).random((500, 20), np.float32)
    inner = keras.Model(model.input, model.get_layer("normalised_2").output)
    values = np.asarray(inner(x, training=True))
    axis = 0 if kind == "batch" else 1
    np.testing.assert_allclose(values.mean(axis=axis), 0, atol=1e-3)
    np.testing.assert_allclose(values.std(axis=axis), 1, atol=0.1)


def test_an_unknown_model_is_refused() -> None:
    with refused(ConfigError, "'mpl'", "did you mean 'mlp'?"):
        build(20, 2, small_config(model="mpl"))
