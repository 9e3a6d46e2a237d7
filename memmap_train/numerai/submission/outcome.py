"""What becomes of a submission: Numerai is asked again and again until it has decided.

Takes the id of what has arrived; returns an `Outcome`. Words that Numerai isn't known to use count
as decided, and are shown as they are.

Notes
-----
Source: numerapi 3.1.1, `diagnostics`; for statuses of predictions
https://forum.numer.ai/t/introducing-queued-submissions-submission-statuses/6253, for those of
uploads docs.numer.ai, model uploads, and the query in example-scripts' skill numerai-model-upload.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import NumeraiError, shown
from ...progress import Progress
from ..api import Wait, ask
from ..http_requests import shortened
from .account import Keys
from .destinations import model_of
from .upload import Submission

POLL_SECONDS = 15.0
MAX_POLLS = 240  # an hour
_UNDER_WAY = frozenset(
    (
        *("", "none", "new", "created", "queued", "pending", "started", "running", "processing"),
        *("validating", "scoring", "in progress", "in_progress"),
    )
)
_FAILED = frozenset(("error", "errored", "failed", "failure", "invalid", "rejected", "cancelled"))
_NOT_FOR_THIS_ROUND = frozenset(("late", "queued"))  # of predictions
_SCORES = (
    "validationCorrMean",
    "validationCorrStd",
    "validationCorrSharpe",
    "validationCorrMaxDrawdown",
    "validationMmcMean",
    "validationMmcStd",
    "validationMmcSharpe",
    "validationBmcMean",
    "validationFeatureNeutralCorrV3Mean",
    "validationFeatureCorrMax",
    "validationApy",
)
_LATEST = "query { account { models { id latestSubmissions { filename status } } } }"
_DIAGNOSTICS = f"""query($id: String $modelId: String!) {{
    diagnostics(id: $id modelId: $modelId) {{
        status message erasAcceptedCount trainedOnVal {" ".join(_SCORES)}
    }}
}}"""
_UPLOAD = """query { account { models { id computePickleUpload {
    id filename validationStatus triggerStatus
    triggers { id status statuses { status description insertedAt } }
} } } }"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of a submission.

    Attributes
    ----------
    status : str
        Numerai's own word.
    problem : str or None
        Why it isn't accepted, or isn't known to be; None if all is well.
    scores : dict of str to float
    log : tuple of str
        What Numerai says on it, line by line.
    """

    status: str
    problem: str | None = None
    scores: dict[str, float] = field(default_factory=dict)
    log: tuple[str, ...] = ()


_Look = Callable[[Submission, str, Keys, Wait], Outcome | None]
"""Asks once; None if Numerai doesn't know the submission yet."""


def wait_for(
    look: _Look,
    submission: Submission,
    model_id: str,
    keys: Keys,
    progress: Progress,
    wait: Wait = time.sleep,
) -> Outcome:
    """Ask until Numerai has decided, or for an hour; return what it says.

    Parameters
    ----------
    look : callable
        `look_at_predictions`, `look_at_diagnostics` or `look_at_model`.
    submission : Submission
    model_id : str
    keys : Keys
    progress : Progress
        Called with seconds.
    wait : callable

    Raises
    ------
    NumeraiError
        Numerai can't be asked any more.
    """
    outcome, total = None, round(MAX_POLLS * POLL_SECONDS)
    for number in range(MAX_POLLS):
        try:
            outcome = look(submission, model_id, keys, wait)
        except NumeraiError as error:
            raise NumeraiError(
                f"{submission.filename} has arrived with the id {submission.id}, and what becomes "
                f"of it isn't known: {error}"
            ) from None
        if outcome is not None and outcome.problem is not None:
            return outcome
        if outcome is not None and outcome.status.lower() not in _UNDER_WAY:
            return _decided(outcome)
        said = outcome.status if outcome is not None and outcome.status else "nothing yet"
        progress(f"waiting for Numerai ({said})", round(number * POLL_SECONDS), total)
        wait(POLL_SECONDS)
    found = outcome or Outcome("unknown")
    problem = f"Numerai hasn't decided after {total:,} s; look at the model at numer.ai"
    return Outcome(found.status, problem, found.scores, found.log)


def _decided(outcome: Outcome) -> Outcome:
    if outcome.status.lower() not in _FAILED:
        return outcome
    said = f": {outcome.log[-1]}" if outcome.log else ""
    problem = f"Numerai says {outcome.status!r}{said}"
    return Outcome(outcome.status, problem, outcome.scores, outcome.log)


def look_at_predictions(
    submission: Submission, model_id: str, keys: Keys, wait: Wait
) -> Outcome | None:
    """Return what has become of predictions."""
    answer = ask("the status of the submission", _LATEST, {}, keys=keys, wait=wait)
    for item in model_of(answer, model_id).get("latestSubmissions") or []:
        if isinstance(item, dict) and item.get("filename") == submission.filename:
            word = _word(item.get("status"))
            if word.lower() in _NOT_FOR_THIS_ROUND:
                return Outcome(word, f"it is {word!r}: Numerai doesn't count it for this round")
            return Outcome(word)
    return None


def look_at_diagnostics(
    submission: Submission, model_id: str, keys: Keys, wait: Wait
) -> Outcome | None:
    """Return what has become of predictions that were sent for diagnostics."""
    variables = {"id": submission.id, "modelId": model_id}
    answer = ask("the diagnostics", _DIAGNOSTICS, variables, keys=keys, wait=wait)
    found = answer.get("diagnostics")
    found = found[0] if isinstance(found, list) and found else found
    if not isinstance(found, dict):
        return None
    scores = {
        name: float(found[name]) for name in _SCORES if isinstance(found.get(name), int | float)
    }
    log = []
    if found.get("erasAcceptedCount"):
        log.append(f"eras that were accepted: {found['erasAcceptedCount']}")
    if found.get("trainedOnVal"):
        log.append("Numerai takes the model for one that was trained on validation eras")
    if found.get("message"):  # the last line, which is the reason of a failure
        log.append(shortened(str(found["message"])))
    return Outcome(_word(found.get("status")), None, scores, tuple(log))


def look_at_model(submission: Submission, model_id: str, keys: Keys, wait: Wait) -> Outcome | None:
    """Return what has become of a model upload."""
    answer = ask("the status of the upload", _UPLOAD, {}, keys=keys, wait=wait)
    found = model_of(answer, model_id).get("computePickleUpload")
    if not isinstance(found, dict) or str(found.get("id")) != submission.id:
        return None
    log = [f"runs: {found['triggerStatus']}"] if found.get("triggerStatus") else []
    for trigger in found.get("triggers") or []:
        log += [_line(status) for status in trigger.get("statuses") or []]
    return Outcome(_word(found.get("validationStatus")), None, {}, tuple(log))


def _line(status: Mapping[str, Any]) -> str:
    parts = (status.get(name) for name in ("insertedAt", "status", "description"))
    return shortened(" ".join(str(part) for part in parts if part))


def _word(status: Any) -> str:
    if status is None:
        return ""
    return status.strip() if isinstance(status, str) else shown(status)
