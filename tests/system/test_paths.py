"""Tests of unusual paths: each command accepts them, or refuses them in one line."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.errors import ManifestError, SourceError
from memmap_train.runs.run import read_run
from memmap_train.system.paths import PACKAGE_DIR, checked_path
from tests.support.errors import refused
from tests.support.permissions import permissions_count

pytest_plugins = ["tests.support.training_fixtures"]

NOT_UTF8 = os.fsdecode(b"caf\xe9\xff")
BAD = {
    "not UTF-8": NOT_UTF8,
    "long": "x" * 300,
    "below a long one": "x" * 300 + "/in",
    "long in all": "/".join(["d" * 200] * 25),
    "a loop": "loop",
    "in a loop": "loop/in",
    "in a file": "file/in",
    "in a folder that isn't there": "nothing/in",
    "NUL": "a\0b",
    "two lines": "a\nb",
    "closed": "closed",
    "in a closed folder": "closed/in",
}
TRAIN = ["train", "good", "--run", "new", "--set", "epochs=1", "--set", "batch_size=64"]
COMMANDS = [
    ["sample", "BAD", "--eras", "5", "--rows-per-era", "20", "--features", "5"],
    ["plan", "BAD"],
    ["plan", "toy.parquet", "--features-json", "BAD"],
    ["convert", "BAD", "--out", "new"],
    ["convert", "toy.parquet", "--out", "BAD"],
    ["convert", "toy.parquet", "--out", "BAD", "--overwrite"],
    ["convert", "good", "--out", "BAD", "--target", "target"],
    ["inspect", "BAD"],
    ["verify", "BAD"],
    ["status", "BAD"],
    ["warm", "BAD"],
    ["bench", "BAD"],
    ["train", "BAD", "--run", "new"],
    ["train", "good", "--run", "BAD", "--dry-run", "--set", "batch_size=64"],
    ["train", "good", "--run", "BAD", "--resume", "--dry-run", "--set", "model=ridge"],
    ["train", "good", "--run", "BAD", "--folds", "2", "--dry-run", "--set", "model=ridge"],
    [*TRAIN, "--config", "BAD"],
    [*TRAIN, "--set", "model=BAD.keras"],
    ["runs", "BAD"],
    ["predict", "BAD", "good", "--out", "new.csv"],
    ["predict", "run", "BAD", "--out", "new.csv"],
    ["predict", "run", "good", "--out", "BAD"],
    ["predict", "run", "good", "--out", "BAD.csv"],
]


def test_the_package_lies_where_its_modules_say() -> None:
    assert Path(mt.__file__).parent == PACKAGE_DIR


@pytest.fixture(scope="module")
def run(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trained run."""
    path = tmp_path_factory.mktemp("run") / "run"
    settings = ["epochs=1", "hidden=[4]", "batch_size=64", "validation_eras=4"]
    options = [word for setting in settings for word in ("--set", setting)]
    assert main(["train", str(sample), "--run", str(path), "--quiet", *options]) == 0
    return path


