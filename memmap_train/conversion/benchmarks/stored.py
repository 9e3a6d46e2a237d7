"""The benchmarks that a dataset holds already: of the one that is updated, or of a source dataset.

What is read is compared with its checksum: damaged values must not get a new, valid checksum.
"""

from pathlib import Path

import numpy as np

from ...arrays import Array, Float32
from ...dataset.array_file import open_array
from ...dataset.file_digest import MapDigest
from ...dataset.manifest import Manifest, ShardEntry


class StoredBenchmarks:
    """The benchmarks of a dataset.

    Parameters
    ----------
    directory : Path
    manifest : Manifest

    Attributes
    ----------
    names : tuple of str
    sources : tuple of SourceEntry
        The files that they come from.
    """

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self._directory = directory
        self._entries = {entry.era: entry for entry in manifest.shards}
        self.names, self.sources = manifest.benchmarks, manifest.benchmark_sources

    def entry(self, era: str) -> ShardEntry | None:
        """Return the era's entry of the manifest, or None if the dataset lacks the era."""
        return self._entries.get(era)

    def read(self, era: str) -> Float32 | None:
        """Return the benchmarks of an era, shape (rows, benchmarks); None if there are none.

        Raises
        ------
        ShardError
            The file is missing or damaged.
        """
        entry = self.entry(era)
        if entry is None or not self.names:
            return None
        shape = entry.rows, len(self.names)
        path = self._directory / entry.folder / "benchmarks.npy"
        array = read_checked(path, np.dtype("<f4"), shape, entry.files["benchmarks"].digest)
        return array.astype(np.float32, copy=False)


def read_checked(
    path: Path, dtype: np.dtype[np.generic], shape: tuple[int, ...], digest: str
) -> Array:
    """Map an array of an era, and compare it with its checksum.

    Raises
    ------
    ShardError
        The file is missing or damaged.
    """
    found = open_array(path, dtype, shape)
    checked = MapDigest(path, found)
    checked.update(np.asarray(found))
    checked.check(digest)
    return found
