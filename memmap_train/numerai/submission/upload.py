"""A file sent to Numerai: an address is asked for, the file put there, and something made of it.

The address and the file may be sent again. The last step is sent once: if its answer is lost, what
the model has says whether it has arrived. If a user stops it, the log says the same.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...errors import NumeraiError
from ..api import TOURNAMENT, Answer, Wait, ask, ask_once
from ..http_requests import request_reason, within, without_password
from .account import Keys
from .destinations import Destination, Existing
from .payload import Body, Payload

RETRY_SECONDS = (1.0, 4.0, 16.0)  # waits before the file is sent again
LOOK_SECONDS = (1.0, 4.0)  # waits before it is looked again what has arrived
STOP_SECONDS = 10.0  # that a user who stops the last step waits to learn what has arrived
TIMEOUT_SECONDS = (10.0, 600.0)  # to connect; for an answer

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """A submission, diagnostics or a model upload that has arrived.

    Attributes
    ----------
    id : str
    filename : str
        The name that Numerai gave to the file.
    """

    id: str
    filename: str


def upload(
    payload: Payload,
    destination: Destination,
    model_id: str,
    keys: Keys,
    report: Callable[[int], None],
    *,
    further: Mapping[str, str] | None = None,
    wait: Wait = time.sleep,
) -> Submission:
    """Send a file, which was checked before; return what was made of it.

    Parameters
    ----------
    payload : Payload
    destination : Destination
    model_id : str
    keys : Keys
    report : callable
        Called with the number of bytes that are sent; a negative one before they are sent again.
    further : mapping of str to str, optional
        Further variables of the change.
    wait : callable
        Waits before the next try.

    Raises
    ------
    NumeraiError
        The key isn't valid, the file isn't taken, or nothing is made of it.
    """
    with before_submission(payload.path):
        before = destination.existing(model_id, keys, wait)
        filename = _send(payload, destination, model_id, keys, report, wait)
        payload.check_unchanged()
    variables = {"filename": filename, "tournament": TOURNAMENT, "modelId": model_id}
    look = _Look(destination, filename, model_id, keys, before)
    try:
        answer = ask_once(destination.create, {**variables, **(further or {})}, keys)
        return _created(payload, answer, look, wait)
    except KeyboardInterrupt:
        _log.warning("%s: %s", payload.path, look.words_when_stopped(wait))
        raise


@contextmanager
def before_submission(path: Path) -> Iterator[None]:
    """Say that nothing was submitted if the user stops the block."""
    try:
        yield
    except KeyboardInterrupt:
        _log.warning("%s: stopped before anything was submitted", path)
        raise


def _send(
    payload: Payload,
    destination: Destination,
    model_id: str,
    keys: Keys,
    report: Callable[[int], None],
    wait: Wait,
) -> str:
    """Put the file where Numerai wants it; return the name that it has there."""
    import requests

    variables: dict[str, object] = {"filename": payload.name, "modelId": model_id}
    if "$tournament" in destination.address:
        variables["tournament"] = TOURNAMENT
    waits = list(RETRY_SECONDS)
    while True:
        what = "the address of the upload"
        found = ask(what, destination.address, variables, keys=keys, wait=wait)
        place = found.get(destination.address_field)
        if not isinstance(place, dict) or not {"filename", "url"} <= place.keys():
            raise NumeraiError(
                f"{payload.path}: expected Numerai to give {what}, found none; nothing was "
                "submitted; try again later"
            )
        body = Body(payload, report)
        try:
            with requests.put(
                place["url"], data=body, timeout=TIMEOUT_SECONDS, auth=without_password
            ) as response:
                if response.ok:
                    return str(place["filename"])
                reason = f"the server answers {response.status_code} {response.reason or ''}"
        except NumeraiError:  # of the payload
            raise
        except (OSError, ValueError) as error:  # ValueError: of an address that isn't one
            reason = request_reason(error)
        payload.check_unchanged()
        if not waits:
            raise NumeraiError(
                f"{payload.path}: can't be sent to Numerai: {reason.rstrip()}, "
                f"{len(RETRY_SECONDS) + 1} times in a row; nothing was submitted; try again later"
            )
        report(-body.n_sent)
        wait(waits.pop(0))


def _created(payload: Payload, answer: Answer, look: "_Look", wait: Wait) -> Submission:
    """Return what was made of a file, from the answer, or by looking what has arrived."""
    noun = look.destination.noun
    created = answer.data.get(look.destination.create_field) if answer.data else None
    if isinstance(created, dict) and isinstance(created.get("id"), str):
        return Submission(created["id"], look.filename)
    try:
        found = look(wait, () if answer.is_refused else LOOK_SECONDS)
    except NumeraiError as error:
        if answer.is_refused:
            raise _refused(payload, noun, answer) from None
        raise NumeraiError(
            f"{payload.path}: whether the {noun} has arrived isn't known: {error}; look at the "
            "model at numer.ai before sending it again"
        ) from None
    if found is None and answer.is_refused:  # which an answer may say that isn't one
        raise _refused(payload, noun, answer)
    if found is None:
        raise NumeraiError(
            f"{payload.path}: Numerai didn't confirm the {noun} ({answer.reason or 'no id came'}), "
            "and the model has none of this file; the same command sends it again"
        )
    return found


def _refused(payload: Payload, noun: str, answer: Answer) -> NumeraiError:
    return NumeraiError(
        f"{payload.path}: Numerai refuses the {noun}: {answer.reason}; nothing was submitted"
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """Looks whether something was made of a file, by what the model had before."""

    destination: Destination
    filename: str
    model_id: str
    keys: Keys
    before: Existing | None

    def __call__(self, wait: Wait, seconds: Sequence[float] = ()) -> Submission | None:
        """Return what was made of the file; None if there is nothing.

        Parameters
        ----------
        wait : callable
        seconds : sequence of float
            Waits before further looks.

        Raises
        ------
        NumeraiError
            It can't be told.
        """
        waits = list(seconds)
        while True:
            now = self.destination.existing(self.model_id, self.keys, wait)
            if now is None or self.before is None:
                raise NumeraiError("Numerai doesn't tell what the model has")
            new = dict(now.items() - self.before.items())
            for key, name in new.items():
                if name in (self.filename, None):
                    return Submission(key, self.filename)
            if new:
                raise NumeraiError("the model has a new one, of another file")
            if not waits:
                return None
            wait(waits.pop(0))

    def words_when_stopped(self, wait: Wait) -> str:
        """Return what has become of a file whose last step was stopped."""
        noun = self.destination.noun
        try:
            found = within(STOP_SECONDS, lambda: self(wait, LOOK_SECONDS))
        except (NumeraiError, TimeoutError):
            found = None
        if found is None:
            return f"stopped while the {noun} was made, which may arrive; look at the model first"
        return f"stopped, but the {noun} has arrived with the id {found.id}; don't send it again"
