"""Tests of the steps of an upload: keys, model, round, file, what has arrived. All on loopback."""

import logging
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memmap_train.errors import NumeraiError
from memmap_train.numerai.api import ask_once
from memmap_train.numerai.submission.account import Keys, find_model, read_keys
from memmap_train.numerai.submission.destinations import (
    DIAGNOSTICS,
    MODEL,
    PREDICTIONS,
    Destination,
    model_of,
)
from memmap_train.numerai.submission.payload import payload
from memmap_train.numerai.submission.rounds import current_round
from memmap_train.numerai.submission.upload import Submission, upload
from tests.support.errors import refused
from tests.support.numerai_account import MODEL_ID, Account
from tests.support.numerai_faults import Fault
from tests.support.numerai_server import GraphQLError, NumeraiServer

pytest_plugins = ["tests.support.numerai_fixtures"]

CONTENT = b"id,prediction\n" + b"a,0.5\n" * 20_000


KINDS = {"predictions": PREDICTIONS, "diagnostics": DIAGNOSTICS, "model": MODEL}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def account(server: NumeraiServer, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setattr("memmap_train.numerai.submission.upload.RETRY_SECONDS", (0.0,) * 3)
    monkeypatch.setattr("memmap_train.numerai.submission.upload.LOOK_SECONDS", (0.0,) * 2)
    return Account(server)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "predictions.csv").write_bytes(CONTENT)
    return tmp_path / "predictions.csv"


def send(
    path: Path, account: Account, kind: str = "predictions", keys: Keys | None = None
) -> tuple[Submission, int]:
    """Upload a file; return what was made of it, and the bytes that were reported."""
    sent: list[int] = []
    further = {"dataVersionId": "d", "dockerImageId": "i"} if kind == "model" else {}
    made = upload(
        payload(path), KINDS[kind], MODEL_ID, keys or account.keys, sent.append, further=further
    )
    return made, sum(sent)


def made_by(account: Account, kind: str) -> list[dict[str, Any]]:
    """Return what the server has made of the files of a kind."""
    return {
        "predictions": account.submissions,
        "diagnostics": account.diagnostics,
        "model": account.pickles,
    }[kind]


def check_once(server: NumeraiServer, account: Account, made: Submission, kind: str) -> None:
    """Check that the file is there, and that one thing was made of it."""
    assert server.uploads[made.filename] == CONTENT
    (found,) = made_by(account, kind)
    assert found["id"] == made.id
    assert found.get("filename", found.get("uploaded")) == made.filename


def created(account: Account, kind: str = "predictions") -> int:
    """Return how often the server was asked to make something."""
    return account.created(KINDS[kind].create_field)


# -- the account


def test_keys_come_from_the_environment() -> None:
    assert read_keys({"NUMERAI_PUBLIC_ID": " A ", "NUMERAI_SECRET_KEY": "B\n"}) == ("A", "B")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "NUMERAI_PUBLIC_ID and NUMERAI_SECRET_KEY are not set"),
        ({"NUMERAI_PUBLIC_ID": "A"}, "and NUMERAI_SECRET_KEY is not set"),
        ({"NUMERAI_PUBLIC_ID": " ", "NUMERAI_SECRET_KEY": "B"}, "NUMERAI_PUBLIC_ID is not set"),
        ({"NUMERAI_PUBLIC_ID": "A", "NUMERAI_SECRET_KEY": "B C"}, "found other characters"),
        ({"NUMERAI_PUBLIC_ID": "A", "NUMERAI_SECRET_KEY": '"B"'}, "SECRET_KEY: expected letters"),
        ({"NUMERAI_PUBLIC_ID": "'A'", "NUMERAI_SECRET_KEY": "B"}, "quotation marks; leave them"),
        ({"NUMERAI_PUBLIC_ID": "Ä", "NUMERAI_SECRET_KEY": "B"}, "found other characters"),
    ],
)
def test_missing_keys_are_named(environment: dict[str, str], said: str) -> None:
    with refused(NumeraiError, said):
        read_keys(environment)


