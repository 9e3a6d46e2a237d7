"""Whether something that may have been sent has arrived at Numerai.

A process can be killed between sending and recording, or its state can be lost. What is sent has a
name that no other file has, so Numerai's own lists say whether it is there. If Numerai changes
names, a submission that came after sending was begun counts as the one that was sent.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from ..api import ask
from ..submission.account import Keys

CLOCK_ERROR = timedelta(minutes=5)  # between this machine's clock and Numerai's
_SUBMISSIONS = (
    "query($modelId: String) { submissions(modelId: $modelId) { id filename insertedAt } }"
)
_UPLOADS = "query { account { models { name computePickleUpload { filename } } } }"


def arrived_submission(name: str, since: str, model_id: str, keys: Keys) -> str | None:
    """Return the id of a model's submission, or None if it isn't there.

    Parameters
    ----------
    name : str
        What the name of the file begins with; Numerai may add to it.
    since : str
        When sending was begun, as an ISO time; empty if it wasn't.
    model_id : str
    keys : Keys

    Raises
    ------
    NumeraiError
        Numerai doesn't answer: nothing may be sent then.
    """
    found = ask("the model's submissions", _SUBMISSIONS, {"modelId": model_id}, keys=keys)
    submissions = [item for item in found.get("submissions") or [] if isinstance(item, dict)]
    for item in submissions:
        if name in str(item.get("filename")):
            return str(item.get("id"))
    if since:
        begun = datetime.fromisoformat(since) - CLOCK_ERROR
        for item in submissions:
            if _time(item.get("insertedAt")) >= begun:
                return str(item.get("id"))
    return None


def has_arrived(name: str, model: str, keys: Keys) -> bool:
    """Return True if a file is the model upload of a model.

    Parameters
    ----------
    name : str
        What the name of the file begins with.
    model : str
        The name of the model.
    keys : Keys

    Raises
    ------
    NumeraiError
        Numerai doesn't answer: nothing may be sent then.
    """
    account = ask("the account's model uploads", _UPLOADS, {}, keys=keys).get("account") or {}
    uploads = {
        item.get("name"): item.get("computePickleUpload") or {}
        for item in account.get("models") or []
    }
    return name in str(uploads.get(model, {}).get("filename"))


def _time(text: Any) -> datetime:
    """Return a time of the API in UTC; long ago if it isn't one."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
