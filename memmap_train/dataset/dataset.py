"""An opened manifest: a dataset that can be narrowed to eras, read era by era, and verified.

In comes a folder, out come read-only maps. Knows no order, no batches, and no parquet.
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DatasetError, ManifestError, ShardError, listed, nearest
from ..progress import ProgressOption, reporting
from ..system.junk import names_in
from ..system.paths import checked_path
from ..system.resources import n_cores
from ..system.scratch import ThreadScratch
from ..system.threads import ThreadPool
from .array_file import (
    DIGEST_BYTES,
    FileStamp,
    check_array,
    digest_file,
    open_array,
    opened_array,
    why_unreadable,
)
from .direct_array import DirectArray
from .manifest import (
    FILE_NAME,
    FileEntry,
    Manifest,
    ShardEntry,
    parse_manifest,
    read_manifest_bytes,
)

Stored = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]
Selection = str | Sequence[str] | None

_MAX_TRIES = 10  # to read a manifest and look at its files without an update in between


class Shard:
    """One era of a dataset: read-only maps of its arrays, opened when first asked for."""

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        entry: ShardEntry,
        stamps: Mapping[str, FileStamp],
    ) -> None:
        self.path = directory / entry.folder
        self.era = entry.era
        self.n_rows = entry.rows
        self._layout, self._files = manifest.layout(entry), entry.files
        self._stamps = stamps

    @cached_property
    def features(self) -> Stored:
        """Features as stored: float32, or int8 codes; shape (rows, features)."""
        return self._open("features")

    @cached_property
    def targets(self) -> Stored:
        """Targets, float32, NaN where unlabelled; shape (rows, targets)."""
        return self._open("targets")

    @cached_property
    def ids(self) -> Stored | None:
        """Ids as fixed-width bytes, shape (rows,); None where the source had none."""
        return self._open("ids") if "ids" in self._layout else None

    @cached_property
    def counts(self) -> Stored | None:
        """Rows with code 0, 1, 2, 3, 4, and where it is missing: int32, shape (features, 6).

        As found in the source. None in datasets that were made before there were counts.
        """
        return self._open("counts") if "counts" in self._layout else None

    def layout(self, array: str) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
        """Return dtype and shape of an array."""
        return self._layout[array]

    def header_bytes(self, array: str) -> int:
        """Return the bytes that stand before an array's data, by what the manifest says."""
        dtype, shape = self._layout[array]
        return self._files[array].bytes - dtype.itemsize * prod(shape)

    def opened(self, array: str) -> AbstractContextManager[tuple[io.FileIO, int]]:
        """Open an array's file once it is checked: the file, and where its data begin."""
        return opened_array(self.file(array), *self._layout[array], self._stamps[array])

    def direct_features(self) -> DirectArray:
        """Open the features for reading past the page cache; see `can_read_directly`."""
        dtype, shape = self._layout["features"]
        return DirectArray(self.file("features"), dtype, shape, self._stamps["features"])

    def file(self, array: str) -> Path:
        """Return the path of one array's file."""
        return self.path / f"{array}.npy"

    def _open(self, array: str) -> Stored:
        dtype, shape = self._layout[array]
        return open_array(self.file(array), dtype, shape, self._stamps[array])


