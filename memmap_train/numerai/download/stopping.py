"""Threads that receive files, stopped from another one without a wait for the network.

A thread writes only while it holds a response with `Stopper.holding`. `Stopper.stop` ends these
responses and waits until none is held; a thread that still waits for the beginning of a response
can't write any more, and isn't waited for.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class TransferStoppedError(Exception):
    """The transfer was stopped by another thread; it isn't the user's error."""


class Stopper:
    """Stops all transfers that use it, once."""

    def __init__(self) -> None:
        self._is_stopped = threading.Event()
        self._changed = threading.Condition()
        self._held: dict[int, Any] = {}

    def check(self) -> None:
        """Raise a TransferStoppedError if transfers are to stop."""
        if self._is_stopped.is_set():
            raise TransferStoppedError

    def wait(self, seconds: float) -> None:
        """Wait some seconds, or until transfers are to stop, which raises."""
        self._is_stopped.wait(seconds)
        self.check()

    @contextmanager
    def holding(self, response: Any = None) -> Iterator[None]:
        """Let the block read a response and write, unless transfers are to stop.

        Parameters
        ----------
        response : urllib3.HTTPResponse, optional
            It is shut down by `stop`. None: the block writes without one.
        """
        key = threading.get_ident()
        with self._changed:
            self.check()
            self._held[key] = response
        try:
            yield
        finally:
            with self._changed:
                del self._held[key]
                self._changed.notify_all()

    def stop(self) -> None:
        """Stop all transfers; when it returns, none of them writes any more."""
        with self._changed:
            self._is_stopped.set()
            for response in self._held.values():
                if response is not None:
                    with suppress(OSError, RuntimeError, ValueError):  # it has just ended
                        response.shutdown()
            self._changed.wait_for(lambda: not self._held)
