"""The folder that a dataset goes to: what is there already, and whether it may be written.

Every refusal that a conversion can give because of its folder is here: something else stands there,
a dataset made otherwise, too small or full a disk. Finishes what an interrupted commit has begun,
and writes nothing else.
"""

import errno
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..dataset.format import FILE_NAME, WORKPLACE
from ..dataset.manifest import Manifest, SourceEntry
from ..dataset.manifest_file import enclosing_dataset, read_manifest
from ..errors import ConversionError, MemmapTrainError, listed
from ..system.junk import is_empty
from ..system.resources import free_disk, nearest_existing
from ..text import in_bytes
from .journal import FolderLock, finish_commit, is_begun, is_ours
from .plan import Columns, ConversionPlan, ConvertOptions


def check_folder(directory: Path, *, overwrite: bool) -> None:
    """Refuse a folder that can't be made, or that holds anything but a dataset of ours.

    One inside another dataset is refused too: that holds nothing but shards.
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
    if not is_empty(directory) and not is_ours(directory):
        advice = "" if overwrite else "; choose another --out"
        raise ConversionError(
            f"{directory}: the folder holds files that aren't a dataset's, and they won't be "
            f"touched{advice}"
        )


def check_apart(directory: Path, parent: Path) -> None:
    """Refuse a folder that is, holds, or lies in the dataset that is narrowed."""
    out, read = (Path(os.path.realpath(path)) for path in (directory, parent))
    if out.is_relative_to(read) or read.is_relative_to(out):
        how = "is" if out == read else "lies in" if out.is_relative_to(read) else "holds"
        raise ConversionError(
            f"{directory}: it {how} the dataset {parent} that is to be narrowed, which is only "
            "read; choose another --out"
        )


def finish_begun(directory: Path) -> bool:
    """Finish a commit that was interrupted while files were renamed into place; tell whether."""
    if not is_begun(directory):
        return False
    lock = FolderLock(directory)
    done = False
    try:
        if is_begun(directory):
            finish_commit(directory)
        done = True
    finally:
        lock.release(done=done)
    return True


def current(directory: Path, *, overwrite: bool) -> Manifest | None:
    """Return the manifest of the dataset that is there, unless it is to be replaced."""
    if overwrite or not (directory / FILE_NAME).exists():
        return None
    return read_manifest(directory)


def is_up_to_date(
    old: Manifest | None,
    sources: Sequence[SourceEntry],
    columns: Columns,
    options: ConvertOptions,
    directory: Path,
) -> bool:
    """Tell whether a dataset was made from just these sources; refuse if with other options."""
    if old is None or old.sources != tuple(sources):
        return False
    schema = columns.schema
    if old.history:  # additional columns were left out by an update
        known = {*old.features, *old.targets}
        schema = replace(
            schema,
            features=tuple(name for name in schema.features if name in known),
            targets=tuple(name for name in schema.targets if name in known),
        )
        columns = replace(columns, feature_sets=dict(old.feature_sets))
    _check_same(
        old,
        {
            **_options_of(columns, options),
            "features": set(schema.features),
            "targets": set(schema.targets),
            "feature sets": columns.feature_sets,
        },
        directory,
    )
    return True


def check_updatable(
    old: Manifest,
    sources: Sequence[SourceEntry],
    columns: Columns,
    options: ConvertOptions,
    directory: Path,
) -> None:
    """Refuse to update a dataset from sources of other names, or with other options."""
    names = [source.name for source in sources]
    _check_same(old, {**_options_of(columns, options), "sources": names}, directory)
    linked = [shard.era for shard in old.shards if (directory / shard.folder).is_symlink()]
    if linked:
        raise ConversionError(
            f"{directory}: the folder of era {listed(linked, 3)} is a link; an update renames "
            "files, which it can't across disks; put the folder itself into the dataset"
        )


def _options_of(columns: Columns, options: ConvertOptions) -> dict[str, Any]:
    return {
        "dtype": options.dtype,
        "missing": options.missing,
        "era column": columns.schema.era,
        "id column": columns.schema.id,
    }


def _check_same(manifest: Manifest, wanted: dict[str, Any], directory: Path) -> None:
    """Raise a ConversionError that names what of a finished dataset isn't as it is wanted."""
    found = {
        "sources": [source.name for source in manifest.sources],
        "dtype": manifest.dtype,
        "missing": manifest.missing,
        "features": set(manifest.features),
        "targets": set(manifest.targets),
        "feature sets": dict(manifest.feature_sets),
        "era column": manifest.columns.get("era"),
        "id column": manifest.columns.get("id"),
    }
    differing = [name for name in wanted if found[name] != wanted[name]]
    if differing:
        raise ConversionError(
            f"{directory}: holds a dataset made with other {', '.join(differing)}; choose another "
            "--out, or replace it with --overwrite"
        )


def check_disk(directory: Path, plan: ConversionPlan, budget: int, old: Manifest | None) -> None:
    """Refuse before writing where the dataset won't fit on the disk.

    A dataset that is replaced stays until the new one is complete: both have to fit.
    """
    free = free_disk(directory)
    if old is not None:  # of old eras nothing but targets is written
        free += sum(entry.rows for entry in old.shards) * (
            plan.row_bytes - 4 * len(plan.columns.schema.targets)
        )
    # What an earlier run has written will be kept or replaced.
    free += _array_bytes(directory / WORKPLACE)
    replaced = 0
    if old is None:
        if (directory / FILE_NAME).exists():
            replaced = _array_bytes(directory, "era-*/*.npy")
        else:  # shards of no dataset, which are removed first
            free += _array_bytes(directory, "era-*/*.npy")
    needed = plan.disk_bytes(budget)
    if needed > free:
        advice = "" if old is not None else _what_fits(plan, budget, free)
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


def _array_bytes(folder: Path, pattern: str = "**/*.npy") -> int:
    """Return the bytes of the arrays in a folder, links not followed; 0 if there is none."""
    return sum(file.lstat().st_size for file in folder.glob(pattern))


def _what_fits(plan: ConversionPlan, budget: int, free: int) -> str:
    """Return the options with which a dataset would fit, as advice."""
    advice = ""
    schema, options = plan.columns.schema, plan.options
    smaller = replace(plan, options=replace(options, dtype="int8", missing="0.5"))
    if options.dtype == "float32" and options.missing == "0.5" and schema.integer_features:
        if smaller.disk_bytes(budget) <= free:
            advice += ", or take a quarter of the bytes with --dtype int8"
    else:
        smaller = plan
    sets = {
        name: names
        for name, names in plan.columns.feature_sets.items()
        if names and len(names) < len(schema.features)
    }
    for part in dict.fromkeys((plan.options.dtype, smaller.options.dtype)):
        of_dtype = plan if part == options.dtype else smaller
        fitting = [
            name
            for name, names in sets.items()
            if replace(
                of_dtype,
                columns=replace(plan.columns, schema=replace(schema, features=names)),
            ).disk_bytes(budget)
            <= free
        ]
        if fitting:
            largest = max(fitting, key=lambda name: len(sets[name]))
            with_dtype = "" if part == options.dtype else f" --dtype {part}"
            return f"{advice}, or fewer features with --feature-set {largest}{with_dtype}"
    return advice


@contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Turn the system's errors while writing into one of ours."""
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
