"""Conversions that are killed at a chosen point, each in a child of one warm process.

Starting an interpreter with pyarrow takes half a second, forking one that has no threads takes some
milliseconds. So one process imports all that a conversion needs, and forks for each request.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVER = """
import json, os, signal, sys, traceback
import pyarrow
from memmap_train.conversion.conversion import convert
from memmap_train.errors import ConversionError

pyarrow.scalar("")  # imports pandas, where that is installed: once is enough

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")

def run(source, out, number, options, reply):
    seen = 0

    def pass_point():
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event, arguments):
        if event in CHANGES or event == "open" and str(arguments[0]).startswith(out):
            pass_point()

    os.fsync = lambda descriptor: pass_point()  # only a power cut tells the difference
    sys.addaudithook(watch)
    try:
        convert(source, out, workers=1, **options)
        text = str(seen)
    except ConversionError as error:
        text = f"refused: {error}"
    except Exception:
        text = traceback.format_exc()
    os.write(reply, text.encode())
    os._exit(0)

for line in sys.stdin:
    get, put = os.pipe()
    child = os.fork()
    if child == 0:
        run(**json.loads(line), reply=put)
    os.close(put)
    with open(get) as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), text]), flush=True)
"""


class Killer:
    """Converts in a process that dies before it changes something for the n-th time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def points(self, source: Path, out: Path, **options: Any) -> int:
        """Convert to the end; return the number of points at which it could have been killed."""
        code, text = self._order(source, out, 0, options)
        assert (code, text.isdigit()) == (0, True), text
        return int(text)

    def kill(self, source: Path, out: Path, number: int, **options: Any) -> None:
        """Convert up to the n-th point, where the process is killed."""
        code, text = self._order(source, out, number, options)
        assert (code, text) == (-signal.SIGKILL, ""), text

    def try_to_kill(self, source: Path, out: Path, number: int, **options: Any) -> str:
        """Convert up to the n-th point; return how it ended: "killed", "done" or "refused"."""
        code, text = self._order(source, out, number, options)
        if code == -signal.SIGKILL:
            return "killed"
        assert text.isdigit() or text.startswith("refused: "), text
        return "done" if text.isdigit() else "refused"

    def _order(self, source: Path, out: Path, number: int, options: Any) -> tuple[int, str]:
        order = {"source": str(source), "out": str(out), "number": number, "options": options}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code, text = json.loads(self._process.stdout.readline())
        return code, text


@contextmanager
def killer() -> Iterator[Killer]:
    """Start the process that forks, and end it when the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "ARROW_IO_THREADS": "1"},
    ) as process:
        yield Killer(process)
        assert process.stdin is not None
        process.stdin.close()
