"""Questions to Numerai's GraphQL API: names of files, and the addresses that they lie at.

Takes names and rounds; returns what the API answers, or raises a `NumeraiError` of one line. The
questions are sent by numerapi, which has four habits that stay in this module: its constructor
configures the root logger, it posts without a timeout, it returns an empty answer if the API isn't
reached, and the reason is only in its log.

Notes
-----
Source: numerapi 3.1.1, `base_api.Api.raw_query` and `utils.post_with_err_handling`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import DependencyError, NumeraiError, shown
from .http_requests import NO_OBJECT_REASON, log_reason, request_reason, shortened, within

TOURNAMENT = 8  # Numerai's main tournament; Signals and Crypto have others
ANSWER_SECONDS = 60.0  # after which a question counts as not answered
RETRY_SECONDS = (1.0, 3.0)  # waits before the next try; numerapi's own are 5 and 10
KEY_ADVICE = (
    "check the key in NUMERAI_PUBLIC_ID and NUMERAI_SECRET_KEY, which may be wrong, expired or "
    "without a scope that is needed"
)
"""What to do if Numerai refuses what was asked with a key."""
_LOGGERS = ("numerapi", "numerapi.base_api", "numerapi.utils")
_LIST = """query($round: Int $tournament: Int) {
    listDatasets(round: $round tournament: $tournament)
}"""
_ADDRESS = """query($filename: String! $round: Int $tournament: Int) {
    dataset(filename: $filename round: $round tournament: $tournament)
}"""

Wait = Callable[[float], object]
"""A function that waits some seconds; it may raise an exception that ends the work."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question.

    Attributes
    ----------
    data : dict or None
        The values of the fields that were asked for; None if no answer came, or a refusal.
    reason : str
        Why there are none.
    is_refused : bool
        Whether the API has refused the question, so that asking again is useless. Otherwise a
        question without an answer may have arrived or not.
    """

    data: dict[str, Any] | None
    reason: str = ""
    is_refused: bool = False


def list_files(round_number: int | None = None) -> list[str]:
    """Return the names of all files of a round, such as "v5.3/train.parquet".

    Parameters
    ----------
    round_number : int, optional
        The default is the current round.

    Raises
    ------
    NumeraiError
        The API isn't reached, refuses the question or answers something else.
    """
    variables = {"round": round_number, "tournament": TOURNAMENT}
    names = ask("the list of its files", _LIST, variables).get("listDatasets")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise NumeraiError(
            f"Numerai's answer to the request for the list of its files: expected names, found "
            f"{shown(names)}; try again later"
        )
    return names


def file_address(name: str, round_number: int | None = None, wait: Wait = time.sleep) -> str:
    """Return the address of a file, which works for some time only and must not be shown.

    Raises
    ------
    NumeraiError
        The API isn't reached or has no such file.
    """
    variables = {"filename": name, "round": round_number, "tournament": TOURNAMENT}
    address = ask(f"the address of {name}", _ADDRESS, variables, wait=wait).get("dataset")
    if not isinstance(address, str) or not address.startswith(("https://", "http://")):
        raise NumeraiError(
            f"{name}: expected Numerai to give its address, found {type(address).__name__}; "
            "`memmap-train download … --dry-run` lists the files that it has"
        )
    return address


def ask(
    what: str,
    text: str,
    variables: Mapping[str, Any],
    *,
    keys: tuple[str, str] | None = None,
    wait: Wait = time.sleep,
) -> dict[str, Any]:
    """Ask the API, again if no answer comes; return the values of the fields.

    A question that changes something at Numerai isn't for this function, but for `ask_once`: it may
    have arrived although no answer comes.

    Parameters
    ----------
    what : str
        What is asked for, as it stands in a message.
    text : str
        The question in GraphQL.
    variables : mapping
    keys : (public id, secret key), optional
        Sent only if they are given.
    wait : callable
        Waits before the next try.

    Raises
    ------
    NumeraiError
        No answer comes, or the API refuses the question.
    DependencyError
        numerapi isn't installed.
    """
    return data_of(what, answer_to(text, variables, keys, wait), keys)


def data_of(what: str, answer: Answer, keys: tuple[str, str] | None = None) -> dict[str, Any]:
    """Return the values of the fields of an answer.

    Raises
    ------
    NumeraiError
        There are none.
    """
    if answer.data is not None:
        return answer.data
    if answer.is_refused:
        advice = "" if keys is None else f"; {KEY_ADVICE}"
        raise NumeraiError(f"Numerai refuses the request for {what}: {answer.reason}{advice}")
    raise NumeraiError(
        f"Numerai doesn't answer the request for {what}: {answer.reason}; check the network, or "
        "try again later"
    )


def answer_to(
    text: str,
    variables: Mapping[str, Any],
    keys: tuple[str, str] | None = None,
    wait: Wait = time.sleep,
) -> Answer:
    """Ask the API like `ask`, but return what came of it, a refusal too.

    Raises
    ------
    DependencyError
        numerapi isn't installed.
    """
    waits = list(RETRY_SECONDS)
    while True:
        answer = ask_once(text, variables, keys)
        if answer.data is not None or answer.is_refused or not waits:
            return answer
        wait(waits.pop(0))


def ask_once(
    text: str, variables: Mapping[str, Any], keys: tuple[str, str] | None = None
) -> Answer:
    """Send one question to the API, once.

    Raises
    ------
    NumeraiError
        ``~/.netrc`` would replace the keys.
    DependencyError
        numerapi isn't installed.
    """
    client, log = _client(keys), list[str]()
    _refuse_netrc()

    def post() -> Any:
        with _log_of_this_thread(log, keys):
            return client.raw_query(text, dict(variables), keys is not None, retries=1)

    try:
        result = within(ANSWER_SECONDS, post)
    except TimeoutError:
        return Answer(None, f"nothing came within {ANSWER_SECONDS:.0f} s")
    except ValueError as error:  # the API's own message
        said = _without_keys(str(error), keys) or "no reason is given"
        return Answer(None, shortened(said), is_refused=True)
    except OSError as error:  # of a file of certificates, for example
        return Answer(None, request_reason(error))
    except (TypeError, RecursionError):  # numerapi has looked into something else
        return Answer(None, NO_OBJECT_REASON)
    data = result.get("data") if isinstance(result, dict) else None
    if isinstance(data, dict):
        return Answer(data)
    reason = log_reason(log[-1]) if log else f"the answer holds no data ({shown(result)})"
    is_refused = reason.startswith("4") and not reason.startswith(("408", "429"))
    return Answer(None, reason, is_refused)


def _client(keys: tuple[str, str] | None) -> Any:
    """Return numerapi's client; the root logger stays as it is."""
    try:
        import numerapi  # takes half a second, and pandas
    except ImportError as error:
        raise DependencyError(
            f"numerapi is needed to speak to Numerai, and can't be imported ({error}): "
            "pip install 'memmap-train[numerai]'"
        ) from error
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)  # then `logging.basicConfig` does nothing
    try:
        # Without keys it would look for a `.env` file. These two are never sent.
        return numerapi.NumerAPI(
            *(keys or ("unused", "unused")), verbosity="critical", show_progress_bars=False
        )
    finally:
        root.removeHandler(handler)


