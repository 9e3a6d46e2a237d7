"""A conversion's workplace inside the dataset's folder: lock, journal, half-written shards.

`DATASET/.convert/` exists while a conversion is unfinished. The journal's first line says what is
being converted, every further line is a finished era, written after its folder was published. So a
rerun knows what it may keep, and whatever isn't in the journal is thrown away; so is an era whose
line is damaged, for each line says what it must hash to.
"""

import contextlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from .durable import sync_directory, sync_file
from .errors import ConversionError
from .junk import discard, discard_folder, is_dropped, move_files, names_in
from .locks import Lock, LockHeldError
from .machine import nearest_existing
from .manifest import FILE_NAME, ShardEntry, parse_shard_entry
from .schema import era_folder
from .shard import ARRAY_NAMES

WORKPLACE, LOCK, PARTIAL = ".convert", "lock", "partial"
_KNOWN_NAMES = (LOCK, PARTIAL, "journal", "staged")  # one of them is in every workplace
ARRAY_FILES = frozenset(f"{array}.npy" for array in ARRAY_NAMES)


class ChangedEraError(Exception):
    """An array of an old era isn't what it was; for `conversion` to explain."""

    def __init__(self, era: str, array: str) -> None:
        super().__init__(era, array)
        self.era, self.array = era, array
        self.counts: npt.NDArray[np.int32] | None = None  # of its features, as they are now


class FolderLock:
    """Makes this process the only one that converts into a folder, for as long as it lives.

    Parameters
    ----------
    directory : Path
        The dataset's folder; made if absent, with its workplace.

    Raises
    ------
    ConversionError
        Another process is converting into this folder.
    """

    def __init__(self, directory: Path) -> None:
        self._workplace = directory / WORKPLACE
        existing = nearest_existing(directory)
        os.makedirs(directory, exist_ok=True)
        _sync_parents(directory, existing)
        try:
            self._lock = Lock(self._workplace / LOCK)
        except LockHeldError as held:
            raise ConversionError(
                f"{directory}: another process is converting into this folder{held.holder}; wait "
                f"for it to end{held.advice}, or choose another --out"
            ) from None

    def clear(self) -> None:
        """Remove all that lies in the workplace but the lock."""
        for path in self._workplace.iterdir():
            if path.name != LOCK:
                discard(path)

    def release(self, *, done: bool) -> None:
        """Let others go on; remove the workplace if there is nothing left to do in it."""
        try:
            if done:
                self.clear()
        finally:
            self._lock.release()
        if done:
            with contextlib.suppress(OSError):  # the next process has its lock in it
                self._workplace.rmdir()


class Journal:
    """What a conversion has finished, and where it writes what it hasn't.

    Parameters
    ----------
    directory : Path
        The dataset's folder, locked by this process.
    job : dict
        What is converted, JSON-ready: a rerun with an equal job carries on, another starts anew.

    Attributes
    ----------
    finished : dict of era to (ShardEntry, list of str)
        Eras published by an earlier run, with the targets equal to the alias in them.
    """

    def __init__(self, directory: Path, job: dict[str, Any]) -> None:
        self.directory = directory
        self._folder = directory / WORKPLACE
        self._partial = self._folder / PARTIAL
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write_lock = threading.Lock()
        self._path = self._folder / "journal.jsonl"
        self.finished = self._read(job)
        self._clean()
        # Written anew: a killed run may have left half a line at the end.
        fresh = self._folder / "journal.partial"
        kept = [_shard_line(*finished) for finished in self.finished.values()]
        with open(fresh, "w", encoding="utf-8", newline="\n") as file:
            file.writelines([_line(job), *kept])
            file.flush()
            sync_file(file.fileno())
        os.replace(fresh, self._path)
        sync_directory(self._folder)
        self._file = open(self._path, "a", encoding="utf-8", newline="\n")  # noqa: SIM115

    @property
    def scratch(self) -> Path:
        """A folder for temporary files."""
        return self._folder

    def begin(self, era: str) -> Path:
        """Return an empty folder in which an era's files are to be written."""
        folder = self._partial / era_folder(era)
        folder.mkdir(parents=True)
        return folder

    def only_digested(self, era: str) -> frozenset[str]:
        """Return the arrays of an era that are compared by their digest, not written."""
        return frozenset()

    def skips(self, era: str) -> frozenset[str]:
        """Return the arrays of an era that needn't be made at all."""
        return frozenset()

    def id_width(self, era: str, longest: int) -> int:
        """Return the bytes that an era's ids take, where the longest of all eras has so many."""
        return longest

    def publish(self, entry: ShardEntry, equal_targets: list[str]) -> ShardEntry:
        """Move a finished era's folder into place, then note it; return its entry. Thread-safe."""
        self._move(entry.folder, self.directory)
        self._note(entry, equal_targets)
        return entry

    def _move(self, folder: str, to: Path) -> None:
        sync_directory(self._partial / folder)
        move_shard(self._partial / folder, to)
        sync_directory(to)

    def _note(self, entry: ShardEntry, equal_targets: list[str]) -> None:
        with self._write_lock:
            self._file.write(_shard_line(entry, equal_targets))
            self._file.flush()
            sync_file(self._file.fileno())

    def close(self) -> None:
        """Close the journal and remove half-written shards."""
        try:
            self._file.close()
        finally:  # a line that a full disk has refused is refused again
            shutil.rmtree(self._partial, ignore_errors=True)

    def _read(self, job: dict[str, Any]) -> dict[str, tuple[ShardEntry, list[str]]]:
        """Return the eras that an interrupted run of the same job has published."""
        try:
            first, *lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        if _content(first) != json.loads(json.dumps(job)):
            return {}
        finished = {}
        for line in lines:
            data = _content(line)
            if data is None:
                continue  # cut short, empty or damaged: the era is made again
            entry = parse_shard_entry(data["shard"])
            if self._is_whole(entry):
                finished[entry.era] = (entry, data["equal_targets"])
        return finished

    def _is_whole(self, entry: ShardEntry) -> bool:
        folder = self.directory / entry.folder
        try:
            return all(
                os.stat(folder / f"{array}.npy").st_size == file.bytes
                for array, file in entry.files.items()
            )
        except OSError:
            return False

    def _clean(self) -> None:
        """Remove half-written shards, and published ones that the journal doesn't know."""
        shutil.rmtree(self._partial, ignore_errors=True)
        keep = {entry.folder for entry, _ in self.finished.values()}
        for folder in self.directory.iterdir():
            if _is_shard(folder) and folder.name not in keep:
                discard_folder(folder, ARRAY_FILES)


