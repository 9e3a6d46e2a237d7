"""The models "tabm" and "autoencoder": what they compute, train, save, and keep when resumed."""

import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from memmap_train.errors import ConfigError
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.reports.reporter import Reporter
from memmap_train.training.losses.batch_loss import BatchLoss
from memmap_train.training.models import build as building
from memmap_train.training.models.build import build
from memmap_train.training.models.trained import TrainedModel
from memmap_train.training.models.user_models import open_saved
from memmap_train.training.prediction import predictor as predicting
from memmap_train.training.step import TrainStep
from memmap_train.training.train import train_run
from tests.support.errors import refused
from tests.support.training_data import STEPS_PER_EPOCH, Script, numpy_loss, small_config
from tests.support.training_runs import interrupt, results

pytest_plugins = ["tests.support.training_fixtures"]

N_FEATURES, N_ROWS = 6, 32
TABM: dict[str, Any] = {"model": "tabm", "model_params": {"k": 3}, "hidden": (5, 4)}
AUTOENCODER: dict[str, Any] = {
    "model": "autoencoder",
    "model_params": {"bottleneck": 3, "noise": 0.5},
    "hidden": (5,),
}
Float32 = npt.NDArray[np.float32]


def config_of(values: dict[str, Any], **changes: Any) -> TrainConfig:
    return small_config(**{"batch_size": N_ROWS, "dropout": 0.0, **values, **changes})


def rows(seed: int = 0, n_targets: int = 2) -> tuple[Float32, Float32]:
    """Return features and targets, some of which are missing."""
    generator = np.random.default_rng([seed])
    x = (generator.integers(0, 5, (N_ROWS, N_FEATURES)) / 4).astype(np.float32)
    y = generator.choice([0, 0.25, 0.5, 0.75, 1], (N_ROWS, n_targets)).astype(np.float32)
    y[generator.random(y.shape) < 0.3] = np.nan
    return x, y


def randomised(model: Any) -> Any:
    """Give a model weights that are large enough for members to differ visibly."""
    generator = np.random.default_rng([9])
    for weight in model.trainable_variables:
        weight.assign(generator.normal(0, 0.7, weight.shape))
    return model


# -- tabm -----------------------------------------------------------------------------------------


def test_one_member_is_an_mlp() -> None:
    x, y = rows()
    tabm = randomised(build(N_FEATURES, 2, config_of(TABM, model_params={"k": 1})))
    config = config_of({"hidden": (5, 4), "additive": "none"})
    mlp = build(N_FEATURES, 2, config)
    first, second, last = (tabm.get_layer(name) for name in ("hidden_1", "hidden_2", "members"))
    mlp.set_weights(
        [
            first.kernel.numpy() * first.output_adapter.numpy(),
            first.bias.numpy()[0],
            second.input_adapter.numpy().T * second.kernel.numpy() * second.output_adapter.numpy(),
            second.bias.numpy()[0],
            last.kernel.numpy()[0],
            last.bias.numpy()[0],
        ]
    )
    np.testing.assert_allclose(tabm(x), mlp(x), rtol=0, atol=1e-5)
    losses = []
    for model, changes in ((tabm, {**TABM, "model_params": {"k": 1}}), (mlp, {"hidden": (5, 4)})):
        step = TrainStep(model, N_FEATURES, 2, config_of(changes))
        step(x, y)
        losses.append(step.sums)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_members_share_weights_and_begin_with_different_signs() -> None:
    keras.utils.set_random_seed(3)
    model = build(N_FEATURES, 2, config_of(TABM, hidden=(40, 4)))
    first, second = model.get_layer("hidden_1"), model.get_layer("hidden_2")
    assert first.kernel.shape == (N_FEATURES, 40)
    assert first.input_adapter is None
    signs = first.output_adapter.numpy()
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.5
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(signs, 2))
    assert (second.input_adapter.numpy() == 1).all()
    assert (second.output_adapter.numpy() == 1).all()
    # Shared matrices; then adapters and biases of each of 3 members; then their own outputs.
    n_shared, n_of_member = N_FEATURES * 40 + 40 * 4, 40 + 40 + 40 + 4 + 4 + 4 * 2 + 2
    assert model.count_params() == n_shared + 3 * n_of_member


def test_predictions_are_the_mean_of_the_members_outputs() -> None:
    x, _ = rows()
    config = config_of(TABM)
    model = randomised(build(N_FEATURES, 2, config))
    members = np.asarray(TrainedModel(model, 2, config).graph(x))
    assert members.shape == (N_ROWS, 3, 2)
    assert members.std(axis=1).min() > 1e-3
    np.testing.assert_allclose(model(x), members.mean(axis=1), rtol=1e-5, atol=1e-6)


