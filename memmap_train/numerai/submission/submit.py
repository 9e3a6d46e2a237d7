"""`submit`: predictions or a model sent to Numerai, checked before and submitted once.

All that can fail on this machine fails first: options, keys, the file. Then come the questions to
Numerai, the checks that need their answers, and last the upload.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from ...arguments import flag, instance
from ...errors import ArgumentError, NumeraiError, nearest, shown
from ...progress import Progress, ProgressOption, reporting
from ...system.paths import checked_path
from .account import Keys, find_model, read_keys
from .checks import check_live, check_validation
from .destinations import DIAGNOSTICS, MODEL, PREDICTIONS
from .live_ids import live_ids
from .outcome import look_at_diagnostics, look_at_model, look_at_predictions, wait_for
from .payload import Payload, payload
from .pickle_python import pickle_python
from .prediction_file import as_csv, read_prediction_file
from .report import Kind, SubmitReport
from .rounds import Round, current_round
from .runtime import choose_data_version, choose_image
from .upload import Submission, before_submission, upload

_DESTINATIONS = {"predictions": PREDICTIONS, "diagnostics": DIAGNOSTICS, "model": MODEL}
_LOOKS = {
    "predictions": look_at_predictions,
    "diagnostics": look_at_diagnostics,
    "model": look_at_model,
}
_log = logging.getLogger(__name__)


def submit(
    kind: Kind,
    file: str | os.PathLike[str],
    *,
    model: str,
    live: str | os.PathLike[str] | None = None,
    data_version: str | None = None,
    wait: bool = False,
    dry_run: bool = False,
    progress: ProgressOption = None,
) -> SubmitReport:
    """Check a file and send it to Numerai, for one of the account's models.

    The keys come from the environment alone, `NUMERAI_PUBLIC_ID` and `NUMERAI_SECRET_KEY`.

    Parameters
    ----------
    kind : {"predictions", "diagnostics", "model"}
        Predictions of the current round's live rows; predictions of validation rows, which Numerai
        scores; or a model upload, which Numerai runs every day.
    file : path
        CSV or parquet as `predict` writes it, or a pickle as `export` writes it.
    model : str
        The name of the model at Numerai.
    live : path, optional
        For predictions: the live.parquet that was predicted. By default that of the newest version
        is downloaded.
    data_version : str, optional
        For a model: the version of the data that it is run with, such as "v5.3"; by default the
        newest one.
    wait : bool
        Whether to wait for what becomes of it.
    dry_run : bool
        Whether to do all but the upload.
    progress : bool or callable, optional
        See `memmap_train.types.Progress`; in bytes, and in seconds while Numerai is waited for.

    Returns
    -------
    SubmitReport
        Its `problem` says why what was sent isn't accepted, if it was waited for.

    Raises
    ------
    NumeraiError
        There is no valid key or no such model, Numerai can't be reached or wouldn't accept the
        file, or the round is closed.
    SourceError
        The file, or the live file, can't be read.
    ArgumentError
        An option isn't what it should be, or isn't one of this kind.
    DependencyError
        The extra `numerai` isn't installed.
    """
    _check_options(kind, live, data_version)
    order = _Order(
        kind=kind,
        path=checked_path(file, NumeraiError),
        model=instance("model", model, str, ArgumentError),
        live=None if live is None else checked_path(live, NumeraiError),
        data_version=data_version,
        is_dry_run=flag("dry_run", dry_run),
    )
    wait, keys, submission = flag("wait", wait), read_keys(), None
    prepare = _prepared_model if kind == "model" else _prepared_predictions
    try:
        with reporting(progress, "B") as report, ExitStack() as stack:
            with before_submission(order.path):
                prepared = stack.enter_context(prepare(order, keys, report))
            if order.is_dry_run:
                return prepared.report
            submission = _upload(prepared, keys, report)
        found = replace(prepared.report, id=submission.id, filename=submission.filename)
        return _with_outcome(found, submission, keys, progress) if wait else found
    except KeyboardInterrupt:
        if submission is not None:
            _log.warning("%s: it has arrived with the id %s", order.path, submission.id)
        raise


@dataclass(frozen=True, slots=True)
class _Order:
    """What the caller wants, checked."""

    kind: Kind
    path: Path
    model: str
    live: Path | None
    data_version: str | None
    is_dry_run: bool

    def report(self, sent: Payload, model_id: str, **details: Any) -> SubmitReport:
        """Return the report of a dry run."""
        return SubmitReport(
            kind=self.kind,
            path=str(self.path),
            n_bytes=sent.n_bytes,
            model=self.model,
            model_id=model_id,
            is_dry_run=self.is_dry_run,
            **details,
        )


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What has passed the checks: the report of a dry run, and what is sent.

    `further` are variables of the last step.
    """

    report: SubmitReport
    sent: Payload
    further: Mapping[str, str] = field(default_factory=dict)


