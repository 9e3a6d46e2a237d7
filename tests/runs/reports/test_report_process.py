"""The report that a training makes at its end: a process of its own, whose failure is a line."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import memmap_train as mt
from memmap_train.runs.record import RunRecord
from memmap_train.runs.reports import report_process
from memmap_train.runs.reports.report_process import make_report
from memmap_train.runs.run import Run
from memmap_train.runs.run_folder import begin_run
from tests.support.run_records import RECORD


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return begin_run(tmp_path / "run", RunRecord.from_json(RECORD))


class Script:
    """What the process does, and what is said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self._patch = monkeypatch
        monkeypatch.setattr(report_process, "charts_are_installed", lambda: True)

    def make(self, run: Run, code: str) -> Path | None:
        # "-P -m memmap_train report RUN DATASET --out FILE" become the arguments of the code.
        python = [sys.executable, "-c", f"import sys, os, time\n{code}"]
        started = subprocess.Popen

        def start(command: list[str], **options: Any) -> Any:
            assert command[:4] == [sys.executable, "-P", "-m", "memmap_train"]
            return started([*python, *command[4:]], **options)

        with self._patch.context() as patch:
            patch.setattr(subprocess, "Popen", start)
            return make_report(run, Path("shards"), say=self.said.append, warn=self.warned.append)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    return Script(monkeypatch)


def test_the_process_gets_the_run_the_dataset_and_the_page(run: Run, script: Script) -> None:
    code = "open(sys.argv[-1], 'w').write(' '.join(sys.argv[1:-1]) + os.environ['PYTHONPATH'])"
    assert script.make(run, code) == run.report_path
    text = run.report_path.read_text()
    assert text.startswith(f"report {run.path} {Path('shards').absolute()} --out")
    assert text.endswith(str(Path(mt.__file__).resolve().parents[1]))
    assert script.warned == []
    assert len(script.said) == 2
    assert " was made in " in script.said[-1]


def test_tensorflow_says_nothing_in_the_process(
    run: Run, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")  # as `start_tensorflow` leaves it
    assert script.make(run, "assert 'TF_CPP_MIN_LOG_LEVEL' not in os.environ") == run.report_path


def test_a_failure_is_one_line(run: Run, script: Script) -> None:
    run.report_path.write_text("of fewer epochs")
    code = "print('progress', file=sys.stderr); sys.exit('error: no memory')"
    assert script.make(run, code) is None
    assert script.said[1:] == ["progress"]
    (line,) = script.warned
    assert "can't be made: no memory" in line
    assert "memmap-train report" in line
    assert "\n" not in line
    assert not run.report_path.exists()


def test_a_process_that_is_killed_is_a_line_too(run: Run, script: Script) -> None:
    assert script.make(run, "os.kill(os.getpid(), 9)") is None
    assert "ended with -9" in script.warned[0]


def test_a_process_that_takes_too_long_is_ended(
    run: Run, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_process, "MAX_SECONDS", 0.2)
    assert script.make(run, "time.sleep(1000)") is None
    assert "takes longer" in script.warned[0]


def test_the_process_reads_no_input(run: Run, script: Script) -> None:
    assert script.make(run, "assert sys.stdin.read() == ''") == run.report_path
    assert script.warned == []


def test_a_signal_ends_both_processes(run: Run, script: Script, tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    code = f"open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
    pids: list[int] = []

    def stop() -> None:
        pids.append(int(started.read_text()))  # waits for the process
        os.kill(os.getpid(), signal.SIGINT)

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(KeyboardInterrupt):
        script.make(run, code)
    stopping.join()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_without_the_extra_there_is_no_report(
    run: Run, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_process, "charts_are_installed", lambda: False)
    assert script.make(run, "") is None
    assert (script.said, script.warned) == ([], [])
