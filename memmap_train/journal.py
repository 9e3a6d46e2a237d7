"""A conversion's workplace inside the dataset's folder: lock, journal, half-written shards.

`DATASET/.convert/` exists while a conversion is unfinished. The journal's first line says what is
being converted, every further line is a finished era, written after its folder was published. So a
rerun knows what it may keep, and whatever isn't in the journal is thrown away.
"""

import contextlib
import json
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import IO, Any

from .errors import ConversionError
from .manifest import FILE_NAME, ShardEntry, parse_shard_entry, sync_directory
from .schema import era_folder

WORKPLACE = ".convert"


class Journal:
    """The workplace of one conversion, locked for this process.

    Parameters
    ----------
    directory : Path
        The dataset's folder; made if absent.
    job : dict
        What is converted, JSON-ready: a rerun with an equal job carries on, another starts anew.

    Attributes
    ----------
    finished : dict of era to (ShardEntry, list of str)
        Eras published by an earlier run, with the targets equal to the alias in them.

    Raises
    ------
    ConversionError
        Another process is converting into this folder.
    """

    def __init__(self, directory: Path, job: dict[str, Any]) -> None:
        self.directory = directory
        self._folder = directory / WORKPLACE
        self._partial = self._folder / "partial"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self._folder / "lock", directory)
        self._write_lock = threading.Lock()
        self._path = self._folder / "journal.jsonl"
        self.finished = self._read(job)
        self._clean()
        # Written anew: a killed run may have left half a line at the end.
        fresh = self._folder / "journal.partial"
        self._file = open(fresh, "w", encoding="utf-8", newline="\n")  # noqa: SIM115
        self._append(job)
        for entry, equal_targets in self.finished.values():
            self._append({"shard": entry.to_json(), "equal_targets": equal_targets})
        os.replace(fresh, self._path)
        sync_directory(self._folder)

    @property
    def scratch(self) -> Path:
        """A folder for temporary files."""
        return self._folder

    def begin(self, era: str) -> Path:
        """Return an empty folder in which an era's files are to be written."""
        folder = self._partial / era_folder(era)
        folder.mkdir(parents=True)
        return folder

    def publish(self, entry: ShardEntry, equal_targets: list[str]) -> None:
        """Move a finished era's folder into place, then note it. Thread-safe."""
        folder = self._partial / entry.folder
        sync_directory(folder)
        os.rename(folder, self.directory / entry.folder)
        sync_directory(self.directory)
        self._append({"shard": entry.to_json(), "equal_targets": equal_targets})

    def close(self, *, done: bool) -> None:
        """Let go of the folder; remove the workplace if the conversion is done."""
        self._file.close()
        if done:
            shutil.rmtree(self._folder)
        else:
            shutil.rmtree(self._partial, ignore_errors=True)
        self._lock.close()

    def _append(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, sort_keys=True) + "\n"
        with self._write_lock:
            self._file.write(text)
            self._file.flush()
            os.fsync(self._file.fileno())

    def _read(self, job: dict[str, Any]) -> dict[str, tuple[ShardEntry, list[str]]]:
        """Return the eras that an interrupted run of the same job has published."""
        try:
            lines = self._path.read_text("utf-8").split("\n")
        except FileNotFoundError:
            return {}
        finished = {}
        for number, line in enumerate(lines[:-1]):  # the last has no end: cut short, or empty
            try:
                data = json.loads(line)
            except ValueError:
                break
            if number == 0:
                if data != json.loads(json.dumps(job)):
                    return {}
                continue
            entry = parse_shard_entry(data["shard"])
            if self._is_whole(entry):
                finished[entry.era] = (entry, [str(name) for name in data["equal_targets"]])
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
        for name in os.listdir(self.directory):
            if name.startswith("era-") and name not in keep:
                shutil.rmtree(self.directory / name)


def is_ours(directory: Path) -> bool:
    """Tell whether a folder holds a dataset of ours, whole or unfinished, and nothing else."""
    names = {name for name in os.listdir(directory) if not name.startswith(".")}
    begun = (directory / WORKPLACE / "journal.jsonl").is_file()
    finished = False
    with contextlib.suppress(OSError, ValueError):
        data = json.loads((directory / FILE_NAME).read_bytes())
        finished = isinstance(data, dict) and data.get("format") == "memmap-train"
    return (begun or finished) and all(
        name == FILE_NAME or name.startswith("era-") for name in names
    )


def remove_dataset(directory: Path) -> None:
    """Remove what is ours from a folder, the manifest first: from then on there is no dataset."""
    (directory / FILE_NAME).unlink(missing_ok=True)
    sync_directory(directory)
    for name in os.listdir(directory):
        if name.startswith("era-") or name == WORKPLACE:
            shutil.rmtree(directory / name)


def _lock(path: Path, directory: Path) -> IO[bytes]:
    """Lock a file for as long as this process lives, or refuse."""
    file = open(path, "ab")  # noqa: SIM115
    try:
        if sys.platform == "win32":
            import msvcrt  # Windows only

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # POSIX only

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ConversionError(
            f"{directory}: another process is converting into this folder; wait for it to end, "
            "or choose another --out"
        ) from None
    return file
