"""Dropping a dataset's files from the page cache before something is measured."""

import os
from collections.abc import Sequence
from pathlib import Path

from memmap_train.loading.page_cache import drop, resident_bytes

_MAX_RESIDENT = 0.01  # of the files, for a read to count as cold


def evict(files: Sequence[Path]) -> None:
    """Drop files from the page cache, and make sure that they are gone."""
    for file in files:
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())  # what isn't on disk yet can't be dropped
    drop(files)
    share = sum(resident_bytes(file) or 0 for file in files) / sum(
        file.stat().st_size for file in files
    )
    if share > _MAX_RESIDENT:
        raise SystemExit(f"error: {share:.0%} of the files stay in the page cache: no cold reads")
