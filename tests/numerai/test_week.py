"""A whole week against a server on loopback, and what can go wrong. Nothing leaves this machine."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.errors import ConfigError, NumeraiError
from memmap_train.numerai.week.report import WeekReport, failures_text
from memmap_train.system.locks import Lock
from tests.support.errors import refused
from tests.support.numerai_faults import Fault
from tests.support.numerai_week import (
    CONFIG,
    HOUR,
    FakeClock,
    NumeraiWeek,
    copy_run,
    make_finished_run,
)

pytest_plugins = [
    "tests.support.numerai_fixtures",
    "tests.support.numerai_week_fixtures",
    "tests.support.training_fixtures",
]

SECOND = '[[models]]\nname = "second"\nruns = ["runs/two"]\n'


def outcomes(report: WeekReport) -> dict[str, str]:
    """Return what came of each part that hasn't failed."""
    return {outcome.what: outcome.text for outcome in report.outcomes if not outcome.has_failed}


def everything(folder: Path) -> dict[str, int]:
    """Return the paths below a folder, with the times at which they were changed."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


# -- what is done


def test_a_week_submits_what_predict_gives_for_the_live_rows(
    numerai: NumeraiWeek, live: Path
) -> None:
    report = numerai.run()
    assert outcomes(report)["first"] == "submitted 80 predictions as first-0"
    (name,) = numerai.sent()["first"]
    assert "first-1334-" in name
    expected = mt.predict(numerai.folder / "runs" / "one", live, progress=False)
    lines = numerai.server.uploads[name].decode().splitlines()[1:]
    assert numerai.uploaded_ids(name) == expected.ids.tolist()
    found = [float(line.split(",")[1]) for line in lines]
    np.testing.assert_allclose(found, expected.values)


def test_a_repeated_week_does_nothing(numerai: NumeraiWeek) -> None:
    numerai.run()
    before, log = everything(numerai.folder), "week/week.log"
    n_seen = len(numerai.server.seen)
    report = numerai.run()
    assert outcomes(report)["first"] == "already submitted as first-0"
    asked = {name for seen in numerai.server.seen[n_seen:] for name in seen.names}
    assert asked == {"account", "rounds"}
    after = everything(numerai.folder)
    assert {name for name in after if after[name] != before.get(name)} <= {
        str(numerai.state),  # the lock came and went
        str(numerai.folder / log),
    }


def test_only_what_is_needed_is_downloaded(numerai: NumeraiWeek) -> None:
    numerai.run()
    assert {path.name for path in (numerai.folder / "data").iterdir()} == {
        ".numerai.json",
        "features.json",
        "live.parquet",
    }


def test_the_next_round_is_another_submission(numerai: NumeraiWeek) -> None:
    numerai.run()
    numerai.open_round(1335, numerai.now - HOUR, numerai.now + HOUR)
    ids = numerai.refresh_live()
    numerai.run()
    first, second = numerai.sent()["first"]
    assert "first-1335-" in second
    assert numerai.uploaded_ids(second) == ids
    assert numerai.uploaded_ids(first) != ids
    live = [path.name for path in (numerai.state / "live").iterdir()]
    assert len(live) == 1
    assert live[0].startswith("1335-")
    kept = {path.name.rsplit("-", 1)[0] for path in (numerai.state / "predictions").iterdir()}
    assert kept == {"first-1334", "first-1335"}


def test_the_dataset_is_updated_after_the_submissions(numerai: NumeraiWeek) -> None:
    numerai.write_config('dataset = "data/shards"\n' + CONFIG)
    report = numerai.run()
    assert [outcome.what for outcome in report.outcomes] == ["Numerai", "first", "the dataset"]
    dataset = mt.open_dataset(numerai.folder / "data" / "shards")
    assert len(dataset.eras) == 24
    assert dataset.manifest.dtype == "int8"
    names = [seen.names[0] for seen in numerai.server.of_kind("get")]
    assert names.index("v5.3/live.parquet") < names.index("v5.3/train.parquet")
    assert "up to date" in outcomes(numerai.run())["the dataset"]


def test_benchmarks_are_joined_to_the_dataset(numerai: NumeraiWeek) -> None:
    name = "meta_model.parquet"
    numerai.server.put_file(f"v5.3/{name}", (numerai.sample / name).read_bytes())
    numerai.write_config(f'dataset = "data/shards"\nbenchmarks = ["{name}"]\n' + CONFIG)
    assert not numerai.run().failures
    dataset = mt.open_dataset(numerai.folder / "data" / "shards")
    assert dataset.benchmark_names == ("numerai_meta_model",)


def test_a_dry_run_writes_and_sends_nothing(numerai: NumeraiWeek) -> None:
    numerai.write_config('dataset = "data/shards"\n' + CONFIG)
    before = everything(numerai.folder)
    report = numerai.run(dry_run=True)
    assert not report.failures
    said = outcomes(report)
    assert said["first"] == "would predict and submit"
    assert said["the live rows"].startswith("would fetch ")
    assert "would be updated; would fetch" in said["the dataset"]
    assert everything(numerai.folder) == before
    assert not numerai.sent()
    numerai.run()
    assert "already submitted" in outcomes(numerai.run(dry_run=True))["first"]


# -- live rows of this round


def test_live_rows_of_the_last_round_are_waited_for(numerai: NumeraiWeek) -> None:
    numerai.write_config(CONFIG.replace("wait_minutes = 0", "wait_minutes = 30"))
    numerai.run()
    numerai.open_round(1335, numerai.now - HOUR, numerai.now + HOUR)
    clock, ids = FakeClock(numerai.now), list[str]()
    clock.at(numerai.now + HOUR / 6, lambda: ids.extend(numerai.refresh_live()))
    numerai.run(clock)
    _, second = numerai.sent()["first"]
    assert numerai.uploaded_ids(second) == ids
    assert 10 * 60 <= sum(clock.waits) < 11 * 60
    log = (numerai.state / "week.log").read_text()
    assert log.count("is still that of an earlier round than 1335; trying again until") == 1


def test_live_rows_that_do_not_come_are_an_error_and_no_submission(numerai: NumeraiWeek) -> None:
    numerai.run()
    numerai.open_round(1335, numerai.now - HOUR, numerai.now + HOUR)
    report = numerai.run()
    assert [failed.what for failed in report.failures] == ["the live rows"]
    assert len(numerai.sent()["first"]) == 1


def test_a_file_from_before_the_round_is_not_of_the_round(numerai: NumeraiWeek) -> None:
    """There is no state yet: the file was downloaded by hand before the round opened."""
    mt.download("live.parquet", version="v5.3", out=numerai.folder / "data", progress=False)
    opens = numerai.now + HOUR
    numerai.open_round(1334, opens, opens + HOUR)
    report = numerai.run(FakeClock(opens))
    assert [failed.what for failed in report.failures] == ["the live rows"]
    assert not numerai.sent()


def test_live_rows_that_are_replaced_in_the_round_are_predicted_again(
    numerai: NumeraiWeek,
) -> None:
    numerai.server.fail(*[Fault("put", status=500)] * 4)
    assert [failed.what for failed in numerai.run().failures] == ["first"]
    ids = numerai.refresh_live()
    assert not numerai.run().failures
    (name,) = numerai.sent()["first"]
    assert numerai.uploaded_ids(name) == ids


@pytest.mark.parametrize("change", ["file", "run", "configuration"])
def test_predictions_that_are_not_those_wanted_are_made_again(
    numerai: NumeraiWeek, change: str, live: Path
) -> None:
    """The first week predicts and can't submit; then something is another."""
    numerai.server.fail(*[Fault("put", status=500)] * 4)
    assert numerai.run().failures
    (path,) = (numerai.state / "predictions").iterdir()
    before, run = path.read_bytes(), numerai.folder / "runs" / "one"
    if change == "file":
        path.write_bytes(before.replace(b"0.5", b"0.4"))
        assert path.read_bytes() != before
    elif change == "run":
        features = list(mt.open_dataset(live).feature_names[:4])
        shutil.rmtree(run)
        make_finished_run(run, features)
    else:
        numerai.write_config(CONFIG + 'neutralize = "small"\n')
    assert not numerai.run().failures
    (name,) = numerai.sent()["first"]
    assert (numerai.server.uploads[name] == before) == (change == "file")


