"""Losses of a batch: value and gradient against float64 numpy and differences."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from memmap_train.errors import ConfigError
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.scores.metrics import numerai_corr
from memmap_train.training.losses.batch_loss import BatchLoss
from memmap_train.training.losses.era_correlations import era_correlations
from tests.support.errors import refused
from tests.support.loss_references import batch_loss, gradient_of

N_ERAS, N_ROWS, N_FEATURES = 3, 9, 4

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "mse": {},
    "mae": {"loss": "mae"},
    "huber": {"loss": "huber"},
    "pearson": {"loss": "pearson"},
    "numerai_corr": {"loss": "numerai_corr"},
    "mixture": {"corr_weight": 0.3},
    "mixture of correlations": {"loss": "pearson", "corr_weight": 0.5},
    "spread": {"std_weight": 0.7},
    "spread of pearson": {"loss": "pearson", "std_weight": 0.7},
    "exposure": {"exposure_weight": 2.0},
    "all": {"loss": "huber", "corr_weight": 0.1, "std_weight": 0.2, "exposure_weight": 0.3},
}

Array = npt.NDArray[np.float32]
Arrays = tuple[Array, Array, Array]


def batch(seed: int, n_targets: int = 2, n_eras: int = N_ERAS, n_rows: int = N_ROWS) -> Arrays:
    """Return predictions, targets with holes and features of a batch of eras."""
    generator = np.random.default_rng([7, seed])
    n = n_eras * n_rows
    targets = generator.choice([0, 0.25, 0.5, 0.75, 1], (n, n_targets), p=[0.1, 0.2, 0.4, 0.2, 0.1])
    targets[generator.random(targets.shape) < 0.2] = np.nan
    features = generator.integers(0, 5, (n, N_FEATURES)) / 4
    predictions = 0.5 + 0.1 * generator.normal(size=targets.shape)
    predictions += 0.2 * (features @ generator.normal(size=(N_FEATURES, n_targets)))
    float32 = np.float32
    return predictions.astype(float32), targets.astype(float32), features.astype(float32)


def computed(
    config: TrainConfig,
    predictions: Any,
    targets: Any,
    features: Any,
    n_eras: int = N_ERAS,
    *,
    compiles: bool = False,
) -> tuple[float, Array, float, float]:
    """Return the mean, its gradient, the total and the count."""
    loss_of = BatchLoss(replace(config, eras_per_batch=n_eras))
    variable = tf.Variable(predictions)

    def run() -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(variable, tf.constant(targets), tf.constant(features))
        return loss.mean, tape.gradient(loss.mean, variable), loss.total, loss.count

    mean, gradient, total, count = tf.function(run, autograph=False)() if compiles else run()
    return float(mean), gradient.numpy(), float(total), float(count)


@pytest.mark.parametrize("weights", [(), (1.0, 0.25)], ids=["equal", "weighted"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_value_and_gradient_are_those_of_the_reference(
    name: str, weights: tuple[float, ...]
) -> None:
    config = TrainConfig(**CONFIGURATIONS[name], target_weights=weights)
    predictions, targets, features = batch(1)
    mean, gradient, total, count = computed(config, predictions, targets, features, compiles=True)

    def reference(values: Any) -> float:
        return batch_loss(config, values, targets, features, N_ERAS)

    assert mean == pytest.approx(reference(predictions), rel=2e-6)
    expected = gradient_of(reference, predictions)
    np.testing.assert_allclose(gradient, expected, atol=2e-5 * np.abs(expected).max())
    assert not gradient[np.isnan(targets)].any() or config.exposure_weight
    assert np.abs(gradient).max() > 1e-4
    assert total == pytest.approx(mean * count, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    name=st.sampled_from(sorted(CONFIGURATIONS)),
    n_targets=st.integers(1, 3),
    n_eras=st.integers(1, 4),
    n_rows=st.integers(1, 40),
)
def test_batches_of_any_shape_agree_with_the_reference(
    seed: int, name: str, n_targets: int, n_eras: int, n_rows: int
) -> None:
    config = TrainConfig(**CONFIGURATIONS[name])
    arrays = batch(seed, n_targets, n_eras, n_rows)
    mean, gradient, _, _ = computed(config, *arrays, n_eras=n_eras)
    assert mean == pytest.approx(batch_loss(config, *arrays, n_eras), rel=1e-5, abs=1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_rows_without_labels_change_nothing(name: str) -> None:
    config = TrainConfig(**CONFIGURATIONS[name])
    predictions, targets, features = batch(2)

    def padded(array: Array, value: float) -> Array:
        blocks = array.reshape(N_ERAS, N_ROWS, -1)
        padding = np.full((N_ERAS, 5, blocks.shape[2]), value, np.float32)
        return np.concatenate([blocks, padding], axis=1).reshape(-1, blocks.shape[2])

    plain = computed(config, predictions, targets, features)
    of_padded = computed(
        config, padded(predictions, 1e30), padded(targets, np.nan), padded(features, 3.0)
    )
    gradient = of_padded[1].reshape(N_ERAS, N_ROWS + 5, -1)
    assert not gradient[:, N_ROWS:].any()
    np.testing.assert_allclose(gradient[:, :N_ROWS].reshape(plain[1].shape), plain[1], atol=1e-6)
    np.testing.assert_allclose(of_padded[0], plain[0], rtol=1e-5)
    assert of_padded[3] == plain[3]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_order_of_rows_within_an_era_doesnt_matter(name: str) -> None:
    config = TrainConfig(**CONFIGURATIONS[name])
    x, y, z = batch(3)
    generator = np.random.default_rng([4])
    order = np.concatenate([era * N_ROWS + generator.permutation(N_ROWS) for era in range(N_ERAS)])
    mean, gradient, _, _ = computed(config, x, y, z)
    moved, of_moved, _, _ = computed(config, x[order], y[order], z[order])
    assert moved == pytest.approx(mean, rel=1e-5)
    np.testing.assert_allclose(of_moved, gradient[order], atol=1e-5 * np.abs(gradient).max())


def test_rows_of_other_eras_matter_to_correlations_within_eras() -> None:
    predictions, targets, features = batch(3)
    swapped = np.roll(np.arange(N_ERAS * N_ROWS), 4)
    arrays = predictions[swapped], targets[swapped], features[swapped]
    for name, changes in (("mse", False), ("pearson", True)):
        config = TrainConfig(loss=name)
        before, after = computed(config, predictions, targets, features), computed(config, *arrays)
        assert (abs(before[0] - after[0]) > 1e-3) is changes


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize(
    "era",
    ["equal predictions", "equal labels", "one label", "no labels", "all eras without labels"],
)
def test_an_era_without_a_correlation_is_no_danger(name: str, era: str) -> None:
    config = TrainConfig(**CONFIGURATIONS[name])
    predictions, targets, features = batch(5)
    block = slice(N_ROWS, 2 * N_ROWS)
    if era == "equal predictions":
        predictions[block] = 0.3
    elif era == "equal labels":
        targets[block] = 0.5
    elif era == "one label":
        targets[block][1:] = np.nan
    else:
        targets[block if era == "no labels" else slice(None)] = np.nan
    mean, gradient, total, count = computed(config, predictions, targets, features)
    expected = batch_loss(config, predictions, targets, features, N_ERAS)
    assert mean == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(gradient).all()
    if era == "all eras without labels":
        assert (mean, total, count) == (0, 0, 0)
        assert not gradient.any()


def test_a_constant_feature_is_left_out_of_exposures() -> None:
    config = TrainConfig(exposure_weight=1.0)
    predictions, targets, features = batch(6)
    features[:, 1] = 0.75
    features[: 2 * N_ROWS, 2] = 0.1
    expected = batch_loss(config, predictions, targets, features, N_ERAS)
    assert computed(config, predictions, targets, features)[0] == pytest.approx(expected, rel=1e-5)
    features[:] = 0.25
    mean, gradient, _, _ = computed(config, predictions, targets, features)
    assert mean == pytest.approx(batch_loss(TrainConfig(), predictions, targets, features, N_ERAS))
    assert np.isfinite(gradient).all()


def test_features_that_are_almost_constant_have_exposures() -> None:
    """One row of 5,000 differs: the variance is a 50,000th of the square of the mean."""
    config = TrainConfig(exposure_weight=1.0)
    predictions, targets, features = batch(16, n_targets=1, n_eras=2, n_rows=5000)
    features[:, 0] = 1
    features[[3, 5000], 0] = 0.75
    features[:, 1] = 1  # constant where there are labels
    targets[0], features[0, 1] = np.nan, 0.25
    expected = batch_loss(config, predictions, targets, features, 2)
    assert computed(config, predictions, targets, features, 2)[0] == pytest.approx(
        expected, rel=1e-5
    )
    predictions[[3, 5000]] += 10
    moved = batch_loss(config, predictions, targets, features, 2)
    assert moved > expected + 0.05
    assert computed(config, predictions, targets, features, 2)[0] == pytest.approx(moved, rel=1e-5)


@pytest.mark.parametrize("kind", ["pearson", "numerai_corr"])
@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e30])
def test_the_scale_of_predictions_doesnt_matter_to_a_correlation(kind: str, scale: float) -> None:
    config = TrainConfig(loss=kind)
    predictions, targets, features = batch(8)
    predictions -= 0.5
    mean, gradient, _, _ = computed(config, predictions, targets, features)
    scaled = predictions * np.float32(scale)
    of_scaled, its_gradient, _, _ = computed(config, scaled, targets, features)
    assert of_scaled == pytest.approx(mean, rel=1e-5)
    expected = gradient.astype(np.float64) / scale
    np.testing.assert_allclose(its_gradient, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["pearson", "numerai_corr"])
def test_float32_is_accurate_for_predictions_near_each_other(kind: str) -> None:
    """A thousandth apart around 100: squares that aren't centred would lose all digits."""
    config = TrainConfig(loss=kind)
    predictions, targets, features = batch(9, n_targets=1, n_eras=4, n_rows=5000)
    near = (100 + (predictions - 0.5)).astype(np.float32)
    expected = batch_loss(config, near, targets, features, 4)
    assert computed(config, near, targets, features, 4)[0] == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_prediction_that_is_no_number_shows_in_the_loss(name: str) -> None:
    config = TrainConfig(**CONFIGURATIONS[name])
    predictions, targets, features = batch(10)
    place = tuple(np.argwhere(~np.isnan(targets))[5])
    for value in (np.nan, np.inf):
        predictions[place] = value
        assert not np.isfinite(computed(config, predictions, targets, features)[0])


