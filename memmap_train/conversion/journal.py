"""A conversion's workplace inside the dataset's folder: lock, journal, and shards until the end.

`DATASET/.convert/` exists while a conversion is unfinished. The journal's first line says what is
being converted, every further line is a finished era, written after its folder was published. So a
rerun knows what it may keep, and whatever isn't in the journal is thrown away; so is an era whose
line is damaged, for each line says what it must hash to.

Finished eras wait in the workplace until everything is there. A dataset that the folder holds
meanwhile can be read, and stays if the conversion fails. `commit` then moves the manifest of the
former dataset away (from here on there is no dataset), renames what is staged into place, removes
what the new one doesn't have, and the new manifest comes last. A rerun finishes what was begun.
Files that stay are never touched, and files are replaced by a rename, so a process that has mapped
them goes on reading the old bytes.
"""

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from ..dataset.array_file import ARRAY_NAMES
from ..dataset.eras import era_folder
from ..dataset.manifest import (
    FILE_NAME,
    WORKPLACE,
    Manifest,
    ShardEntry,
    has_manifest,
    parse_shard_entry,
    read_manifest,
    write_manifest,
)
from ..errors import ConversionError, ManifestError, listed
from ..system.durable import sync_directory, sync_file
from ..system.junk import discard, discard_folder, is_dropped, names_in
from ..system.locks import Lock, LockHeldError
from ..system.resources import nearest_existing

LOCK, PARTIAL, STAGED = "lock", "partial", "staged"
_KNOWN_NAMES = (LOCK, PARTIAL, "journal", STAGED)  # one of them is in every workplace
_OLD = "old-manifest.json"
_ARRAY_FILES = frozenset(f"{array}.npy" for array in ARRAY_NAMES)


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
        What is converted, JSON-ready: a rerun with an equal job resumes, another starts again.

    Attributes
    ----------
    finished : dict of era to (ShardEntry, list of str)
        Eras published by an earlier run, with the targets equal to the alias in them.
    """

    def __init__(self, directory: Path, job: dict[str, Any]) -> None:
        self.directory = directory
        self._folder = directory / WORKPLACE
        self._partial = self._folder / PARTIAL
        self._staged = self._folder / STAGED
        self._staged.mkdir(parents=True, exist_ok=True)
        self._write_lock = threading.Lock()
        self._path = self._folder / "journal.jsonl"
        self._job = job
        self._open()

    def restart(self) -> None:
        """Forget all finished eras and remove their shards."""
        self.close()
        self._path.unlink()
        self._open()

    def _open(self) -> None:
        """Read which eras are finished, remove what isn't, and open the journal to append to it."""
        self.finished = self._read(self._job)
        self._clean()
        # Written again: a killed run may have left half a line at the end.
        fresh = self._folder / "journal.partial"
        kept = [_shard_line(*finished) for finished in self.finished.values()]
        with open(fresh, "w", encoding="utf-8", newline="\n") as file:
            file.writelines([_line(self._job), *kept])
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
        """Stage a finished era's folder, then note it; return its entry. Thread-safe."""
        sync_directory(self._partial / entry.folder)
        os.rename(self._partial / entry.folder, self._staged / entry.folder)
        sync_directory(self._staged)
        self._note(entry, equal_targets)
        return entry

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

    def _staged_arrays(self, entry: ShardEntry) -> Iterable[str]:
        """Return the arrays of a finished era that are staged."""
        return entry.files

    def _is_whole(self, entry: ShardEntry) -> bool:
        folder = self._staged / entry.folder
        return folder.is_dir() and all(
            _has_size(folder / f"{array}.npy", entry.files[array].bytes)
            for array in self._staged_arrays(entry)
        )

    def _clean(self) -> None:
        """Remove half-written shards, unknown staged ones, and those of a deleted dataset."""
        # From here on, what is staged isn't what an earlier run was about to commit.
        (self._folder / FILE_NAME).unlink(missing_ok=True)
        shutil.rmtree(self._partial, ignore_errors=True)
        keep = {entry.folder for entry, _ in self.finished.values()}
        for folder in self._staged.iterdir():
            if folder.name not in keep:
                discard(folder)
        if not (self.directory / FILE_NAME).exists():  # shards of no dataset
            _remove_shards(self.directory, os.listdir(self.directory))


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
    names = names_in(directory)
    if FILE_NAME in names and not has_manifest(directory):
        return False
    begun = _is_workplace(directory / WORKPLACE)
    if not begun and (FILE_NAME not in names or os.path.lexists(directory / WORKPLACE)):
        return False
    return all(name == FILE_NAME or _is_shard(directory / name) for name in names)


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
        and _ARRAY_FILES.issuperset(names_in(folder))
    )


