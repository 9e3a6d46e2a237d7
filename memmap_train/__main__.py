"""The command `memmap-train`, or `python -m memmap_train`.

Importing numpy and other packages takes part of a second. A user who presses Ctrl-C in that time
gets one line, as later, instead of a traceback from an import.
"""

import os
import signal
import sys
from typing import NoReturn

from .system.signals import termination_signals


def main() -> int:
    """Run the command that `sys.argv` names; return the exit code.

    The handlers of signals are restored afterwards, for a process that continues, such as a
    notebook's kernel.
    """
    before = {number: signal.getsignal(number) for number in termination_signals()}
    try:
        return _run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_process() -> NoReturn:
    """Run the command and exit with its code; until the end a signal prints no traceback."""
    sys.exit(_run())


def _run() -> int:
    _open_standard_streams()
    for stop in termination_signals():
        signal.signal(stop, _stop_at_once)
    from .cli.commands import main as run

    return run()


def _open_standard_streams() -> None:
    """Open the null device for each standard stream that the caller has closed.

    The next file that is opened would get the descriptor of the closed stream, and what a library
    writes to stderr would end up in that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free descriptor, this one
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _stop_at_once(signal_number: int, frame: object) -> NoReturn:
    # No work has begun, or all is done. A module that is being imported could catch an exception.
    try:
        os.write(2, b"\nstopped\n")
    finally:
        os._exit(130)


if __name__ == "__main__":
    run_process()
