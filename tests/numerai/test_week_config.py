"""Tests of a week's configuration: what is accepted, and what is refused in one line."""

from pathlib import Path

import pytest

from memmap_train.errors import ConfigError
from memmap_train.numerai.week.config import read_config
from tests.support.errors import refused

HEAD = 'version = "v5.3"\n'
MODEL = '[[models]]\nname = "first"\nruns = ["runs/one"]\n'


def read(tmp_path: Path, text: str) -> object:
    (tmp_path / "week.toml").write_text(text)
    return read_config(tmp_path / "week.toml")


def test_paths_start_at_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/of-test")
    monkeypatch.chdir(tmp_path)
    text = HEAD + 'dataset = "/elsewhere"\nfolder = "~/week"\n' + MODEL
    (tmp_path / "week.toml").write_text(text)
    found = read_config(Path("week.toml"))
    assert found.data == str(tmp_path / "data")
    assert found.dataset == "/elsewhere"
    assert found.folder == "/home/of-test/week"
    assert found.models[0].runs == (str(tmp_path / "runs" / "one"),)


def test_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    (tmp_path / "week.toml").write_text(HEAD + MODEL)
    found = read_config(tmp_path / "week.toml")
    assert (found.dataset, found.dtype, found.missing, found.wait_minutes) == (
        None,
        "int8",
        None,
        90.0,
    )
    assert found.of_kind("predictions") == found.models
    assert found.of_kind("model") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MODEL, "version: expected text, found none"),
        (HEAD, "expected at least one table [[models]]"),
        ('models = []\nversion = "v5.3"', "expected at least one table [[models]]"),
        ('models = ["first"]\nversion = "v5.3"', "expected tables, each under the line [[models]]"),
        (HEAD + "[models]\nname = 'first'", "expected at least one table [[models]]"),
        (HEAD + "wait_minute = 5\n" + MODEL, "'wait_minute'; did you mean 'wait_minutes'?"),
        (HEAD + "zzz = 5\n" + MODEL, "unknown key 'zzz'; the keys are 'version', 'data', "),
        (HEAD + "wait_minutes = -1\n" + MODEL, "wait_minutes: expected a number from 0 to 1440"),
        (HEAD + 'wait_minutes = "5"\n' + MODEL, "wait_minutes: expected a number from 0 to 1440"),
        (HEAD + "wait_minutes = nan\n" + MODEL, "wait_minutes: expected"),
        (HEAD + 'dtype = "int16"\n' + MODEL, "found 'int16'; did you mean 'int8'?"),
        (HEAD + 'data = ""\n' + MODEL, "data: expected text, found ''"),
        (HEAD + "targets = []\n" + MODEL, 'targets: expected a list of different names such as ["'),
        (HEAD + MODEL + 'run = "x"', "models, number 1: unknown key 'run'; did you mean 'runs'?"),
        (HEAD + MODEL + "proportion = 2", "proportion: expected a number from 0 to 1, found 2"),
        (HEAD + MODEL + "proportion = 0.5", "proportion counts only with neutralize"),
        (HEAD + MODEL + 'python = "3.12"', 'python counts only with upload = "model"'),
        (HEAD + MODEL + 'upload = "modle"', "found 'modle'; did you mean 'model'?"),
        (HEAD + MODEL + MODEL, "expected models of different names, found 'first' twice"),
        (HEAD + '[[models]]\nname = "a"', "runs: expected a list of different folders such as ["),
        (HEAD + '[[models]]\nname = "a/b"\nruns = ["r"]', "name: expected a name of letters, "),
        (HEAD + '[[models]]\nname = "a"\nruns = "r"', "runs: expected a list of different"),
        (HEAD + '[[models]]\nname = "a"\nruns = ["r", "r"]', "runs: expected a list of different"),
        (HEAD + 'missing = "nan"\n' + MODEL, 'missing: "nan" needs dtype = "float32"'),
        ("version = ", "not TOML"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with refused(ConfigError, "week.toml: ", said):
        read(tmp_path, text)


def test_all_faults_are_named_together(tmp_path: Path) -> None:
    with refused(ConfigError, "unknown key 'x'", "dtype: ", "number 1: ", "number 2: "):
        read(tmp_path, HEAD + 'x = 1\ndtype = "int4"\n[[models]]\n[[models]]\nname = "b"')


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with refused(ConfigError, "can't be read: No such file"):
        read_config(tmp_path / "week.toml")
