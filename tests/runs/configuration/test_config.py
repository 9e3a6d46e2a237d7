"""Tests of the configuration: its keys, its defaults, and values that are refused."""

import copy
import dataclasses
import inspect
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest

from memmap_train.errors import ConfigError, MemmapTrainError
from memmap_train.runs.configuration.config import TrainConfig
from tests.support.configurations import KEYS, Write, refusal

PARAMS = "model_params"


def test_an_empty_configuration_is_the_default_one() -> None:
    assert TrainConfig.load(None) == TrainConfig()


def test_the_defaults_are_the_documented_ones() -> None:
    assert TrainConfig().to_dict() == {
        "features": "all",
        "targets": ["target"],
        "target_transform": "none",
        "validation_eras": None,
        "embargo_eras": "auto",
        "allow_overlap": False,
        "batch_size": None,
        "eras_per_batch": 0,
        "rows_per_era": 0,
        "era_weights": "rows",
        "window_size": None,
        "pool_batches": None,
        "memory": None,
        "fill_missing": None,
        "model": "mlp",
        "model_params": {},
        "hidden": [128, 64],
        "activation": "relu",
        "additive": "quadratic",
        "normalization": "none",
        "dropout": 0.3,
        "precision": "float32",
        "loss": "mse",
        "target_weights": [],
        "corr_weight": 0.0,
        "std_weight": 0.0,
        "exposure_weight": 0.0,
        "learning_rate": 0.001,
        "warmup_steps": 0,
        "schedule": "cosine",
        "weight_decay": 1.0,
        "plateau_patience": 0,
        "plateau_factor": 0.5,
        "epochs": 2,
        "monitor": "val_corr_mean",
        "patience": 3,
        "validation_steps": 0,
        "callbacks": [],
        "tensorboard": False,
        "baseline": "ridge",
        "seed": 0,
        "deterministic": None,
        "checkpoint_steps": 0,
        "checkpoint_minutes": 10.0,
    }


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_described_in_the_docstring(key: str) -> None:
    assert f"\n{key} : " in (inspect.getdoc(TrainConfig) or "")


def test_a_file_may_set_every_key(write: Write) -> None:
    chosen: dict[str, Any] = {
        "features": ["feature_b", "feature_a"],
        "targets": ["target_x_20", "target_y_60"],
        "target_transform": "residual:model_a+gaussian",
        "validation_eras": ["0575", "0576"],
        "embargo_eras": 4,
        "allow_overlap": True,
        "batch_size": 512,
        "eras_per_batch": 8,
        "rows_per_era": 64,
        "era_weights": "half_life:52",
        "window_size": 64,
        "pool_batches": 8,
        "memory": 900,
        "fill_missing": 0.5,
        "model": "other:build",
        "model_params": {"units": 64, "rates": [0.1, 0.2], "gated": True},
        "hidden": [],
        "activation": "gelu",
        "additive": "linear",
        "normalization": "layer",
        "dropout": 0.0,
        "precision": "mixed_bfloat16",
        "loss": "huber",
        "target_weights": [1.0, 0.5],
        "corr_weight": 0.1,
        "std_weight": 0.2,
        "exposure_weight": 0.3,
        "learning_rate": 0.01,
        "warmup_steps": 500,
        "schedule": "constant",
        "weight_decay": 0.1,
        "plateau_patience": 2,
        "plateau_factor": 0.1,
        "epochs": 20,
        "monitor": "val_max_drawdown",
        "patience": 0,
        "validation_steps": 50,
        "callbacks": ["mine:Stop"],
        "tensorboard": True,
        "baseline": "none",
        "seed": 2**32 - 1,
        "deterministic": False,
        "checkpoint_steps": 100,
        "checkpoint_minutes": 0.5,
    }
    assert list(chosen) == KEYS
    # What JSON writes for these values is TOML as well.
    lines = [f"{key} = {json.dumps(value)}" for key, value in chosen.items() if key != PARAMS]
    lines += [f"{PARAMS}.{key} = {json.dumps(value)}" for key, value in chosen[PARAMS].items()]
    text = "\n".join(lines)
    config = TrainConfig.load(write(text))
    assert config.to_dict() == chosen
    assert all(getattr(config, key) != getattr(TrainConfig(), key) for key in KEYS)


