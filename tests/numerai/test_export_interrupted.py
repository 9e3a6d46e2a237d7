"""An export that is stopped, killed, or out of space leaves no upload, or the one before."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import memmap_train as mt
from memmap_train.errors import ExportError, RunError
from memmap_train.numerai.export import export as export_module
from memmap_train.numerai.export import trial
from tests.support.errors import refused
from tests.support.files import files_limited_to
from tests.support.live_parity import with_dataset

pytest_plugins = ["tests.support.training_fixtures"]


@pytest.fixture
def run(sample: Path, tmp_path: Path) -> Path:
    features = list(mt.open_dataset(sample).feature_names)
    return with_dataset(tmp_path / "run", features, sample)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("program", ["pickling.py", "trial.py"])
def test_an_export_that_is_stopped_leaves_nothing(
    program: str, run: Path, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., Any] = subprocess.Popen.communicate
    started: list[Any] = []

    def stopped(process: Any, *arguments: Any, **options: Any) -> Any:
        if any(program in str(text) for text in process.args):
            started.append(process)
            raise KeyboardInterrupt
        return original(process, *arguments, **options)

    monkeypatch.setattr(subprocess.Popen, "communicate", stopped)
    with pytest.raises(KeyboardInterrupt):
        mt.export(run, tmp_path / "m.pkl")
    assert started[0].poll() == -signal.SIGKILL
    assert os.listdir(temporary) == []
    assert sorted(os.listdir(tmp_path)) == ["run", "temporary"]


def test_a_trial_ends_with_the_process_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text('{"memory_bytes": 4000000000, "blocked": []}')
    program = Path(trial.__file__).parent / "processes" / "trial.py"
    code = f"""
import importlib.util, sys, threading
sys.argv = ["trial.py", {str(tmp_path / "order.json")!r}]
spec = importlib.util.spec_from_file_location("trial", {str(program)!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module._tried = lambda order: (print("trying", flush=True), threading.Event().wait())
module.main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"trying\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(30) == 1
    finally:
        process.kill()
        process.stdout.close()


def test_a_full_disk_is_one_line_and_leaves_the_upload_before(
    run: Path, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.pkl").write_text("before")
    with (
        files_limited_to(20_000),
        refused(ExportError, "the models can't be pickled", "File too large"),
    ):
        mt.export(run, tmp_path / "m.pkl")
    original = export_module._move

    def limited(pickled: Path, out: Path) -> None:
        with files_limited_to(20_000):
            original(pickled, out)

    monkeypatch.setattr(export_module, "_move", limited)
    with refused(RunError, "m.pkl: the upload can't be written: File too large"):
        mt.export(run, tmp_path / "m.pkl")
    assert (tmp_path / "m.pkl").read_text() == "before"
    assert os.listdir(temporary) == []
    assert sorted(os.listdir(tmp_path)) == ["m.pkl", "run", "temporary"]


def test_no_upload_is_written_into_a_dataset(run: Path, sample: Path) -> None:
    before = sorted(os.listdir(sample))
    for folder in (sample, sample / before[0]):
        with refused(RunError, "it lies in the dataset", "choose another folder"):
            mt.export(run, folder / "m.pkl")
    assert sorted(os.listdir(sample)) == before


def test_an_export_again_replaces_the_upload(run: Path, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_text("before")
    report = mt.export(run, tmp_path / "m.pkl")
    assert (tmp_path / "m.pkl").stat().st_size == report.n_bytes > 10_000
    assert sorted(os.listdir(tmp_path)) == ["m.pkl", "run"]
