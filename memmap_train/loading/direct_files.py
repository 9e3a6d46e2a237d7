"""Feature files that are open for direct I/O, within the limit of open files of the process."""

import weakref
from collections import OrderedDict
from collections.abc import Callable

from ..dataset.dataset import Dataset
from ..dataset.direct_array import DirectArray
from ..system.resources import raise_open_file_limit
from ..system.thread_lock import ThreadLock

_MIN_FILES = 8  # however few may be open


class OpenFileBudget:
    """The number of files that several `DirectFiles` may have open together; thread-safe.

    Descriptors belong to the process, and half of them are left to everything else in it. Whichever
    `DirectFiles` has most files open closes one first.

    Parameters
    ----------
    limit : callable() -> int, optional
        Returns the number of files that the process may have open; by default it raises the soft
        limit as far as the system allows.
    """

    def __init__(self, limit: Callable[[], int] = raise_open_file_limit) -> None:
        self._limit = limit
        self._members: weakref.WeakSet[DirectFiles] = weakref.WeakSet()
        self.lock = ThreadLock()

    def add(self, files: "DirectFiles") -> int:
        """Let files share this budget; return the most that may be open together."""
        with self.lock:
            self._members.add(files)
        return max(_MIN_FILES, self._limit() // 2)

    def make_space(self, most: int) -> None:
        """Close files until one more may be opened; to be called with the lock held."""
        members = list(self._members)
        n_open = sum(files.n_open for files in members)
        while n_open >= most:
            max(members, key=lambda files: files.n_open).close_oldest()
            n_open -= 1


PROCESS_FILES = OpenFileBudget()
"""The budget of this process: used wherever no other one is given."""


class DirectFiles:
    """The features of a dataset's eras, opened when they are first needed; thread-safe.

    Parameters
    ----------
    dataset : Dataset
    budget : OpenFileBudget, optional
    """

    def __init__(self, dataset: Dataset, budget: OpenFileBudget = PROCESS_FILES) -> None:
        self._dataset, self._budget = dataset, budget
        self._open: OrderedDict[int, DirectArray] = OrderedDict()
        self._most = budget.add(self)

    @property
    def n_open(self) -> int:
        """The number of files that are open."""
        return len(self._open)

    def get(self, era: int) -> DirectArray:
        """Return the features of the era at a position."""
        with self._budget.lock:
            found = self._open.get(era)
            if found is not None:
                self._open.move_to_end(era)
                return found
            self._budget.make_space(self._most)
        opened = self._dataset[self._dataset.eras[era]].direct_features()
        with self._budget.lock:
            self._open[era] = opened
        return opened

    def close_oldest(self) -> None:
        """Close the file that was used longest ago."""
        self._open.popitem(last=False)