def test_auto_is_a_value_of_embargo_eras_and_of_no_other_key(write: Write) -> None:
    assert TrainConfig.load(write("embargo_eras = 9"), ["embargo_eras=auto"]).embargo_eras == "auto"
    for key in ("epochs", "fill_missing", "allow_overlap", "hidden"):
        assert "found 'auto'" in refusal(None, [f"{key}=auto"])


def test_a_whole_number_becomes_a_float_where_a_float_is_expected() -> None:
    config = TrainConfig(checkpoint_minutes=5, weight_decay=0, fill_missing=0)
    for value in (config.checkpoint_minutes, config.weight_decay, config.fill_missing):
        assert type(value) is float


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("features", ""),
        ("features", []),
        ("features", ["a", "a"]),
        ("features", ["a", 1]),
        ("features", 42),
        ("targets", []),
        ("targets", ""),
        ("targets", [""]),
        ("targets", 1),
        ("target_transform", ""),
        ("target_transform", "ranks"),
        ("target_transform", "residual:"),
        ("target_transform", "rank+"),
        ("target_transform", "none+rank"),
        ("target_transform", ["rank"]),
        ("validation_eras", 0),
        ("validation_eras", "0575"),
        ("validation_eras", [575]),
        ("validation_eras", []),
        ("validation_eras", True),
        ("validation_eras", 0.0),
        ("validation_eras", 1.0),
        ("validation_eras", ["0575-0700", 1]),
        ("validation_eras", "-0575"),
        ("embargo_eras", -1),
        ("embargo_eras", "none"),
        ("embargo_eras", 8.0),
        ("allow_overlap", 1),
        ("allow_overlap", "yes"),
        ("batch_size", 0),
        ("batch_size", 4096.0),
        ("batch_size", True),
        ("batch_size", "4096"),
        ("eras_per_batch", -1),
        ("rows_per_era", 0.5),
        ("era_weights", "half_life:"),
        ("era_weights", "weights.csv"),
        ("era_weights", ["rows"]),
        ("window_size", 0),
        ("pool_batches", 0),
        ("memory", 0),
        ("memory", 1.5),
        ("fill_missing", "mean"),
        ("fill_missing", math.nan),
        ("fill_missing", True),
        ("model", ""),
        ("model", 3),
        ("model_params", ["units"]),
        ("model_params", {1: 2}),
        ("model_params", {"rate": math.nan}),
        ("callbacks", "mine:Stop"),
        ("callbacks", ["Stop"]),
        ("callbacks", ["mine:Stop", "mine:Stop"]),
        ("hidden", 128),
        ("hidden", [128, 0]),
        ("hidden", [128, True]),
        ("hidden", [128.0]),
        ("activation", "swish"),
        ("precision", "bfloat16"),
        ("activation", None),
        ("normalization", "group"),
        ("dropout", 1),
        ("dropout", -0.1),
        ("dropout", True),
        ("loss", "corr"),
        ("loss", ["mse"]),
        ("loss", "my loss:f"),
        ("target_weights", 1.0),
        ("target_weights", [1, -1]),
        ("target_weights", [0, 1]),
        ("target_weights", ["1"]),
        ("target_weights", [math.inf]),
        ("corr_weight", -0.1),
        ("std_weight", math.nan),
        ("exposure_weight", True),
        ("learning_rate", 0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("learning_rate", 10**400),
        ("warmup_steps", -1),
        ("schedule", "linear"),
        ("weight_decay", -1e-9),
        ("plateau_patience", -1),
        ("plateau_factor", 0),
        ("plateau_factor", 1),
        ("monitor", "corr_mean"),
        ("monitor", "epoch"),
        ("monitor", 1),
        ("validation_steps", -1),
        ("epochs", 0),
        ("patience", -1),
        ("seed", -1),
        ("seed", 2**32),
        ("deterministic", 1),
        ("checkpoint_steps", -1),
        ("checkpoint_minutes", -1),
    ],
)
def test_an_invalid_value_is_refused_with_its_key_and_the_expected_values(
    key: str, value: Any
) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**{key: value})
    message = str(caught.value)
    assert message.startswith(f"{key}: expected ")
    found = message.partition(", found ")[2]
    assert found[:10] == repr(value)[:10]
    assert "\n" not in message


