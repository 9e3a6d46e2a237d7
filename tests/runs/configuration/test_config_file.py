"""Tests of the text of a configuration: a file, and `--set`."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.errors import ConfigError
from memmap_train.runs.configuration.config import TrainConfig
from tests.support.configurations import KEYS, Write, refusal


def test_overrides_win_over_the_file_and_the_last_one_counts(write: Write) -> None:
    path = write("epochs = 5\nseed = 1\nbatch_size = 100")
    config = TrainConfig.load(path, ["seed=2", "epochs=6", "seed=3"])
    assert (config.epochs, config.seed, config.batch_size) == (6, 3, 100)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("features=medium", "features", "medium"),
        ('features="medium"', "features", "medium"),
        ('features=["a", "b"]', "features", ("a", "b")),
        ("targets=target_x_20", "targets", ("target_x_20",)),
        ("model=a=b", "model", "a=b"),
        (" epochs = 7 ", "epochs", 7),
        ("loss=numerai_corr", "loss", "numerai_corr"),
        ("loss=losses_2024.mine:squared", "loss", "losses_2024.mine:squared"),
        ("target_weights=[1, 0]", "target_weights", (1.0, 0.0)),
        ("learning_rate=1", "learning_rate", 1.0),
        ("learning_rate=3e-4", "learning_rate", 3e-4),
        ("hidden=[256]", "hidden", (256,)),
        ("deterministic=true", "deterministic", True),
        ("validation_eras=12", "validation_eras", 12),
        ("validation_eras=0.25", "validation_eras", 0.25),
        ("validation_eras=0575-0700", "validation_eras", "0575-0700"),
        ('validation_eras=["0003", "0575-0700"]', "validation_eras", ("0003", "0575-0700")),
        ("embargo_eras=0", "embargo_eras", 0),
        ("fill_missing=-1", "fill_missing", -1.0),
    ],
)
def test_an_override_is_a_toml_value_or_else_text(override: str, key: str, value: object) -> None:
    found = getattr(TrainConfig.load(None, [override]), key)
    assert found == value
    assert type(found) is type(value)
    assert found != getattr(TrainConfig(), key)


def test_one_parameter_of_a_model_is_set_and_the_others_stay(write: Write) -> None:
    path = write("[model_params]\nunits = 8\nname = 'a'")
    overrides = ["model_params.units=16", "model_params.deep={x = [1, 2]}"]
    config = TrainConfig.load(path, overrides)
    assert config.model_params == {"units": 16, "name": "a", "deep": {"x": [1, 2]}}
    assert TrainConfig.load(None, ["model_params={a = 1}", "model_params.b=c"]).model_params == {
        "a": 1,
        "b": "c",
    }
    assert TrainConfig.load(path).model_params == {"units": 8, "name": "a"}
    assert "unknown key 'hidden.x'" in refusal(None, ["hidden.x=3"])
    assert "--set: model_params: expected a table" in refusal(None, ["model_params=3"])


@pytest.mark.parametrize(
    "key", ["validation_eras", "window_size", "pool_batches", "memory", "deterministic"]
)
def test_auto_resets_a_value_of_the_file(key: str, write: Write) -> None:
    path = write(f"{key} = {'true' if key == 'deterministic' else 5}")
    assert getattr(TrainConfig.load(path), key) is not None
    assert getattr(TrainConfig.load(path, [f"{key}=auto"]), key) is None
    assert getattr(TrainConfig.load(path, [f'{key}="auto"']), key) is None


def test_a_large_file_is_refused_as_a_configuration(write: Write) -> None:
    assert "at most 1,000,000 bytes" in refusal(write("#" * 1_000_001))
    assert TrainConfig.load(write("#" * 1_000_000)) == TrainConfig()


def test_dates_are_labels_of_eras_in_quotes_and_on_the_command_line(write: Write) -> None:
    for value in ("2024-01-05", "[2024-01-05, 2024-01-12]", "2024-01-05T12:30:00"):
        assert "write dates in quotes" in refusal(write(f"validation_eras = {value}"))
    assert "write dates in quotes" not in refusal(write("validation_eras = true"))
    for value in ("2024-01-05", "2024-01-05T12:30:00", "2024-01-05 - 2024-02-02"):
        for config in (
            TrainConfig.load(write(f'validation_eras = "{value}"')),
            TrainConfig.load(None, [f"validation_eras={value}"]),
        ):
            assert config.validation_eras == value


def test_all_faults_are_reported_in_one_error_with_their_sources(write: Write) -> None:
    path = write('epoch = 3\nbatch_size = 0\nloss = "corr"')
    message = refusal(path, ["dropout=1", "sed=4"])
    assert message.split("; ") == [
        f"{path}: unknown key 'epoch'",
        "did you mean 'epochs'?",
        f'{path}: batch_size: expected a whole number of 1 or more, or "auto", found 0',
        f'{path}: loss: expected "mse" or "mae" or "huber" or "pearson" or "numerai_corr", or the '
        "name of a function such as \"my_module:my_loss\", found 'corr'",
        "--set: dropout: expected a number from 0 to below 1, found 1",
        "--set: unknown key 'sed'",
        "did you mean 'seed'?",
    ]


def test_a_fault_in_the_file_is_reported_even_if_an_override_hides_it(write: Write) -> None:
    assert "batch_size" in refusal(write("batch_size = 0"), ["batch_size=10"])


def test_a_nested_table_is_refused_as_such(write: Write) -> None:
    message = refusal(write("[train]\nepochs = 3"))
    assert "'train' is a table" in message
    assert "flat" in message
    assert "unknown" not in message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("epochs = 3\nfeatures = medium\n", "line 2"),
        ("epochs = 3\n\nepochs = 4\n", "line 3"),
        ("epochs 3\n", "line 1"),
        ("seed = 007\n", "line 1"),
    ],
)
def test_a_syntax_error_is_reported_in_one_line_with_file_and_line(
    text: str, line: str, write: Write
) -> None:
    path = write(text)
    message = refusal(path)
    assert message.startswith(f"{path}: not TOML: ")
    assert line in message


@pytest.mark.parametrize("content", [b"\xff\xfe", b"epochs = " + b"9" * 5000, b"epochs ="])
def test_a_binary_file_is_refused_in_one_line(content: bytes, write: Write) -> None:
    path = write(content)
    assert refusal(path).startswith(f"{path}: not TOML: ")


def test_a_file_with_a_byte_order_mark_is_read(write: Write) -> None:
    assert TrainConfig.load(write(b"\xef\xbb\xbfepochs = 3\n")).epochs == 3


def test_endlessly_nested_lists_are_refused_in_one_line(write: Write) -> None:
    endless = "[" * 100_000
    assert "not TOML" in refusal(write(f"hidden = {endless}"))
    assert "hidden" in refusal(None, [f"hidden={endless}"])


def test_a_missing_file_is_reported_in_one_line_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.toml"
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert "No such file" in message


def test_a_folder_in_place_of_the_file_is_reported_in_one_line_with_its_path(
    tmp_path: Path,
) -> None:
    assert refusal(tmp_path).startswith(f"{tmp_path}: ")


def test_overrides_without_a_key_or_a_value_are_refused_together() -> None:
    message = refusal(None, ["epochs", "seed=1", "=3"])
    assert "'epochs', '=3'" in message
    assert "seed" not in message
    assert "key=value" in message


def test_an_override_with_a_line_break_does_not_set_a_second_key() -> None:
    message = refusal(None, ["epochs=1\nseed = 5"])
    assert message.startswith("--set: epochs: expected")


@given(
    key=st.sampled_from(KEYS),
    text=st.text(max_size=20) | st.integers().map(str) | st.floats().map(str),
)
def test_any_text_as_an_override_is_accepted_or_refused_in_one_line(key: str, text: str) -> None:
    override = f"{key}={text}"
    try:
        config = TrainConfig.load(None, [override])
    except ConfigError:
        message = refusal(None, [override])
        assert message.startswith(f"--set: {key}: expected ") or "is a table" in message
        assert len(message.splitlines()) == 1
    else:
        assert TrainConfig(**json.loads(json.dumps(config.to_dict()))) == config