class Dataset(Mapping[str, Shard]):
    """A dataset, or the part of it that some eras make up: a mapping of eras to shards.

    `list(dataset)` are its eras in order, `len(dataset)` is their number, `era in dataset` tells
    whether it has one. Two datasets are equal only if they are the same object.

    Attributes
    ----------
    path : Path
    manifest : Manifest
        Of the whole dataset, also where this is a part.
    eras : tuple of str
        Labels, in order. Only these eras can be reached from here.
    feature_names, target_names : tuple of str
        In the order of the arrays' columns.
    """

    def __init__(
        self, path: Path, manifest: Manifest, stamps: Mapping[str, Mapping[str, FileStamp]]
    ) -> None:
        self.path = path
        self._directory = path.absolute()  # also after os.chdir
        self.manifest = manifest
        self.eras = tuple(stamps)
        self.feature_names = manifest.features
        self.target_names = manifest.targets
        self._entries = {era: manifest.shard(era) for era in self.eras}
        # Of every file when the manifest was read: an update replaces files, never changes them.
        self._stamps = stamps

    def __repr__(self) -> str:
        return (
            f"<Dataset {str(self.path)!r}: {self.n_rows:,} rows, {len(self.eras):,} eras, "
            f"{len(self.feature_names):,} features, {self.manifest.dtype}>"
        )

    def __len__(self) -> int:
        return len(self.eras)

    def __iter__(self) -> Iterator[str]:
        return iter(self.eras)

    def __contains__(self, era: object) -> bool:
        return era in self._entries

    def __getitem__(self, era: str) -> Shard:
        return Shard(self._directory, self.manifest, self.entry(era), self._stamps[era])

    def get(self, era: str, default: Any = None) -> Any:
        """Return the shard of an era, or a default if the dataset doesn't have that era."""
        return self[era] if era in self._entries else default

    # A mapping's own would compare shards, which are made each time they are asked for.
    __eq__, __hash__ = object.__eq__, object.__hash__

    def entry(self, era: str) -> ShardEntry:
        """Return what the manifest says of an era; DatasetError if it isn't one of this dataset."""
        (era,) = _texts([era], f"{self.path}: eras")
        try:
            return self._entries[era]
        except KeyError:
            raise DatasetError(
                f"{self.path}: no era {era!r} among {len(self.eras):,}{nearest(era, self.eras)}"
            ) from None

    @property
    def directory(self) -> Path:
        """Absolute path of the folder, which the current directory has no influence on."""
        return self._directory

    @property
    def rows_per_era(self) -> tuple[int, ...]:
        """Rows of each era, in the order of `eras`."""
        return tuple(entry.rows for entry in self._entries.values())

    @property
    def row_offsets(self) -> list[int]:
        """Number of rows before each era, and last of all rows."""
        return [0, *accumulate(self.rows_per_era)]

    @property
    def n_rows(self) -> int:
        """Rows of these eras."""
        return sum(self.rows_per_era)

    @property
    def feature_bytes(self) -> int:
        """Bytes of these eras' features on disk."""
        row_bytes = self.manifest.store_dtype.itemsize * len(self.feature_names)
        return self.n_rows * row_bytes

    def select(self, eras: Sequence[str]) -> "Dataset":
        """Return the dataset of some of these eras, in the dataset's order.

        Raises
        ------
        DatasetError
            An era that this dataset doesn't have, or none at all.
        """
        wanted = set(_texts(eras, f"{self.path}: eras"))
        for era in wanted:
            self.entry(era)
        if not wanted:
            raise DatasetError(f"{self.path}: no eras selected; expected at least one")
        chosen = tuple(era for era in self.eras if era in wanted)
        part = Dataset(self.path, self.manifest, {era: self._stamps[era] for era in chosen})
        part._directory = self._directory
        return part

    def array_digest(self, array: str) -> str:
        """Return one digest of an array ("features", "targets") of these eras.

        Over the names of its columns and, of every era, label, rows and the manifest's digest of
        the file: nothing is read.
        """
        content = [
            list(self.feature_names if array == "features" else self.target_names),
            [[era, entry.rows, entry.files[array].digest] for era, entry in self._entries.items()],
        ]
        text = json.dumps(content, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def labelled_eras(self, target: str) -> tuple[str, ...]:
        """Return the eras in which a target has at least one label."""
        self.target_columns([target])
        return tuple(
            era for era, entry in self._entries.items() if entry.target_nulls[target] < entry.rows
        )

    def feature_columns(self, features: Selection) -> tuple[int, ...] | None:
        """Return the columns of a feature set or of a list of names; None for all of them.

        A set takes the manifest's order, a list keeps its own.

        Raises
        ------
        DatasetError
            An unknown set or feature, a name twice, or an empty selection.
        """
        if features is None:
            return None
        if isinstance(features, str):
            sets = self.manifest.feature_sets
            if features in sets:
                chosen = set(sets[features])
                features = [name for name in self.feature_names if name in chosen]
            elif features == "all":
                return None
            else:
                known = dict.fromkeys(["all", *sets])
                raise DatasetError(
                    f"{self.path}: no feature set {features!r}; it has {listed(known, 12)}"
                    f"{nearest(features, known)}"
                )
        features = _texts(features, f"{self.path}: features")
        columns = _columns(features, self.feature_names, f"{self.path}: no feature")
        return None if columns == tuple(range(len(self.feature_names))) else columns

    def target_columns(self, targets: Selection) -> tuple[int, ...] | None:
        """Return the columns of targets by name, in the order given; None for all of them."""
        if targets is None:
            return None
        targets = _texts(targets, f"{self.path}: targets")
        columns = _columns(targets, self.target_names, f"{self.path}: no target")
        return None if columns == tuple(range(len(self.target_names))) else columns

    def decode(self, stored: npt.NDArray[np.generic], out: Float32) -> Float32:
        """Write stored features as float32 into `out`; the same bits from either store dtype."""
        scale = self.manifest.scale
        if scale is None:
            np.copyto(out, stored)
        else:
            np.copyto(out, stored)  # apart from the product: twice as fast as a buffered cast
            np.multiply(out, np.float32(scale.multiply), out=out)
            if scale.add:
                np.add(out, np.float32(scale.add), out=out)
        return out


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Open a dataset: read its manifest and check the sizes of its files.

    Parameters
    ----------
    path : str or path
        The folder that holds `manifest.json`.

    Returns
    -------
    Dataset
        With all eras. No array is mapped before it is asked for.

    Raises
    ------
    ManifestError
        It isn't a dataset, is unfinished, or is of another format version.
    ShardError
        A file is missing or has another size than the manifest says.
    """
    directory = checked_path(path, ManifestError)
    for _ in range(_MAX_TRIES):
        content = read_manifest_bytes(directory)
        manifest = parse_manifest(content, directory)
        error = None
        try:
            stamps = {entry.era: _stamps(directory, entry) for entry in manifest.shards}
        except ShardError as found:
            error = found
        # An update moves the old manifest away before it moves files: these are the manifest's.
        if read_manifest_bytes(directory) == content:
            if error is not None:
                raise error
            return Dataset(directory, manifest, stamps)
    raise ManifestError(
        f"{directory / FILE_NAME}: changed each of the {_MAX_TRIES} times that the dataset was "
        "opened; open it again when nothing updates it"
    )


def _stamps(directory: Path, entry: ShardEntry) -> dict[str, FileStamp]:
    """Look at the files of an era; ShardError if one is missing or has another size."""
    stamps = {}
    for array, file_entry in entry.files.items():
        file = directory / entry.folder / f"{array}.npy"
        asked = time.time_ns()
        try:
            status = os.stat(file)
        except OSError as error:
            raise ShardError(
                f"{file}: {why_unreadable(error, file)}; `memmap-train verify {directory}` lists "
                "all that is wrong"
            ) from None
        if (size := status.st_size) != file_entry.bytes:
            how = "cut short" if size < file_entry.bytes else "too long"
            raise ShardError(
                f"{file}: {how}: expected {file_entry.bytes:,} bytes, found {size:,}; "
                f"`memmap-train verify {directory}` lists all that is wrong"
            )
        stamps[array] = FileStamp(status, asked, file_entry.digest)
    return stamps


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a dataset: a path inside it, and what."""

    path: str
    what: str


def verify(
    path: str | os.PathLike[str],
    *,
    quick: bool = False,
    progress: ProgressOption = None,
) -> list[Problem]:
    """Compare all files of a dataset with its manifest, on all cores; links are followed.

    Parameters
    ----------
    path : str or path
    quick : bool
        Sizes and headers only, not the digests.
    progress : bool or callable(what, bytes done, bytes in all), optional
        Whether to show how far the work is, or what to call instead, in the calling thread. By
        default it is shown in a terminal and in a notebook.

    Returns
    -------
    list of Problem
        All that is wrong, in the manifest's order; empty if the dataset is as it was written.

    Raises
    ------
    ManifestError
        The manifest itself can't be read; or the dataset was updated meanwhile.
    """
    directory = checked_path(path, ManifestError)
    content = read_manifest_bytes(directory)
    manifest = parse_manifest(content, directory)
    total = sum(entry.bytes for shard in manifest.shards for entry in shard.files.values())
    done = 0
    scratch = ThreadScratch()

    def check(shard: ShardEntry, array: str) -> str | None:
        dtype, shape = manifest.layout(shard)[array]
        file = directory / shard.folder / f"{array}.npy"
        buffer = None if quick else scratch.array("file", DIGEST_BYTES, np.uint8).data
        return _fault(file, dtype, shape, shard.files[array], buffer)

    problems = []
    threads = ThreadPool(n_cores(), thread_name_prefix="verify")
    try:
        checks = {
            (shard.era, array): threads.submit(check, shard, array)
            for shard in manifest.shards
            for array in shard.files
        }
        with reporting(progress, "B") as told:
            for shard in manifest.shards:
                for array, entry in shard.files.items():
                    if what := checks[shard.era, array].result():
                        problems.append(Problem(f"{shard.folder}/{array}.npy", what))
                    done += entry.bytes
                    told("verifying", done, total)
                expected = {f"{array}.npy" for array in shard.files}
                problems += _unexpected(directory / shard.folder, expected, f"{shard.folder}/")
    finally:  # it may have been stopped
        threads.shutdown(cancel_futures=True)
    problems += _unexpected(
        directory, {FILE_NAME} | {shard.folder for shard in manifest.shards}, ""
    )
    if problems and read_manifest_bytes(directory) != content:
        raise ManifestError(
            f"{directory}: the dataset was updated while it was verified; verify it again"
        )
    return problems


def _fault(
    file: Path,
    dtype: np.dtype[np.generic],
    shape: tuple[int, ...],
    entry: FileEntry,
    buffer: bytearray | memoryview | None,
) -> str | None:
    """Return what is wrong with a file, if anything; its digest only where there is a buffer."""
    try:
        if file.exists() and not file.is_file():  # opening a pipe may wait for ever
            return "not a plain file"
        check_array(file, dtype, shape)
        if (size := file.stat().st_size) != entry.bytes:
            return f"expected {entry.bytes:,} bytes, found {size:,}"
        if buffer is not None and (found := digest_file(file, buffer)) != entry.digest:
            return f"expected digest {entry.digest}, found {found}"
    except ShardError as error:
        return str(error).removeprefix(f"{file}: ")
    except OSError as error:
        return str(error.strerror)
    return None


def _unexpected(folder: Path, expected: set[str], prefix: str) -> Iterator[Problem]:
    try:
        names = names_in(folder) if folder.is_dir() else set()
    except OSError as error:
        names = set()
        yield Problem(prefix or ".", f"can't be listed: {error.strerror}")
    for name in sorted(names):
        if name not in expected:
            yield Problem(f"{prefix}{name}", "unexpected: the manifest doesn't list it")


def _texts(names: Any, what: str) -> list[str]:
    """Return one name, or several, as a list; DatasetError for anything else."""
    if isinstance(names, str):
        return [names]
    try:
        found = list(names)
    except TypeError:
        found = [names]
    for name in found:
        if not isinstance(name, str):
            raise DatasetError(
                f"{what}: expected names as text, found {name!r:.40} ({type(name).__name__})"
            )
    return found


def _columns(names: Sequence[str], known: Sequence[str], what: str) -> tuple[int, ...]:
    position = {name: column for column, name in enumerate(known)}
    unknown = [name for name in names if name not in position]
    if unknown:
        others = nearest(unknown[0], known) or f"; there is {listed(known, 3)}"
        if not known:
            others = ": this dataset has none; convert sources that have some"
        raise DatasetError(f"{what} {listed(unknown)} among {len(known):,}{others}")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        raise DatasetError(f"{what} can be chosen twice: {listed(twice)}")
    if not names:
        raise DatasetError(f"{what}s chosen; expected at least one")
    return tuple(position[name] for name in names)
