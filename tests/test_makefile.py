"""Tests of the environment that `make` builds with incomplete Pythons. Nothing is installed."""

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    of_make = ("PYTHON", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")  # of the one that runs these tests
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
