"""Tests of the steps of a submission: keys, model, round, upload. Nothing leaves this machine."""

import logging
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memmap_train.errors import NumeraiError
from memmap_train.numerai.submission.account import Keys, find_model, read_keys
from memmap_train.numerai.submission.rounds import current_round
from memmap_train.numerai.submission.upload import Submission, upload_predictions
from tests.support.errors import refused
from tests.support.numerai_account import MODEL_ID, Account
from tests.support.numerai_faults import Fault
from tests.support.numerai_server import NumeraiServer

pytest_plugins = ["tests.support.numerai_fixtures"]

CONTENT = b"id,prediction\n" + b"a,0.5\n" * 20_000


@pytest.fixture
def account(server: NumeraiServer, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setattr("memmap_train.numerai.submission.upload.RETRY_SECONDS", (0.0,) * 3)
    return Account(server)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "predictions.csv").write_bytes(CONTENT)
    return tmp_path / "predictions.csv"


def upload(path: Path, account: Account, keys: Keys | None = None) -> tuple[Submission, int]:
    """Upload a file; return the submission and the bytes that were reported."""
    sent: list[int] = []
    submission = upload_predictions(path, MODEL_ID, keys or account.keys, sent.append)
    return submission, sum(sent)


def check_once(server: NumeraiServer, account: Account, submission: Submission) -> None:
    """Check that the file is there, and that there is one submission of it."""
    assert server.uploads[submission.filename] == CONTENT
    assert [made["filename"] for made in account.submissions] == [submission.filename]
    assert [made["id"] for made in account.submissions] == [submission.id]


def created(server: NumeraiServer) -> int:
    """Return how often the server was asked to make a submission."""
    return sum("create_submission" in seen.names for seen in server.of_kind("graphql"))


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


def test_a_file_is_uploaded_and_submitted_once(
    server: NumeraiServer, account: Account, path: Path
) -> None:
    submission, sent = upload(path, account)
    check_once(server, account, submission)
    assert sent == len(CONTENT)
    assert server.of_kind("put")[0].headers["content-length"] == str(len(CONTENT))
    assert "authorization" not in server.of_kind("put")[0].headers


@pytest.mark.parametrize("status", [403, 500, None], ids=["expired", "busy", "cut"])
def test_a_file_that_is_not_taken_is_sent_again(
    server: NumeraiServer, account: Account, path: Path, status: int | None
) -> None:
    fault = Fault("put", status=status, drop=status is None)
    server.fail(fault, fault)
    submission, sent = upload(path, account)
    check_once(server, account, submission)
    assert sent == len(CONTENT)
    assert len(server.of_kind("put")) == 3


def test_a_file_that_is_never_taken_is_not_submitted(
    server: NumeraiServer, account: Account, path: Path
) -> None:
    """A client that doesn't look at the status would get the id of an empty submission."""
    server.fail(*[Fault("put", status=403)] * 4)
    with refused(NumeraiError, "can't be sent", "answers 403 Forbidden, 4 times", "nothing was"):
        upload(path, account)
    assert (account.submissions, created(server)) == ([], 0)


def test_an_answer_that_is_lost_is_looked_for(
    server: NumeraiServer, account: Account, path: Path
) -> None:
    """The submission is made, and the connection ends before its id has come."""
    server.fail(Fault("graphql", name="create_submission", cut_after=3))
    submission, _ = upload(path, account)
    check_once(server, account, submission)
    assert created(server) == 1


def test_a_submission_that_has_not_arrived_is_an_error(
    server: NumeraiServer, account: Account, path: Path
) -> None:
    server.fail(Fault("graphql", name="create_submission", status=502))
    with refused(NumeraiError, "didn't confirm the submission (502", "sends it again"):
        upload(path, account)
    assert (account.submissions, created(server)) == ([], 1)
    submission, _ = upload(path, account)
    check_once(server, account, submission)


def test_an_answer_that_cannot_be_looked_for_says_so(
    server: NumeraiServer, account: Account, path: Path
) -> None:
    server.fail(Fault("graphql", name="create_submission", cut_after=3))
    server.fail(*[Fault("graphql", name="submissions", status=500)] * 3)
    with refused(NumeraiError, "has arrived isn't known", "before sending it again"):
        upload(path, account)
    assert (len(account.submissions), created(server)) == (1, 1)


def test_a_refused_submission_is_not_repeated(
    server: NumeraiServer, account: Account, path: Path
) -> None:
    del server.resolvers["create_submission"]
    with refused(NumeraiError, "Numerai refuses the submission: Cannot query field"):
        upload(path, account)
    assert created(server) == 1


def test_a_file_that_is_missing_or_empty_is_refused(account: Account, tmp_path: Path) -> None:
    with refused(NumeraiError, "none.csv: can't be read: No such file"):
        upload(tmp_path / "none.csv", account)
    (tmp_path / "empty.csv").touch()
    with refused(NumeraiError, "empty.csv: it is empty"):
        upload(tmp_path / "empty.csv", account)


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
        upload(path, account)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(account.keys)
    told += "".join(capfd.readouterr())
    for secret in (*server.keys, "X-Amz-Signature"):
        assert secret not in told
