"""Values where a configuration leaves keys open, and where a run of an earlier version has none."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

VALUES_BEFORE: Mapping[str, Any] = MappingProxyType({"additive": "none", "schedule": "constant"})
"""What runs of earlier versions did where they have no such key, unless it is the default."""

_STEPS_PER_EPOCH = 1024
_MIN_BATCH_SIZE = 256
MAX_BATCH_SIZE = 4096
"""Rows of a batch where `batch_size` is "auto" and training rows are many, or not known."""


def suited_batch_size(n_rows: int) -> int:
    """Return the rows of a batch for so many training rows, where `batch_size` is "auto".

    What a net learns depends on the number of its steps: with the same learning rate, more rows
    make larger batches, not more steps.

    Returns
    -------
    int
        The largest power of two, from 256 to 4,096, that makes 1,024 batches of the rows.

    Examples
    --------
    >>> [suited_batch_size(n_rows) for n_rows in (10_000, 458_000, 600_000, 5_400_000)]
    [256, 256, 512, 4096]
    """
    suited = 1 << (max(n_rows // _STEPS_PER_EPOCH, 1).bit_length() - 1)
    return min(max(suited, _MIN_BATCH_SIZE), MAX_BATCH_SIZE)
