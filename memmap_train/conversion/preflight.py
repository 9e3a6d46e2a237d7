"""Checks of the target folder before anything is written, and the wording of system errors.

A conversion is rejected here if its folder holds other files, lies inside a dataset, or if the disk
is too small. Writes nothing.
"""

import errno
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..dataset.format import FILE_NAME, WORKSPACE
from ..dataset.manifest import Manifest
from ..dataset.manifest_file import enclosing_dataset
from ..errors import ConversionError, MemmapTrainError
from ..system.junk import is_empty
from ..system.resources import free_disk, nearest_existing
from ..text import in_bytes
from .choices import smaller_choices
from .plan import ConversionPlan
from .workspace import is_dataset_dir


def check_folder(directory: Path, *, overwrite: bool) -> None:
    """Raise a ConversionError if a folder can't be made, or holds anything but a dataset.

    A folder inside another dataset is an error too: a dataset holds nothing but shards.
    """
    around = enclosing_dataset(directory / os.pardir)
    if around is not None:
        raise ConversionError(
            f"{directory}: lies inside the dataset {around}, which holds nothing but shards; "
            "choose another --out"
        )
    existing = nearest_existing(directory)
    if existing != directory:
        above = (folder for folder in directory.parents if existing in folder.parents)
        link = next((folder for folder in (directory, *above) if os.path.lexists(folder)), None)
        if not existing.is_dir() or link is not None:
            what = existing if link is None else f"{link} (a link to nowhere)"
            raise ConversionError(f"{directory}: can't be made: {what} is no folder")
        return
    if not directory.is_dir():
        raise ConversionError(f"{directory}: a file; expected a folder for the dataset, or nothing")
    if not is_empty(directory) and not is_dataset_dir(directory):
        advice = "" if overwrite else "; choose another --out"
        raise ConversionError(
            f"{directory}: the folder holds files that aren't a dataset's, and they won't be "
            f"touched{advice}"
        )


def check_apart(directory: Path, source: Path) -> None:
    """Raise a ConversionError if a folder is, holds, or lies in the source dataset of a subset."""
    out, read = (Path(os.path.realpath(path)) for path in (directory, source))
    if out.is_relative_to(read) or read.is_relative_to(out):
        how = "is" if out == read else "lies in" if out.is_relative_to(read) else "holds"
        raise ConversionError(
            f"{directory}: it {how} the source dataset {source}, which is only read; choose "
            "another --out"
        )


def check_disk(
    directory: Path,
    plan: ConversionPlan,
    budget: int,
    old: Manifest | None,
    benchmark_bytes: int = 0,
) -> None:
    """Raise a ConversionError if the dataset won't fit on the disk.

    A dataset that is replaced stays until the new one is complete: both have to fit.

    Parameters
    ----------
    directory : Path
    plan : ConversionPlan
    budget : int
        Bytes of buffers.
    old : Manifest or None
        The manifest of a dataset that is updated.
    benchmark_bytes : int
        Bytes of a row's benchmarks.
    """
    free = free_disk(directory)
    if old is not None:  # only the targets of old eras are written
        free += sum(entry.rows for entry in old.shards) * (
            plan.row_bytes - 4 * len(plan.columns.schema.targets)
        )
    # Arrays that an earlier run has written are kept or replaced.
    free += _array_bytes(directory / WORKSPACE)
    replaced = 0
    if old is None:
        if (directory / FILE_NAME).exists():
            replaced = _array_bytes(directory, "era-*/*.npy")
        else:  # shards of no dataset, which are removed first
            free += _array_bytes(directory, "era-*/*.npy")
    needed = plan.disk_bytes(budget) + plan.n_rows * benchmark_bytes
    if needed > free:
        advice = "" if old is not None else smaller_choices(plan, budget, free)
        if free < needed <= free + replaced:
            files = " ".join(shlex.quote(str(directory / n)) for n in (FILE_NAME, "era-"))
            advice += (
                "; the dataset that is there stays until the new one is complete: where there "
                f"isn't space for both, delete it yourself first (rm -r {files}*)"
            )
        raise ConversionError(
            f"{directory}: not enough disk: expected {in_bytes(needed)} free, found "
            f"{in_bytes(free)} ({needed - free:,} bytes too little); free some, or choose another "
            f"disk with --out{advice}"
        )


def check_free(directory: Path, needed: int, what: str) -> None:
    """Raise a ConversionError if a disk has fewer free bytes than something needs."""
    free = free_disk(directory)
    if needed > free:
        raise ConversionError(
            f"{directory}: not enough disk for {what}: expected {in_bytes(needed)} free, found "
            f"{in_bytes(free)}; free some, or choose another disk with --out"
        )


def _array_bytes(folder: Path, pattern: str = "**/*.npy") -> int:
    """Return the bytes of the arrays in a folder, links not followed; 0 if there is none."""
    return sum(file.lstat().st_size for file in folder.glob(pattern))


@contextmanager
def translated_errors(directory: Path) -> Iterator[None]:
    """Turn errors of the system into a ConversionError that says what to do."""
    try:
        yield
    except MemmapTrainError:
        raise
    except MemoryError as error:
        raise ConversionError(
            f"{directory}: not enough memory; finished eras are kept, and the same command "
            "resumes: let it take less with --memory or --workers"
        ) from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConversionError(f"{directory}: too long for a name; shorten --out") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ConversionError(
                f"{error.filename or directory}: can't be read or written: {error.strerror}; allow "
                "it, or choose another --out (what an earlier run has finished is kept)"
            ) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = "the disk is full"
        else:
            what = f"can't be read or written: {error.strerror or error}"
        raise ConversionError(
            f"{error.filename or directory}: {what}; finished eras are kept, and the same command "
            "resumes"
        ) from error
