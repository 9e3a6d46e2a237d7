"""`memmap-train`, or `python -m memmap_train`: a command that can be stopped from its first moment.

Importing numpy and the rest takes a good part of a second. A user who presses Ctrl-C in that time
gets a line, as later, instead of a traceback from somewhere in an import.
"""

import os
import signal
import sys
from typing import NoReturn

from .system.signals import termination_signals


def main() -> int:
    """Run the command that `sys.argv` names; return the exit code.

    Signals are handled afterwards as they were before, for a process that goes on, as a notebook's
    does.
    """
    before = {number: signal.getsignal(number) for number in termination_signals()}
    try:
        return _run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_process() -> NoReturn:
    """Run the command as this process, to its end: until then a signal prints no traceback."""
    sys.exit(_run())


def _run() -> int:
    _open_standard_streams()
    for stop in termination_signals():
        signal.signal(stop, _stop_at_once)
    from .cli.commands import main as run

    return run()


def _open_standard_streams() -> None:
    """Have stdin, stdout and stderr lead nowhere where the caller has closed them.

    The next file that is opened would get the number of the closed one, and what any library
    writes to stderr would end up in that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free: this one
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _stop_at_once(signal_number: int, frame: object) -> NoReturn:
    # Nothing has begun, or all is done. An exception could be swallowed by what is being imported.
    try:
        os.write(2, b"\nstopped\n")
    finally:
        os._exit(130)


if __name__ == "__main__":
    run_process()
