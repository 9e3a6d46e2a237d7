"""What a training shows where stderr is no terminal: lines with rates and the time left."""

import logging
import sys
from typing import Any

import pytest

from memmap_train.runs.reports.plan import TrainPlan
from memmap_train.runs.reports.reporter import Reporter
from memmap_train.runs.reports.training_display import TrainingDisplay, reporter


def plan(**changes: Any) -> TrainPlan:
    """Return a plan of 3 epochs of 10 steps of 100 rows."""
    numbers = dict.fromkeys(TrainPlan.__annotations__, 1)
    texts = dict.fromkeys(("train_range", "validation_range", "model"), "text")
    sizes = {"steps_per_epoch": 10, "batch_size": 100, "epochs": 3}
    return TrainPlan(**(numbers | texts | sizes | {"first_step": 0, "epochs_done": 0} | changes))


ROW = {
    "loss": 0.05,
    "val_corr_mean": 0.03,
    "val_corr_sharpe": 1.0,
    "seconds": 15.0,
    "rows_per_second": 100.0,
    "data_wait": 0.25,
}


def display() -> TrainingDisplay:
    """Return a display that shows every update as a line."""
    return TrainingDisplay(sys.stderr, seconds_between_lines=0)


def test_the_time_left_covers_the_whole_run(capsys: pytest.CaptureFixture[str]) -> None:
    with display() as shown:
        shown.started(plan())
        shown.step(4, 400, 0.06, 100.0, 0.125)
        shown.epoch(ROW)  # 10 s of training, and 5 s of validation
        shown.step(5, 500, 0.06, 100.0, 0.125)
    first, second = (line for line in capsys.readouterr().err.splitlines() if "left for" in line)
    assert first.startswith("epoch 1: 400 of 1,000 rows (40%), ")
    assert first.endswith("loss 0.06000, waits for data 12%, 26 s left for all 3 epochs")
    assert second.startswith("epoch 2: 500 of 1,000 rows (50%), ")
    assert second.endswith("25 s left for all 3 epochs")


def test_rows_of_an_earlier_process_do_not_count_as_speed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 10.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    with display() as shown:
        shown.started(plan(first_step=18, epochs_done=1))
        shown.step(9, 900, 0.06, 5.0, 0.0)
    out = capsys.readouterr().err
    assert "resumed     after 18 steps" in out
    assert "epoch 2: 900 of 1,000 rows (90%), 10 rows/s, 10 s left" in out


def test_the_transform_of_targets_has_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay(sys.stderr, seconds_between_lines=0) as shown:
        shown.transforming(20, 40)
    assert "targets: 20 of 40 rows (50%)" in capsys.readouterr().err


def tell(reporter: Reporter) -> None:
    """Tell a reporter of an epoch in which something goes wrong."""
    reporter.transforming(20, 40)
    reporter.started(plan())
    reporter.step(4, 400, 0.06, 100.0, 0.1)
    reporter.warning("the disk is full")
    reporter.validation(30, 50)
    reporter.epoch(ROW)
    reporter.step(1, 100, 0.06, 100.0, 0.1)


@pytest.mark.parametrize("option", [None, False])
def test_without_a_terminal_or_when_turned_off_only_warnings_are_logged(
    option: bool | None, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with reporter(option) as quiet:
        tell(quiet)
    assert capsys.readouterr() == ("", "")
    assert caplog.record_tuples == [("memmap_train", logging.WARNING, "the disk is full")]


def test_a_training_is_shown_if_requested(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with reporter(True) as shown:
        tell(shown)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("train ")
    assert "\nepoch 1     loss 0.05000, validation numerai_corr 0.0300" in printed.err
    assert caplog.messages == ["the disk is full"]


def test_a_callable_gets_the_rows_of_epochs_and_validations(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[tuple[str, int, int]] = []
    with reporter(lambda *call: calls.append(call)) as counting:
        tell(counting)
    assert calls == [
        ("targets", 20, 40),
        ("epoch 1", 400, 1000),
        ("validation", 30, 50),
        ("epoch 2", 100, 1000),
    ]
    assert caplog.messages == ["the disk is full"]


def test_a_reporter_gets_all_calls() -> None:
    class Mine(Reporter):
        pass

    mine = Mine()
    with reporter(mine) as found:
        assert found is mine


def test_the_trials_of_a_sweep_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay(sys.stderr) as display:
        display.trial(3, 1200, "003-dropout=0.1")
        display.trial_done(3, 1200, "003-dropout=0.1", "already finished")
    begun, done = capsys.readouterr().err.split("\n")[1:3]
    assert begun == "trial 3 of 1,200: 003-dropout=0.1"
    assert done == "trial 3 of 1,200: 003-dropout=0.1: already finished"
