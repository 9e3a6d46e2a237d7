"""Built-in models in mixed precision: what computes in less than float32, and what doesn't."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import memmap_train as mt
from memmap_train.errors import ConfigError
from memmap_train.runs.run import read_run
from memmap_train.training.models import precision
from memmap_train.training.models.build import build
from memmap_train.training.models.precision import precision_line
from memmap_train.training.prediction.last_model import last_models, outputs_of
from memmap_train.training.step import TrainStep
from memmap_train.training.train import dry_run, train_run
from tests.support.errors import refused
from tests.support.training_data import Script, small_config
from tests.support.training_runs import interrupt, results

pytest_plugins = ["tests.support.training_fixtures"]

MIXED = ["mixed_bfloat16", "mixed_float16"]


@pytest.fixture(scope="module")
def runs(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a run of each mixed precision, and one in float32, that nothing interrupted."""
    folder = tmp_path_factory.mktemp("precision")
    found = {}
    for name in ("float32", *MIXED):
        found[name] = folder / name
        train_run(
            sample,
            found[name],
            small_config(precision=name, normalization="batch", additive="quadratic"),
        )
    return found


# -- models ---------------------------------------------------------------------------------------

# Layers of an mlp's additive terms, and what adds them to the hidden layers' outputs.
ADDITIVE = (
    "hidden_share",
    "linear_terms",
    "linear_share",
    "squares",
    "gated_squares",
    "square_terms",
    "squares_share",
    "sum",
)


@pytest.mark.parametrize("name", ["mlp", "resnet", "linear", "tabm", "autoencoder"])
@pytest.mark.parametrize("wanted", ["float32", *MIXED])
def test_hidden_layers_alone_compute_in_less_than_float32(wanted: str, name: str) -> None:
    config = small_config(model=name, precision=wanted, normalization="layer", additive="quadratic")
    keras.config.set_dtype_policy("float64")  # the caller's own, which counts for nothing here
    try:
        model = build(8, 2, config)
        assert keras.config.dtype_policy().name == "float64"
    finally:
        keras.config.set_dtype_policy("float32")
    compute = {layer.name: layer.compute_dtype for layer in model.layers}
    assert compute.pop("standardised") == compute.pop("targets") == "float32"
    compute.pop("features")
    assert compute.pop("members", "float32") == "float32"  # the outputs of a tabm's members
    for term in ADDITIVE if name == "mlp" else ():
        assert compute.pop(term) == "float32"
    assert set(compute.values()) <= {wanted.removeprefix("mixed_")}
    assert bool(compute) == (name != "linear")
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert (model.inputs[0].dtype, model.outputs[0].dtype) == ("float32", "float32")


def test_the_policy_of_the_caller_counts_again_after_a_failure() -> None:
    def fail() -> None:
        with precision.layers_in("mixed_float16"):
            assert keras.layers.Dense(1).compute_dtype == "float16"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert keras.config.dtype_policy().name == "float32"


def test_a_step_whose_gradients_overflow_is_left_out() -> None:
    # Without quadratic terms, whose moving averages follow the rows of a step that is left out.
    config = small_config(precision="mixed_float16", batch_size=4, dropout=0.0, additive="linear")
    keras.utils.set_random_seed(0)
    step = TrainStep(build(8, 1, config), 8, 1, config)
    x, before = np.ones((4, 8), np.float32), step.weights()
    step(x, np.full((4, 1), 1e6, np.float32))  # a gradient of 1e6 at a scale of 32,768
    assert all(np.array_equal(*pair) for pair in zip(step.weights(), before, strict=True))
    step(x, np.full((4, 1), 0.9, np.float32))
    assert not all(np.array_equal(*pair) for pair in zip(step.weights(), before, strict=True))
    assert step.count == 2
    assert int(step.arrays()["sums/0001"]) == 1


def test_losses_within_eras_have_the_gradients_of_float32() -> None:
    generator = np.random.default_rng(0)
    x = (generator.integers(0, 5, (256, 8)) / 4).astype(np.float32)
    y = generator.random((256, 1)).astype(np.float32)
    options = {"eras_per_batch": 4, "rows_per_era": 64, "batch_size": 256, "activation": "tanh"}
    options |= {"loss": "numerai_corr", "std_weight": 0.5, "exposure_weight": 0.5, "dropout": 0.0}
    momenta = {}
    for wanted in ("float32", "mixed_bfloat16"):
        config = small_config(precision=wanted, **options)
        keras.utils.set_random_seed(0)
        step = TrainStep(build(8, 1, config), 8, 1, config)
        step(x, y)
        found = [v.numpy() for v in step.optimizer.variables if v.path.endswith("momentum")]
        momenta[wanted] = np.concatenate([np.ravel(array) for array in found])
    scale = np.abs(momenta["float32"]).max()
    assert scale > 0
    np.testing.assert_allclose(
        momenta["mixed_bfloat16"], momenta["float32"], rtol=0, atol=0.05 * scale
    )


