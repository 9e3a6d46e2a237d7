"""What systems drop into folders by themselves, which counts as nothing; imports nothing of ours.

File managers, network file systems, notebooks and archives leave files of their own beside anybody
else's. They are neither part of a dataset or run nor an obstacle to one. Nor are other hidden
files, but those may be the user's: they are never deleted.
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
    "._",  # what macOS knows of the file of the same name
    ".nfs",  # a file that was removed while somebody has it open: NFS, FUSE, SMB
    ".fuse_hidden",
    ".smbdelete",
    ".~lock.",
)
# These hold what was removed, lost or saved: they are the user's last copies.
_KEEPERS = {
    *(".trashes", "$recycle.bin", "#recycle", "lost+found", "__macosx"),
    *(".snapshot", ".snapshots", "#snapshot", "system volume information"),
    *(".fseventsd", ".spotlight-v100", ".temporaryitems", ".documentrevisions-v100"),
}
_KEEPER_PREFIXES = (".trash-",)


def is_note(name: str) -> bool:
    """Tell whether a file or folder of this name is a system's note to itself: of no loss.

    >>> [is_note(name) for name in (".DS_Store", "Thumbs.db", ".nfs0001", ".gitignore")]
    [True, True, True, False]
    """
    return name.lower() in _NOTES or name.lower().startswith(_NOTE_PREFIXES)


def is_dropped(name: str) -> bool:
    """Tell whether a file or folder of this name is one that some system has made by itself.

    >>> [is_dropped(name) for name in (".DS_Store", "lost+found", ".gitignore")]
    [True, True, False]
    """
    known = name.lower() in _KEEPERS or name.lower().startswith(_KEEPER_PREFIXES)
    return known or is_note(name)


def is_junk(name: str) -> bool:
    """Tell whether a file or folder of this name counts as nothing: dropped or hidden.

    >>> [is_junk(name) for name in ("Thumbs.db", ".gitignore", "features.npy")]
    [True, True, False]
    """
    return name.startswith(".") or is_dropped(name)


def names_in(folder: Path) -> set[str]:
    """Return the names in a folder that count."""
    return {name for name in os.listdir(folder) if not is_junk(name)}


def is_empty(folder: Path) -> bool:
    """Tell whether nothing in a folder counts; a hidden folder such as `.git` does here."""
    return all(
        is_junk(path.name) and (is_dropped(path.name) or not path.is_dir())
        for path in folder.iterdir()
    )


def discard(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def discard_folder(folder: Path, names: frozenset[str]) -> None:
    """Remove a folder with files of these names and the systems' notes in it.

    Where anything else lies in it, such as a hidden file of the user's or one that another machine
    has open, the folder stays with that. Of a link only the link is removed.
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
            except OSError:  # on NFS, as long as somebody has it open
                continue
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            raise
