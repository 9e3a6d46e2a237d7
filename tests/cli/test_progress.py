"""What a training shows where stderr is no terminal: lines with rates and the time left."""

from typing import Any

import pytest

from memmap_train.cli import progress
from memmap_train.cli.progress import TrainProgress, WarningsOnly
from memmap_train.runs.report import TrainPlan


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


@pytest.fixture(autouse=True)
def every_update_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)


def test_the_time_left_covers_the_whole_run(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainProgress() as shown:
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
    with TrainProgress() as shown:
        shown.started(plan(first_step=18, epochs_done=1))
        shown.step(9, 900, 0.06, 5.0, 0.0)
    out = capsys.readouterr().err
    assert "resumed     after 18 steps" in out
    assert "epoch 2: 900 of 1,000 rows (90%), 10 rows/s, 10 s left" in out


def test_a_quiet_training_prints_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = WarningsOnly()
    quiet.started(plan())
    quiet.step(4, 400, 0.06, 100.0, 0.1)
    quiet.epoch(ROW)
    assert capsys.readouterr() == ("", "")
    quiet.warning("the disk is full")
    assert capsys.readouterr().err == "warning: the disk is full\n"
