"""Pools of threads that continue with fewer threads if the system starts no more.

A limit of processes (`ulimit -u`, a container's or a batch system's) counts threads too. The first
thread of a pool is started with the pool, so that a lack of threads is found before work begins.
"""

from concurrent.futures import ThreadPoolExecutor

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