def test_the_loss_is_the_mean_of_the_members_losses() -> None:
    x, y = rows()
    config = config_of(TABM, learning_rate=1e-12, weight_decay=0.0)
    step = TrainStep(randomised(build(N_FEATURES, 2, config)), N_FEATURES, 2, config)
    members = np.asarray(step.trained.graph(x))
    found = [numpy_loss("mse", members[:, number], y) for number in range(3)]
    step(x, y)
    assert step.sums == pytest.approx(tuple(np.mean(found, axis=0)), rel=1e-5)
    of_mean, _ = numpy_loss("mse", step.model(x).numpy(), y)
    assert step.sums[0] > 1.01 * of_mean


def test_adapters_dont_decay() -> None:
    config = config_of(TABM, learning_rate=0.1, weight_decay=0.5)
    step = TrainStep(randomised(build(N_FEATURES, 2, config)), N_FEATURES, 2, config)
    before = {weight.path: weight.numpy() for weight in step.model.weights}
    step(rows()[0], np.full((N_ROWS, 2), np.nan, np.float32))
    for weight in step.model.weights:
        factor = 1 - 0.1 * 0.5 if weight.name == "kernel" else 1
        np.testing.assert_allclose(weight.numpy(), before[weight.path] * factor, rtol=1e-6)


def test_without_hidden_layers_members_are_one_linear_model() -> None:
    model = build(N_FEATURES, 2, config_of(TABM, hidden=()))
    assert [weight.shape for weight in model.weights] == [(N_FEATURES, 2), (2,)]


def test_a_saved_ensemble_is_trained_further_as_one(tmp_path: Path) -> None:
    x, y = rows()
    model = randomised(build(N_FEATURES, 2, config_of(TABM)))
    model.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(opened(x), model(x))
    saved = config_of({"model": str(tmp_path / "model.keras")}, dropout=0.0)
    further = open_saved(N_FEATURES, 2, tmp_path / "model.keras", ())
    sums = []
    for trained, config in ((model, config_of(TABM)), (further, saved)):
        step = TrainStep(trained, N_FEATURES, 2, config)
        for _ in range(2):
            step(x, y)
        sums.append(step.sums)
    assert sums[0] == sums[1]


# -- autoencoder ----------------------------------------------------------------------------------


def losses_of(
    config: TrainConfig, x: Float32, y: Float32
) -> tuple[TrainedModel, float, list[float]]:
    trained = TrainedModel(randomised(build(N_FEATURES, 2, config)), 2, config)
    randomised(trained.graph)
    loss, added = trained.losses(BatchLoss(config), tf.constant(x), tf.constant(y))
    return trained, float(loss.mean), [float(value) for value in added]


def test_the_autoencoders_losses_are_those_of_its_parts() -> None:
    x, y = rows()
    params = {"bottleneck": 3, "noise": 0.0, "reconstruction_weight": 0.7, "target_weight": 0.3}
    trained, mean, added = losses_of(config_of(AUTOENCODER, model_params=params), x, y)
    outputs = {name: np.asarray(part) for name, part in trained.graph(x).items()}
    graph = trained.graph
    code = keras.Model(graph.input, graph.get_layer("bottleneck").output)(x)
    decoded = np.asarray(graph.get_layer("decoder")(code))
    standardised = (x - 0.5) / np.sqrt(0.125)
    expected = ((decoded - standardised) ** 2).mean(axis=1)
    np.testing.assert_allclose(outputs["errors"], expected, rtol=1e-4)

    def mse(values: Float32) -> float:
        total, count = numpy_loss("mse", values, y)
        return total / count

    assert mean == pytest.approx(mse(outputs["predictions"]), rel=1e-5)
    assert added == pytest.approx(
        [0.7 * expected.mean(), 0.3 * mse(outputs["auxiliary"])], rel=1e-4
    )


@pytest.mark.parametrize(
    ("changes", "counted"),
    [({}, slice(None)), ({"eras_per_batch": 2}, slice(8, None))],
    ids=["batches of rows", "whole eras"],
)
def test_rows_without_a_target_count_in_the_reconstruction_unless_they_may_fill_up_an_era(
    changes: dict[str, Any], counted: slice
) -> None:
    x, y = rows()
    y[:8], y[8:, 0] = np.nan, 0.5
    params = {"noise": 0.0, "reconstruction_weight": 1.0, "target_weight": 0.0}
    trained, _, added = losses_of(config_of(AUTOENCODER, model_params=params, **changes), x, y)
    error = np.asarray(trained.graph(x)["errors"])
    assert added[0] == pytest.approx(error[counted].mean(), rel=1e-5)
    assert error[:8].mean() != pytest.approx(error[8:].mean(), rel=1e-3)


