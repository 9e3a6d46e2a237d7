"""The signals that ask a process to end, and the exception that they become.

Ctrl-C, a termination signal, a terminal that was closed: the first signal raises a `Stopped`, which
is a KeyboardInterrupt. While that exception is being handled, so that everything can end in order,
further signals are ignored. A signal during the import of an extension module counts after it.
"""

import _thread
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader
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


_IMPORTLIB = "<frozen importlib"  # how the names of importlib's own files begin

# Whether a signal came during the import of an extension module, and will be sent again.
_is_put_off = False

# The exception that is being handled. When nothing refers to it any more, it was handled or lost.
_under_way: "weakref.ref[Stopped] | None" = None


def stop(number: int, frame: FrameType | None) -> None:
    """Handle a signal: raise a `Stopped` unless one is under way.

    Extension modules in C++ turn an exception during their import into an ImportError, for which
    the importing package may be prepared: the signal would be lost. It is sent again instead.

    Raises
    ------
    Stopped
    """
    global _is_put_off
    sys.unraisablehook = _send_lost_again
    is_importing = _is_in_extension_import(frame)
    del frame
    if _is_under_way():
        return
    if not is_importing:
        raise _new(number)
    if not _is_put_off:
        _is_put_off = True
        _thread.start_new_thread(_send_put_off, (number,))  # without locks that may be held here


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


@contextmanager
def deferred() -> Iterator[None]:
    """Defer termination signals until the block is done; a second one is handled at once.

    Only those that Python code handles, and the main thread: others are never interrupted. Unlike
    `held_back` it works while other threads run, which the system may deliver a signal to.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []

    def put_off(number: int, frame: FrameType | None) -> None:
        if pending:
            before[number](number, frame)
        pending.append(number)

    found = {stop: signal.getsignal(stop) for stop in termination_signals()}
    before = {int(stop): handler for stop, handler in found.items() if callable(handler)}
    try:
        for stop in before:
            signal.signal(stop, put_off)
        yield
    finally:
        for stop, handler in before.items():
            if signal.getsignal(stop) is put_off:
                signal.signal(stop, handler)
    if pending:
        signal.raise_signal(pending[0])


def _is_in_extension_import(frame: FrameType | None) -> bool:
    while frame is not None:
        is_of_importlib = frame.f_code.co_filename.startswith(_IMPORTLIB)
        if is_of_importlib and isinstance(frame.f_locals.get("self"), ExtensionFileLoader):
            return True
        frame = frame.f_back
    return False


def _send_put_off(number: int) -> None:
    global _is_put_off
    time.sleep(_SECONDS_BETWEEN_TRIES)
    _is_put_off = False
    _send(number)


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
    _send(number)


def _send(number: int) -> None:
    if hasattr(signal, "pthread_kill"):  # which also ends a wait
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(signal.Signals(number))