def test_a_target_of_weight_0_isnt_trained() -> None:
    for changes in CONFIGURATIONS.values():
        predictions, targets, features = batch(11)
        config = TrainConfig(**changes, target_weights=(1.0, 0.0))
        mean, gradient, _, _ = computed(config, predictions, targets, features)
        assert not gradient[:, 1].any()
        alone = computed(TrainConfig(**changes), predictions[:, :1], targets[:, :1], features)
        if "exposure_weight" not in changes:  # whose rows are those with a label of any target
            assert mean == pytest.approx(alone[0], rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "most"), [("normal", 0.001), ("as trained", 0.004), ("log-normal", 0.02)]
)
def test_numerai_corr_is_near_the_official_score(shape: str, most: float) -> None:
    """Of predictions with a signal of Numerai's size, by how far from normal they are."""
    generator = np.random.default_rng([15])
    differences, scores = [], []
    for _ in range(30):
        signal = generator.normal(size=4000)
        noisy = 0.04 * signal + generator.normal(size=4000)
        target = np.digitize(noisy, np.quantile(noisy, [0.05, 0.25, 0.75, 0.95])) / 4
        own = {
            "normal": signal,
            "as trained": signal + 0.02 * signal**2,  # of skewness 0.12
            "log-normal": np.exp(0.5 * signal),
        }[shape]
        correlations, counts = era_correlations(
            "numerai_corr",
            tf.constant(own[None, :, None], tf.float32),
            tf.constant(target[None, :, None], tf.float32),
        )
        assert counts.numpy().all()
        scores.append(numerai_corr(own, target))
        differences.append(float(correlations[0, 0]) - scores[-1])
    assert np.mean(scores) > 0.02
    assert np.sqrt(np.mean(np.square(differences))) < most


