"""An opened manifest: a dataset that can be narrowed to eras, read era by era, and verified.

In comes a folder, out come read-only maps. Knows no order, no batches, and no parquet.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DatasetError, ManifestError, ShardError, listed, nearest
from ..system.paths import checked_path
from .file_digest import FileStamp
from .file_errors import why_unreadable
from .format import FILE_NAME
from .manifest import Manifest, ShardEntry
from .manifest_file import read_manifest_bytes
from .manifest_parser import parse_manifest
from .selection import Selection, as_names, columns_of
from .shard import Shard

Stored = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]
_MAX_TRIES = 10  # to read a manifest and look at its files without an update in between


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
        (era,) = as_names([era], f"{self.path}: eras")
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
        wanted = set(as_names(eras, f"{self.path}: eras"))
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
        features = as_names(features, f"{self.path}: features")
        columns = columns_of(features, self.feature_names, f"{self.path}: no feature")
        return None if columns == tuple(range(len(self.feature_names))) else columns

    def target_columns(self, targets: Selection) -> tuple[int, ...] | None:
        """Return the columns of targets by name, in the order given; None for all of them."""
        if targets is None:
            return None
        targets = as_names(targets, f"{self.path}: targets")
        columns = columns_of(targets, self.target_names, f"{self.path}: no target")
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
