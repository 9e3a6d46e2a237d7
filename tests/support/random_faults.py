"""Commands that are stopped at random moments, each in a child of one warm process.

They are killed, or a signal asks them to end, or from some moment on the disk is full.

Starting TensorFlow takes several seconds, forking a process that has imported it takes a tenth of
one. So one process imports all that a command needs, and forks for each request.
"""

import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Fault = Literal["kill", "SIGINT", "SIGTERM", "full disk"]
"""What stops a command: it is killed, a signal asks it to end, the disk is full from then on."""

_MAX_DELAY = 0.3  # seconds from a point to what happens

_SERVER = """
import errno, json, os, signal, sys, threading, traceback
import keras, tensorflow
import matplotlib.pyplot
from memmap_train.__main__ import main
from memmap_train.runs.reports import report_process
from memmap_train.training import baseline, trained_run
from memmap_train.training.sweeps import trained_sweep

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "shutil.copyfile")

MAKES = ("os.mkdir", "os.rename", "shutil.copyfile")

def writes(event, arguments):
    if event != "open":
        return event in MAKES
    _, mode, flags = arguments
    return set(mode or "") & set("wax+") or flags & (os.O_CREAT | os.O_RDWR)

def run(arguments, folder, point, delay, fault, makes_report, errors, reply):
    os.setsid()  # the process that makes a report is killed with this one
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    seen, is_full = 0, False

    def act():
        nonlocal is_full
        if fault == "kill":
            os.killpg(0, signal.SIGKILL)
        elif fault == "full disk":
            is_full = True
        else:
            os.kill(os.getpid(), getattr(signal, fault))

    def pass_point(what):
        nonlocal seen
        seen += 1
        if seen == point:
            os.write(reply, what.encode() + b"\\n")
            if delay:
                timer = threading.Timer(delay, act)
                timer.daemon = True
                timer.start()
            else:
                act()

    def watch(event, arguments):
        if event in CHANGES or event == "open":
            path = str(arguments[0])
            if path.startswith(folder):
                pass_point(path)
                if is_full and writes(event, arguments):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    os.fsync = lambda descriptor: None  # only a power cut tells the difference
    if not makes_report:
        report_process.charts_are_installed = lambda: False
    sys.addaudithook(watch)
    sys.argv = ["memmap-train", *arguments]
    code = main()
    os.write(reply, b"%d\\n" % seen)
    os._exit(code)

for line in sys.stdin:
    get, put = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            run(**json.loads(line), reply=put)
        except BaseException:
            traceback.print_exc()
        os._exit(99)
    os.close(put)
    with open(get) as file:
        said = file.read().split("\\n")
    _, status = os.waitpid(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), said[:-1]]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes
    ----------
    code : int
        The exit code, or less than 0 for a signal.
    point : str
        The path of the file at which something happened; empty if nothing did.
    n_points : int
        Of a command that wasn't killed, the number of its points.
    errors : str
        What it has written to stderr.
    """

    code: int
    point: str
    n_points: int
    errors: str


class WarmProcess:
    """Runs commands in children, which may be stopped when they open or change a file."""

    def __init__(self, process: "subprocess.Popen[str]", errors: Path) -> None:
        self._process, self._errors = process, errors

    def run(
        self,
        arguments: list[str],
        folder: Path,
        *,
        point: int = 0,
        delay: float = 0.0,
        fault: Fault = "kill",
        makes_report: bool = False,
    ) -> Ended:
        """Run a command until it ends, and let something happen at a point or soon after it.

        Parameters
        ----------
        arguments : list of str
        folder : Path
            What is done to the files below it are the points.
        point : int
            The number of the point; 0: nothing happens.
        delay : float
            Seconds from there to what happens.
        fault : Fault
            What happens.
        makes_report : bool
            Whether a training makes its page of scores at the end.
        """
        order = {
            "arguments": arguments,
            "folder": str(folder),
            "point": point,
            "delay": delay,
            "fault": fault,
            "makes_report": makes_report,
            "errors": str(self._errors),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code, said = json.loads(self._process.stdout.readline())
        n_points = int(said.pop()) if said and said[-1].isdigit() else 0
        return Ended(code, said[0] if said else "", n_points, self._errors.read_text("utf-8"))


@contextmanager
def warm_process(errors: Path) -> Iterator[WarmProcess]:
    """Start the process that forks, and end it when the block ends.

    Parameters
    ----------
    errors : Path
        A file for what commands write to stderr.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # TensorFlow leaves files there where a process is killed.
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "TMPDIR": str(errors.parent)},
    ) as process:
        yield WarmProcess(process, errors)
        assert process.stdin is not None
        process.stdin.close()


def finished_after_faults(
    warm: WarmProcess,
    command: Callable[[Path], list[str]],
    parent: Path,
    *,
    fault: Fault,
    n_points: int,
    n_faults: int,
    found: Counter[str],
) -> Iterator[Path]:
    """Yield folders in which a command has ended, until so many processes of it were stopped.

    Parameters
    ----------
    warm : WarmProcess
    command : callable(folder)
    parent : Path
        Where the folders are made.
    fault : Fault
    n_points : int
        The points of a command that isn't stopped. Each process is stopped somewhere in the first
        half of so many, if it doesn't end before: every second one between two points.
    n_faults : int
    found : Counter of str
        Empty; counts the files at which processes were stopped, without their numbers.
    """
    chance, number = random.Random(7), 0
    while True:
        folder = parent / str(number) / "run"  # a baseline would be copied from a run beside it
        is_last = found.total() >= n_faults
        point = 0 if is_last else chance.randint(1, max(1, n_points // 2))
        delay = chance.choice((0.0, chance.uniform(0.0, _MAX_DELAY)))
        ended = warm.run(
            command(folder),
            folder,
            point=point,
            delay=delay,
            fault=fault,
        )
        if ended.code != 0:
            check_stopped(ended, fault)
        if ended.code != 0 or (fault == "full disk" and ended.point):
            found[re.sub(r"[0-9]+", "#", os.path.relpath(ended.point, folder))] += 1
            continue
        yield folder
        if is_last:
            return
        number += 1


def check_stopped(ended: Ended, fault: Fault) -> None:
    """Check that a command that was stopped has said so in a line, unless it was killed."""
    assert ended.point, ended.errors
    if fault == "kill":
        assert ended.code == -signal.SIGKILL, ended.errors
        return
    assert "Traceback" not in ended.errors, ended.errors
    last = ended.errors.splitlines()[-1]
    if fault == "full disk":
        assert ended.code == 1, ended.errors
        assert last.startswith("error: "), ended.errors
        assert os.strerror(errno.ENOSPC) in last, ended.errors
    else:
        assert ended.code == 130, ended.errors
        assert last == "stopped; run the same command with --resume to resume", ended.errors