# -- a loss of the user's -------------------------------------------------------------------------

OWN = """
import tensorflow as tf


def squared(predictions, targets, features):
    labelled = tf.math.is_finite(targets)
    error = tf.where(labelled, targets, predictions) - predictions
    total = tf.reduce_sum(tf.square(error), axis=(0, 1))
    return total / tf.cast(tf.math.count_nonzero(labelled, axis=(0, 1)), tf.float32)


def of_shapes(predictions, targets, features):
    assert predictions.shape == targets.shape == (3, 9, 2)
    assert features.shape == (3, 9, 4)
    return tf.reduce_mean(predictions)


def failing(predictions, targets, features):
    return predictions.nothing


def of_rows(predictions, targets, features):
    return predictions[:, :, 0]


number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module with losses of a user's."""
    (tmp_path / "own_losses_of_a_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_losses_of_a_test"


@pytest.mark.parametrize("weights", [(), (1.0, 0.25)])
def test_a_users_loss_takes_batches_of_eras(own: str, weights: tuple[float, ...]) -> None:
    arrays = batch(12)
    config = TrainConfig(loss=f"{own}:squared", target_weights=weights, corr_weight=0.5)
    of_targets = [
        batch_loss(TrainConfig(), arrays[0][:, [t]], arrays[1][:, [t]], arrays[2], N_ERAS)
        for t in range(2)
    ]
    lacking = batch_loss(TrainConfig(loss="numerai_corr", target_weights=weights), *arrays, N_ERAS)
    mean, gradient, total, count = computed(config, *arrays)
    expected = np.average(of_targets, weights=weights or None) + 0.5 * lacking
    assert mean == pytest.approx(expected, rel=1e-5)
    assert count == np.isfinite(arrays[1]).sum()
    assert total == pytest.approx(mean * count, rel=1e-5)
    assert gradient.any()


def test_a_users_loss_may_be_one_number(own: str) -> None:
    arrays = batch(13)
    mean, _, _, _ = computed(TrainConfig(loss=f"{own}:of_shapes"), *arrays)
    assert mean == pytest.approx(arrays[0].mean(), rel=1e-5)
    with refused(ConfigError, "loss: ", "one number for all targets", "shape (2,)"):
        computed(TrainConfig(loss=f"{own}:of_shapes", target_weights=(1.0, 2.0)), *arrays)


def test_a_users_loss_that_doesnt_work_is_refused_in_one_line(own: str) -> None:
    with refused(ConfigError, f"loss: {own}:failing failed: AttributeError", "line 19"):
        computed(TrainConfig(loss=f"{own}:failing"), *batch(14))
    with refused(ConfigError, f"loss: {own}:of_rows", "shape (3, 9)", "expected float32", "(2,)"):
        computed(TrainConfig(loss=f"{own}:of_rows"), *batch(14))
    with refused(ConfigError, f"loss: '{own}:number' is a int, expected a function"):
        BatchLoss(TrainConfig(loss=f"{own}:number"))
    with refused(ConfigError, "loss: ", "has no 'squarred'", "did you mean 'squared'?"):
        BatchLoss(TrainConfig(loss=f"{own}:squarred"))
