"""The signals that ask a process to end, and the exception that they become.

Ctrl-C, a termination signal, a terminal that was closed: the first signal raises a `Stopped`, which
is a KeyboardInterrupt. While that exception is being handled, so that everything can end in order,
further signals are ignored.
"""

import _thread
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last not on Windows
_SECONDS_BETWEEN_TRIES = 0.01


def termination_signals() -> tuple[signal.Signals, ...]:
    """Return the signals to handle: those that the parent process hasn't set to be ignored.

    Under `nohup` SIGHUP is ignored, and a shell without job control lets background processes
    ignore Ctrl-C. In other threads than the main one Python can't handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return ()
    found = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    return tuple(stop for stop in found if signal.getsignal(stop) is not signal.SIG_IGN)


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


# The exception that is being handled. When nothing refers to it any more, it was handled or lost.
_under_way: "weakref.ref[Stopped] | None" = None


def stop(number: int, frame: FrameType | None) -> None:
    """Handle a signal: raise a `Stopped` unless one is under way.

    Raises
    ------
    Stopped
    """
    del frame
    sys.unraisablehook = _send_lost_again
    if not _is_under_way():
        raise _new(number)


@contextmanager
def held_back() -> Iterator[None]:
    """Delay signals that ask the process to end until the block is left.

    The block is code that an exception in its middle would leave unfinished. On Windows signals
    aren't delayed.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    numbers = {getattr(signal, name) for name in _NAMES if hasattr(signal, name)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_under_way() -> bool:
    return _under_way is not None and _under_way() is not None


def _new(number: int) -> Stopped:
    # Made outside the frame that raises it: its traceback would refer to itself there for ever.
    global _under_way
    stopped = Stopped(number)
    _under_way = weakref.ref(stopped)
    return stopped


def _send_lost_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Send a signal again if its exception was raised in a finalizer, where Python drops it."""
    error = unraisable.exc_value
    if isinstance(error, Stopped):
        threading.Thread(target=_send_again, args=(error.number,), daemon=True).start()
    elif not (
        # A signal may arrive just before the system ignores it: Python then finds no handler to
        # call and reports "Signal 2 ignored due to race condition", which is harmless.
        isinstance(error, OSError) and "ignored due to race condition" in str(error)
    ):
        sys.__unraisablehook__(unraisable)


def _send_again(number: int) -> None:
    while _is_under_way():  # before that it would be ignored
        time.sleep(_SECONDS_BETWEEN_TRIES)
    if hasattr(signal, "pthread_kill"):  # which also ends a wait
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(signal.Signals(number))
