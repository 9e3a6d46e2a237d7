"""A whole week against a server on loopback, and what can go wrong. Nothing leaves this machine."""

import re
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.numerai.week.text import failures_text
from memmap_train.system.locks import Lock
from tests.support.numerai_faults import Fault
from tests.support.numerai_week import (
    CONFIG,
    HOUR,
    FakeClock,
    NumeraiWeek,
    copy_run,
    make_finished_run,
)
from tests.support.week_results import everything, outcomes

pytest_plugins = [
    "tests.support.numerai_fixtures",
    "tests.support.numerai_week_fixtures",
    "tests.support.training_fixtures",
]


SECOND = '[[models]]\nname = "second"\nruns = ["runs/two"]\n'


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


def test_a_submission_of_the_user_is_replaced_if_it_was_sent_before(numerai: NumeraiWeek) -> None:
    own = {"id": "own", "filename": "7-predictions.csv", "insertedAt": numerai.now.isoformat()}
    numerai.submissions["first"].append(own)
    numerai.run()
    assert [item["id"] for item in numerai.submissions["first"]] == ["own", "first-1"]
    numerai.submissions["first"].append(own | {"id": "later"})
    numerai.run()
    shutil.rmtree(numerai.state)
    numerai.run()
    assert numerai.submissions["first"][-1]["id"] == "later"


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


def closed_round(numerai: NumeraiWeek, wait_minutes: int, hours_ago: float) -> None:
    """Let the last round be closed."""
    numerai.write_config(CONFIG.replace("wait_minutes = 0", f"wait_minutes = {wait_minutes}"))
    opens = numerai.now - hours_ago * HOUR - HOUR
    numerai.open_round(1334, opens, opens + HOUR)


def test_a_dry_run_after_a_round_has_closed_fails_as_a_week_does(numerai: NumeraiWeek) -> None:
    closed_round(numerai, 90, hours_ago=1)
    expected, found = numerai.run(), numerai.run(dry_run=True)
    assert found.outcomes == expected.outcomes
    assert ["without a submission for 'first'" in failed.text for failed in found.failures] == [
        True
    ]


def test_a_dry_run_after_all_was_submitted_says_that_nothing_is_left(numerai: NumeraiWeek) -> None:
    numerai.run()
    closed_round(numerai, 90, hours_ago=1)
    report = numerai.run(dry_run=True)
    assert report.outcomes == numerai.run().outcomes
    assert report.outcomes[0].text.endswith("UTC: nothing to submit")


def test_a_dry_run_before_the_next_round_says_what_it_would_wait_for(
    numerai: NumeraiWeek,
) -> None:
    closed_round(numerai, 90, hours_ago=22)
    report = numerai.run(dry_run=True)
    assert not report.failures
    assert [outcome.what for outcome in report.outcomes] == ["Numerai", "first"]
    assert report.outcomes[0].text.endswith("would wait for 90 minutes at most")
    assert report.outcomes[1].text == "would predict and submit if a round opens"


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
    assert log.count("isn't that of round 1335 yet, but of an earlier one; trying again until") == 1


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
    assert "the dataset: " in printed.out
    assert "second" not in printed.out
    assert not any(line.startswith("error") for line in said)
    log = (numerai.state / "week.log").read_text()
    assert "Z second: failed: " in log
    assert set(said) <= set(log.splitlines())


def test_nothing_is_printed_twice(numerai: NumeraiWeek, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a week that succeeds, and of one in which a model fails."""
    numerai.write_config(CONFIG + SECOND)
    assert main(["week", str(numerai.config)]) == 1
    printed = capsys.readouterr()
    lines = [re.sub(r"^\S+ \S+Z ", "", line) for line in printed.err.splitlines()]
    assert printed.out.splitlines() == [
        numerai_line(numerai),
        "first: submitted 80 predictions as first-0",
    ]
    assert lines[:2] == [
        "the live rows of round 1334 are there",
        "first: predicted the live rows of round 1334",
    ]
    assert [line.partition(":")[0] for line in lines[2:]] == ["error"]
    assert printed.err.count("runs/two") == 1
    log = [line[21:] for line in (numerai.state / "week.log").read_text().splitlines()]
    assert set(printed.out.splitlines()) < set(log)
    assert len(set(log)) == len(log)


def numerai_line(numerai: NumeraiWeek) -> str:
    """Return the line of the open round."""
    closes = datetime.fromisoformat(numerai.round["closeStakingTime"])
    return f"Numerai: round 1334 is open until {closes:%Y-%m-%d %H:%M} UTC"


def test_a_week_in_which_all_fails_prints_one_line_to_each_stream(
    numerai: NumeraiWeek, capsys: pytest.CaptureFixture[str]
) -> None:
    numerai.round = None
    assert main(["week", str(numerai.config)]) == 1
    printed = capsys.readouterr()
    assert printed.out == "nothing was done\n"
    assert printed.err.startswith("error: 1 of 1 part failed: Numerai: ")
    assert printed.err.count("\n") == 1


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
    text = CONFIG.replace('name = "first"', 'name = "frist"')
    numerai.write_config(text.replace("wait_minutes = 0", "wait_minutes = 90"))
    report = numerai.run(FakeClock(numerai.now - 2 * HOUR))
    assert "did you mean 'first'?" in report.failures[0].text
    first, *_ = capsys.readouterr().err.splitlines()
    assert "frist: the account has no model 'frist'" in first
    assert not (numerai.state / "predictions").exists()


def test_equal_reasons_are_said_once(numerai: NumeraiWeek) -> None:
    numerai.server.fail(*[Fault("graphql", "account", status=500)] * 99)
    copy_run(numerai.folder / "runs" / "one", numerai.folder / "runs" / "two")
    numerai.write_config(CONFIG + SECOND)
    text = failures_text(numerai.run())
    assert text.count("Numerai doesn't answer the request for the account's models") == 1
    assert text.startswith("2 of 3 parts failed: first, second: ")
    assert numerai.server.heal() > 0
