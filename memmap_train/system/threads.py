"""Pools of threads that go on with fewer where the system starts no more.

A limit of processes (`ulimit -u`, a container's or a batch system's) counts threads too. The first
thread of a pool is started with the pool, so that whatever lacks it fails before work has begun.
Imports nothing of the package but errors and signals.
"""

from concurrent.futures import ThreadPoolExecutor

from ..errors import ThreadError
from .signals import held_back


class ThreadPool(ThreadPoolExecutor):
    """An executor of at least one thread.

    Parameters
    ----------
    max_workers : int
        The most threads; fewer where the system starts no more.
    thread_name_prefix : str

    Raises
    ------
    ThreadError
        The system starts none.
    """

    def __init__(self, max_workers: int, thread_name_prefix: str = "") -> None:
        super().__init__(max_workers, thread_name_prefix)
        self.submit(int)

    def _adjust_thread_count(self) -> None:
        # Called for each task that no idle thread waits for, once the task is in the queue.
        try:
            # Where Ctrl-C hits the start of a thread, Python leaves that thread without a life of
            # its own: it is never joined, or waited for in vain.
            with held_back():
                super()._adjust_thread_count()
        except RuntimeError as error:
            if not self._threads:
                raise ThreadError(
                    f"no thread can be started: {error}; end other programs of this user, or raise "
                    "the limit of processes (`ulimit -u`, a container's --pids-limit)"
                ) from error