def _refuse_netrc() -> None:
    """Raise a NumeraiError if requests would send a password of ``~/.netrc`` and no key."""
    from numerapi import base_api
    from requests.utils import get_netrc_auth

    if get_netrc_auth(base_api.API_TOURNAMENT_URL) is not None:
        raise NumeraiError(
            "~/.netrc: its entry for Numerai's server, or its default one, would be sent to "
            "Numerai in place of the key; remove it, or let the variable NETRC name another file"
        )


def _without_keys(text: str, keys: tuple[str, str] | None) -> str:
    """Return a text of the API, which could repeat the keys that it was sent."""
    for key in keys or ():
        text = text.replace(key, "…")
    return text


@contextmanager
def _log_of_this_thread(messages: list[str], keys: tuple[str, str] | None) -> Iterator[None]:
    """Collect what numerapi logs in this thread, which then isn't printed as a last resort.

    The messages go on to the user's own handlers, without the keys.
    """
    thread, silent = threading.get_ident(), logging.NullHandler()
    loggers = [logging.getLogger(name) for name in _LOGGERS]

    def collect(record: logging.LogRecord) -> bool:
        if record.thread == thread:
            record.msg, record.args = _without_keys(record.getMessage(), keys), ()
            messages.append(record.msg)
        return True

    loggers[0].addHandler(silent)
    for logger in loggers:  # before any handler; a logger's filters see its own records alone
        logger.addFilter(collect)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(collect)
        loggers[0].removeHandler(silent)
