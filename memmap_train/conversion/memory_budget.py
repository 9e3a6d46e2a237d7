"""How much memory a conversion may take, and how much of it is left for its buffers.

Takes a number of megabytes, or none, and what a conversion needs; returns the bytes of buffers,
or a ConversionError. Only anonymous memory counts: the kernel can reclaim the page cache.
"""

from collections.abc import Callable

from ..errors import ConversionError
from ..system.resources import available_memory

OWN_BYTES = 150_000_000
"""Bytes that the interpreter, numpy and pyarrow take, without a conversion's buffers; measured."""
OWN_METADATA_BYTES = 50_000_000
"""The part of these for the metadata of open parquet files: one of v5.3 takes 40 MB."""
MIN_MEMORY = 512_000_000
"""Bytes of a conversion; with less, a row group of a million rows decodes too slowly."""
_MAX_DEFAULT_MEMORY = 2_000_000_000  # bytes: more makes nothing faster


class ConversionBudget:
    """The memory of one conversion.

    Parameters
    ----------
    memory : int or None
        MB (10^6 bytes) that the process may take. None stands for the default, which grows to what
        the conversion needs as long as that much is available.
    available : callable() -> int, optional
        Returns the available bytes; by default those of this machine.

    Raises
    ------
    ConversionError
        `memory` is less than `MIN_MEMORY`.
    """

    def __init__(
        self, memory: int | None = None, *, available: Callable[[], int] | None = None
    ) -> None:
        self._memory = memory
        self._available = available_memory if available is None else available
        self._metadata_bytes = 0  # more than `OWN_METADATA_BYTES`
        if memory is None:
            self._limit = default_budget(self._available()) + OWN_BYTES
        else:
            self._limit = memory * 1_000_000
            if self._limit < MIN_MEMORY:
                raise ConversionError(
                    f"memory: expected {MIN_MEMORY // 1_000_000} MB or more, found {memory}"
                )

    @property
    def n_bytes(self) -> int:
        """Bytes that buffers may take."""
        return self._limit - OWN_BYTES - self._metadata_bytes

    def reserve_metadata(self, n_bytes: int) -> None:
        """Reserve memory for the metadata of open files.

        Raises
        ------
        ConversionError
            Too little is left for buffers.
        """
        self._metadata_bytes = max(0, n_bytes - OWN_METADATA_BYTES)
        self.require(MIN_MEMORY - OWN_BYTES)

    def require(self, n_bytes: int) -> None:
        """Raise an error if buffers need more than the budget; a default budget grows.

        Raises
        ------
        ConversionError
            The given memory is less, or less is available.
        """
        needed = OWN_BYTES + self._metadata_bytes + n_bytes
        if needed <= self._limit:
            return
        available = self._available()
        if self._memory is not None or needed > available:
            mb = available // 1_000_000
            found = f"{mb} available" if self._memory is None else f"{self._memory}"
            raise ConversionError(
                f"memory: expected {-(-needed // 1_000_000)} MB or more for row groups of this "
                f"size and number, found {found}"
            )
        self._limit = needed


def default_budget(available: int) -> int:
    """Return the bytes of buffers of a conversion that isn't given its memory.

    Parameters
    ----------
    available : int
        Available bytes.

    Examples
    --------
    >>> default_budget(4_000_000_000)
    850000000
    """
    return max(MIN_MEMORY, min(available // 4, _MAX_DEFAULT_MEMORY)) - OWN_BYTES
