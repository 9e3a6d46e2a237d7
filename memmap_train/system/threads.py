"""Pools of threads that continue with fewer threads if the system starts no more.

A limit of processes (`ulimit -u`, a container's or a batch system's) counts threads too. The first
thread of a pool is started with the pool, so that a lack of threads is found before work begins.
"""

import queue
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from ..errors import ThreadError
from .signals import held_back


class ThreadPool(ThreadPoolExecutor):
    """An executor of at least one thread.

    Parameters
    ----------
    max_workers : int
        Largest number of threads; fewer if the system starts no more.
    thread_name_prefix : str

    Raises
    ------
    ThreadError
        The system starts no thread.
    """

    def __init__(self, max_workers: int, thread_name_prefix: str = "") -> None:
        super().__init__(max_workers, thread_name_prefix)
        self.submit(int)

    def abandon(self) -> None:
        """Cancel the tasks that wait, and let the threads end, without taking the pool's locks.

        For finalizers: the garbage collector calls them in the middle of anything, even of `submit`
        of this pool, which holds its lock and one of all pools. Nobody may wait for its tasks.
        """
        self._shutdown = True
        with suppress(queue.Empty):
            while True:
                task = self._work_queue.get_nowait()
                if task is not None:
                    task.future.cancel()
        # A thread that finds None puts it back for the next one, and ends.
        self._work_queue.put(None)  # type: ignore[arg-type]  # as the executor itself does

    def _adjust_thread_count(self) -> None:
        # Called for each task for which there is no idle thread, after the task is queued.
        try:
            # If Ctrl-C interrupts the start of a thread, that thread is never joined, or is joined
            # for ever.
            with held_back():
                super()._adjust_thread_count()
        except RuntimeError as error:
            if not self._threads:
                raise ThreadError(
                    f"no thread can be started: {error}; end other programs of this user, or raise "
                    "the limit of processes (`ulimit -u`, a container's --pids-limit)"
                ) from error