def _shard_line(entry: ShardEntry, equal_targets: list[str]) -> str:
    return _line({"shard": entry.to_json(), "equal_targets": equal_targets})


def _line(data: dict[str, Any]) -> str:
    """Return a line of JSON that tells whether it is whole."""
    return json.dumps({**data, "check": _check(data)}, sort_keys=True) + "\n"


def _content(line: bytes) -> dict[str, Any] | None:
    """Return what stands in a line that `_line` has made; None if it is damaged."""
    try:
        data = json.loads(line)
        check = data.pop("check")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return data if check == _check(data) else None


def _check(data: dict[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(data, sort_keys=True).encode())


def is_ours(directory: Path) -> bool:
    """Tell whether a folder holds a dataset of ours, whole or unfinished, and nothing else."""
    begun = _is_workplace(directory / WORKPLACE)
    if not begun and os.path.lexists(directory / WORKPLACE):
        return False
    finished = False
    if (directory / FILE_NAME).is_file():
        with contextlib.suppress(FileNotFoundError, ValueError, RecursionError):
            data = json.loads((directory / FILE_NAME).read_bytes())
            finished = isinstance(data, dict) and data.get("format") == "memmap-train"
    return (begun or finished) and all(
        name == FILE_NAME or _is_shard(directory / name) for name in names_in(directory)
    )


def _sync_parents(directory: Path, existing: Path) -> None:
    """Make a new folder's name durable, and those of new ones above it."""
    for folder in directory.parents:
        if folder == existing or existing in folder.parents:
            sync_directory(folder)


def _is_workplace(folder: Path) -> bool:
    """Tell whether a folder is one that a conversion has made: it may be cleared."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    names = [name for name in os.listdir(folder) if not is_dropped(name)]
    # An empty one is left where a conversion ends between its lock and its journal.
    return not names or any(name.startswith(_KNOWN_NAMES) for name in names)


def _is_shard(folder: Path) -> bool:
    return (
        folder.name.startswith("era-")
        and folder.is_dir()
        and ARRAY_FILES.issuperset(names_in(folder))
    )


def remove_dataset(directory: Path) -> None:
    """Remove a dataset's files, the manifest first: from then on there is no dataset."""
    (directory / FILE_NAME).unlink(missing_ok=True)
    sync_directory(directory)
    for folder in directory.iterdir():
        if _is_shard(folder):
            discard_folder(folder, ARRAY_FILES)


def move_shard(folder: Path, to: Path) -> None:
    """Move an era's folder into another one; its files, if there is a folder of that name."""
    move_files(folder, to / folder.name)
    if folder.exists():
        sync_directory(to / folder.name)
        discard_folder(folder, ARRAY_FILES)
