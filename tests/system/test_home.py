"""Tests of a leading ~, which stands for the home folder wherever a user gives a path."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.conversion.preview import preview_sources
from memmap_train.errors import PathError
from memmap_train.system.paths import user_path
from tests.support.errors import refused

pytest_plugins = ["tests.support.training_fixtures"]


@pytest.fixture
def home(sample_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder with a sample; the current folder is another one."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    shutil.copytree(sample_files, home / "sample")
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(home))
    return home


def test_a_tilde_is_expanded_in_every_command(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "first.toml").write_text(
        "batch_size = 64\nepochs = 1\nvalidation_eras = 4\nhidden = []"
    )
    (home / "second.toml").write_text('model = "~/run/model.keras"\nbatch_size = 64\nepochs = 1')
    sources = "~/sample/train.parquet ~/sample/validation.parquet"
    for command in (
        "sample ~/other --eras 10 --rows-per-era 20 --features 5",
        f"plan {sources} --features-json=~/sample/features.json",
        f"convert {sources} --out=~/shards --features-json=~/sample/features.json",
        "convert ~/shards --out=~/subset --feature-set small",
        "inspect ~/shards",
        "verify ~/shards",
        "status ~/shards",
        "warm ~/shards",
        "train ~/shards --run=~/run --config=~/first.toml --quiet",
        "train ~/shards --run=~/further --config=~/second.toml --set allow_overlap=true --quiet",
        "train ~/shards --run=~/run --resume --quiet",
        "train ~/shards --run=~/folds --folds 2 --config=~/first.toml "
        "--set validation_eras=auto --dry-run",
        "runs ~/ ~/run",
        "predict ~/run ~/shards --out=~/out.csv",
    ):
        assert main(command.split()) == 0, capsys.readouterr().err
    assert not list(Path.cwd().iterdir())
    made = {"other", "shards", "subset", "run", "further", "out.csv"}
    assert made <= {path.name for path in home.iterdir()}


def test_a_tilde_is_expanded_for_python_callers(home: Path) -> None:
    report = mt.convert(["~/sample/train.parquet"], "~/shards", workers=1)
    assert report.dataset.path == home / "shards"
    mt.convert("~/shards", "~/subset", features_json="~/sample/features.json", feature_set="small")
    assert mt.open_dataset("~/subset").path == home / "subset"
    assert list(mt.verify(Path("~/shards"))) == []
    assert preview_sources(["~/sample/train.parquet"]).n_rows == report.n_rows
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    "use",
    [
        lambda path: mt.convert("train.parquet", path),
        lambda path: mt.convert(path, "shards"),
        lambda path: mt.open_dataset(path),
        lambda path: list(mt.verify(path)),
    ],
)
def test_the_home_folder_of_an_unknown_user_is_refused(
    use: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with refused(PathError, "~no-such-user/x", "home folder of the user 'no-such-user'"):
        use("~no-such-user/x")
    assert not list(tmp_path.iterdir())


def test_without_a_home_folder_only_paths_with_a_tilde_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a number without a user's name
    with refused(PathError, "~/x: the home folder of this user"):
        user_path("~/x")
    assert user_path("data/~x") == Path("data/~x")


def test_a_folder_whose_name_is_a_tilde_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert user_path("./~/x") == user_path(user_path("./~/x")) == tmp_path / "~" / "x"
    assert user_path(b"shards") == Path("shards")  # type: ignore[arg-type]