def test_noise_is_added_in_training_alone() -> None:
    config = config_of(AUTOENCODER)
    model = randomised(build(N_FEATURES, 2, config))
    x, _ = rows()
    quiet = [np.asarray(model(x, training=False)) for _ in range(2)]
    noisy = [np.asarray(model(x, training=True)) for _ in range(2)]
    np.testing.assert_array_equal(quiet[0], quiet[1])
    assert not np.array_equal(noisy[0], noisy[1])
    # What the reconstruction is compared with has no noise.
    graph = TrainedModel(model, 2, config).graph
    standardised = keras.Model(graph.input, graph.get_layer("standardised").output)
    np.testing.assert_array_equal(standardised(x, training=True), standardised(x, training=False))


@pytest.mark.parametrize(
    ("params", "lacking"),
    [
        ({"reconstruction_weight": 0.0}, ()),
        ({"target_weight": 0.0}, ("auxiliary",)),
        ({"reconstruction_weight": 0.0, "target_weight": 0.0}, ("decoder", "auxiliary")),
    ],
)
def test_what_has_no_weight_is_not_computed(
    params: dict[str, float], lacking: tuple[str, ...]
) -> None:
    config = config_of(AUTOENCODER, model_params=params)
    names = {layer.name for layer in TrainedModel(build(6, 2, config), 2, config).graph.layers}
    assert {"decoder", "auxiliary"} - names == set(lacking)


def test_the_model_that_predicts_has_no_decoder_and_only_layers_of_keras(tmp_path: Path) -> None:
    config = config_of(AUTOENCODER)
    step = TrainStep(build(N_FEATURES, 2, config), N_FEATURES, 2, config)
    assert "decoder" not in {layer.name for layer in step.model.layers}
    assert step.trained.graph.count_params() > step.model.count_params()
    step.model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert "memmap" not in json.dumps(json.loads(archive.read("config.json")))


# -- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "n_parameters"),
    [
        # What members share, and what each of them has.
        (TABM, 8 * 5 + 5 * 4 + 3 * (5 + 5 + 5 + 4 + 4 + 4 + 1)),
        # The bottleneck, the mlp; the decoder, the auxiliary outputs.
        (AUTOENCODER, 9 * 3 + 12 * 5 + 6 + 4 * 8 + 9 * 3 + 4),
    ],
    ids=["tabm", "autoencoder"],
)
def test_an_interrupted_run_ends_in_the_same_bits(
    values: dict[str, Any], n_parameters: int, sample: Path, tmp_path: Path
) -> None:
    config = small_config(**values, epochs=1)
    train_run(sample, tmp_path / "whole", config, report=Reporter())
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", config, report=Script("step 7", interrupt))
    resumed = Script()
    train_run(sample, tmp_path / "run", config, resume=True, report=resumed)
    assert resumed.calls.count("step") == STEPS_PER_EPOCH - 7
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    assert resumed.plan is not None
    assert resumed.plan.n_parameters == n_parameters


@pytest.mark.parametrize("values", [TABM, AUTOENCODER], ids=["tabm", "autoencoder"])
def test_a_row_gets_the_same_bits_whatever_the_size_of_a_block(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = randomised(build(N_FEATURES, 2, config_of(values, hidden=(24, 16))))
    x = np.random.default_rng([3]).random((300, N_FEATURES), np.float32)
    found = []
    for size in (300, 100, 20):
        monkeypatch.setattr(predicting, "BLOCK_ROWS", size)
        run = predicting.Predictor(model, None).run
        blocks = [run(x[low : low + size]).numpy() for low in range(0, len(x), size)]
        found.append(np.concatenate(blocks))
    np.testing.assert_allclose(found[0], model(x), rtol=1e-5, atol=1e-6)
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


HUGE: dict[str, dict[str, Any]] = {
    "members": {**TABM, "model_params": {"k": 10**9}},
    "layers of members": {**TABM, "hidden": (10**6, 10**6)},
    # Weights and units take a gigabyte: the members' scaled matrices don't fit.
    "matrices of members": {**TABM, "hidden": (3000, 3000), "model_params": {"k": 100}},
    "bottleneck": {**AUTOENCODER, "model_params": {"bottleneck": 10**12}},
}


@pytest.mark.parametrize("name", HUGE)
def test_what_doesnt_fit_into_memory_is_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "available_memory", lambda: 10**10)
    said = [f"{key} = {value}" for key, value in HUGE[name]["model_params"].items()]
    with refused(ConfigError, "hidden: ", "10.0 GB", "choose smaller", *said):
        build(N_FEATURES, 2, config_of(HUGE[name]))


@pytest.mark.parametrize(
    ("model", "params", "said"),
    [
        ("tabm", {"k": 0}, "model_params.k: expected a whole number of 1 or more, found 0"),
        ("mlp", {"k": 4}, "model_params: 'mlp' has no 'k'"),
    ],
)
def test_wrong_parameters_leave_nothing_behind(
    model: str, params: dict[str, Any], said: str, sample: Path, tmp_path: Path
) -> None:
    with refused(ConfigError, said):
        train_run(sample, tmp_path / "run", small_config(model=model, model_params=params))
    assert not list(tmp_path.iterdir())
