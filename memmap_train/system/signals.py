"""The signals that ask a process to end, and the exception that they become.

Ctrl-C, a polite kill, a terminal that was closed: the first one raises a `Stopped`, which is a
KeyboardInterrupt. While that is under way, so that all that has begun can end in order, further
ones count for nothing.
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


def stops() -> tuple[signal.Signals, ...]:
    """Return the signals to handle: those that the parent process doesn't have this one ignore.

    `nohup` has it ignore that its terminal is gone, a shell without job control that Ctrl-C is
    meant for something else. In a thread that isn't the main one Python can handle none.
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


# The exception that is under way. Once nothing refers to it any more, it was handled, or lost.
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
    """Let signals that ask the process to end wait until the block is left.

    For what an exception in its middle would leave in pieces. On Windows they don't wait.
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
    """Have a signal come again whose exception Python drops, for it hit a finaliser."""
    error = unraisable.exc_value
    if isinstance(error, Stopped):
        threading.Thread(target=_send_again, args=(error.number,), daemon=True).start()
    elif not (
        # A signal may arrive just before the system ignores it: Python then finds no handler to
        # call and reports "Signal 2 ignored due to race condition", which is what was wanted.
        isinstance(error, OSError) and "ignored due to race condition" in str(error)
    ):
        sys.__unraisablehook__(unraisable)


def _send_again(number: int) -> None:
    while _is_under_way():  # it would count for nothing before that one is gone
        time.sleep(_SECONDS_BETWEEN_TRIES)
    if hasattr(signal, "pthread_kill"):  # which also ends a wait
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(signal.Signals(number))
