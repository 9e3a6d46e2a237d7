"""A file of predictions sent to Numerai: an address is asked for, the file put there, and named.

The address and the file may be sent again. The last step makes the submission and is sent once: if
its answer is lost, the model's submissions say whether it has arrived.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import NumeraiError
from ..api import TOURNAMENT, Wait, ask, ask_once
from ..http_requests import request_reason, without_password
from .account import Keys

RETRY_SECONDS = (1.0, 4.0, 16.0)  # waits before the file is sent again
TIMEOUT_SECONDS = (10.0, 600.0)  # to connect; for an answer
PIECE_BYTES = 2**16

_AUTHORIZE = """query($filename: String! $tournament: Int! $modelId: String) {
    submission_upload_auth(filename: $filename tournament: $tournament modelId: $modelId) {
        filename url
    }
}"""
_CREATE = """mutation($filename: String! $tournament: Int! $modelId: String) {
    create_submission(filename: $filename tournament: $tournament modelId: $modelId
                      source: "memmap-train") { id }
}"""
_LIST = "query($modelId: String) { submissions(modelId: $modelId) { id filename insertedAt } }"


@dataclass(frozen=True, slots=True)
class Submission:
    """A submission that has arrived.

    Attributes
    ----------
    id : str
    filename : str
        The name that Numerai gave to the file.
    """

    id: str
    filename: str


def upload_predictions(
    path: Path,
    model_id: str,
    keys: Keys,
    report: Callable[[int], None],
    wait: Wait = time.sleep,
) -> Submission:
    """Send a file of predictions, which was checked before; return the submission.

    Parameters
    ----------
    path : Path
    model_id : str
    keys : Keys
    report : callable
        Called with the number of bytes that are sent; a negative one before they are sent again.
    wait : callable
        Waits before the next try.

    Raises
    ------
    NumeraiError
        The key isn't valid, the file isn't taken, or the submission isn't made.
    """
    filename = _send(path, model_id, keys, report, wait)
    variables = {"filename": filename, "tournament": TOURNAMENT, "modelId": model_id}
    answer = ask_once(_CREATE, variables, keys)
    created = answer.data.get("create_submission") if answer.data else None
    if isinstance(created, dict) and isinstance(created.get("id"), str):
        return Submission(created["id"], filename)
    if answer.is_refused:
        raise NumeraiError(f"{path}: Numerai refuses the submission: {answer.reason}")
    found = _arrived(filename, model_id, keys, wait)
    if found is None:
        raise NumeraiError(
            f"{path}: Numerai didn't confirm the submission ({answer.reason or 'no id came'}), and "
            "it is not among the model's submissions; the same command sends it again"
        )
    return found


def _send(path: Path, model_id: str, keys: Keys, report: Callable[[int], None], wait: Wait) -> str:
    """Put the file where Numerai wants it; return the name that it has there."""
    import requests

    variables = {"filename": path.name, "tournament": TOURNAMENT, "modelId": model_id}
    waits = list(RETRY_SECONDS)
    while True:
        what = "the address of the upload"
        found = ask(what, _AUTHORIZE, variables, keys=keys, wait=wait)
        place = found.get("submission_upload_auth")
        if not isinstance(place, dict) or not {"filename", "url"} <= place.keys():
            raise NumeraiError(f"{path}: expected Numerai to give {what}, found none")
        body = _Body(path, report)
        try:
            with requests.put(
                place["url"], data=body, timeout=TIMEOUT_SECONDS, auth=without_password
            ) as response:
                if response.ok:
                    return str(place["filename"])
                reason = f"the server answers {response.status_code} {response.reason or ''}"
        except requests.RequestException as error:
            reason = request_reason(error)
        if not waits:
            raise NumeraiError(
                f"{path}: can't be sent to Numerai: {reason.rstrip()}, {len(RETRY_SECONDS) + 1} "
                "times in a row; nothing was submitted"
            )
        report(-body.n_sent)
        wait(waits.pop(0))


def _arrived(filename: str, model_id: str, keys: Keys, wait: Wait) -> Submission | None:
    """Return the model's submission of a file, if there is one."""
    try:
        answer = ask("the model's submissions", _LIST, {"modelId": model_id}, keys=keys, wait=wait)
    except NumeraiError as error:
        raise NumeraiError(
            f"whether the submission of {filename} has arrived isn't known: {error}; look at the "
            "model's submissions at numer.ai before sending it again"
        ) from None
    for submission in answer.get("submissions") or []:
        if submission.get("filename") == filename:
            return Submission(str(submission["id"]), filename)
    return None


class _Body:
    """A file as the body of a request, read piece by piece; its length is known beforehand."""

    def __init__(self, path: Path, report: Callable[[int], None]) -> None:
        self._path, self._report = path, report
        try:
            self._n_bytes = path.stat().st_size
        except OSError as error:
            raise NumeraiError(f"{path}: can't be read: {error.strerror}") from None
        if not self._n_bytes:
            raise NumeraiError(f"{path}: it is empty; expected predictions")
        self.n_sent = 0

    def __len__(self) -> int:
        return self._n_bytes

    def __iter__(self) -> Iterator[bytes]:
        with open(self._path, "rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
                self.n_sent += len(piece)
                self._report(len(piece))
