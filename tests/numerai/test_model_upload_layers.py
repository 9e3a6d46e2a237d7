"""Keras models as numpy operations: random architectures give what Keras gives."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memmap_train.numerai.export.model_upload.activations import ACTIVATIONS, activated, erf
from memmap_train.numerai.export.model_upload.arrays import packed
from memmap_train.numerai.export.model_upload.operations import OPERATIONS, run_operations
from memmap_train.training.models.build import build
from memmap_train.training.models.numpy_operations import numpy_operations
from tests.support.training_data import small_config

N_FEATURES, N_ROWS = 7, 40
layers = keras.layers


def in_numpy(model: Any, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the outputs of a model's numpy operations."""
    found = numpy_operations(model)
    assert found.unknown == ()
    operations = [
        (
            name,
            reads,
            writes,
            {k: packed(v) if isinstance(v, np.ndarray) else v for k, v in p.items()},
        )
        for name, reads, writes, p in found.operations
    ]
    return run_operations(operations, found.output, x)


def features(seed: int) -> NDArray[np.float32]:
    codes = np.random.default_rng([seed]).integers(0, 5, (N_ROWS, N_FEATURES))
    return (codes / 4).astype(np.float32)


def with_random_weights(model: Any, seed: int) -> Any:
    """Give a model weights that no initializer would: variances above 0, means of both signs."""
    generator = np.random.default_rng([seed, 1])
    for weight in model.weights:
        values = generator.normal(0, 0.5, weight.shape)
        is_positive = "variance" in weight.path
        if "seed" not in weight.path:
            weight.assign(np.abs(values) + 0.1 if is_positive else values)
    return model


def assert_alike(model: Any, x: NDArray[np.float32]) -> None:
    expected = np.asarray(model(x, training=False))
    assert np.isfinite(expected).all()
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(in_numpy(model, x), expected, rtol=0, atol=4e-6 * scale)


def functional(*middle: Any) -> Any:
    x = inputs = keras.Input((N_FEATURES,))
    for layer in middle:
        x = layer(x)
    return keras.Model(inputs, layers.Dense(2)(x))


KNOWN: dict[str, Callable[[], Any]] = {
    "batch": layers.BatchNormalization,
    "batch without scale": lambda: layers.BatchNormalization(scale=False, epsilon=0.1),
    "batch without centre": lambda: layers.BatchNormalization(center=False),
    "layer": layers.LayerNormalization,
    "layer without either": lambda: layers.LayerNormalization(scale=False, center=False),
    "rms": layers.RMSNormalization,
    "unit": layers.UnitNormalization,
    "group": lambda: layers.GroupNormalization(groups=1),
    "instance": lambda: layers.GroupNormalization(groups=-1),
    "rescaling": lambda: layers.Rescaling(2.5, offset=-0.7),
    "rescaling by feature": lambda: layers.Rescaling(
        [float(i) for i in range(N_FEATURES)], offset=[0.5] * N_FEATURES
    ),
    "normalization": lambda: layers.Normalization(
        mean=[0.1 * i for i in range(N_FEATURES)], variance=[0.1 + i for i in range(N_FEATURES)]
    ),
    "inverse normalization": lambda: layers.Normalization(mean=0.5, variance=4.0, invert=True),
    "relu": lambda: layers.ReLU(max_value=0.9, negative_slope=0.2, threshold=0.3),
    "leaky": lambda: layers.LeakyReLU(negative_slope=0.17),
    "elu": lambda: layers.ELU(alpha=0.6),
    "prelu": layers.PReLU,
    "softmax": layers.Softmax,
    "dropout": lambda: layers.Dropout(0.5),
    "alpha dropout": lambda: layers.AlphaDropout(0.5),
    "gaussian dropout": lambda: layers.GaussianDropout(0.5),
    "noise": lambda: layers.GaussianNoise(1.0),
    "identity": layers.Identity,
    "dense without bias": lambda: layers.Dense(5, use_bias=False),
    "a layer as an activation": lambda: layers.Dense(5, activation=layers.LeakyReLU()),
}


@pytest.mark.parametrize("name", KNOWN)
def test_each_layer_is_what_keras_computes(name: str) -> None:
    if name == "instance":
        KNOWN[name] = lambda: layers.GroupNormalization(groups=N_FEATURES, epsilon=0.5)
    model = with_random_weights(functional(KNOWN[name]()), 3)
    assert_alike(model, features(3))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_each_activation_is_what_keras_computes(name: str) -> None:
    x = np.linspace(-9, 9, 720, dtype=np.float32).reshape(-1, 3)
    expected = np.asarray(getattr(keras.activations, name)(keras.ops.convert_to_tensor(x)))
    scale = np.maximum(1, np.abs(expected))
    assert float((np.abs(activated(name, x) - expected) / scale).max()) < 1e-6
    model = with_random_weights(functional(layers.Dense(6, activation=name)), 5)
    assert_alike(model, features(5))


def test_erf_is_that_of_the_standard_library() -> None:
    x = np.linspace(-6, 6, 5001, dtype=np.float32)
    expected = np.array([math.erf(value) for value in x])
    assert float(np.abs(erf(x) - expected).max()) < 4e-7


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_large_numbers_make_no_warnings(name: str) -> None:
    x = np.array([[-200, -90, 0, 60, 80]], np.float32)
    assert activated(name, x).shape == x.shape


