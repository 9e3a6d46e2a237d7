"""`memmap-train`, or `python -m memmap_train`: a command that can be stopped from its first moment.

Importing numpy and the rest takes a good part of a second. Who presses Ctrl-C by then gets a line,
as later, instead of a traceback from somewhere in an import.
"""

import os
import signal
import sys
from typing import NoReturn

from .stops import stops


def main() -> int:
    """Run the command that the process was called with; return the exit code."""
    for stop in stops():
        signal.signal(stop, _stop_at_once)
    from .cli import main as run

    return run()


def _stop_at_once(signal_number: int, frame: object) -> NoReturn:
    # Nothing has begun, or all is done. An exception could be swallowed by what is being imported.
    try:
        os.write(2, b"\nstopped\n")
    finally:
        os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
