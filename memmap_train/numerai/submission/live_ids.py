"""The ids of the current round's live rows: from a file, or from Numerai.

Takes the path of a live.parquet, or none: then that of the newest version of the data is downloaded
into a temporary folder. Only its column of ids is decoded.
"""

import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

from ...arrays import Ids
from ...conversion.parquet.file import read_file_info
from ...conversion.parquet.handle import ParquetHandle
from ...conversion.parquet.row_labels import read_ids
from ...dataset.ids import ID_COLUMN, repeated_ids
from ...errors import MemmapTrainError, NumeraiError, listed
from ...progress import Progress
from ..api import list_files
from ..download.download import download
from ..download.folder import read_record
from ..download.plan import files_by_version
from ..download.transfer import Source, look

LIVE_FILE = "live.parquet"
_IDS_AT_ONCE = 2**14


def live_ids(path: Path | None, progress: Progress) -> Ids:
    """Return the ids of the live rows, each of them once.

    Parameters
    ----------
    path : Path or None
        A live.parquet, with the ids as a column or as the index of pandas. None: it is downloaded.
    progress : Progress
        Called with bytes while it is downloaded.

    Raises
    ------
    SourceError
        The file can't be read.
    NumeraiError
        It has no ids, repeats one, or was downloaded and is another one at Numerai by now; or it
        can't be downloaded.
    """
    if path is not None:
        ids = ids_in_file(path)
        _check_current(path)
        return ids
    version = newest_version()
    try:
        with tempfile.TemporaryDirectory(prefix="memmap-train-live-") as folder:
            download([LIVE_FILE], version=version, out=folder, progress=progress)
            return ids_in_file(Path(folder, LIVE_FILE))
    except OSError as error:
        if isinstance(error, MemmapTrainError):
            raise
        raise NumeraiError(
            f"{LIVE_FILE} can't be downloaded to {tempfile.gettempdir()}: {error.strerror}; name "
            "one: --live FILE"
        ) from error


def _check_current(path: Path) -> None:
    """Raise a NumeraiError if a live file was downloaded, and isn't Numerai's any more.

    Whether a user's own file is that of this round isn't known.
    """
    items = read_record(path.parent).get(path.name, [])
    known = next((item for item in items if item.is_at(path)), None)
    if known is None or not known.etag:
        return
    remote = look(Source(known.name, None))
    if (remote.etag, remote.n_bytes) != (known.etag, known.n_bytes):
        raise NumeraiError(
            f"{path}: expected Numerai's {known.name} of now, found an earlier one; download it "
            "again, and predict its rows"
        )


def newest_version() -> str:
    """Return the newest version of the data that has live rows, such as "v5.3".

    Raises
    ------
    NumeraiError
        Numerai can't be reached, or has none.
    """
    versions = files_by_version(list_files())
    found = [version for version, names in versions.items() if LIVE_FILE in names]
    if not found:
        raise NumeraiError(
            f"Numerai has no {LIVE_FILE} in any version ({listed(versions) or 'it lists none'}); "
            "name one: --live FILE"
        )
    return found[-1]


def ids_in_file(path: Path) -> Ids:
    """Return the ids of a parquet file; see `live_ids`."""
    info = read_file_info(path)
    if ID_COLUMN not in info.types:
        raise NumeraiError(
            f"{path}: expected a live.parquet with the column {ID_COLUMN!r}, found "
            f"{listed(info.types, most=4) or 'no columns'}; name Numerai's live.parquet"
        )
    pieces: list[Ids] = []
    with closing(ParquetHandle(info, uses_decoder=False)) as handle:
        for group in range(len(info.row_groups)):
            pieces.extend(read_ids(handle, group, ID_COLUMN, _IDS_AT_ONCE))
    ids = np.concatenate(pieces) if pieces else np.empty(0, "S1")
    repeated = repeated_ids(ids)
    if not len(ids) or len(repeated):
        found = "no rows" if not len(ids) else f"{repeated[0].decode()!r} more than once"
        raise NumeraiError(
            f"{path}: expected the ids of live rows, each once, found {found}; name Numerai's "
            "live.parquet"
        )
    return ids