def random_architecture(draw: Callable[[Any], Any]) -> Any:
    """Return a graph of layers: branches that part and meet, shared and nested ones."""
    keras.backend.clear_session()
    inputs = keras.Input((N_FEATURES,))
    shared = layers.Dense(4, activation="tanh")
    tensors = [inputs]
    for _ in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(["layer", "dense", "merge", "concatenate", "nested", "shared"]))
        x = draw(st.sampled_from(tensors))
        width = x.shape[-1]
        if kind == "layer":
            names = ("batch", "layer", "rms", "unit", "dropout", "prelu", "elu", "rescaling")
            tensors.append(KNOWN[draw(st.sampled_from(names))]()(x))
        elif kind == "dense":
            activation = draw(st.sampled_from(("relu", "gelu", "silu", "selu", "linear")))
            tensors.append(layers.Dense(draw(st.integers(1, 9)), activation=activation)(x))
        elif kind == "merge":
            others = [t for t in tensors if t.shape[-1] == width]
            chosen = [x, draw(st.sampled_from(others)), draw(st.sampled_from(others))]
            merge = (layers.Add, layers.Average, layers.Multiply, layers.Maximum, layers.Minimum)
            tensors.append(draw(st.sampled_from(merge))()(chosen))
        elif kind == "concatenate":
            tensors.append(layers.Concatenate()([x, draw(st.sampled_from(tensors))]))
        elif kind == "nested":
            inner = keras.Input((width,))
            y = layers.Dense(3, activation="relu")(inner)
            as_graph = keras.Model(inner, layers.Concatenate()([y, layers.Softmax()(y)]))
            as_sequence = keras.Sequential([keras.Input((width,)), layers.Dense(width)])
            tensors.append(draw(st.sampled_from((as_graph, as_sequence)))(x))
        elif width == N_FEATURES:
            tensors.append(shared(x))
    return keras.Model(inputs, layers.Dense(2)(layers.UnitNormalization()(tensors[-1])))


@given(data=st.data(), seed=st.integers(0, 2**16))
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
def test_random_architectures_give_what_keras_gives(data: st.DataObject, seed: int) -> None:
    model = random_architecture(data.draw)  # Keras draws seeds, which a strategy may not do
    assert_alike(with_random_weights(model, seed), features(seed))


BUILT_IN: dict[str, dict[str, Any]] = {
    "tabm": {"model_params": {"k": 3}, "hidden": (5, 4), "activation": "gelu"},
    "tabm of one layer": {"model_params": {"k": 2}, "hidden": (5,), "dropout": 0.0},
    "autoencoder": {"model_params": {"bottleneck": 3}, "hidden": (5,), "activation": "silu"},
    "normalised autoencoder": {"hidden": (5,), "normalization": "batch"},
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_ensembles_and_autoencoders_give_what_keras_gives(name: str) -> None:
    kind = "tabm" if name.startswith("tabm") else "autoencoder"
    model = build(N_FEATURES, 2, small_config(model=kind, **BUILT_IN[name]))
    assert_alike(with_random_weights(model, 4), features(4))


def test_a_sequence_and_two_tensors_subtracted() -> None:
    model = keras.Sequential([keras.Input((N_FEATURES,)), layers.Dense(3, "relu"), layers.Dense(1)])
    assert_alike(model, features(1))
    inputs = keras.Input((N_FEATURES,))
    both = layers.Subtract()([layers.Dense(2)(inputs), layers.Dense(2)(inputs)])
    assert_alike(keras.Model(inputs, both), features(1))


@keras.saving.register_keras_serializable("test_model_upload_layers")
class Doubled(keras.layers.Dense):
    def call(self, inputs: Any, training: Any = None) -> Any:
        return 2 * super().call(inputs)


class OwnModel(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


def with_active_dropout() -> Any:
    inputs = keras.Input((N_FEATURES,))
    return keras.Model(inputs, layers.Dense(1)(layers.Dropout(0.5)(inputs, training=True)))


def with_images() -> Any:
    inputs = keras.Input((N_FEATURES,))
    x = layers.Reshape((N_FEATURES, 1))(inputs)
    return keras.Model(inputs, layers.Flatten()(layers.Dense(2)(x)))


def built_own_model() -> Any:
    model = OwnModel()
    model(features(0))
    return model


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: functional(Doubled(4)), "Doubled"),
        (lambda: functional(layers.Dense(4, dtype="float16")), "Dense"),
        (lambda: functional(layers.Dense(4, activation=lambda x: 2 * x)), "Dense"),
        (lambda: functional(layers.Lambda(lambda x: 2 * x)), "Lambda"),
        (with_active_dropout, "Dropout"),
        (with_images, "Reshape"),
        (built_own_model, "OwnModel"),
    ],
)
def test_a_layer_that_computes_something_else_is_named(make: Callable[[], Any], named: str) -> None:
    found = numpy_operations(make())
    assert any(text.startswith(f"{named} ") for text in found.unknown)


def test_every_operation_that_is_made_can_be_run() -> None:
    assert {"dense", "affine", "add", "concatenate"} <= OPERATIONS.keys()


def test_slots_are_given_back_after_their_last_use(monkeypatch: pytest.MonkeyPatch) -> None:
    import weakref

    alive: list[Any] = []

    def copied(x: NDArray[np.float32]) -> NDArray[np.float32]:
        assert sum(one() is not None for one in alive) <= 2
        made = x.copy()
        alive.append(weakref.ref(made))
        return made

    monkeypatch.setitem(OPERATIONS, "copy", copied)
    operations: Any = [("copy", (n,), n + 1, {}) for n in range(6)]
    assert run_operations(operations, 6, features(0)).shape == (N_ROWS, N_FEATURES)
    assert len(alive) == 6
