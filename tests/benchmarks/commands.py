"""Commands of the package, run as a user runs them: seconds, and the peak of anonymous memory.

Takes the arguments of `memmap-train`, and the memory group that the process enters first, if any.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from .measuring import peak_memory
from .memory_groups import MemoryGroup


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command has taken and printed.

    Parameters
    ----------
    seconds : float
        From the start of the process to its end.
    peak_bytes : int
        Peak of the anonymous memory of the process and all that it starts, together.
    stdout : str
    failure : str or None
        Why it failed, in a line; None if it succeeded.
    """

    seconds: float
    peak_bytes: int
    stdout: str
    failure: str | None


def run_command(*arguments: object, group: MemoryGroup | None = None) -> Ran:
    """Run `memmap-train` with these arguments in a process of its own."""
    command = [sys.executable, "-m", "memmap_train", *map(str, arguments)]
    if group is not None:
        command = group.command(command)
    os.sync()  # it doesn't wait for what others have written
    with tempfile.TemporaryFile("w+", errors="replace") as stderr:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        with peak_memory(process.pid) as peak:
            stdout, _ = process.communicate()
        seconds = time.perf_counter() - started
        stderr.seek(0)
        said = stderr.read().split("\n")
    failure = None
    if process.returncode:
        last = next((line for line in reversed(said) if line.strip()), "")
        failure = f"exit code {process.returncode}: {last}"
    return Ran(seconds, peak(), stdout, failure)
