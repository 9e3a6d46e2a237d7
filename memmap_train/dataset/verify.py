"""Verification: all files of a dataset compared with its manifest."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..arguments import flag
from ..errors import ManifestError, ShardError
from ..progress import ProgressOption, reporting
from ..system.junk import names_in
from ..system.paths import checked_path
from ..system.resources import n_cores
from ..system.scratch import ThreadScratch
from ..system.threads import ThreadPool
from .array_file import check_array
from .file_digest import DIGEST_BYTES, digest_file
from .format import FILE_NAME
from .manifest import FileEntry, ShardEntry
from .manifest_file import read_manifest_bytes
from .manifest_parser import parse_manifest


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of a dataset: the path inside it and a description."""

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
    quick = flag("quick", quick)
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
        with reporting(progress, "B") as report:
            for shard in manifest.shards:
                for array, entry in shard.files.items():
                    if what := checks[shard.era, array].result():
                        problems.append(Problem(f"{shard.folder}/{array}.npy", what))
                    done += entry.bytes
                    report("verifying", done, total)
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
    """Return the fault of a file, or None; the checksum is compared if there is a buffer."""
    try:
        if file.exists() and not file.is_file():  # opening a pipe may block for ever
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
