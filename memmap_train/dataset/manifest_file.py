"""Write `manifest.json` atomically, read it, and find it in folders."""

import json
import os
import stat
from contextlib import suppress
from pathlib import Path

from ..errors import ManifestError
from ..system.durable import sync_directory, sync_file
from .format import FILE_NAME, FORMAT, WORKSPACE
from .manifest import Manifest
from .manifest_parser import parse_manifest


def write_manifest(manifest: Manifest, directory: Path) -> None:
    """Write `manifest.json` atomically, so that it survives a power cut."""
    temporary = directory / f".{FILE_NAME}.partial"
    text = json.dumps(manifest.to_json(), sort_keys=True, ensure_ascii=False, indent=1)
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.write(text + "\n")
            file.flush()
            sync_file(file.fileno())
        sync_directory(directory)
        os.replace(temporary, directory / FILE_NAME)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(directory)


def has_manifest(directory: Path) -> bool:
    """Return True if a folder has a `manifest.json` of this format, damaged or not.

    Raises
    ------
    OSError
        It can't be read.
    """
    if not (directory / FILE_NAME).is_file():  # opening a pipe may block for ever
        return False
    try:
        data = json.loads((directory / FILE_NAME).read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and data.get("format") == FORMAT


def enclosing_dataset(path: Path) -> Path | None:
    """Return the dataset that a path is, or lies in; None if there is none that can be read.

    A dataset's folder holds nothing else: with another file in it, it isn't updated any more.
    """
    real = Path(os.path.realpath(path))  # also of links that lead in a circle
    for folder in (real, *real.parents):
        with suppress(OSError):
            if has_manifest(folder):
                return folder
    return None


def read_manifest(directory: Path, name: str = FILE_NAME) -> Manifest:
    """Read and check `directory/manifest.json`, or a manifest that has another name there.

    Raises
    ------
    ManifestError
        There is none, it isn't JSON, it is from another format version, or a value is of another
        kind than the format says.
    """
    return parse_manifest(read_manifest_bytes(directory, name), directory, name)


def read_manifest_bytes(directory: Path, name: str = FILE_NAME) -> bytes:
    """Return the bytes of `directory/manifest.json`, or of another name, unchecked.

    Raises
    ------
    ManifestError
        There is none, or it can't be read.
    """
    path = directory / name
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):  # opening it may block for ever
            raise ManifestError(f"{path}: a pipe; expected a file")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if not directory.exists():
            found = "there is no such folder"
        elif not directory.is_dir():
            found = "it is a file"
        elif (directory / WORKSPACE).is_dir():
            found = (
                "its conversion, or an update, hasn't finished: wait for it, or run the same "
                "`memmap-train convert` again"
            )
        else:
            found = f"the folder has no {FILE_NAME}"
        raise ManifestError(
            f"{directory}: not a dataset: {found} (a dataset is made by `memmap-train convert "
            "SOURCE… --out DATASET`)"
        ) from None
    except OSError as error:
        raise ManifestError(f"{path}: can't be read: {error.strerror}") from error
