"""Runs a command in a terminal: signals, stdout, stderr and the exit code.

stdout gets the command's result when it is done, stderr its progress, its warnings and its one
error. A stream that can't be written to doesn't end the work.
"""

import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO

from ..errors import MemmapTrainError
from ..progress import above_bars
from ..system.signals import stop, termination_signals

EXIT_ERROR, EXIT_STOPPED = 1, 130


def run(command: Callable[[], None], resume_hint: str) -> int:
    """Run a command; return the exit code.

    Parameters
    ----------
    command : callable
        A function without arguments; the text it prints to stdout is its result.
    resume_hint : str
        How the user can resume the command after a signal has stopped it.
    """
    before = {number: signal.signal(number, stop) for number in termination_signals()}
    with redirect_stderr(TolerantStream(sys.stderr)), _warnings_on_stderr():
        return _run(command, resume_hint, before)


class TolerantStream:
    """A stderr that ignores write errors, so that closing the terminal doesn't end a command.

    Parameters
    ----------
    stream : text stream
        The stderr that is wrapped.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text and ignore errors; characters that the encoding lacks are escaped."""
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:  # a name that isn't UTF-8
            encoding = self._stream.encoding
            return self.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError:
            self._discard()
            return len(text)

    def flush(self) -> None:
        """Flush the stream and ignore errors."""
        try:
            self._stream.flush()
        except OSError:
            self._discard()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _discard(self) -> None:
        # What is left in the buffer would fail again, and at the end change the exit code.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


class WarningHandler(logging.StreamHandler[TextIO]):
    """Shows the package's warnings on stderr, a line each, above the bars that are drawn there."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("warning: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a warning."""
        with above_bars(self.stream):
            super().emit(record)


@contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    handler = WarningHandler()
    log = logging.getLogger("memmap_train")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _run(
    command: Callable[[], None], resume_hint: str, before: Mapping[signal.Signals, Any]
) -> int:
    """Run a command; restore the handlers of signals that were there `before`; return the code."""
    result, failure, code = io.StringIO(), None, 0
    try:
        try:
            with redirect_stdout(result):
                command()
        except MemmapTrainError as error:
            failure = str(error)
        for number, handler in before.items():  # the command has ended, and all that it began
            if signal.getsignal(number) is stop:
                signal.signal(number, handler)
    except KeyboardInterrupt:
        for number in before:  # the end of the process isn't stopped either
            signal.signal(number, signal.SIG_IGN)
        print(f"\nstopped; {resume_hint} to resume", file=sys.stderr)
        code = EXIT_STOPPED
    if failure is not None:
        code = _fail(failure)
    written = write_result(result.getvalue()) if result.getvalue() else 0
    return code or written


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return EXIT_ERROR


def write_result(result: str) -> int:
    """Write a result, or a help, to stdout; return the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a label that the terminal lacks isn't an error
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(result)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail again at the end.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # `… | head` has read enough
            return _fail(f"stdout: the result can't be written: {error.strerror}")
    return 0
