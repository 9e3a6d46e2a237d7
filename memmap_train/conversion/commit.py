"""The commit of a conversion: finished eras and the manifest are moved into place.

A dataset that the folder holds before can be read until then, and stays if the conversion fails.
`commit` moves the manifest of the former dataset away (from here on there is no dataset), renames
the staged eras into place and removes the eras that the new dataset doesn't have; the new manifest
comes last. After the first rename a rerun finishes the commit. Files that don't change are not
touched, and files are replaced by renaming, so a process that has mapped them continues to read the
old bytes.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from ..dataset.format import ARRAY_NAMES, FILE_NAME
from ..dataset.manifest import Manifest
from ..dataset.manifest_file import read_manifest, write_manifest
from ..errors import ConversionError, ManifestError, listed
from ..system.durable import sync_directory
from .new_manifest import differs_in_times_alone
from .workspace import Workspace, acquire_workspace, has_size, remove_shards

_OLD_MANIFEST = "old-manifest.json"


def commit(workspace: Workspace, manifest: Manifest) -> None:
    """Move the staged eras and a manifest into place; after an interruption a rerun finishes it.

    Raises
    ------
    ConversionError
        Folders of the existing dataset are write-protected; the dataset stays as it is.
    """
    directory = workspace.directory
    _check_writable(workspace, manifest)
    write_manifest(manifest, workspace.path)
    former = directory / FILE_NAME
    if former.is_symlink() and former.exists():  # moved away, a relative link would lead nowhere
        shutil.copyfile(former, workspace.path / _OLD_MANIFEST)
        former.unlink()
    elif former.exists():
        os.replace(former, workspace.path / _OLD_MANIFEST)  # one of an earlier commit may be there
    sync_directory(workspace.path)
    sync_directory(directory)
    finish_commit(workspace)


def commit_changes(workspace: Workspace, manifest: Manifest, old: Manifest | None) -> str:
    """Commit a dataset; return the status for the report.

    If nothing has changed but the modification times of the sources, only these are written: the
    next time they alone will show that the dataset is up to date.

    Parameters
    ----------
    workspace : Workspace
    manifest : Manifest
    old : Manifest or None
        The manifest of the dataset that is updated.
    """
    if old is not None and differs_in_times_alone(old, manifest):
        timed = replace(old, sources=manifest.sources, benchmark_sources=manifest.benchmark_sources)
        write_manifest(timed, workspace.directory)
        return "up to date"
    commit(workspace, manifest)
    return "converted" if old is None else "updated"


def finish_interrupted_commit(directory: Path) -> bool:
    """Finish a commit that was interrupted while files were renamed; return whether there was one.

    Raises
    ------
    ConversionError
        Another process is converting into this folder.
    """
    if not is_commit_begun(Workspace(directory)):
        return False
    with acquire_workspace(directory) as workspace:
        if is_commit_begun(workspace):  # no other process has finished it meanwhile
            finish_commit(workspace)
        workspace.clear()
    return True


def is_commit_begun(workspace: Workspace) -> bool:
    """Return True if a commit was interrupted between the old manifest and the new one.

    A commit that lacks a file, which was deleted meanwhile, can't be finished and doesn't count.
    """
    directory = workspace.directory
    if (directory / FILE_NAME).exists() or not (workspace.path / FILE_NAME).exists():
        return False
    try:
        manifest = read_manifest(workspace.path)
    except ManifestError:
        return False
    return all(
        any(
            has_size(folder / entry.folder / f"{array}.npy", file.bytes)
            for folder in (workspace.staged, directory)
        )
        for entry in manifest.shards
        for array, file in entry.files.items()
    )


def finish_commit(workspace: Workspace) -> None:
    """Rename the staged eras into place, remove former ones, and move the new manifest last."""
    directory = workspace.directory
    arrays = {entry.folder: entry.files.keys() for entry in read_manifest(workspace.path).shards}
    for name in arrays:
        staged, target = workspace.staged / name, directory / name
        if not staged.is_dir():
            continue
        if target.is_symlink():  # to a folder elsewhere, which stays as it is
            target.unlink()
        if not target.is_dir():
            os.rename(staged, target)
            continue
        for array in ARRAY_NAMES:
            file = f"{array}.npy"
            if (staged / file).exists():
                _replace(staged / file, target / file)
            elif array not in arrays[name]:
                (target / file).unlink(missing_ok=True)
        sync_directory(target)
        shutil.rmtree(staged)
    remove_shards(
        directory, _former_shards(directory, workspace.path, _OLD_MANIFEST) - arrays.keys()
    )
    sync_directory(directory)
    os.replace(workspace.path / FILE_NAME, directory / FILE_NAME)
    sync_directory(directory)


def _check_writable(workspace: Workspace, manifest: Manifest) -> None:
    """Raise an error if files lie in write-protected folders, such as another user's.

    Without this check, the commit would stop between the old dataset and the new one.
    """
    directory = workspace.directory
    removed = _former_shards(directory, directory, FILE_NAME)
    removed.difference_update(entry.folder for entry in manifest.shards)
    replaced = {folder.name for folder in workspace.staged.iterdir() if any(folder.iterdir())}
    changed = [directory / name for name in sorted({*removed, *replaced})]
    effective = os.access in os.supports_effective_ids
    protected = [
        folder.name
        for folder in changed
        if folder.is_dir()
        and not folder.is_symlink()
        and not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective)
    ]
    if protected:
        raise ConversionError(
            f"{directory}: expected folders of eras whose files can be replaced, found "
            f"{len(protected):,} that are write-protected: {listed(protected, 3)}; the dataset "
            "stays as it is: allow writing, and run the same command again, which keeps what it "
            "has converted"
        )


def _replace(file: Path, target: Path) -> None:
    try:
        os.replace(file, target)
    except PermissionError as error:
        raise ConversionError(
            f"{target}: can't be replaced: {error.strerror}: on Windows because another process "
            "reads it, a training for example; elsewhere because the folder is write-protected; "
            "nothing is lost: end that process, or allow writing, and run the same command again, "
            "which finishes what was begun"
        ) from None


def _former_shards(directory: Path, folder: Path, name: str) -> set[str]:
    """Return the folders of the dataset that is replaced, by its manifest; none without one.

    A user's own copy of an era, such as `era-0001-mine`, isn't among them.
    """
    if not (folder / name).exists():
        return set()
    try:
        return {entry.folder for entry in read_manifest(folder, name).shards}
    except ManifestError:  # damaged: they aren't known
        return set(os.listdir(directory))
