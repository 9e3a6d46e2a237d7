"""The memory that is available to this process and not reserved yet.

Memory counts as used only once it is written to. So memory for buffers that are planned but not
made yet is reserved here: two sets of batches in one process (for training and for validation)
share the memory instead of both planning with all of it.
"""

import weakref
from collections.abc import Callable

from .resources import available_memory


class Reservation:
    """Bytes that are planned and not taken yet. It ends when the last reference to it is gone.

    Parameters
    ----------
    n_bytes : int
    """

    __slots__ = ("__weakref__", "_n_bytes")

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = n_bytes

    @property
    def n_bytes(self) -> int:
        """The bytes that are still to be taken."""
        return max(0, self._n_bytes)

    def take(self, n_bytes: int) -> None:
        """Note that bytes were allocated: from here on the system counts them as used."""
        self._n_bytes -= n_bytes


class MemoryBudget:
    """The available memory without what is reserved; thread-safe.

    Parameters
    ----------
    measure : callable() -> int, optional
        Returns the bytes of memory available now. By default those that the system and the limits
        of this process leave.

    >>> budget = MemoryBudget(lambda: 1000)
    >>> reserved = budget.reserve(300)
    >>> reserved.take(100)  # `measure` of a real system would now return 900
    >>> budget.available()
    800
    """

    def __init__(self, measure: Callable[[], int] = available_memory) -> None:
        self._measure = measure
        self._reservations: weakref.WeakSet[Reservation] = weakref.WeakSet()

    def available(self) -> int:
        """Return the bytes that are available and not reserved; at least 0."""
        reserved = sum(reservation.n_bytes for reservation in list(self._reservations))
        return max(0, self._measure() - reserved)

    def reserve(self, n_bytes: int) -> Reservation:
        """Return a reservation, which lasts for as long as the caller keeps it."""
        reservation = Reservation(n_bytes)
        self._reservations.add(reservation)
        return reservation


PROCESS_MEMORY = MemoryBudget()
"""The budget of this process: used wherever no other one is given."""
