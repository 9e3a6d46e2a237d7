"""Keys that have no effect on a model."""

from typing import Any

import pytest

from memmap_train.errors import ConfigError
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.configuration.unused_keys import (
    check_used,
    identity_of_training,
    with_used_keys,
)
from tests.support.errors import refused


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [
        ("tabm", "normalization", "batch"),
        ("resnet", "normalization", "layer"),
        ("linear", "additive", "linear"),
        ("autoencoder", "additive", "pairs"),
    ],
)
def test_a_key_without_an_effect_is_refused(model: str, key: str, value: str) -> None:
    config = TrainConfig(model=model, **{key: value})  # type: ignore[arg-type]
    with refused(ConfigError, f"{key}: expected 'none', found '{value}'", f"model = '{model}'"):
        check_used(config)
    check_used(with_used_keys(config))
    assert with_used_keys(config) == TrainConfig(model=model)


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("mlp", {"normalization": "batch", "additive": "pairs"}),
        ("autoencoder", {"normalization": "layer", "additive": "none"}),
        ("tabm", {"additive": "quadratic"}),
        ("ridge", {"normalization": "batch", "additive": "linear"}),
        ("mine:net", {"normalization": "batch"}),
        ("runs/own/model.keras", {"additive": "linear"}),  # which it was built by
    ],
)
def test_keys_that_have_an_effect_or_say_none_are_no_errors(
    model: str, changes: dict[str, Any]
) -> None:
    config = TrainConfig(model=model, **changes)
    check_used(config)
    assert with_used_keys(config) == config


def test_trainings_are_equal_where_keys_without_an_effect_differ() -> None:
    def are_equal(model: str, **changes: Any) -> bool:
        first, second = TrainConfig(model=model), TrainConfig(model=model, **changes)
        return identity_of_training(first) == identity_of_training(second)

    for key, value in {"seed": 1, "dropout": 0.1, "epochs": 9, "batch_size": 64}.items():
        assert are_equal("ridge", **{key: value})
        assert are_equal("linear", **{key: value}) == (key == "dropout")
        assert not are_equal("mlp", **{key: value})
    assert are_equal("tabm", additive="none")
    for key, other in {"features": "small", "era_weights": "equal", "fill_missing": 0.5}.items():
        assert not are_equal("ridge", **{key: other})
    assert not are_equal("ridge", model_params={"strength": 2})
