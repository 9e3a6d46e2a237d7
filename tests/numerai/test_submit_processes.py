"""Tests of `submit` in processes of their own: Ctrl-C at every point, and no key in any output."""

import json
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memmap_train.cli.commands import main
from tests.support.numerai_account import Account
from tests.support.numerai_faults import Fault
from tests.support.numerai_server import MAX_WAIT_SECONDS, NumeraiServer
from tests.support.numerai_submissions import (
    live_parquet,
    open_account,
    write_model,
    write_predictions,
)

pytest_plugins = ["tests.support.numerai_fixtures"]

QUICK = """
from memmap_train.numerai import api
from memmap_train.numerai.submission import outcome, upload
api.RETRY_SECONDS = upload.RETRY_SECONDS = upload.LOOK_SECONDS = ()
outcome.POLL_SECONDS = 0
"""
HINT = (
    "\nstopped; if nothing above says that it has arrived, run the same command again to resume\n"
)


@pytest.fixture
def account(server: NumeraiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Account:
    """Return an account; the files lie in the current folder, where temporary files go, too."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    write_predictions(tmp_path / "p.csv")
    write_predictions(tmp_path / "p.parquet")
    write_model(tmp_path / "model.pkl")
    (tmp_path / "live.parquet").write_bytes(live_parquet())
    return open_account(server, monkeypatch)


def arguments(kind: str = "predictions", file: str = "p.csv", *further: str) -> list[str]:
    return ["submit", kind, file, "--model", "first", *further]


@contextmanager
def process(
    server: NumeraiServer, command: list[str], before: str = QUICK
) -> Iterator["subprocess.Popen[str]"]:
    """Start a command; it has ended when the block has."""
    with subprocess.Popen(
        server.command(command, before), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


class Silence:
    """Lets the server keep an answer back, and sends a signal when the question has come.

    Parameters
    ----------
    server : NumeraiServer
    send : callable
        Sends the signal.
    """

    def __init__(self, server: NumeraiServer, send: Callable[[], object]) -> None:
        self._server, self._send = server, send
        self.go_on = threading.Event()

    def __call__(self) -> None:
        self._send()
        self._server.wait(self.go_on)


def interrupt(number: int = signal.SIGINT) -> None:
    """Send a signal to this process, in whose main thread a command runs."""
    os.kill(os.getpid(), number)


def at_the_account(server: NumeraiServer, silence: Silence) -> None:
    server.fail(Fault("graphql", name="account", first=silence))


def at_the_live_rows(server: NumeraiServer, silence: Silence) -> None:
    server.fail(Fault("get", first=silence))


def at_the_address(server: NumeraiServer, silence: Silence) -> None:
    server.fail(Fault("graphql", name="computePickleUploadAuth", first=silence))


def at_the_file(server: NumeraiServer, silence: Silence) -> None:
    server.fail(Fault("put", first=silence))


def before_it_is_made(server: NumeraiServer, silence: Silence) -> None:
    server.fail(Fault("graphql", name="createComputePickleUpload", first=silence))


def after_it_is_made(server: NumeraiServer, silence: Silence) -> None:
    make = server.resolvers["createComputePickleUpload"]

    def make_silently(variables: dict[str, Any]) -> Any:
        made = make(variables)
        silence()
        return made

    server.resolvers["createComputePickleUpload"] = make_silently


def at_the_wait(server: NumeraiServer, silence: Silence) -> None:
    make = server.resolvers["createComputePickleUpload"]

    def make_and_hold(variables: dict[str, Any]) -> Any:
        server.fail(Fault("graphql", name="account", first=silence))
        return make(variables)

    server.resolvers["createComputePickleUpload"] = make_and_hold


NOTHING = "stopped before anything was submitted"
MAYBE = "stopped while the model upload was made, which may arrive; look at the model first"
ARRIVED = "stopped, but the model upload has arrived with the id pickle-0; don't send it again"
WAITED = "it has arrived with the id pickle-0"
PREDICTIONS = arguments("predictions", "p.csv", "--wait")
MODEL = arguments("model", "model.pkl", "--wait")


@pytest.mark.parametrize(
    ("command", "where", "said", "n_made"),
    [
        (PREDICTIONS, at_the_account, NOTHING, 0),
        (PREDICTIONS, at_the_live_rows, NOTHING, 0),
        (MODEL, at_the_address, NOTHING, 0),
        (MODEL, at_the_file, NOTHING, 0),
        (MODEL, before_it_is_made, MAYBE, 1),
        (MODEL, after_it_is_made, ARRIVED, 1),
        (MODEL, at_the_wait, WAITED, 1),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_stopped_submission_says_whether_it_has_arrived(
    server: NumeraiServer,
    account: Account,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    command: list[str],
    where: Callable[[NumeraiServer, Silence], None],
    said: str,
    n_made: int,
) -> None:
    """A signal comes while the server is silent; the server then does what it was asked for."""
    number = signal.SIGTERM if where is at_the_file else signal.SIGINT
    silence = Silence(server, lambda: interrupt(number))
    where(server, silence)
    files = {path.name for path in tmp_path.iterdir()}
    assert main(command) == 130
    out, error = capfd.readouterr()
    silence.go_on.set()
    assert (out, error) == ("", f"warning: {command[2]}: {said}\n{HINT}")
    assert {path.name for path in tmp_path.iterdir()} == files
    server.close()  # which waits until all is done
    n_asked = account.created("create_submission") + account.created("createComputePickleUpload")
    assert len(account.submissions) + len(account.pickles) == n_asked == n_made


def test_a_stopped_process_says_whether_it_has_arrived(
    server: NumeraiServer, account: Account
) -> None:
    reached = threading.Event()
    silence = Silence(server, reached.set)
    after_it_is_made(server, silence)
    with process(server, MODEL) as child:
        assert reached.wait(MAX_WAIT_SECONDS)
        child.send_signal(signal.SIGINT)
        out, error = child.communicate(timeout=MAX_WAIT_SECONDS)
    silence.go_on.set()
    assert (child.returncode, out) == (130, "")
    assert error == f"warning: model.pkl: {ARRIVED}\n{HINT}"


def test_a_stop_does_not_wait_for_a_network_that_is_gone(
    server: NumeraiServer,
    account: Account,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the last step nor the look for what has arrived is answered."""
    monkeypatch.setattr("memmap_train.numerai.submission.upload.STOP_SECONDS", 0.1)
    silence = Silence(server, interrupt)

    def answer_nothing_more() -> None:
        server.fail(*[Fault("graphql", first=lambda: server.wait(silence.go_on))] * 9)
        silence()

    server.fail(Fault("graphql", name="createComputePickleUpload", first=answer_nothing_more))
    assert main(MODEL) == 130
    silence.go_on.set()
    assert MAYBE in capfd.readouterr().err


def test_a_submission_whose_answer_is_lost_is_not_sent_again(
    server: NumeraiServer, account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fail(Fault("graphql", name="create_submission", cut_after=3))
    assert main(arguments("predictions", "p.csv", "--json")) == 0
    out, error = capsys.readouterr()
    assert (json.loads(out)["id"], error) == ("submission-0", "")
    assert len(account.submissions) == account.created("create_submission") == 1


# -- the key


def refuse_files(server: NumeraiServer, account: Account) -> None:
    server.fail(*[Fault("put", status=403)] * 4)


def cut_files(server: NumeraiServer, account: Account) -> None:
    server.fail(*[Fault("put", drop=True)] * 4)


def cut_the_last_step(server: NumeraiServer, account: Account) -> None:
    for field in ("create_submission", "createDiagnostics", "createComputePickleUpload"):
        server.fail(Fault("graphql", name=field, drop=True))


def refuse_all(server: NumeraiServer, account: Account) -> None:
    server.fail(*[Fault("graphql", status=401)] * 9)


def answer_nothing(server: NumeraiServer, account: Account) -> None:
    server.fail(*[Fault("graphql", body=b"<html>")] * 9)


def close_the_round(server: NumeraiServer, account: Account) -> None:
    account.open_round(is_open=False)


def forget_the_models(server: NumeraiServer, account: Account) -> None:
    account.models.clear()


def let_it_fail(server: NumeraiServer, account: Account) -> None:
    account.statuses = ["failed"]


def nothing_is_wrong(server: NumeraiServer, account: Account) -> None:
    del server, account


COMMANDS = [
    arguments("predictions", "p.csv", "--wait"),
    arguments("predictions", "p.parquet", "--live", "live.parquet", "--json"),
    arguments("diagnostics", "p.csv", "--wait"),
    arguments("model", "model.pkl", "--wait", "--json"),
    arguments("model", "none.pkl"),
    arguments("predictions", "p.csv", "--dry-run"),
]


@pytest.mark.parametrize(
    "spoil",
    [
        nothing_is_wrong,
        refuse_files,
        cut_files,
        cut_the_last_step,
        refuse_all,
        answer_nothing,
        close_the_round,
        forget_the_models,
        let_it_fail,
    ],
)
def test_no_key_is_in_any_output(
    server: NumeraiServer,
    account: Account,
    tmp_path: Path,
    spoil: Callable[[NumeraiServer, Account], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What is printed, all logs of all libraries, all files, and what is sent but to the API."""
    root, handler = logging.getLogger(), logging.FileHandler(tmp_path / "all.log")
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    told = ""
    try:
        for command in COMMANDS:
            server.heal()
            spoil(server, account)
            code = main(command)
            out, error = capfd.readouterr()
            told += out + error
            assert code == 0 or len(error.splitlines()) == 1
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        handler.close()
    assert told
    assert (tmp_path / "all.log").stat().st_size
    for path in tmp_path.rglob("*"):
        told += path.read_bytes().decode("latin-1") if path.is_file() else ""
    for seen in server.of_kind("put") + server.of_kind("get"):
        told += f"{seen.headers} {seen.body!r}"
    told += "".join(seen.body.decode() for seen in server.of_kind("graphql"))
    for secret in server.keys:
        assert secret not in told


def test_a_key_that_the_server_repeats_is_not_printed(
    server: NumeraiServer,
    account: Account,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)  # as user code may, and numerapi logs what the server says
    message = f"no access with {'$'.join(server.keys)}"
    body = json.dumps({"errors": [{"message": message}]}).encode()
    server.fail(Fault("graphql", name="account", body=body))
    assert main(arguments()) == 1
    out, error = capfd.readouterr()
    assert out + error.partition(";")[0] == (
        "error: Numerai refuses the request for the account's models: no access with …$…"
    )
    assert "no access with …$…" in caplog.text
    assert not any(key in caplog.text for key in server.keys)


BUG = """
import numerapi
def raw_query(self, *arguments, **options):
    headers = {"Authorization": "Token " + "$".join(self.token)}
    try:
        raise KeyError("first")
    except KeyError as error:
        raise RuntimeError("a bug") from error
numerapi.NumerAPI.raw_query = raw_query
"""


def test_no_key_is_in_the_traceback_of_a_bug(server: NumeraiServer, account: Account) -> None:
    with process(server, arguments(), f"{QUICK}{BUG}") as child:
        out, error = child.communicate(timeout=MAX_WAIT_SECONDS)
    assert child.returncode == 1
    assert "RuntimeError: a bug" in error
    for secret in server.keys:
        assert secret not in out + error


def test_no_key_is_in_the_dump_of_a_crash(
    server: NumeraiServer, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process crashes while the question that carries the key is under way."""
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    reached = threading.Event()
    silence = Silence(server, reached.set)
    before_it_is_made(server, silence)
    no_core = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
    with process(server, MODEL, no_core + QUICK) as child:
        assert reached.wait(MAX_WAIT_SECONDS)
        os.kill(child.pid, signal.SIGABRT)
        out, error = child.communicate(timeout=MAX_WAIT_SECONDS)
    silence.go_on.set()
    assert child.returncode == -signal.SIGABRT
    assert "Current thread" in error
    assert "raw_query" in error
    for secret in server.keys:
        assert secret not in out + error


# -- the command


def test_the_command_prints_what_has_become_of_it(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments("predictions", "p.csv", "--wait")) == 0
    out, error = capsys.readouterr()
    assert out.splitlines() == [
        "p.csv: 50 predictions, 1.3 kB, for the model 'first'",
        "  round 1334: open until 2999-01-01 14:00 UTC",
        f"  submitted: id submission-0, file {account.submissions[0]['filename']}",
        "  Numerai says: on-time",
    ]
    assert error == ""


def test_a_refused_submission_is_an_error_after_its_report(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.statuses = ["Failed"]
    assert main(arguments("model", "model.pkl", "--wait", "--json")) == 1
    out, error = capsys.readouterr()
    assert json.loads(out)["log"][-1] == "ended No currently open rounds!"
    assert error.startswith("error: model.pkl: it was sent, and Numerai says 'Failed': ended")
    assert len(error.splitlines()) == 1


ABSURD = ["x", "~nobody/x", "a\0b", "x" * 5000, "https://x.y/z", "-", "/dev/null", ".", "é\n"]


@pytest.mark.parametrize("option", ["file", "--model", "--live", "--data-version"])
@pytest.mark.parametrize("kind", ["predictions", "model"])
def test_an_absurd_value_is_one_line(
    server: NumeraiServer,
    account: Account,
    tmp_path: Path,
    kind: str,
    option: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {path.name for path in tmp_path.iterdir()}
    for value in ABSURD:
        file = "p.csv" if kind == "predictions" else "model.pkl"
        further = [] if option == "file" else [f"{option}={value}"]
        assert main(arguments(kind, value if option == "file" else file, *further)) == 1, value
        out, error = capsys.readouterr()
        assert out == ""
        assert error.startswith("error: ")
        assert len(error.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == files
    assert not server.of_kind("put")
