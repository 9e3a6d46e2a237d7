"""`submit`: predictions sent to Numerai, checked before and submitted once.

The order of the steps: the keys, the file, the account's model, the round, the checks, the upload.
All that can fail without the network comes first, and the upload last.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...arguments import flag, instance
from ...conversion.parquet.prediction_reader import read_predictions
from ...errors import ArgumentError, NumeraiError
from ...progress import ProgressOption, reporting
from ...system.paths import checked_path
from .account import find_model, read_keys
from .checks import HEADER, check_predictions
from .live_ids import live_ids
from .report import Kind, SubmitReport
from .rounds import current_round
from .upload import upload_predictions


def submit(
    kind: Kind,
    file: str | os.PathLike[str],
    *,
    model: str,
    live: str | os.PathLike[str] | None = None,
    wait: bool = False,
    dry_run: bool = False,
    progress: ProgressOption = None,
) -> SubmitReport:
    """Check a file and send it to Numerai, for one of the account's models.

    The keys come from the environment alone, `NUMERAI_PUBLIC_ID` and `NUMERAI_SECRET_KEY`.

    Parameters
    ----------
    kind : {"predictions"}
    file : path
        The predictions of the current round's live rows, as `predict` writes them.
    model : str
        The name of the model at Numerai.
    live : path, optional
        The live.parquet that was predicted; by default that of the newest version is downloaded.
    wait : bool
        Whether to wait for what becomes of it.
    dry_run : bool
        Whether to do all but the upload.
    progress : bool or callable, optional
        See `memmap_train.types.Progress`; in bytes.

    Raises
    ------
    NumeraiError
        There is no valid key or no such model, Numerai can't be reached or wouldn't accept the
        file, or the round is closed.
    SourceError
        The file, or the live file, can't be read.
    DependencyError
        The extra `numerai` isn't installed.
    """
    model, dry_run = instance("model", model, str, ArgumentError), flag("dry_run", dry_run)
    path, keys = checked_path(file, NumeraiError), read_keys()
    ids, values = _read(path)
    model_id, found = find_model(model, keys), current_round()
    with reporting(progress, "B") as report:
        universe = live_ids(None if live is None else checked_path(live, NumeraiError), report)
    check_predictions(str(path), HEADER, ids, values, universe.astype(str))
    is_open = found.is_open(datetime.now(UTC))
    if not is_open and not dry_run:
        raise NumeraiError(
            f"round {found.number} is closed since {found.closes:%Y-%m-%d %H:%M} UTC"
        )
    submission = None
    n_bytes = path.stat().st_size
    if not dry_run:
        n_sent = 0
        with reporting(progress, "B") as report:

            def sent(n_new: int) -> None:
                nonlocal n_sent
                n_sent += n_new
                report("uploading", n_sent, n_bytes)

            submission = upload_predictions(path, model_id, keys, sent)
    return SubmitReport(
        kind=kind,
        path=str(path),
        n_bytes=n_bytes,
        model=model,
        model_id=model_id,
        is_dry_run=dry_run,
        n_rows=len(ids),
        round_number=found.number,
        round_is_open=is_open,
        closes=found.closes,
        id=None if submission is None else submission.id,
        filename=None if submission is None else submission.filename,
    )


def _read(path: Path) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.float64]]:
    blocks = list(read_predictions(path, id_names=["id"], era_names=[]))
    return (
        np.concatenate([block.ids.astype(str) for block in blocks]),
        np.concatenate([block.values for block in blocks]),
    )
