"""The mark of a model upload: what made it, readable without unpickling it.

Takes the path of a pickle; writes the mark into it, or returns the mark. It lies in the first bytes
as a string that the pickle pushes and drops at once, so that every unpickler passes it over. A
pickle runs code when it is loaded, and ends a process of another Python version with a
segmentation fault: the mark says beforehand which version can load it.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..._version import __version__

MADE_BY = f"memmap-train {__version__}"

_START = b"\x80"  # PROTO, followed by the protocol's number
_TEXT = b"\x8c"  # SHORT_BINUNICODE, followed by the length of the text in one byte
_DROP = b"0"  # POP
_MAX_TEXT = 255


@dataclass(frozen=True, slots=True)
class UploadMark:
    """What made a model upload.

    Attributes
    ----------
    python : str
        The minor version of Python that can load it, such as "3.12".
    made_by : str
        This package and its version, such as "memmap-train 0.1.0".
    """

    python: str
    made_by: str


def write_marked(pickled: Path, out: Path, python: str) -> None:
    """Copy a pickle of protocol 4 or later, with a mark.

    Parameters
    ----------
    pickled, out : Path
    python : str
        The minor version of Python that made the pickle.
    """
    text = json.dumps({"made_by": MADE_BY, "python": python}).encode("ascii")
    assert len(text) <= _MAX_TEXT
    with open(pickled, "rb") as source, open(out, "wb") as target:
        target.write(source.read(2) + _TEXT + bytes([len(text)]) + text + _DROP)
        shutil.copyfileobj(source, target)


def read_mark(path: Path) -> UploadMark | None:
    """Return the mark of a model upload; None if the file has none, since others made it.

    Raises
    ------
    OSError
        The file can't be read.
    """
    with open(path, "rb") as file:
        head = file.read(4 + _MAX_TEXT + 1)
    if head[:1] != _START or head[2:3] != _TEXT or len(head) < 4:
        return None
    end = 4 + head[3]
    if head[end : end + 1] != _DROP:
        return None
    try:
        found = json.loads(head[4:end])
        return UploadMark(python=str(found["python"]), made_by=str(found["made_by"]))
    except (ValueError, TypeError, KeyError):
        return None
