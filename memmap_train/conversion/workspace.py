"""The workspace of an unfinished conversion, and the files that a dataset's folder may hold.

`DATASET/.convert/` exists while a conversion is unfinished. It holds the lock, the journal, the era
that is being written, and the finished eras until `commit` moves them into place. Here it is
locked and cleared, and here is decided whether a folder holds a dataset and nothing else, so that
it may be replaced.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..dataset.format import ARRAY_NAMES, FILE_NAME, WORKSPACE
from ..dataset.manifest_file import has_manifest
from ..errors import ConversionError
from ..system.durable import sync_directory
from ..system.junk import discard, discard_folder, is_dropped, names_in
from ..system.locks import Lock, LockHeldError
from ..system.resources import nearest_existing

LOCK, PARTIAL, STAGED = "lock", "partial", "staged"
_KNOWN_NAMES = (LOCK, PARTIAL, "journal", STAGED)  # one of them is in every workspace
_ARRAY_FILES = frozenset(f"{array}.npy" for array in ARRAY_NAMES)


@dataclass(frozen=True, slots=True)
class Workspace:
    """The paths of a conversion's workspace.

    Attributes
    ----------
    directory : Path
        The dataset's folder.
    """

    directory: Path

    @property
    def path(self) -> Path:
        """The workspace's folder."""
        return self.directory / WORKSPACE

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self.path / LOCK

    @property
    def journal(self) -> Path:
        """The journal of finished eras."""
        return self.path / "journal.jsonl"

    @property
    def partial(self) -> Path:
        """The folder of eras that are being written."""
        return self.path / PARTIAL

    @property
    def staged(self) -> Path:
        """The folder of finished eras."""
        return self.path / STAGED

    def clear(self) -> None:
        """Remove everything but the lock: nothing is left to resume."""
        for path in self.path.iterdir():
            if path.name != LOCK:
                discard(path)


@contextmanager
def acquire_workspace(directory: Path) -> Iterator[Workspace]:
    """Make this process the only one that converts into a folder, while the block runs.

    The folder is made if it is absent. A workspace that is empty at the end is removed; one that is
    not is what a rerun resumes.

    Parameters
    ----------
    directory : Path
        The dataset's folder.

    Raises
    ------
    ConversionError
        Another process is converting into this folder.
    """
    workspace = Workspace(directory)
    existing = nearest_existing(directory)
    os.makedirs(directory, exist_ok=True)
    _sync_new_folders(directory, existing)
    try:
        lock = Lock(workspace.lock)
    except LockHeldError as held:
        raise ConversionError(
            f"{directory}: another process is converting into this folder{held.holder}; wait "
            f"for it to end{held.advice}, or choose another --out"
        ) from None
    try:
        yield workspace
    finally:
        lock.release()
        with contextlib.suppress(OSError):  # it isn't empty, or the next process has its lock in it
            workspace.path.rmdir()


def remove_leftovers(directory: Path) -> None:
    """Remove the workspace of a conversion that was killed after its commit."""
    if (directory / WORKSPACE).exists():
        with acquire_workspace(directory) as workspace:
            workspace.clear()


def is_dataset_dir(directory: Path) -> bool:
    """Return True if a folder holds a dataset, complete or unfinished, and nothing else."""
    names = names_in(directory)
    if FILE_NAME in names and not has_manifest(directory):
        return False
    is_begun = _is_workspace(directory / WORKSPACE)
    if not is_begun and (FILE_NAME not in names or os.path.lexists(directory / WORKSPACE)):
        return False
    return all(name == FILE_NAME or _is_shard_dir(directory / name) for name in names)


def remove_shards(directory: Path, names: Iterable[str]) -> None:
    """Remove the folders of these names that are shards; of a linked shard, only the link."""
    for name in names:
        if _is_shard_dir(directory / name):
            discard_folder(directory / name, _ARRAY_FILES)


def has_size(path: Path, n_bytes: int) -> bool:
    """Return True if a file exists and has this size."""
    try:
        return os.stat(path).st_size == n_bytes
    except OSError:
        return False


def _sync_new_folders(directory: Path, existing: Path) -> None:
    """Make the name of a new folder durable, and the names of new folders above it."""
    for folder in directory.parents:
        if folder == existing or existing in folder.parents:
            sync_directory(folder)


def _is_workspace(folder: Path) -> bool:
    """Return True if a folder was made by a conversion, so that it may be cleared."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    names = [name for name in os.listdir(folder) if not is_dropped(name)]
    # An empty one is left by a conversion that was killed between its lock and its journal.
    return not names or any(name.startswith(_KNOWN_NAMES) for name in names)


def _is_shard_dir(folder: Path) -> bool:
    return (
        folder.name.startswith("era-")
        and folder.is_dir()
        and _ARRAY_FILES.issuperset(names_in(folder))
    )