@pytest.fixture
def home(
    tmp_path: Path, sample_files: Path, sample: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Change to a folder with sources, a dataset, a run, and paths that lead nowhere."""
    monkeypatch.chdir(tmp_path)
    for name in ("train.parquet", "features.json"):
        shutil.copy(sample_files / name, name)
    os.rename("train.parquet", "toy.parquet")
    shutil.copytree(sample, "good")
    shutil.copytree(run, "run")
    Path("file").write_text("mine")
    Path("loop").symlink_to("loop")
    Path("closed").mkdir()
    Path("closed").chmod(0)
    yield tmp_path
    Path("closed").chmod(0o700)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_takes_a_path_or_refuses_it_in_one_line(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    n_refused = 0
    for bad in BAD.values():
        with permissions_count():
            code = main([word.replace("BAD", bad) for word in command])
        error = capsys.readouterr().err
        lines = [line for line in error.splitlines() if line.startswith("error: ")]
        if code == 0:
            assert lines == []
        else:
            assert code == 1
            assert len(lines) == 1
            assert len(lines[0]) < 1000 or len(bad) > 1000
            n_refused += 1
        assert "Traceback" not in error
    assert n_refused >= 6
    assert Path("file").read_text() == "mine"
    assert not Path("new").exists()
    assert mt.verify("good") == []


def test_the_error_says_what_is_wrong_with_a_path(home: Path) -> None:
    for path, said in (
        ("x" * 300, "too long for a name"),
        ("loop/in", "Too many levels of symbolic links"),
        ("a\0b", "NUL"),
    ):
        with refused(ManifestError, path[:3].replace("\0", "\\x00")[:3], said):
            mt.open_dataset(path)
    with permissions_count():
        for path in ("closed", "closed/in"):
            with refused(ManifestError, path, "Permission denied"):
                mt.open_dataset(path)
        with refused(SourceError, "closed", "Permission denied"):
            mt.convert("closed", "new")
    for path in ("good", "nothing", "file/in"):
        assert checked_path(path, ManifestError) == Path(path)


def test_a_dataset_and_a_run_in_folders_whose_names_arent_utf8_work(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkdir(NOT_UTF8)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # pictures are tested elsewhere
    # pytest's workers can't send records with such names.
    monkeypatch.setattr(logging.getLogger("memmap_train"), "propagate", False)
    dataset, run = f"{NOT_UTF8}/dataset", f"{NOT_UTF8}/run"
    options = ["--set", "hidden=[4]", "--set", "batch_size=64", "--set", "schedule=constant"]
    for command in (
        ["convert", "toy.parquet", "--out", dataset, "--dtype", "int8"],
        ["convert", "toy.parquet", "--out", dataset, "--dtype", "int8"],
        ["convert", dataset, "--out", f"{NOT_UTF8}/subset", "--target", "target"],
        ["inspect", dataset],
        ["inspect", dataset, "--json"],
        ["inspect", dataset, "--era", "0001"],
        ["verify", dataset],
        ["status", dataset],
        ["warm", dataset],
        [
            "train",
            dataset,
            "--run",
            run,
            *options,
            "--set",
            "epochs=1",
            "--set",
            "tensorboard=true",
        ],
        ["train", dataset, "--run", run, *options, "--set", "epochs=2", "--resume"],
        ["train", dataset, "--run", f"{run}s", *options, "--set", "epochs=1", "--folds", "2"],
        ["train", dataset, "--run", f"{run}s", "--folds", "2", "--resume"],
        ["runs", NOT_UTF8],
        ["predict", run, dataset, "--out", f"{NOT_UTF8}/predictions.csv"],
        ["predict", run, f"{run}s", dataset, "--out", f"{NOT_UTF8}/predictions.csv"],
    ):
        code = main(command)
        assert (code, capsys.readouterr().err.partition("error: ")[2]) == (0, ""), command
    assert list(Path(run, "tensorboard").iterdir())
    assert read_run(Path(run)).record.dataset == str(Path(dataset).resolve())
    assert json.loads((Path(run) / "config.json").read_text(encoding="utf-8"))
    assert np.loadtxt(f"{NOT_UTF8}/predictions.csv", str, delimiter=",").shape[0] > 100


def test_a_sample_can_be_written_where_the_folders_name_isnt_utf8(home: Path) -> None:
    assert main(["sample", NOT_UTF8, "--eras", "5", "--rows-per-era", "20", "--features", "5"]) == 0
    assert "validation.parquet" in os.listdir(NOT_UTF8)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "cp1252"])
def test_names_are_printed_in_any_encoding(home: Path, encoding: str) -> None:
    os.rename("good", NOT_UTF8)
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0"}
    commands: tuple[list[str | bytes], ...] = (
        ["inspect", os.fsencode(NOT_UTF8)],
        ["inspect", os.fsencode(NOT_UTF8), "--json"],
        ["inspect", os.fsencode(NOT_UTF8) + b"\xc3\xa9"],
    )
    for arguments in commands:
        command = [sys.executable, "-m", "memmap_train", *arguments]
        ended = subprocess.run(command, env=environment, capture_output=True, check=False)
        if os.fsencode(arguments[1]).endswith(b"\xa9"):
            assert ended.returncode == 1
            assert re.fullmatch(rb"error: caf\\udce9\\udcff.+\n", ended.stderr)
        else:
            assert (ended.returncode, ended.stderr) == (0, b"")
            assert b"caf\\udce9\\udcff" in ended.stdout
        if "--json" in arguments:
            assert json.loads(ended.stdout.decode(encoding))["path"] == NOT_UTF8