def test_predictions_that_are_there_are_not_made_again(
    numerai: NumeraiWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    numerai.server.fail(*[Fault("put", status=500)] * 4)
    assert numerai.run().failures
    monkeypatch.delattr("memmap_train.numerai.week.predictions.write_predictions")
    assert not numerai.run().failures


def test_a_download_of_another_process_is_waited_for(numerai: NumeraiWeek) -> None:
    numerai.write_config(CONFIG.replace("wait_minutes = 0", "wait_minutes = 30"))
    lock = Lock(numerai.folder / "data" / ".numerai.lock")
    clock = FakeClock(numerai.now)
    clock.at(numerai.now + HOUR / 60, lock.release)
    assert not numerai.run(clock).failures
    assert clock.waits == [30.0, 30.0]
    assert "another process is downloading" in (numerai.state / "week.log").read_text()


# -- several models, and what fails for one of them


def test_one_model_that_fails_does_not_stop_the_others(
    numerai: NumeraiWeek, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_run(numerai.folder / "runs" / "one", numerai.folder / "runs" / "two")
    (numerai.folder / "runs" / "two" / "state.json").unlink()
    text = CONFIG.replace("[[models]]", SECOND + "[[models]]")
    numerai.write_config('dataset = "data/shards"\n' + text)
    assert main(["week", str(numerai.config)]) == 1
    assert list(numerai.sent()) == ["first"]
    printed = capsys.readouterr()
    *said, error = printed.err.splitlines()
    assert error.startswith("error: 1 of 4 parts failed: second: ")
    assert "the run isn't finished" in error
    assert "first: submitted" in printed.out
    assert "second: failed: " in printed.out
    assert "the dataset: " in printed.out
    assert not any(line.startswith("error") for line in said)
    assert (numerai.state / "week.log").read_text().splitlines() == said


def test_a_model_without_its_features_in_the_live_rows_fails(numerai: NumeraiWeek) -> None:
    make_finished_run(numerai.folder / "runs" / "two", ["feature_unknown"])
    numerai.write_config(CONFIG + SECOND)
    report = numerai.run()
    assert [failed.what for failed in report.failures] == ["second"]
    assert "feature_unknown" in report.failures[0].text
    assert list(numerai.sent()) == ["first"]


def test_a_model_that_the_account_lacks_fails_and_is_said_before_the_wait(
    numerai: NumeraiWeek, capsys: pytest.CaptureFixture[str]
) -> None:
    numerai.write_config(CONFIG.replace('name = "first"', 'name = "frist"'))
    report = numerai.run()
    assert "did you mean 'first'?" in report.failures[0].text
    first, *_ = capsys.readouterr().err.splitlines()
    assert "frist: the account has no model 'frist'" in first
    assert not (numerai.state / "predictions").exists()


def test_equal_reasons_are_said_once(numerai: NumeraiWeek, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMERAI_SECRET_KEY", "ANOTHER")
    copy_run(numerai.folder / "runs" / "one", numerai.folder / "runs" / "two")
    numerai.write_config(CONFIG + SECOND)
    text = failures_text(numerai.run())
    assert text.count("Your session is invalid or expired") == 1
    assert text.startswith("2 of 3 parts failed: first, second: ")
    assert "ANOTHER" not in text + numerai.texts()


# -- what ends the command


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
    assert len(capsys.readouterr().err.splitlines()) == 4


@pytest.mark.parametrize("content", ["", "[]", '{"format_version": 9}', '{"format_version": 1}'])
def test_a_damaged_state_says_what_to_do_and_is_not_needed(
    numerai: NumeraiWeek, content: str
) -> None:
    numerai.run()
    (numerai.state / "state.json").write_text(content)
    with refused(NumeraiError, "state.json: damaged", "remove it"):
        numerai.run()
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
