"""The parameters of built-in models: defaults, and what is said of wrong ones."""

from typing import Any

import numpy as np
import pytest

from memmap_train.errors import ConfigError
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.configuration.model_params import built_in_params
from tests.support.errors import refused


def test_what_isnt_given_has_its_default() -> None:
    assert built_in_params("tabm", {}) == {"k": 16}
    assert built_in_params("tabm", {"k": np.int64(4)}) == {"k": 4}
    params = built_in_params("autoencoder", {"noise": 1})
    assert params["noise"] == 1.0
    assert params.keys() == {"bottleneck", "noise", "reconstruction_weight", "target_weight"}
    assert built_in_params("mlp", {}) == {}
    assert built_in_params("autoencoder", params) == params


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        ("tabm", {"k": 0}, ["model_params.k: expected a whole number of 1 or more, found 0"]),
        ("tabm", {"k": 2.0}, ["model_params.k: expected a whole number of 1 or more, found 2.0"]),
        ("tabm", {"members": 2}, ["model_params: 'tabm' has no 'members'; it has 'k'"]),
        ("autoencoder", {"nose": 1}, ["has no 'nose'; did you mean 'noise'?"]),
        ("autoencoder", {"noise": -1, "k": 1}, ["noise: expected a number of 0 or more", "'k'"]),
        ("autoencoder", {"target_weight": float("nan")}, ["target_weight: expected", "nan"]),
        ("mlp", {"k": 2}, ["model_params: 'mlp' has no 'k'"]),
        ("linear", {"x": {"y": 1}}, ["model_params: 'linear' has no 'x'"]),
    ],
)
def test_wrong_parameters_are_named_in_one_line(
    model: str, given: dict[str, Any], said: list[str]
) -> None:
    with refused(ConfigError, *said):
        built_in_params(model, given)


def test_a_file_may_set_one_of_them() -> None:
    config = TrainConfig.load(None, ["model=tabm", "model_params.k=8"])
    assert built_in_params(config.model, config.model_params) == {"k": 8}
