"""The lines that say what a week does: on stderr, and in `week.log` of its folder.

The package's warnings are in the file too. A file that can't be written ends nothing.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from ...progress import above_bars

FILE_NAME = "week.log"
MAX_BYTES, MAX_OLD_FILES = 1_000_000, 2
_PACKAGE = "memmap_train"


class Log:
    """Says what is done.

    Parameters
    ----------
    file : logging.Handler, optional
        Takes each line too.
    """

    def __init__(self, file: logging.Handler | None = None) -> None:
        self._file = file

    def say(self, text: str) -> None:
        """Write a line, with the time in UTC, to stderr and to the file."""
        record = _record(text)
        with above_bars(sys.stderr):
            print(_FORMAT.format(record), file=sys.stderr, flush=True)
        if self._file is not None:
            self._file.handle(record)

    def note(self, text: str) -> None:
        """Write a line to the file alone: the command says it itself at the end."""
        if self._file is not None:
            self._file.handle(_record(text))


@contextmanager
def logging_into(folder: Path) -> Iterator[Log]:
    """Yield a log whose file lies in a folder, which exists."""
    handler = _LogFile(
        folder / FILE_NAME,
        maxBytes=MAX_BYTES,
        backupCount=MAX_OLD_FILES,
        encoding="utf-8",
        errors="backslashreplace",
        delay=True,
    )
    handler.setFormatter(_FORMAT)
    package = logging.getLogger(_PACKAGE)
    package.addHandler(handler)
    try:
        yield Log(handler)
    finally:
        package.removeHandler(handler)
        with suppress(OSError):  # what is left in the buffer doesn't fit on the disk either
            handler.close()


class _LogFile(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Go on without the line: stderr has it, and a full disk is reported by what needs it."""


def _record(text: str) -> logging.LogRecord:
    values = {"msg": " ".join(text.split()), "levelno": logging.INFO, "levelname": "INFO"}
    return logging.makeLogRecord(values)


class _Format(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return a line with the time in UTC."""
        time = datetime.fromtimestamp(record.created, UTC)
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        return f"{time:%Y-%m-%d %H:%M:%SZ} {prefix}{record.getMessage()}"


_FORMAT = _Format()
