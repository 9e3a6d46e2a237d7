"""The report of a finished run, made by a process of its own.

Takes a run; runs `memmap-train report` on it, which writes the page into the run's folder. The
process predicts and scores on its own, so that what goes wrong there costs no training: it becomes
a warning. A signal that stops this process ends the other one too. Imports no TensorFlow.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

from ...system.paths import PACKAGE_DIR
from ...text import in_time
from ..run import Run

MAX_SECONDS = 1800.0
"""A report that takes longer is given up; the command makes it at leisure."""

_SECONDS_TO_END = 10.0  # after the process was asked to


def charts_are_installed() -> bool:
    """Return True if the chart library of the extra `report` is installed."""
    return find_spec("vl_convert") is not None


def make_report(
    run: Run, dataset: Path, *, say: Callable[[str], None], warn: Callable[[str], None]
) -> Path | None:
    """Write the report of a finished run into its folder.

    Parameters
    ----------
    run : Run
    dataset : Path
        The dataset that it was trained on.
    say : callable
        Called with a line when the report begins, with each line of its progress, and with one
        when it is done.
    warn : callable
        Called with one line if the report can't be made.

    Returns
    -------
    Path or None
        None if there is no report: the extra isn't installed, or it failed.

    Raises
    ------
    KeyboardInterrupt
        A signal asked this process to end.
    """
    path = run.report_path
    again = f"`memmap-train report {run.path} {dataset} --out {path}` makes it again"
    # Absolute paths can't look like options.
    arguments = ["report", *map(str, (run.path.absolute(), dataset.absolute()))]
    arguments += ["--out", str(path.absolute())]
    try:
        path.unlink(missing_ok=True)  # of fewer epochs: worse than none
        if not charts_are_installed():
            return None
        say(f"makes {path}: predicts and scores the validation eras once more")
        started = time.monotonic()
        failure = _failure([sys.executable, "-P", "-m", "memmap_train", *arguments], say)
    except (OSError, subprocess.SubprocessError) as error:
        failure = " ".join(str(error).split())
    if failure is not None:
        warn(f"{path}: the report can't be made: {failure}; all else is written, and {again}")
        return None
    say(f"{path} was made in {in_time(time.monotonic() - started)}")
    return path


def _failure(command: list[str], say: Callable[[str], None]) -> str | None:
    """Run a command, and say what it says; return its last line if it fails."""
    # The GPU's memory is this process's already.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": _python_path()}
    # This process has set it for itself; where it isn't set, the other one silences TensorFlow.
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        last = [""]
        arguments = (process.stderr, say, last)
        reader = threading.Thread(target=_say_all_but_last, args=arguments, daemon=True)
        reader.start()
        try:
            process.wait(MAX_SECONDS)
        except subprocess.TimeoutExpired:
            return f"it takes longer than {in_time(MAX_SECONDS)}"
        finally:
            _end(process)
            reader.join(_SECONDS_TO_END)
    if process.returncode == 0:
        return None
    return last[0].removeprefix("error: ") or f"its process ended with {process.returncode}"


def _say_all_but_last(lines: Iterable[str], say: Callable[[str], None], last: list[str]) -> None:
    """Say each line as soon as another one follows it; keep the last in ``last[0]``."""
    for line in filter(None, map(str.strip, lines)):
        if last[0]:
            say(last[0])
        last[0] = line


def _end(process: "subprocess.Popen[str]") -> None:
    """End a process that hasn't ended, and wait until it has."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()


def _python_path() -> str:
    """Return where the process finds this package, even if it isn't installed."""
    return os.pathsep.join(
        filter(None, (os.environ.get("PYTHONPATH"), str(PACKAGE_DIR.resolve().parent)))
    )