def commit(directory: Path, manifest: Manifest) -> None:
    """Take what is staged into place: from the first rename on, a rerun finishes it.

    Raises
    ------
    ConversionError
        Folders of the dataset that is there are write-protected; it stays as it is.
    """
    workplace = directory / WORKPLACE
    _check_writable(directory, manifest)
    write_manifest(manifest, workplace)
    former = directory / FILE_NAME
    if former.is_symlink() and former.exists():  # moved away, a relative link would lead nowhere
        shutil.copyfile(former, workplace / _OLD)
        former.unlink()
    elif former.exists():
        os.replace(former, workplace / _OLD)  # one of an earlier commit may be there
    sync_directory(workplace)
    sync_directory(directory)
    finish_commit(directory)


def _check_writable(directory: Path, manifest: Manifest) -> None:
    """Refuse to replace or remove what lies in write-protected folders, such as another user's.

    Without this check, the commit would stop between the old dataset and the new one.
    """
    removed = _former_shards(directory, directory, FILE_NAME)
    removed.difference_update(entry.folder for entry in manifest.shards)
    staged = (directory / WORKPLACE / STAGED).iterdir()
    replaced = {folder.name for folder in staged if any(folder.iterdir())}
    changed = [directory / name for name in sorted({*removed, *replaced})]
    effective = os.access in os.supports_effective_ids
    protected = [
        folder.name
        for folder in changed
        if folder.is_dir()
        and not folder.is_symlink()
        and not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective)
    ]
    if protected:
        raise ConversionError(
            f"{directory}: expected folders of eras whose files can be replaced, found "
            f"{len(protected):,} that are write-protected: {listed(protected, 3)}; the dataset "
            "stays as it is: allow writing, and run the same command again, which keeps what it "
            "has converted"
        )


def is_begun(directory: Path) -> bool:
    """Tell whether a commit was interrupted between the old manifest and the new one.

    Nothing is finished of which a file is gone meanwhile.
    """
    workplace = directory / WORKPLACE
    if (directory / FILE_NAME).exists() or not (workplace / FILE_NAME).exists():
        return False
    try:
        manifest = read_manifest(workplace)
    except ManifestError:
        return False
    return all(
        any(
            _has_size(folder / entry.folder / f"{array}.npy", file.bytes)
            for folder in (workplace / STAGED, directory)
        )
        for entry in manifest.shards
        for array, file in entry.files.items()
    )


def finish_commit(directory: Path) -> None:
    """Rename what is staged into place, and remove what the new dataset doesn't have.

    The new manifest comes last.
    """
    workplace = directory / WORKPLACE
    arrays = {entry.folder: entry.files.keys() for entry in read_manifest(workplace).shards}
    for name in arrays:
        staged, target = workplace / STAGED / name, directory / name
        if not staged.is_dir():
            continue
        if target.is_symlink():  # to a folder elsewhere, which stays as it is
            target.unlink()
        if not target.is_dir():
            os.rename(staged, target)
            continue
        for array in ARRAY_NAMES:
            file = f"{array}.npy"
            if (staged / file).exists():
                _replace(staged / file, target / file)
            elif array not in arrays[name]:
                (target / file).unlink(missing_ok=True)
        sync_directory(target)
        shutil.rmtree(staged)
    _remove_shards(directory, _former_shards(directory, workplace, _OLD) - arrays.keys())
    sync_directory(directory)
    os.replace(workplace / FILE_NAME, directory / FILE_NAME)
    sync_directory(directory)


def _replace(file: Path, target: Path) -> None:
    try:
        os.replace(file, target)
    except PermissionError as error:
        raise ConversionError(
            f"{target}: can't be replaced: {error.strerror}: on Windows because another process "
            "reads it, a training for example; elsewhere because the folder is write-protected; "
            "nothing is lost: end that process, or allow writing, and run the same command again, "
            "which finishes what was begun"
        ) from None


def _has_size(path: Path, n_bytes: int) -> bool:
    try:
        return os.stat(path).st_size == n_bytes
    except OSError:
        return False


def _former_shards(directory: Path, folder: Path, name: str) -> set[str]:
    """Return the folders of the dataset that is replaced, by its manifest; none without one.

    A copy of an era that the user keeps there, `era-0001-mine`, isn't among them.
    """
    if not (folder / name).exists():
        return set()
    try:
        return {entry.folder for entry in read_manifest(folder, name).shards}
    except ManifestError:  # damaged: it can't be told
        return set(os.listdir(directory))


def _remove_shards(directory: Path, names: Iterable[str]) -> None:
    """Remove those of some folders that are shards; of a link that stands for one, the link."""
    for name in names:
        if _is_shard(directory / name):
            discard_folder(directory / name, _ARRAY_FILES)
