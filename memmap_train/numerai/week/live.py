"""The live rows of a round: downloaded as soon as they are of this round, and converted.

Numerai replaces live.parquet when a round opens, and perhaps a moment later. A file is that of an
earlier round if it was taken for one, by its ETag, or was downloaded before this round opened and
hasn't changed since.
"""

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...conversion.conversion import convert
from ...dataset.file_digest import digest_file
from ...errors import NumeraiError
from ..download.download import download
from ..download.folder import downloaded, read_record
from ..download.plan import PlannedFile
from ..submission.rounds import Round
from .context import Context
from .reason import reason
from .state import MAX_ROUNDS, Live
from .waiting import seconds_to_wait, shown_time

LIVE, FEATURES = "live.parquet", "features.json"
FILES = (FEATURES, LIVE)
DIGITS = 12  # of a digest, in names of files
PREDICTIONS_FOLDER, LIVE_FOLDER = "predictions", "live"


@dataclass(frozen=True, slots=True)
class LiveRows:
    """The live rows of a round.

    Attributes
    ----------
    path : Path
        Numerai's live.parquet.
    digest : str
        Of the file.
    dataset : Path
        The dataset that it was converted to.
    """

    path: Path
    digest: str
    dataset: Path


def live_rows(context: Context, found: Round, deadline: datetime) -> LiveRows:
    """Download and convert the live rows of a round; wait for them until a deadline.

    Raises
    ------
    NumeraiError
        They can't be fetched, or are still those of an earlier round.
    MemmapTrainError
        They can't be converted.
    """
    live = _fetched(context, found, deadline)
    path, name = context.data / LIVE, f"{found.number}-{short(live.digest)}"
    folder = context.folder / LIVE_FOLDER
    convert(
        [path],
        folder / name,
        dtype=context.config.dtype,
        missing=context.config.missing,
        features_json=context.data / FEATURES,
        progress=context.progress,
    )
    if digest_file(path) != live.digest:
        raise NumeraiError(f"{path}: it has changed while it was converted; run the command again")
    _remove_old(context.folder, found.number, name)
    return LiveRows(path, live.digest, folder / name)


def objection(context: Context, file: PlannedFile, found: Round) -> str:
    """Return why a live file at Numerai isn't that of this round yet; empty if it is."""
    etag, n_bytes = file.remote.etag, file.remote.n_bytes
    if context.state.is_of_another_round(etag, n_bytes, found.number):
        return f"{LIVE} at Numerai isn't that of round {found.number} yet, but of an earlier one"
    is_old = file.state == "unchanged" and file.path.stat().st_mtime < found.opens.timestamp()
    if is_old and context.state.live(found.number) is None:
        return (
            f"{LIVE} at Numerai hasn't changed since {file.path} was downloaded, before round "
            f"{found.number} opened (if that is this round's, remove it)"
        )
    return ""


def short(digest: str) -> str:
    """Return the beginning of a digest, for the name of a file.

    >>> short("xxh3_128:99aa06d3014798d86001c324468d497f")
    '99aa06d30147'
    """
    return digest.rpartition(":")[2][:DIGITS]


def _fetched(context: Context, found: Round, deadline: datetime) -> Live:
    """Return what the live file of the round is, once it is there."""
    said = ""
    while True:
        now = context.clock.now()
        try:
            live = _fetch(context, found)
            if isinstance(live, Live):
                return live
            text = live
            if now >= deadline:
                raise NumeraiError(f"{text}; run the same command again before the round closes")
        except NumeraiError as error:
            if now >= deadline:
                raise
            text = reason(error, context.config)
        if text != said:
            context.log.say(f"{text}; trying again until {shown_time(deadline)}")
            said = text
        context.clock.wait(seconds_to_wait(deadline, now))


def _fetch(context: Context, found: Round) -> Live | str:
    """Download the files of the round; return what the live file is, or why it isn't there yet."""
    version, out, number = context.config.version, context.data, found.number
    plan = download(FILES, version=version, out=out, round_number=number, dry_run=True).plan
    (file,) = (file for file in plan.files if file.path.name == LIVE)
    text = objection(context, file, found)
    if text:
        return text
    download(FILES, version=version, out=out, round_number=number, progress=context.progress)
    there = downloaded(file.path, read_record(out))
    if there is None:
        raise NumeraiError(f"{file.path}: it was removed after the download; run the command again")
    live = Live(there.etag, there.n_bytes, digest_file(file.path))
    if live != context.state.live(number):
        context.state.set_live(number, live)
        context.log.say(f"the live rows of round {number} are there")
    return live


def _remove_old(folder: Path, round_number: int, name: str) -> None:
    """Remove the live rows of other rounds, and predictions of rounds long ago."""
    for path in (folder / LIVE_FOLDER).iterdir():
        if path.name != name and path.name.partition("-")[0].isdecimal():
            shutil.rmtree(path, ignore_errors=True)
    for path in (folder / PREDICTIONS_FOLDER).glob("*-*-*.csv"):
        number = path.stem.rsplit("-", 2)[1]
        if number.isdecimal() and int(number) <= round_number - MAX_ROUNDS:
            path.unlink(missing_ok=True)