ABSURD = (
    "1" + "0" * 30,
    "-" + "1" * 30,
    "1" * 5000,
    "1e400",
    "-1e400",
    "1e-400",
    "nan",
    "-nan",
    "inf",
    "-0.0",
    "true",
    '""',
    '" "',
    '"é\\u0000"',
    '"\\ud800"',
    '"auto"',
    '"None"',
    '"builtins:print"',
    f'"{"x" * 100_000}"',
    "[]",
    '[""]',
    "[[]]",
    '[1, "a"]',
    '["a", "a"]',
    "[nan]",
    "[1979-05-27]",
    f"[{'1, ' * 1000}]",
    "{}",
    "{a = {b = [nan]}}",
    f"{{{', '.join(f'k{i} = {i}' for i in range(1000))}}}",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    "0x10",
    "1_0",
    "=",
    "",
)


@pytest.mark.parametrize("key", [*KEYS, f"{PARAMS}.units", "epochs.units", "'two words'", "é"])
def test_an_absurd_value_is_accepted_or_refused_in_one_line(key: str, write: Write) -> None:
    n_refused = 0
    for value in ABSURD:
        path = write(f"{key} = {value}\n")
        for arguments in ((path, ()), (None, (f"{key}={value}",))):
            try:
                config = TrainConfig.load(*arguments)
            except ConfigError:
                n_refused += 1
                assert len(refusal(*arguments)) < 1500
            else:
                data = json.loads(json.dumps(config.to_dict(), allow_nan=False))
                assert TrainConfig(**data) == config
    assert 10 < n_refused <= 2 * len(ABSURD)


def test_more_layers_than_keras_can_traverse_are_refused() -> None:
    TrainConfig(hidden=(4,) * 100)
    with pytest.raises(ConfigError, match="hidden: expected a list of at most 100 whole numbers"):
        TrainConfig(hidden=(4,) * 101)


@pytest.mark.parametrize("key", KEYS)
def test_only_model_params_accepts_a_table_and_no_key_accepts_a_date(
    key: str, write: Write
) -> None:
    if key != PARAMS:
        assert f"{key!r} is a table" in refusal(write(f"[{key}]\nx = 1"))
    assert f"{key}: expected" in refusal(write(f"{key} = 2024-01-05"))


def test_an_unknown_key_is_refused_with_the_nearest_one(write: Write) -> None:
    path = write("epoch = 3")
    message = refusal(path)
    assert message == f"{path}: unknown key 'epoch'; did you mean 'epochs'?"
    assert "--set: unknown key 'batchsize'; did you mean 'batch_size'?" in refusal(
        None, ["batchsize=3"]
    )


def test_an_unknown_key_without_a_similar_one_is_refused_with_all_keys(write: Write) -> None:
    message = refusal(write("zzz = 3"))
    assert all(repr(key) in message for key in KEYS)


def test_a_long_value_is_cut_in_the_message() -> None:
    features = [f"feature_{number}" for number in range(3000)]
    with pytest.raises(ConfigError) as caught:
        TrainConfig(features=(*features, "feature_7"))
    assert len(str(caught.value)) < 300


def test_numpy_numbers_are_accepted() -> None:
    config = TrainConfig(
        epochs=np.int64(3),  # type: ignore[arg-type]
        learning_rate=np.float32(0.5),  # type: ignore[arg-type]
        dropout=np.float64(0),
    )
    assert (config.epochs, config.learning_rate, config.dropout) == (3, 0.5, 0.0)
    json.dumps(config.to_dict())
    with pytest.raises(ConfigError, match="epochs"):
        TrainConfig(epochs=np.float64(3))  # type: ignore[arg-type]


