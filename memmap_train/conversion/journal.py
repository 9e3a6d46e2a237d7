"""The journal of a conversion: which eras are finished, so that a rerun can keep them.

The journal's first line identifies what is converted, every further line is a finished era, written
after its folder was staged. Eras that aren't in the journal are thrown away by a rerun, and so is
an era whose line is damaged: each line holds its own checksum. Finished eras stay in the workspace
until `commit`.
"""

import json
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from ..dataset.eras import era_folder
from ..dataset.format import FILE_NAME
from ..dataset.manifest import ShardEntry
from ..dataset.manifest_parser import parse_shard_entry
from ..system.durable import sync_directory, sync_file
from ..system.junk import discard
from .era_policy import EraPolicy
from .workspace import Workspace, has_size, remove_shards


@dataclass(frozen=True, slots=True)
class FinishedEra:
    """An era that was written, with the data that the manifest needs.

    Attributes
    ----------
    entry : ShardEntry
        The era's entry in the new manifest.
    equal_targets : tuple of str
        The targets that equal the alias in every row of the era.
    """

    entry: ShardEntry
    equal_targets: tuple[str, ...]


class Journal:
    """The finished eras of a conversion, and the folders of eras that are being written.

    Parameters
    ----------
    workspace : Workspace
        The workspace, locked by this process.
    job : dict
        What is converted, JSON-ready: a rerun with an equal job resumes, another one starts again.
    policy : EraPolicy, optional
        Which arrays of an era are written; by default all.

    Attributes
    ----------
    policy : EraPolicy
    finished : dict of era to FinishedEra
        Eras that were staged by an earlier run.
    """

    def __init__(
        self, workspace: Workspace, job: dict[str, Any], policy: EraPolicy | None = None
    ) -> None:
        self.policy = EraPolicy() if policy is None else policy
        self._workspace = workspace
        self._workspace.staged.mkdir(parents=True, exist_ok=True)
        self._write_lock = threading.Lock()
        self._job = job
        self._open()

    def restart(self) -> None:
        """Forget all finished eras and remove their files."""
        self.close()
        self._workspace.journal.unlink()
        self._open()

    def _open(self) -> None:
        """Read which eras are finished, remove what isn't, and open the journal to append to it."""
        workspace = self._workspace
        self.finished = self._read(self._job)
        self._clean()
        # Written again: a killed run may have left half a line at the end.
        rewritten = workspace.path / "journal.partial"
        with open(rewritten, "w", encoding="utf-8", newline="\n") as file:
            file.writelines([_line(self._job), *map(_era_line, self.finished.values())])
            file.flush()
            sync_file(file.fileno())
        os.replace(rewritten, workspace.journal)
        sync_directory(workspace.path)
        self._file = open(workspace.journal, "a", encoding="utf-8", newline="\n")  # noqa: SIM115

    @property
    def scratch(self) -> Path:
        """A folder for temporary files."""
        return self._workspace.path

    def begin(self, era: str) -> Path:
        """Return an empty folder for the files of an era."""
        folder = self._workspace.partial / era_folder(era)
        folder.mkdir(parents=True)
        return folder

    def publish(self, era: FinishedEra) -> FinishedEra:
        """Stage an era's folder and add it to the journal; thread-safe.

        Parameters
        ----------
        era : FinishedEra
            Its entry holds the arrays as they were written or digested.

        Returns
        -------
        FinishedEra
            The era, with its entry for the new manifest.

        Raises
        ------
        ChangedEraError
            An array of a known era has changed that must not.
        """
        folder = self._workspace.partial / era.entry.folder
        written = era.entry.files.keys() - self.policy.only_digested(era.entry.era)
        merged = FinishedEra(self.policy.merge(era.entry), era.equal_targets)
        for array in written - self.policy.staged_arrays(merged.entry):
            (folder / f"{array}.npy").unlink()
        sync_directory(folder)
        os.rename(folder, self._workspace.staged / merged.entry.folder)
        sync_directory(self._workspace.staged)
        self._append(merged)
        return merged

    def close(self) -> None:
        """Close the journal and remove unfinished eras."""
        try:
            self._file.close()
        finally:  # on a full disk, the line that failed to be written fails again
            shutil.rmtree(self._workspace.partial, ignore_errors=True)

    def _append(self, era: FinishedEra) -> None:
        with self._write_lock:
            self._file.write(_era_line(era))
            self._file.flush()
            sync_file(self._file.fileno())

    def _read(self, job: dict[str, Any]) -> dict[str, FinishedEra]:
        """Return the eras that an interrupted run of the same job has finished."""
        try:
            first, *lines = self._workspace.journal.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        if _content(first) != json.loads(json.dumps(job)):
            return {}
        finished = {}
        for line in lines:
            data = _content(line)
            if data is None:
                continue  # cut short, empty or damaged: the era is converted again
            entry = parse_shard_entry(data["shard"])
            if self._is_staged(entry):
                finished[entry.era] = FinishedEra(entry, tuple(data["equal_targets"]))
        return finished

    def _is_staged(self, entry: ShardEntry) -> bool:
        folder = self._workspace.staged / entry.folder
        return folder.is_dir() and all(
            has_size(folder / f"{array}.npy", entry.files[array].bytes)
            for array in self.policy.staged_arrays(entry)
        )

    def _clean(self) -> None:
        """Remove unfinished eras, staged ones without a line, and shards of no dataset."""
        # From here on, the staged eras aren't those that an earlier run was about to commit.
        (self._workspace.path / FILE_NAME).unlink(missing_ok=True)
        shutil.rmtree(self._workspace.partial, ignore_errors=True)
        keep = {era.entry.folder for era in self.finished.values()}
        for folder in self._workspace.staged.iterdir():
            if folder.name not in keep:
                discard(folder)
        directory = self._workspace.directory
        if not (directory / FILE_NAME).exists():
            remove_shards(directory, os.listdir(directory))


def _era_line(era: FinishedEra) -> str:
    return _line({"shard": era.entry.to_json(), "equal_targets": list(era.equal_targets)})


def _line(data: dict[str, Any]) -> str:
    """Return data as a line of JSON that holds its own checksum."""
    return json.dumps({**data, "check": _check(data)}, sort_keys=True) + "\n"


def _content(line: bytes) -> dict[str, Any] | None:
    """Return the data in a line that `_line` has made; None if it is damaged."""
    try:
        data = json.loads(line)
        check = data.pop("check")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return data if check == _check(data) else None


def _check(data: dict[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(data, sort_keys=True).encode())