def _check_options(kind: object, live: object, data_version: object) -> None:
    """Raise an ArgumentError if an option isn't one of this kind of submission."""
    kinds = get_args(Kind)
    if kind not in kinds:
        known = nearest(kind, kinds) if isinstance(kind, str) else ""
        raise ArgumentError(
            f"kind: expected 'predictions', 'diagnostics' or 'model', found {shown(kind)}{known}"
        )
    if live is not None and kind != "predictions":
        raise ArgumentError(
            f"live: it is for predictions of live rows, not for {kind}; leave out --live"
        )
    if data_version is not None and kind != "model":
        raise ArgumentError(
            f"data_version: it is for a model, not for {kind}; leave out --data-version"
        )
    if data_version is not None:
        instance("data_version", data_version, str, ArgumentError)


@contextmanager
def _prepared_predictions(order: _Order, keys: Keys, progress: Progress) -> Iterator[_Prepared]:
    """Check predictions; yield them as they are sent."""
    file = read_prediction_file(order.path)
    details: dict[str, Any] = {"n_rows": len(file.ids)}
    if order.kind == "diagnostics":
        check_validation(order.path, file.ids, file.values)
    model_id = find_model(order.model, keys)
    if order.kind == "predictions":
        found, now = current_round(), datetime.now(UTC)
        if not found.is_open(now) and not order.is_dry_run:
            raise _closed(order.path, found, now)
        details |= {
            "round_number": found.number,
            "round_is_open": found.is_open(now),
            "opens": found.opens,
            "closes": found.closes,
        }
        universe = live_ids(order.live, progress)
        check_live(order.path, file.ids, file.values, universe, live=order.live)
    with as_csv(file) as sent:
        yield _Prepared(order.report(sent, model_id, **details), sent)


def _closed(path: Path, found: Round, now: datetime) -> NumeraiError:
    return NumeraiError(
        f"{path}: {found.words(now)}; nothing was submitted: Numerai would keep the predictions "
        "for the next round, whose live rows are others; submit while a round is open"
    )


@contextmanager
def _prepared_model(order: _Order, keys: Keys, progress: Progress) -> Iterator[_Prepared]:
    """Check a model upload; yield it, with what Numerai is to run it with."""
    del progress  # nothing takes long
    sent = payload(order.path)
    python = pickle_python(order.path)
    model_id = find_model(order.model, keys)
    image = choose_image(order.path, python, keys)
    version = choose_data_version(order.data_version, keys)
    details = {"python": python, "image": image.name, "data_version": version.name}
    further = {"dataVersionId": version.id, "dockerImageId": image.id}
    yield _Prepared(order.report(sent, model_id, **details), sent, further)


def _upload(prepared: _Prepared, keys: Keys, progress: Progress) -> Submission:
    """Send a file, with a bar."""
    found, n_sent = prepared.report, 0

    def report(n_new: int) -> None:
        nonlocal n_sent
        n_sent += n_new
        progress("uploading", n_sent, found.n_bytes)

    destination = _DESTINATIONS[found.kind]
    return upload(
        prepared.sent, destination, found.model_id, keys, report, further=prepared.further
    )


def _with_outcome(
    found: SubmitReport, submission: Submission, keys: Keys, progress: ProgressOption
) -> SubmitReport:
    """Return a report with what has become of a submission."""
    with reporting(progress, "s") as report:
        outcome = wait_for(_LOOKS[found.kind], submission, found.model_id, keys, report)
    return replace(
        found,
        status=outcome.status,
        problem=outcome.problem,
        scores=outcome.scores,
        log=outcome.log,
    )