def test_a_model_is_found_by_its_name(account: Account) -> None:
    assert find_model("first", account.keys) == MODEL_ID
    with refused(NumeraiError, "no model 'frist'; did you mean 'first'?; it has 'first'"):
        find_model("frist", account.keys)
    with refused(NumeraiError, "no model 'signal'"):
        find_model("signal", account.keys)
    account.models.clear()
    with refused(NumeraiError, "it has none in this tournament"):
        find_model("first", account.keys)


@pytest.mark.parametrize("item", [None, "first", {"tournament": 8}, {"name": "first"}])
def test_models_that_are_none_are_passed_over(
    server: NumeraiServer, account: Account, item: object
) -> None:
    model = {"id": "7", "name": "first", "tournament": 8}
    server.resolvers["account"] = lambda variables: {"models": [item, model]}
    assert find_model("first", account.keys) == "7"
    server.resolvers["account"] = lambda variables: {"models": [item]}
    with refused(NumeraiError, "no model 'first'; it has none in this tournament"):
        find_model("first", account.keys)
    assert model_of({"account": {"models": [item, model]}}, "7") == model


def test_a_wrong_key_is_refused_once(server: NumeraiServer, account: Account) -> None:
    with refused(NumeraiError, "Numerai refuses", "Your session is invalid or expired"):
        find_model("first", Keys(("OTHER", "KEY")))
    assert len(server.seen) == 1


# -- the round


def test_a_round_is_open_between_its_times(account: Account) -> None:
    found = current_round()
    assert found.number == 1334
    assert found.closes == datetime(2026, 11, 29, 14, tzinfo=UTC)
    assert not found.is_open(datetime(2026, 11, 28, 11, 59, tzinfo=UTC))
    assert found.is_open(datetime(2026, 11, 28, 12, tzinfo=UTC))
    assert not found.is_open(found.closes)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "Numerai has no current round"),
        ({"number": 1}, "expected a number and two times"),
        ({"number": 1, "openTime": "soon", "closeTime": "later"}, "expected a number"),
        ({"number": None, "openTime": None, "closeTime": None}, "expected a number"),
    ],
)
def test_a_round_without_times_is_refused(account: Account, value: Any, said: str) -> None:
    account.round = value
    with refused(NumeraiError, said):
        current_round()


# -- the upload


@every_kind
def test_a_file_is_uploaded_and_submitted_once(
    server: NumeraiServer, account: Account, path: Path, kind: str
) -> None:
    made, sent = send(path, account, kind)
    check_once(server, account, made, kind)
    assert sent == len(CONTENT)
    assert server.of_kind("put")[0].headers["content-length"] == str(len(CONTENT))
    assert "authorization" not in server.of_kind("put")[0].headers


@every_kind
@pytest.mark.parametrize("status", [403, 500, None], ids=["expired", "busy", "cut"])
def test_a_file_that_is_not_taken_is_sent_again(
    server: NumeraiServer, account: Account, path: Path, status: int | None, kind: str
) -> None:
    fault = Fault("put", status=status, drop=status is None)
    server.fail(fault, fault)
    made, sent = send(path, account, kind)
    check_once(server, account, made, kind)
    assert sent == len(CONTENT)
    assert len(server.of_kind("put")) == 3


@pytest.mark.parametrize("address", ["http://", "/upload/x", "ftp://127.0.0.1/x", 7])
def test_an_address_that_is_none_is_one_line(
    server: NumeraiServer, account: Account, path: Path, address: object
) -> None:
    server.resolvers["submission_upload_auth"] = lambda variables: {
        "filename": "x",
        "url": address,
    }
    with refused(NumeraiError, "can't be sent to Numerai", "nothing was submitted"):
        send(path, account, "predictions")
    assert not account.submissions


@every_kind
def test_a_file_that_is_never_taken_is_not_submitted(
    server: NumeraiServer, account: Account, path: Path, kind: str
) -> None:
    """A client that doesn't look at the status would get the id of an empty submission."""
    server.fail(*[Fault("put", status=403)] * 4)
    with refused(NumeraiError, "can't be sent", "answers 403 Forbidden, 4 times", "nothing was"):
        send(path, account, kind)
    assert (made_by(account, kind), created(account, kind)) == ([], 0)


