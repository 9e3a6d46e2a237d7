"""Whether a file that has arrived is whole: its length, its first and last bytes, its footer.

A file that isn't whole is deleted, so that a rerun begins from 0.
"""

import json
from pathlib import Path

from ...errors import NumeraiError, SourceError
from .part import RemoteFile, part_path, remove_part


def check_whole(path: Path, remote: RemoteFile) -> None:
    """Check the complete part of a file.

    Parquet files begin and end with "PAR1" and have a readable footer; JSON files hold an object.
    Of others only the length is known.

    Raises
    ------
    NumeraiError
        It isn't whole. Its part is deleted.
    """
    found = _damage(path, remote)
    if found:
        remove_part(path)
        raise NumeraiError(
            f"{path}: what came from Numerai for {remote.name} isn't whole: {found}; it was "
            "deleted, and the same command fetches it again"
        )


def _damage(path: Path, remote: RemoteFile) -> str:
    """Return what is wrong with a part; empty if nothing is."""
    part = part_path(path)
    n_bytes = part.stat().st_size
    if n_bytes != remote.n_bytes:
        return f"expected {remote.n_bytes:,} bytes, found {n_bytes:,}"
    if path.suffix == ".parquet":
        from ...conversion.parquet.file import read_file_info  # needs pyarrow

        try:
            read_file_info(part)
        except SourceError as error:
            return str(error).removeprefix(f"{part}: ").partition(";")[0]
    if path.suffix == ".json":
        try:
            with open(part, "rb") as file:
                data = json.load(file)
        except (ValueError, RecursionError):
            return "it isn't valid JSON"
        if not isinstance(data, dict):
            return "expected a JSON object"
    return ""
