"""`train --help-config` shows each key with its default, its meaning and the allowed values."""

import io
import re
import sys
import tomllib

import pytest

from memmap_train.cli.commands import main
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.configuration.config_help import config_help, meanings_of_keys

DEFAULTS = TrainConfig().to_dict()


def entries() -> dict[str, str]:
    """Return the entry of each key, by its name."""
    parts = config_help().split("\n\n")[1:]
    return {part.partition(" = ")[0]: part for part in parts}


def test_every_key_is_shown_in_the_order_of_the_configuration() -> None:
    assert list(entries()) == list(DEFAULTS)


@pytest.mark.parametrize("key", DEFAULTS)
def test_a_key_is_shown_with_its_default_its_type_and_its_meaning(key: str) -> None:
    first, *rest = entries()[key].splitlines()
    text = " ".join(line.strip() for line in rest)
    assert "Expected: " in text
    assert text.startswith(meanings_of_keys()[key])
    if key == "fill_missing":
        assert first == "fill_missing = … (left out by default)"
    else:
        assert TrainConfig(**tomllib.loads(first)) == TrainConfig()


def test_the_defaults_that_are_shown_make_a_configuration_file() -> None:
    lines = [entry.splitlines()[0] for entry in entries().values()]
    shown = tomllib.loads("\n".join(line for line in lines if "…" not in line))
    assert DEFAULTS.keys() - shown.keys() == {"fill_missing"}
    assert TrainConfig(**shown) == TrainConfig()


def test_limits_and_choices_are_shown() -> None:
    assert "Expected: a number from 0 to below 1." in entries()["dropout"]
    assert 'Expected: "mse" or "mae" or "huber" or "pearson" or' in entries()["loss"]
    assert 'Expected: a whole number of 1 or more, or "auto".' in entries()["window_size"]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    assert max(map(len, config_help(width).splitlines())) <= width


def test_the_meanings_are_plain_text() -> None:
    for key, meaning in meanings_of_keys().items():
        assert re.fullmatch(r"[A-Z0-9].*\.", meaning), key
        assert "`" not in meaning


def test_the_option_needs_no_dataset_and_no_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        main(["train", "--help-config"])
    assert caught.value.code == 0
    assert capsys.readouterr() == (config_help(80) + "\n", "")


def test_a_closed_pipe_ends_the_option_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(SystemExit) as caught:
        main(["train", "--help-config"])
    assert caught.value.code == 0
