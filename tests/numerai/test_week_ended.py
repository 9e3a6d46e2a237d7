"""Tests of what ends a week early: keys, folders, signals, and a round that closes."""

import errno
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.errors import ConfigError, NumeraiError
from memmap_train.system.locks import Lock
from tests.support.errors import refused
from tests.support.numerai_faults import Fault
from tests.support.numerai_week import CONFIG, HOUR, FakeClock, NumeraiWeek
from tests.support.week_results import everything, outcomes

pytest_plugins = [
    "tests.support.numerai_fixtures",
    "tests.support.numerai_week_fixtures",
    "tests.support.training_fixtures",
]


@pytest.mark.parametrize("wait_minutes", [0, 90])
@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_key_that_is_refused_is_an_error_at_once_without_a_round_too(
    numerai: NumeraiWeek,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wait_minutes: int,
    options: list[str],
) -> None:
    monkeypatch.setenv("NUMERAI_SECRET_KEY", "ANOTHER")
    numerai.write_config(CONFIG.replace("wait_minutes = 0", f"wait_minutes = {wait_minutes}"))
    numerai.open_round(1335, numerai.now + HOUR / 2, numerai.now + 2 * HOUR)
    assert main(["week", str(numerai.config), *options]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: Numerai refuses the request for the account's models: ")
    assert "Your session is invalid or expired" in printed.err
    assert printed.err.count("\n") == 1
    assert [seen.names for seen in numerai.server.seen] == [("account",)]
    assert "ANOTHER" not in printed.err + numerai.texts()
    assert options or "Your session is invalid" in (numerai.state / "week.log").read_text()


def test_a_key_that_may_not_read_the_account_is_an_error(numerai: NumeraiWeek) -> None:
    numerai.server.resolvers["account"] = lambda variables: None
    with refused(NumeraiError, "lack the scope to read user information"):
        numerai.run()


@pytest.mark.parametrize("folder", ["shards", "runs/one", "runs/one/week"])
def test_a_folder_of_something_else_is_refused(numerai: NumeraiWeek, folder: str) -> None:
    mt.convert(numerai.sample / "live.parquet", numerai.folder / "shards", progress=False)
    numerai.write_config(f'folder = "{folder}"\n' + CONFIG)
    before = everything(numerai.folder)
    with refused(ConfigError, "folder: ", "name another folder"):
        numerai.run()
    assert everything(numerai.folder) == before


def test_a_folder_that_cannot_be_written_is_one_line(numerai: NumeraiWeek) -> None:
    numerai.state.write_text("a file")
    with refused(NumeraiError, "the week's files can't be written there", "name another folder"):
        numerai.run()
    assert numerai.state.read_text() == "a file"


def test_a_week_is_stopped_while_it_waits(
    numerai: NumeraiWeek, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    numerai.write_config(CONFIG.replace("wait_minutes = 0", "wait_minutes = 90"))
    numerai.open_round(1334, numerai.now + HOUR, numerai.now + 2 * HOUR)
    clock = FakeClock(numerai.now)
    clock.at(numerai.now + HOUR / 2, stop)
    monkeypatch.setattr("memmap_train.numerai.week.week.system_clock", lambda: clock.clock)
    assert main(["week", str(numerai.config)]) == 130
    assert "isn't open before" in capsys.readouterr().err
    assert not numerai.sent()
    assert {path.name for path in numerai.state.iterdir()} == {"week.log"}


def test_a_round_that_opens_meanwhile_gets_its_submission(numerai: NumeraiWeek) -> None:
    numerai.write_config(CONFIG.replace("wait_minutes = 0", "wait_minutes = 90"))
    clock = FakeClock(numerai.now - 2 * HOUR)
    assert not numerai.run(clock).failures
    assert clock.now == numerai.now - HOUR
    assert len(numerai.sent()["first"]) == 1


def test_missing_keys_are_found_before_anything_is_written_or_asked(
    numerai: NumeraiWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMERAI_SECRET_KEY")
    before = everything(numerai.folder)
    for dry_run in (False, True):
        with refused(NumeraiError, "NUMERAI_SECRET_KEY is not set"):
            numerai.run(dry_run=dry_run)
    assert everything(numerai.folder) == before
    assert not numerai.server.seen


def test_a_second_process_says_so_in_one_line(
    numerai: NumeraiWeek, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = Lock(numerai.state / ".lock")
    assert main(["week", str(numerai.config)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {numerai.state}: another process does this week (process ")
    assert error.count("\n") == 1
    lock.release()
    assert main(["week", str(numerai.config)]) == 0


def test_a_stopped_week_exits_with_130_and_goes_on(
    numerai: NumeraiWeek, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("memmap_train.numerai.week.predictions.submit", stop)
        assert main(["week", str(numerai.config)]) == 130
    assert capsys.readouterr().err.endswith("stopped; run the same command again to resume\n")
    assert (numerai.state / "week.log").read_text().endswith(" stopped; the same command goes on\n")
    assert not (numerai.state / ".lock").exists()
    assert not numerai.run().failures
    assert len(numerai.sent()["first"]) == 1


def test_a_state_that_cannot_be_written_is_one_line(
    numerai: NumeraiWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("memmap_train.numerai.week.state.write_json", full)
        (failed,) = numerai.run().failures
    assert "state.json: the state can't be written: No space left on device" in failed.text
    assert not numerai.sent()
    assert not numerai.run().failures


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_log_that_cannot_be_written_ends_nothing(
    numerai: NumeraiWeek, capsys: pytest.CaptureFixture[str]
) -> None:
    numerai.state.mkdir()
    (numerai.state / "week.log").symlink_to("/dev/full")
    assert not numerai.run().failures
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("content", ["", "[]", '{"format_version": 9}', '{"format_version": 1}'])
def test_a_damaged_state_says_what_to_do_and_is_not_needed(
    numerai: NumeraiWeek, content: str
) -> None:
    numerai.run()
    (numerai.state / "state.json").write_text(content)
    with refused(NumeraiError, "state.json: damaged: ", "remove it") as found:
        numerai.run()
    assert str(found.value).count("state.json") == 1
    (numerai.state / "state.json").unlink()
    report = numerai.run()
    assert outcomes(report)["first"] == "already submitted, found at Numerai as first-0"
    assert len(numerai.sent()["first"]) == 1


def test_nothing_is_sent_while_the_list_of_submissions_cannot_be_had(numerai: NumeraiWeek) -> None:
    numerai.server.fail(*[Fault("graphql", "submissions", status=500)] * 3)
    (failed,) = numerai.run().failures
    assert failed.what == "first"
    assert "Numerai doesn't answer the request for what the model has" in failed.text
    assert not numerai.sent()


def test_predictions_that_numerai_would_refuse_are_not_sent(
    numerai: NumeraiWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    def constant(runs: object, dataset: object, out: Path, **options: object) -> None:
        ids = pq.read_table(numerai.sample / "live.parquet")["id"].to_pylist()
        out.write_text("id,prediction\n" + "".join(f"{name},0.5\n" for name in ids))

    monkeypatch.setattr("memmap_train.numerai.week.predictions.write_predictions", constant)
    (failed,) = numerai.run().failures
    assert "Numerai's validators refuse it (invalid_submission_values)" in failed.text
    assert not numerai.sent()


def test_a_round_that_closes_meanwhile_gets_no_submission(
    numerai: NumeraiWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(numerai.now)

    def slow(runs: object, dataset: object, out: Path, **options: object) -> None:
        shutil.copy(numerai.sample / "features.json", out)
        clock.now += 2 * HOUR

    monkeypatch.setattr("memmap_train.numerai.week.predictions.write_predictions", slow)
    (failed,) = numerai.run(clock).failures
    assert "round 1334 has closed at" in failed.text
    assert not numerai.sent()


def test_the_keys_are_nowhere(
    numerai: NumeraiWeek, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    numerai.server.fail(Fault("graphql", "account", status=500), Fault("put", status=403))
    keys = ("PUBLIC-ID-OF-TEST", "SECRET-KEY-OF-TEST")
    numerai.server.keys = keys
    for name, value in zip(("PUBLIC_ID", "SECRET_KEY"), keys, strict=True):
        monkeypatch.setenv(f"NUMERAI_{name}", value)
    assert main(["week", str(numerai.config)]) == 0
    assert main(["week", str(numerai.config), "--dry-run"]) == 0
    printed = capsys.readouterr()
    said = numerai.texts() + printed.out + printed.err
    assert "already submitted" in said
    assert not any(key in said for key in keys)
