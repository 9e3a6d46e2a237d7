"""What a download would fetch: names checked, sizes asked for, folder and free disk looked at.

Takes what the user typed; returns a `DownloadPlan`. Writes nothing.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import NumeraiError, listed, nearest
from ...system.resources import free_disk
from ...text import in_bytes
from ..api import list_files
from .folder import Downloaded, downloaded, read_record
from .part import RemoteFile, durable_bytes, part_bytes
from .transfer import Source, look

DEFAULT_FILES = (
    "features.json",
    "live.parquet",
    "meta_model.parquet",
    "live_benchmark_models.parquet",
    "train_benchmark_models.parquet",
    "validation_benchmark_models.parquet",
    "train.parquet",
    "validation.parquet",
)
"""The files of a version that training, scoring and predicting need, small ones first."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # no folder, and no hidden file
_VERSION = re.compile(r"[\w.-]+")

State = Literal["unchanged", "resume", "fetch"]


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file, and what a download would do with it.

    Attributes
    ----------
    remote : RemoteFile
    path : Path
        Where it lies, or will.
    state : {"unchanged", "resume", "fetch"}
    present_bytes : int
        Bytes of it that needn't be fetched.
    replaces : str
        The name at Numerai of an earlier download that it replaces; empty if there is none.
    """

    remote: RemoteFile
    path: Path
    state: State
    present_bytes: int
    replaces: str


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """The files of a download.

    Attributes
    ----------
    version : str
    round_number : int or None
        None is the current round.
    folder : Path
    files : tuple of PlannedFile
    absent : tuple of str
        Files that are downloaded by default, and which this version doesn't have.
    others : tuple of str
        Further files of this version.
    versions : tuple of str
        All versions that Numerai has.
    free_bytes : int
        Of the disk of the folder.
    """

    version: str
    round_number: int | None
    folder: Path
    files: tuple[PlannedFile, ...]
    absent: tuple[str, ...]
    others: tuple[str, ...]
    versions: tuple[str, ...]
    free_bytes: int

    @property
    def fetched(self) -> tuple[PlannedFile, ...]:
        """The files that aren't there as they are at Numerai."""
        return tuple(file for file in self.files if file.state != "unchanged")

    @property
    def wanted_bytes(self) -> int:
        """Bytes that have to be fetched."""
        return sum(file.remote.n_bytes - file.present_bytes for file in self.files)


def make_plan(
    files: Sequence[str],
    version: str,
    folder: Path,
    round_number: int | None,
) -> DownloadPlan:
    """Return what a download would do.

    Raises
    ------
    NumeraiError
        Numerai can't be reached, or has no such version or file; or a file is in the folder that
        wasn't downloaded.
    """
    offered = files_by_version(list_files(round_number))
    if version not in offered:
        raise NumeraiError(
            f"Numerai has no version {version!r}{nearest(version, offered)}; it has "
            f"{listed(offered, most=20)}"
        )
    names, absent = _selected(files, version, offered[version])
    record = read_record(folder)
    planned = []
    for name in names:
        there = downloaded(folder / name, record)
        remote = look(Source(f"{version}/{name}", round_number))
        planned.append(_planned(folder / name, remote, there))
    return DownloadPlan(
        version=version,
        round_number=round_number,
        folder=folder,
        files=tuple(planned),
        absent=absent,
        others=tuple(name for name in offered[version] if name not in names),
        versions=tuple(offered),
        free_bytes=free_disk(folder.absolute()),
    )


def check_space(plan: DownloadPlan) -> None:
    """Raise a NumeraiError if what is to be fetched doesn't fit on the disk."""
    # A part of anything else than what is to be fetched is emptied first.
    emptied = sum(part_bytes(file.path) - file.present_bytes for file in plan.fetched)
    if plan.wanted_bytes > plan.free_bytes + emptied:
        raise NumeraiError(
            f"{plan.folder}: the download needs {in_bytes(plan.wanted_bytes)}, and the disk has "
            f"{in_bytes(plan.free_bytes)} free; free some, name fewer files, or choose a "
            "folder on another disk"
        )


def files_by_version(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the sorted names of files by version; versions are sorted by their numbers."""
    found: dict[str, list[str]] = {}
    for version, _, name in sorted(full.partition("/") for full in names):
        if _VERSION.fullmatch(version) and _FILE_NAME.fullmatch(name):
            found.setdefault(version, []).append(name)
    return {version: found[version] for version in sorted(found, key=version_numbers)}


def version_numbers(version: str) -> list[int]:
    """Return the numbers in the name of a version, by which versions are sorted.

    >>> sorted(["v5.10", "v5.9"], key=version_numbers)
    ['v5.9', 'v5.10']
    """
    return [int(number) for number in re.findall(r"\d+", version)]


def _selected(
    files: Sequence[str], version: str, offered: Sequence[str]
) -> tuple[list[str], tuple[str, ...]]:
    """Return the names to download, and those of the default that the version doesn't have."""
    if not files:
        absent = tuple(name for name in DEFAULT_FILES if name not in offered)
        return [name for name in DEFAULT_FILES if name in offered], absent
    names = list(dict.fromkeys(name.removeprefix(f"{version}/") for name in files))
    unknown = [name for name in names if name not in offered]
    if unknown:
        raise NumeraiError(
            f"{version} has no {listed(unknown)}{nearest(unknown[0], offered)}; it has "
            f"{listed(offered, most=30)}"
        )
    return names, ()


def _planned(path: Path, remote: RemoteFile, there: Downloaded | None) -> PlannedFile:
    replaces = ""
    if there is not None:
        if remote.etag and (there.etag, there.n_bytes) == (remote.etag, remote.n_bytes):
            return PlannedFile(remote, path, "unchanged", remote.n_bytes, "")
        replaces = there.name
    present = durable_bytes(path, remote)
    return PlannedFile(remote, path, "resume" if present else "fetch", present, replaces)
