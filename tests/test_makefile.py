"""Tests of what `make` types, and of the environment that it builds with incomplete Pythons.

Nothing is installed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A Python whose environments get no pip of their own: what it is called with is written down.
PYTHON = """#!/bin/sh
echo "$*" >> "{calls}"
case "$*" in
"-m venv"*) exec "{python}" "$@" ;;
"-m pip --python"*) {pip} ;;
*) exec "{python}" "$@" ;;
esac
"""
# What takes the place of an environment's Python then: one without ensurepip.
WITHOUT_ENSUREPIP = """#!/bin/sh
case "$*" in
*ensurepip*) echo "No module named ensurepip" >&2; exit 1 ;;
"-m pip --version") test -e "{installed}" ;;
esac
"""

# What takes the place of memmap-train: it writes down what it is called with, and writes a sample.
TOOL = """#!/bin/sh
echo "$*" >> calls
case "$*" in "sample data/sample"*) mkdir -p data/sample; cd data/sample; touch {files} ;; esac
"""
BENCHMARKS = (
    "train_benchmark_models.parquet",
    "validation_benchmark_models.parquet",
    "meta_model.parquet",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    # Of the one that runs these tests.
    of_make = ("PYTHON", "ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in of_make}
    return subprocess.run(
        ["make", *arguments], cwd=folder, capture_output=True, text=True, env=environment
    )


def python_without_ensurepip(folder: Path, pip: str) -> Path:
    """Return a Python without ensurepip, whose `-m pip` is a shell script."""
    python, inner = folder / "python", folder / ".venv" / "bin" / "python"
    python.write_text(PYTHON.format(calls=folder / "calls", python=sys.executable, pip=pip))
    python.chmod(0o755)
    assert make(folder, ".venv/bin/python", f"PYTHON={python}").returncode == 0
    inner.unlink()
    inner.write_text(WITHOUT_ENSUREPIP.format(installed=folder / "installed"))
    inner.chmod(0o755)
    return python


def test_an_environment_gets_a_pip_by_itself(folder: Path) -> None:
    pytest.importorskip("ensurepip")
    done = make(folder, ".venv/pip", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    pip = [str(folder / ".venv" / "bin" / "python"), "-m", "pip", "--version"]
    assert subprocess.run(pip, capture_output=True).returncode == 0
    assert "up to date" in make(folder, ".venv/pip", f"PYTHON={sys.executable}").stdout


def test_without_ensurepip_the_pip_of_the_system_installs_one(folder: Path) -> None:
    python = python_without_ensurepip(folder, f'touch "{folder / "installed"}"')
    done = make(folder, ".venv/pip", f"PYTHON={python}")
    assert done.returncode == 0, done.stderr
    assert (folder / ".venv" / "pip").exists()
    assert "-m pip --python .venv/bin/python install" in (folder / "calls").read_text()


def test_without_any_pip_the_error_says_what_is_missing_and_a_rerun_tries_again(
    folder: Path,
) -> None:
    python = python_without_ensurepip(folder, 'echo "no such option: --python" >&2; exit 2')
    for _ in range(2):
        done = make(folder, ".venv/pip", f"PYTHON={python}")
        assert done.returncode == 2
        (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert "apt install python3-venv" in error
        assert "pip 22.3 or newer" in error
    python_without_ensurepip(folder, f'touch "{folder / "installed"}"')
    assert make(folder, ".venv/pip", f"PYTHON={python}").returncode == 0


def test_an_environment_whose_python_is_gone_is_rebuilt(folder: Path) -> None:
    bin_folder = folder / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    (folder / ".venv" / "pip").touch()
    for name in ("python", "python3"):
        (bin_folder / name).symlink_to("/no/such/python")
    done = make(folder, ".venv/bin/python", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    assert subprocess.run([bin_folder / "python", "-c", ""]).returncode == 0
    # What was installed into the old one is installed again.
    assert "-m pip install" in make(folder, "-n", "install", f"PYTHON={sys.executable}").stdout


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "no such program"),
        ("exit 127", "expected Python 3.11 or newer, found"),
        ('[ "$1" != --version ] && exit 1; echo Python 3.9.18', "found Python 3.9.18"),
    ],
)
def test_an_unsuitable_python_is_reported_in_one_line(
    folder: Path, script: str | None, said: str
) -> None:
    python = folder / "python"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    done = make(folder, "install", f"PYTHON={python}")
    assert done.returncode == 2
    error, ending = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert said in error
    assert error.endswith("name one: make PYTHON=python3.12")
    assert ending.startswith("make: ***")
    assert not (folder / ".venv").exists()


@pytest.fixture
def installed(folder: Path) -> Path:
    """Return a folder in which `make` finds everything installed; `calls` is what it called."""
    bin_folder = folder / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    for path in (bin_folder / "python", folder / ".venv" / "pip", folder / ".venv" / "installed"):
        path.touch()
    (bin_folder / "python").chmod(0o755)
    tool = bin_folder / "memmap-train"
    files = ("train.parquet", "validation.parquet", "features.json", *BENCHMARKS)
    tool.write_text(TOOL.format(files=" ".join(files)))
    tool.chmod(0o755)
    return folder


def calls(folder: Path, *arguments: str) -> list[str]:
    """Return what a `make` calls the tool with."""
    (folder / "calls").unlink(missing_ok=True)
    done = make(folder, *arguments)
    assert done.returncode == 0, done.stderr
    return (folder / "calls").read_text().splitlines()


def benchmarks_in(call: str) -> list[str]:
    """Return the files after `--benchmarks`."""
    words = call.split()
    if "--benchmarks" not in words:
        return []
    after = words[words.index("--benchmarks") + 1 :]
    return after[: next((i for i, word in enumerate(after) if word.startswith("-")), len(after))]


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


@pytest.mark.parametrize("target", ["convert", "train"])
def test_a_sample_is_written_and_converted_with_its_benchmark_files(
    installed: Path, target: str
) -> None:
    sample, convert, *training = calls(installed, target)
    assert sample == "sample data/sample"
    assert benchmarks_in(convert) == [f"data/sample/{name}" for name in BENCHMARKS]
    expected = ["train data/sample/shards --run runs/sample --resume"]
    assert training == (expected if target == "train" else [])
    assert calls(installed, target)[0] == convert  # nothing is written again


def test_an_older_sample_is_converted_without_benchmarks_and_the_way_to_them_is_said(
    installed: Path,
) -> None:
    touch(installed / "data" / "sample", "train.parquet", "validation.parquet", "features.json")
    done = make(installed, "train")
    assert done.returncode == 0
    convert, training = (installed / "calls").read_text().splitlines()
    assert (benchmarks_in(convert), training.split()[0]) == ([], "train")
    assert "data/sample has no benchmark files: make sample" in done.stderr
    assert calls(installed, "sample") == ["sample data/sample"]
    done = make(installed, "train")
    assert len(benchmarks_in((installed / "calls").read_text().splitlines()[1])) == 3
    assert "no benchmark files" not in done.stderr


@pytest.mark.parametrize("there", [(), BENCHMARKS[2:], BENCHMARKS[:2], BENCHMARKS])
def test_own_data_are_converted_with_the_benchmark_files_that_are_there(
    installed: Path, there: tuple[str, ...]
) -> None:
    others = ("live.parquet", "live_benchmark_models.parquet", "features.json")
    touch(installed / "data", "train.parquet", "validation.parquet", *others, *there)
    for target in ("convert", "train"):
        convert = calls(installed, target)[0]
        assert convert.startswith("convert data/train.parquet data/validation.parquet --out ")
        assert benchmarks_in(convert) == [f"data/{name}" for name in there]
    assert "no benchmark files" not in make(installed, "convert").stderr


def test_benchmark_files_elsewhere_are_named_with_a_variable(installed: Path) -> None:
    touch(installed / "data", "train.parquet", *BENCHMARKS)
    (call,) = calls(installed, "convert", "BENCHMARKS=v5/a.parquet v5/b.parquet")
    assert benchmarks_in(call) == ["v5/a.parquet", "v5/b.parquet"]
    assert benchmarks_in(*calls(installed, "convert", "BENCHMARKS=")) == []
    assert benchmarks_in(*calls(installed, "convert", "SOURCE=v5/train.parquet")) == []


def test_the_scores_and_the_page_are_those_of_the_run_that_was_trained(installed: Path) -> None:
    assert calls(installed, "evaluate") == ["evaluate runs/sample data/sample/shards"]
    assert calls(installed, "report") == [
        "report runs/sample data/sample/shards --out runs/sample/report.html"
    ]
    touch(installed / "data", "train.parquet")
    assert calls(installed, "evaluate", "TARGET=a b", "ARGS=--json") == [
        "evaluate runs/first data/shards --target a --target b --json"
    ]
    assert calls(installed, "report", "RUN=runs/second", "DATASET=d") == [
        "report runs/second d --out runs/second/report.html"
    ]


def test_help_lists_every_target_that_a_user_types(folder: Path) -> None:
    listed = [line.split()[1] for line in make(folder, "help").stdout.splitlines()]
    assert {"sample", "convert", "train", "evaluate", "report"} <= set(listed)
    phony = (folder / "Makefile").read_text().partition(".PHONY: help ")[2].split("\n")[0]
    assert set(listed) == {"help", *phony.split()}