# -- runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MIXED)
def test_mixed_precision_is_resumed_to_the_bit(
    name: str, runs: dict[str, Path], sample: Path, tmp_path: Path
) -> None:
    config = small_config(
        precision=name, normalization="batch", additive="quadratic", checkpoint_steps=4
    )
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "r", config, report=Script("step 7", interrupt))
    train_run(sample, tmp_path / "r", config, resume=True)
    whole = results(runs[name])
    assert results(tmp_path / "r") == whole
    assert whole["model"] != results(runs["float32"])["model"]


def test_it_learns_what_float32_learns(runs: dict[str, Path]) -> None:
    losses = {name: mt.open_run(path).history["loss"] for name, path in runs.items()}
    for name in MIXED:
        np.testing.assert_allclose(losses[name], losses["float32"], rtol=0.02)
        assert losses[name][1] < losses[name][0]


@pytest.mark.parametrize("name", MIXED)
def test_predictions_of_a_row_never_depend_on_other_rows(
    name: str, runs: dict[str, Path], sample: Path
) -> None:
    dataset = mt.open_dataset(sample)
    some = dataset.eras[5:9:2]
    whole = mt.predict(runs[name], dataset, raw=True)
    part = mt.predict(runs[name], dataset.select(some), raw=True)
    among = np.isin(np.repeat(dataset.eras, dataset.rows_per_era), some)
    np.testing.assert_array_equal(part.values, whole.values[among])


def test_uploads_compute_in_float32(runs: dict[str, Path]) -> None:
    """Numpy has no bfloat16: what the run computes in less, the upload computes in more."""
    x = (np.random.default_rng(0).integers(0, 5, (500, 8)) / 4).astype(np.float32)
    for name in MIXED:
        (last,) = last_models(read_run(runs[name]))
        assert last.operations.mixed_precision == (name.removeprefix("mixed_"),)
        own, exact = outputs_of(last, x), outputs_of(last, x, in_float32=True)
        assert 0 < np.abs(own - exact).max() < 0.02 * exact.std()
    (last,) = last_models(read_run(runs["float32"]))
    assert last.operations.mixed_precision == ()


# -- what is refused, and what is slow ------------------------------------------------------------


@pytest.mark.parametrize("model", ["mine:build", "other/model.keras"])
def test_models_that_the_user_brings_say_themselves_what_they_compute_in(
    model: str, sample: Path, tmp_path: Path
) -> None:
    config = small_config(precision="mixed_bfloat16", model=model)
    for command in (train_run, dry_run):
        with refused(ConfigError, "precision: expected 'float32'", repr(model), "leave it out"):
            command(sample, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


SLOW = "has no instructions: steps will be slower, not faster"


@pytest.mark.parametrize(
    ("wanted", "features", "is_slow"),
    [
        ("mixed_bfloat16", {"avx2", "avx512_bf16"}, False),
        ("mixed_bfloat16", {"amx_bf16"}, False),
        ("mixed_bfloat16", {"avx2", "avx512f"}, True),
        ("mixed_float16", {"avx2", "avx512_bf16"}, True),
        ("mixed_float16", {"avx512_fp16"}, False),
        ("mixed_float16", None, False),  # unknown
    ],
)
def test_the_plan_says_where_mixed_precision_is_slower(
    wanted: str, features: set[str] | None, is_slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_features", lambda: features)
    line = precision_line(wanted)
    assert line is not None
    assert wanted.removeprefix("mixed_") in line
    assert (f"this CPU {SLOW}" in line) == is_slow


@pytest.mark.parametrize(
    ("wanted", "capability", "is_slow"),
    [
        ("mixed_bfloat16", (9, 0), False),
        ("mixed_bfloat16", (7, 5), True),
        ("mixed_float16", (7, 5), False),
        ("mixed_float16", (6, 1), True),
        ("mixed_float16", None, False),
    ],
)
def test_of_a_gpu_its_compute_capability_counts(
    wanted: str, capability: Any, is_slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_features", lambda: {"avx2"})
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    details = {} if capability is None else {"compute_capability": capability}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    assert (f"this GPU {SLOW}" in (precision_line(wanted) or "")) == is_slow


def test_float32_is_not_worth_a_line() -> None:
    assert precision_line("float32") is None
