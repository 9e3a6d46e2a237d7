"""`open_dataset`: a folder as a dataset, whose manifest is read and whose files have its sizes.

Takes a path; returns a `Dataset`. An update may replace the manifest and files meanwhile.
"""

import os

from ..errors import ManifestError, ShardError
from ..system.paths import checked_path
from .dataset import Dataset
from .format import FILE_NAME
from .manifest_file import read_manifest_bytes
from .manifest_parser import parse_manifest
from .shard import stamp_files

_MAX_TRIES = 10  # to read a manifest and look at its files without an update in between


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Open a dataset: read its manifest and check the sizes of its files.

    Parameters
    ----------
    path : str or path
        The folder that holds `manifest.json`.

    Returns
    -------
    Dataset
        The dataset with all eras. Arrays are mapped when they are first used.

    Raises
    ------
    ManifestError
        The folder isn't a dataset, is unfinished, or has another format version.
    ShardError
        A file is missing or has another size than the manifest says.
    """
    directory = checked_path(path, ManifestError)
    for _ in range(_MAX_TRIES):
        content = read_manifest_bytes(directory)
        manifest = parse_manifest(content, directory)
        error = None
        try:
            stamps = {entry.era: stamp_files(directory, entry) for entry in manifest.shards}
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