@every_kind
def test_an_answer_that_is_lost_is_looked_for(
    server: NumeraiServer, account: Account, path: Path, kind: str
) -> None:
    """It is made, and the connection ends before its id has come."""
    field: str = KINDS[kind].create_field
    server.fail(Fault("graphql", name=field, cut_after=3))
    made, _ = send(path, account, kind)
    check_once(server, account, made, kind)
    assert created(account, kind) == 1


@every_kind
def test_what_arrives_late_is_looked_for_again(
    server: NumeraiServer, account: Account, path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server makes it only after the client has looked for the first time."""
    destination: Destination = KINDS[kind]
    late = server.resolvers[destination.create_field]
    asked: list[dict[str, Any]] = []
    server.resolvers[destination.create_field] = asked.append
    monkeypatch.setattr("memmap_train.numerai.submission.upload.LOOK_SECONDS", (7.0, 7.0))

    def wait(seconds: float) -> None:
        assert seconds == 7.0
        late(asked.pop())

    further = {"dataVersionId": "d", "dockerImageId": "i"} if kind == "model" else {}
    made = upload(
        payload(path),
        destination,
        MODEL_ID,
        account.keys,
        lambda n: None,
        further=further,
        wait=wait,
    )
    check_once(server, account, made, kind)
    assert created(account, kind) == 1


@every_kind
def test_what_has_not_arrived_is_an_error(
    server: NumeraiServer, account: Account, path: Path, kind: str
) -> None:
    server.fail(Fault("graphql", name=KINDS[kind].create_field, status=502))
    with refused(NumeraiError, "didn't confirm the ", "(502", "sends it again"):
        send(path, account, kind)
    assert (made_by(account, kind), created(account, kind)) == ([], 1)
    made, _ = send(path, account, kind)
    check_once(server, account, made, kind)


@every_kind
def test_an_answer_that_cannot_be_looked_for_says_so(
    server: NumeraiServer, account: Account, path: Path, kind: str
) -> None:
    look = {"predictions": "submissions", "diagnostics": "diagnostics", "model": "account"}[kind]
    broken = [Fault("graphql", name=look, status=500)] * 3

    def break_looks() -> None:
        server.fail(*broken)

    server.fail(Fault("graphql", name=KINDS[kind].create_field, cut_after=3, first=break_looks))
    with refused(NumeraiError, "has arrived isn't known", "before sending it again"):
        send(path, account, kind)
    assert (len(made_by(account, kind)), created(account, kind)) == (1, 1)


def test_a_key_that_may_not_read_submissions_is_enough_to_submit(
    server: NumeraiServer, account: Account, path: Path
) -> None:
    """Only a lost answer needs the list of submissions."""
    del server.resolvers["submissions"]
    made, _ = send(path, account)
    check_once(server, account, made, "predictions")
    server.fail(Fault("graphql", name="create_submission", cut_after=3))
    with refused(NumeraiError, "isn't known: Numerai doesn't tell what the model has"):
        send(path, account)


@pytest.mark.parametrize("kind", ["predictions", "model"])
def test_something_new_of_another_file_is_not_taken_for_this_one(
    server: NumeraiServer, account: Account, path: Path, kind: str
) -> None:
    """Another process submits for the same model at this moment."""
    field = KINDS[kind].create_field
    make = server.resolvers[field]

    def of_another(variables: dict[str, Any]) -> Any:
        make({**variables, "filename": "other.csv"})

    server.resolvers[field] = of_another
    with refused(NumeraiError, "isn't known: the model has a new one, of another file"):
        send(path, account, kind)


def test_an_upload_that_replaces_another_under_its_id_is_found(
    server: NumeraiServer, account: Account, path: Path
) -> None:
    send(path, account, "model")

    def replace(variables: dict[str, Any]) -> None:
        account.pickles[-1]["filename"] = variables["filename"]

    server.resolvers["createComputePickleUpload"] = replace
    made, _ = send(path, account, "model")
    assert (made.id, made.filename) == ("pickle-0", account.pickles[-1]["filename"])


def test_an_earlier_submission_of_the_same_name_is_not_taken_for_this_one(
    server: NumeraiServer, account: Account, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server could give the same name to the same file twice."""
    monkeypatch.setattr(server, "of_kind", lambda kind: [])
    send(path, account)
    server.fail(Fault("graphql", name="create_submission", status=502))
    with refused(NumeraiError, "the model has none of this file"):
        send(path, account)
    assert len({made["filename"] for made in account.submissions}) == 1


@every_kind
def test_a_refused_submission_is_not_repeated(
    server: NumeraiServer, account: Account, path: Path, kind: str
) -> None:
    del server.resolvers[KINDS[kind].create_field]
    with refused(NumeraiError, "Numerai refuses the ", "Cannot query field", "nothing was"):
        send(path, account, kind)
    assert created(account, kind) == 1


@every_kind
def test_a_refusal_of_what_was_made_all_the_same_is_none(
    server: NumeraiServer, account: Account, path: Path, kind: str
) -> None:
    """GraphQL allows errors beside data, and numerapi then drops the data."""
    field = KINDS[kind].create_field
    make = server.resolvers[field]

    def make_and_complain(variables: dict[str, Any]) -> Any:
        make(variables)
        raise GraphQLError("a part of the answer is missing")

    server.resolvers[field] = make_and_complain
    made, _ = send(path, account, kind)
    check_once(server, account, made, kind)


def test_a_file_that_is_missing_or_empty_is_refused(account: Account, tmp_path: Path) -> None:
    with refused(NumeraiError, "none.csv: can't be read: No such file"):
        send(tmp_path / "none.csv", account)
    (tmp_path / "empty.csv").touch()
    with refused(NumeraiError, "empty.csv: it is empty"):
        send(tmp_path / "empty.csv", account)
    with refused(NumeraiError, "expected a file, found a folder"):
        send(tmp_path, account)


@pytest.mark.parametrize("change", [b"longer" * 20_000, b"short", None])
def test_a_file_that_changes_while_it_is_sent_is_not_submitted(
    server: NumeraiServer, account: Account, path: Path, change: bytes | None
) -> None:
    def write() -> None:
        if change is None:
            path.unlink()
        else:
            path.write_bytes(change)

    server.fail(Fault("graphql", name="submission_upload_auth", first=write))
    with refused(NumeraiError, "can't be read" if change is None else "was changed since it was"):
        send(path, account)
    assert (account.submissions, created(account)) == ([], 0)


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("put", status=403)] * 4,
        [Fault("put", drop=True)] * 4,
        [Fault("graphql", name="create_submission", drop=True)],
        [Fault("graphql", name="submission_upload_auth", drop=True)] * 3,
        [Fault("graphql", name="submission_upload_auth", status=401)],
    ],
    ids=range(5),
)
def test_no_secret_is_in_an_error_or_a_log(
    server: NumeraiServer,
    account: Account,
    path: Path,
    faults: list[Fault],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG, "memmap_train")
    caplog.set_level(logging.DEBUG, "numerapi")
    server.fail(*faults)
    with pytest.raises(NumeraiError) as caught:
        send(path, account)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(account.keys)
    told += "".join(capfd.readouterr())
    for secret in (*server.keys, "X-Amz-Signature"):
        assert secret not in told


def test_handlers_of_the_user_see_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    def raw_query(*_: object, **__: object) -> None:
        for name in names[1:]:
            logging.getLogger(name).error("%s is sent with %s", "PUBLIC", "SECRET")

    names, handler = ("numerapi", "numerapi.base_api", "numerapi.utils"), Handler()
    monkeypatch.setattr("numerapi.NumerAPI.raw_query", raw_query)
    for name in names:
        logging.getLogger(name).addHandler(handler)
    try:
        answer = ask_once("query", {}, ("PUBLIC", "SECRET"))
    finally:
        for name in names:
            logging.getLogger(name).removeHandler(handler)
    assert seen == ["… is sent with …"] * 4  # by its own handler, and that of "numerapi"
    assert answer.reason == "… is sent with …"
    assert not any(logging.getLogger(name).filters for name in names)