def test_numpy_scalars_are_accepted_in_lists_and_tables() -> None:
    config = TrainConfig(
        hidden=[np.int64(8), np.int32(4)],  # type: ignore[arg-type]
        model_params={"units": np.int64(3), "rates": (np.float32(0.5), 1)},
        tensorboard=np.bool_(True),  # type: ignore[arg-type]
    )
    assert (config.hidden, config.tensorboard) == ((8, 4), True)
    assert config.model_params == {"units": 3, "rates": [0.5, 1]}
    assert TrainConfig(**json.loads(json.dumps(config.to_dict()))) == config


def nested(depth: int) -> list[object]:
    found: list[object] = []
    for _ in range(depth):
        found = [found]
    return found


def test_model_params_that_json_cannot_hold_are_refused() -> None:
    endless: dict[str, object] = {}
    endless["itself"] = endless
    for value in (nested(5000), endless, {1}, object(), math.inf, {1: 2}, b"x"):
        with pytest.raises(ConfigError, match="model_params: expected a table such as") as caught:
            TrainConfig(model_params={"value": value})
        assert len(str(caught.value)) < 200


def test_a_number_with_thousands_of_digits_is_refused_in_a_short_line() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(seed=10**5000, dropout=10**5000)
    assert str(caught.value) == (
        "dropout: expected a number from 0 to below 1, found a number of thousands of digits; "
        "seed: expected a whole number from 0 to 4294967295, found a number of thousands of digits"
    )


def test_a_number_beyond_float32_is_refused() -> None:
    assert TrainConfig(learning_rate=3e38).learning_rate == 3e38
    with pytest.raises(
        ConfigError, match=r"learning_rate: expected a number above 0, found 1e\+39"
    ):
        TrainConfig(learning_rate=1e39)


@pytest.mark.parametrize("key", ["features", "targets", "hidden", "callbacks", "validation_eras"])
def test_a_set_is_refused_as_a_list(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: expected .* found {{'a:b'}}"):
        TrainConfig(**{key: {"a:b"}})  # type: ignore[arg-type]


def test_a_misspelled_choice_is_refused_with_the_nearest_one() -> None:
    assert refusal(None, ["monitor=val_corr_meen"]).endswith("; did you mean 'val_corr_mean'?")
    assert refusal(None, ["loss=hubber"]).endswith(", found 'hubber'; did you mean 'huber'?")


def test_text_that_is_not_unicode_is_kept_unchanged() -> None:
    path = "runs/\udcff/model.keras"
    config = TrainConfig(model=path, features=(path,), model_params={path: path})
    assert (config.model, config.features, config.model_params) == (path, (path,), {path: path})


def test_a_configuration_can_be_copied_and_pickled() -> None:
    config = TrainConfig(hidden=(3,), model_params={"a": [1]})
    for other in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config), copy.copy(config)):
        assert other == config
        assert type(other) is TrainConfig


def test_the_dictionary_is_json_and_restores_the_configuration() -> None:
    config = TrainConfig.load(None, ["hidden=[32]", "targets=target_x_20", "validation_eras=3"])
    restored = json.loads(json.dumps(config.to_dict()))
    assert restored == config.to_dict()
    assert TrainConfig(**restored) == config
    assert config != TrainConfig()


def test_a_configuration_can_be_replaced_but_not_modified() -> None:
    config = TrainConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.epochs = 3  # type: ignore[misc]
    assert dataclasses.replace(config, epochs=3).epochs == 3
    with pytest.raises(ConfigError, match="epochs"):
        dataclasses.replace(config, epochs=0)


def test_a_config_error_is_ours_and_a_value_error() -> None:
    assert issubclass(ConfigError, MemmapTrainError)
    assert issubclass(ConfigError, ValueError)
