"""Several files received at once; the calling thread shows progress and moves complete files.

Takes the planned files; each is either under its final name when its turn has ended, or a part that
a later call continues. The first error ends all transfers.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...progress import Progress
from .part import RemoteFile
from .plan import PlannedFile
from .stopping import Stopper, TransferStoppedError
from .transfer import Source, receive
from .whole import check_whole

N_THREADS = 4  # files at once; one connection to an object store rarely fills a fast line


@dataclass(frozen=True, slots=True)
class _Ended:
    """A thread has ended, by itself or by an error."""

    error: BaseException | None = None


_Event = int | tuple[PlannedFile, RemoteFile] | _Ended
"""Bytes that arrived; a file that is complete, and what it is; the end of a thread."""


def receive_all(
    files: Sequence[PlannedFile],
    round_number: int | None,
    publish: Callable[[PlannedFile, RemoteFile], None],
    progress: Progress,
) -> int:
    """Receive files; return the bytes that came.

    Parameters
    ----------
    files : sequence of PlannedFile
    round_number : int or None
    publish : callable
        Called in this thread with each file when its part is complete and checked.
    progress : Progress

    Raises
    ------
    NumeraiError
        A file can't be fetched, isn't whole or can't be written.
    """
    events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
    stopper, waiting = Stopper(), deque(files)
    total = sum(file.remote.n_bytes for file in files)
    done = sum(file.present_bytes for file in files)
    n_received = 0
    n_running = min(N_THREADS, len(files))
    for number in range(n_running):
        threading.Thread(
            target=_receive_in_turn,
            args=(waiting, round_number, stopper, events),
            name=f"download-{number}",
            daemon=True,  # one that waits for a server must not keep the process
        ).start()
    try:
        if files:
            progress("downloading", done, total)  # what is there already counts for no speed
        while n_running:
            event = events.get()
            if isinstance(event, int):
                done, n_received = done + event, n_received + max(event, 0)
                progress("downloading", min(done, total), total)
            elif isinstance(event, _Ended):
                n_running -= 1
                if event.error is not None:
                    raise event.error
            else:
                publish(*event)
    finally:
        stopper.stop()
    return n_received


def _receive_in_turn(
    waiting: "deque[PlannedFile]",
    round_number: int | None,
    stopper: Stopper,
    events: "queue.SimpleQueue[_Event]",
) -> None:
    """Receive one waiting file after another; runs in a thread."""
    try:
        while True:
            stopper.check()
            file = waiting.popleft()
            source = Source(file.remote.name, round_number, stopper.wait)
            remote = receive(source, file.path, file.remote, stopper, events.put)
            with stopper.holding():
                check_whole(file.path, remote)
            events.put((file, remote))
    except (IndexError, TransferStoppedError):
        events.put(_Ended())
    except BaseException as error:
        events.put(_Ended(error))
