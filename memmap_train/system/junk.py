"""Files that operating systems and programs add to folders; they are ignored.

File managers, network file systems, notebooks and archives leave files in the folders that they
use. These are neither a part of a dataset or run nor an obstacle to one. The same holds for other
hidden files, but those may belong to the user: they are never deleted.
"""

import errno
import os
import shutil
from pathlib import Path

_NOTES = {
    # macOS
    *(".ds_store", ".localized", ".appledouble", ".apdisk", "icon\r"),
    # Windows
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"),
    # Linux desktops, storage boxes, Jupyter
    *(".directory", "@eadir", ".ipynb_checkpoints"),
}
_NOTE_PREFIXES = (
    "._",  # macOS's metadata of the file of the same name
    ".nfs",  # a file that was removed while a process has it open: NFS, FUSE, SMB
    ".fuse_hidden",
    ".smbdelete",
    ".~lock.",
)
# These hold removed, lost or saved files: possibly the user's last copies.
_KEEPERS = {
    *(".trashes", "$recycle.bin", "#recycle", "lost+found", "__macosx"),
    *(".snapshot", ".snapshots", "#snapshot", "system volume information"),
    *(".fseventsd", ".spotlight-v100", ".temporaryitems", ".documentrevisions-v100"),
}
_KEEPER_PREFIXES = (".trash-",)


def is_note(name: str) -> bool:
    """Return True if a file or folder of this name is a system's metadata, which may be deleted.

    >>> [is_note(name) for name in (".DS_Store", "Thumbs.db", ".nfs0001", ".gitignore")]
    [True, True, True, False]
    """
    return name.lower() in _NOTES or name.lower().startswith(_NOTE_PREFIXES)


def is_dropped(name: str) -> bool:
    """Return True if a file or folder of this name was made by a system, not by a user.

    >>> [is_dropped(name) for name in (".DS_Store", "lost+found", ".gitignore")]
    [True, True, False]
    """
    known = name.lower() in _KEEPERS or name.lower().startswith(_KEEPER_PREFIXES)
    return known or is_note(name)


def is_junk(name: str) -> bool:
    """Return True if a file or folder of this name is ignored: made by a system, or hidden.

    >>> [is_junk(name) for name in ("Thumbs.db", ".gitignore", "features.npy")]
    [True, True, False]
    """
    return name.startswith(".") or is_dropped(name)


def names_in(folder: Path) -> set[str]:
    """Return the names in a folder that aren't ignored."""
    return {name for name in os.listdir(folder) if not is_junk(name)}


def is_empty(folder: Path) -> bool:
    """Return True if a folder has only ignored files; hidden folders (`.git`) aren't ignored."""
    return all(
        is_junk(path.name) and (is_dropped(path.name) or not path.is_dir())
        for path in folder.iterdir()
    )


def discard(path: Path) -> None:
    """Remove a file, a link, or a folder with its contents."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def discard_folder(folder: Path, names: frozenset[str]) -> None:
    """Remove a folder with the files of these names and the metadata of systems in it.

    If it holds anything else, such as a hidden file of the user or one that another machine has
    open, the folder stays with that. If it is a link, only the link is removed.
    """
    if folder.is_symlink():
        folder.unlink()
        return
    for path in folder.iterdir():
        if path.name in names:
            discard(path)
        elif is_note(path.name):
            try:
                discard(path)
            except OSError:  # on NFS, while another process has it open
                continue
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            raise
