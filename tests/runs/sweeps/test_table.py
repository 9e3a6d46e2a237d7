"""Tests of the table and the picture of a sweep: groups of seeds, errors, ranks, failures."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memmap_train.cli.commands import main
from memmap_train.errors import RunError
from memmap_train.runs.run import read_run
from memmap_train.runs.run_folder import begin_run
from memmap_train.runs.scores.score_files import history_columns
from memmap_train.runs.scores.statistics import score_statistics
from memmap_train.runs.sweeps.chart import draw_sweep
from memmap_train.runs.sweeps.record import SweepRecord, read_sweep, write_sweep
from memmap_train.runs.sweeps.table import describe_sweep, sweep_text, varied_keys
from memmap_train.runs.table import describe_runs, runs_text
from tests.runs.reports.test_chart import has_colour
from tests.runs.sweeps.test_record import make_sweep
from tests.support.errors import refused
from tests.support.run_records import run_record

ERAS = [f"{number:04}" for number in range(101, 141)]
BEST, SCORE = "#de911d", "#0b69a3"


def finish(path: Path, corr: float, *, monitor: str = "val_corr_mean", **columns: float) -> None:
    """Write a finished run of two epochs, the first of which is the best."""
    run = begin_run(path, run_record(monitor=monitor, named_targets=["target_x_20"]))
    first = dict.fromkeys(history_columns(monitor), 0.5) | {"val_corr_mean": corr} | columns
    run.write_history([first | {"epoch": 1}, first | {"epoch": 2, monitor: -1.0}])
    era_scores = [corr + 0.01 * math.sin(number) for number in range(len(ERAS))]
    further = [0.0] if monitor != "val_corr_mean" else []
    run.write_era_scores(
        (era, "target", score, 0.5, *further) for era, score in zip(ERAS, era_scores, strict=True)
    )
    run.finish({"best_epoch": 1})


def make_scored(path: Path, swept: dict[str, Any], scores: list[float | None]) -> SweepRecord:
    """Write a sweep with a finished run for each trial that has a score."""
    record = make_sweep(path, swept)
    for trial, score in zip(record.trials, scores, strict=True):
        if score is not None:
            finish(path / trial.name, score)
    return record


def test_trials_that_differ_in_the_seed_alone_are_one_row(tmp_path: Path) -> None:
    swept = {"dropout": [0.1, 0.3], "seed": [0, 1, 2]}
    make_scored(tmp_path, swept, [0.01, 0.02, 0.03, 0.04, 0.02, 0.06])
    best, other = describe_sweep(tmp_path)
    assert best["settings"] == {"dropout": 0.3}
    assert best["score"] == pytest.approx(0.04)
    assert best["standard_error"] == pytest.approx(0.02 / math.sqrt(3))
    assert (best["standard_error_over"], best["n_scores"]) == ("seeds", 3)
    assert other["standard_error"] == pytest.approx(0.01 / math.sqrt(3))
    lines = sweep_text(tmp_path, [best, other]).splitlines()
    assert lines[0].split() == ["trial", "corr_mean", "±", "n", "dropout", "state"]
    assert lines[1].split() == ["004-006", "0.0400", "0.0115", "3", "0.3", "finished"]
    assert "±: its standard error over seeds" in lines[3]
    assert lines[4].startswith("the best of 2 settings overstates its score: these validation eras")


def test_settings_are_equal_in_whatever_order_they_were_listed(tmp_path: Path) -> None:
    swept = {"dropout": [0.1], "patience": [3], "seed": [0, 1, 2]}
    record = make_scored(tmp_path, swept, [0.01, 0.02, 0.03])
    # The third seed came later, by a file that lists the keys otherwise.
    last = record.trials[2]
    turned = last.model_copy(update={"settings": {"patience": 3, "dropout": 0.1, "seed": 2}})
    write_sweep(tmp_path, record.model_copy(update={"trials": [*record.trials[:2], turned]}))
    (row,) = describe_sweep(tmp_path)
    assert row["n_scores"] == 3


def test_without_seeds_the_error_is_over_eras_and_says_so(tmp_path: Path) -> None:
    make_scored(tmp_path, {"dropout": [0.1, 0.3]}, [0.01, 0.02])
    rows = describe_sweep(tmp_path)
    scores = [0.02 + 0.01 * math.sin(number) for number in range(len(ERAS))]
    expected = score_statistics(scores, overlap_eras=4).standard_error
    assert rows[0]["standard_error"] == pytest.approx(expected)
    assert expected > np.std(scores) / math.sqrt(len(scores)) * 0.99
    assert rows[0]["standard_error_over"] == "eras"
    text = sweep_text(tmp_path, rows)
    assert text.splitlines()[0].split() == ["trial", "corr_mean", "±", "dropout", "state"]
    assert "standard error over eras, which all trials share" in text
    # A deviation over eras has no such error.
    assert describe_sweep(tmp_path, by="val_corr_sharpe")[0]["standard_error"] is None


def test_trials_are_ranked_by_any_score_of_the_kept_epoch(tmp_path: Path) -> None:
    record = make_sweep(tmp_path, {"dropout": [0.1, 0.3]})
    for trial, corr, bmc, loss in zip(
        record.trials, (0.01, 0.02), (0.4, 0.3), (0.7, 0.6), strict=True
    ):
        finish(tmp_path / trial.name, corr, monitor="val_bmc_mean", val_bmc_mean=bmc, loss=loss)

    def first(by: str | None) -> Any:
        return describe_sweep(tmp_path, by)[0]["settings"]["dropout"]

    assert [first(by) for by in (None, "val_bmc_mean", "val_corr_mean", "loss")] == [
        0.1,
        0.1,
        0.3,
        0.3,
    ]
    assert describe_sweep(tmp_path)[0]["score_name"] == "val_bmc_mean"
    assert describe_sweep(tmp_path, "loss")[0]["score"] == 0.6


@pytest.mark.parametrize("by", ["val_bmc_mean", "val_corr_meen", "seconds"])
def test_a_score_that_no_run_has_is_an_error_that_names_those_there_are(
    by: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_scored(tmp_path, {"dropout": [0.1]}, [0.01])
    with refused(RunError, f"--by {by}: no run has this score", "'val_corr_mean'"):
        describe_sweep(tmp_path, by)
    with refused(RunError, f"--by {by}"):
        describe_runs([tmp_path / "001-dropout=0.1"], by)
    assert main(["runs", str(tmp_path), "--by", by]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_runs_are_ranked_by_any_score_too(tmp_path: Path) -> None:
    for name, corr, loss in (("a", 0.01, 0.2), ("b", 0.02, 0.3)):
        finish(tmp_path / name, corr, loss=loss)
    rows = describe_runs([tmp_path], "loss")
    assert [(Path(row["run"]).name, row["score"]) for row in rows] == [("a", 0.2), ("b", 0.3)]
    text = runs_text(rows, "loss")
    assert text.splitlines()[0].split()[:3] == ["run", "score", "corr"]
    assert "score: loss of the best epoch" in text


def test_failed_missing_and_unfinished_trials_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swept = {"dropout": [0.1, 0.2, 0.3, 0.4]}
    record = make_scored(tmp_path, swept, [0.01, 0.5, 0.02, None])
    write_sweep(tmp_path, record.with_failure("002-dropout=0.2", "the loss is nan"))
    (tmp_path / "003-dropout=0.3" / "state.json").unlink()
    rows = describe_sweep(tmp_path)
    assert [(row["score"], row["state"]) for row in rows] == [
        (0.02, "stopped"),
        (0.01, "finished"),
        (None, "failed"),
        (None, "waits"),
    ]
    assert main(["runs", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == rows
    text = sweep_text(tmp_path, rows)
    assert "002-dropout=0.2: failed: the loss is nan" in text.splitlines()
    assert text.endswith("1 of 4 trials are finished")
    assert text.splitlines()[4].split() == ["004", "-", "-", "0.4", "waits"]
    (tmp_path / "001-dropout=0.1" / "config.json").write_text("{")
    assert "001-dropout=0.1: failed: " in sweep_text(tmp_path, describe_sweep(tmp_path))


def test_seeds_in_different_states_are_counted(tmp_path: Path) -> None:
    swept = {"dropout": [0.1], "seed": [0, 1, 2]}
    record = make_scored(tmp_path, swept, [0.01, 0.03, None])
    write_sweep(tmp_path, record.with_failure(record.trials[1].name, "too large"))
    (row,) = describe_sweep(tmp_path)
    assert row["state"] == "1 finished, 1 failed, 1 waits"
    assert (row["score"], row["n_scores"], row["standard_error"]) == (0.01, 1, None)


def test_only_varied_keys_are_columns(tmp_path: Path) -> None:
    make_scored(tmp_path, {"dropout": [0.1, 0.2], "hidden": [[8, 4]]}, [0.01, 0.02])
    assert varied_keys(read_sweep(tmp_path)) == ["dropout"]
    assert "hidden" not in sweep_text(tmp_path, describe_sweep(tmp_path))


def test_a_sweep_among_runs_is_a_line_of_its_own(tmp_path: Path) -> None:
    make_scored(tmp_path / "sweep", {"dropout": [0.1, 0.2]}, [0.01, None])
    finish(tmp_path / "run", 0.02)
    rows = describe_runs([tmp_path])
    assert [Path(row["run"]).name for row in rows] == ["run", "sweep"]
    assert "sweep, 1 of 2 trials finished" in runs_text(rows)
    (tmp_path / "sweep" / "sweep.json").write_text("{")
    assert describe_runs([tmp_path])[1]["state"] == "damaged"
    # Beside others, its trials are runs.
    assert len(describe_runs([tmp_path / "sweep", tmp_path / "run"])) == 2


@pytest.mark.parametrize(
    ("swept", "n_trials"),
    [
        ({"dropout": [0.1, 0.2], "hidden": [[8], [16, 8], []], "seed": [0, 1]}, 12),
        ({"learning_rate": [10.0**-n for n in range(1, 11)]}, 10),
        ({"model": ["mlp", "$\\bad{ %d$"], "memory": ["auto", 5]}, 4),
        ({name: [1, 2] for name in ("epochs", "patience", "warmup_steps", "batch_size")}, 16),
    ],
)
@pytest.mark.usefixtures("drawn_pictures")
def test_the_picture_shows_the_scores_and_the_best(
    swept: dict[str, Any], n_trials: int, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    make_scored(tmp_path, swept, [0.01 * math.sin(number) for number in range(n_trials)])
    warnings: list[str] = []
    path = draw_sweep(tmp_path, warn=warnings.append)
    assert (path, warnings) == (tmp_path / "sweep.png", [])
    assert has_colour(tmp_path / "sweep.png", BEST)


@pytest.mark.usefixtures("drawn_pictures")
def test_there_is_no_picture_where_nothing_can_be_compared(tmp_path: Path) -> None:
    make_scored(tmp_path / "a", {"dropout": [0.1, 0.2]}, [None, None])
    make_scored(tmp_path / "b", {"seed": [0, 1]}, [0.1, 0.2])
    for name in "ab":
        (tmp_path / name / "sweep.png").touch()
        assert draw_sweep(tmp_path / name, warn=pytest.fail) is None
        assert not (tmp_path / name / "sweep.png").exists()


@pytest.mark.usefixtures("drawn_pictures")
def test_a_picture_that_fails_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = pytest.importorskip("matplotlib.figure")
    make_scored(tmp_path, {"dropout": [0.1, 0.2]}, [0.1, 0.2])

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure.Figure, "savefig", fail)
    warnings: list[str] = []
    assert draw_sweep(tmp_path, warn=warnings.append) is None
    (warning,) = warnings
    assert "sweep.png: the picture can't be drawn: OSError" in warning
    assert read_run(tmp_path / "001-dropout=0.1").read_result() is not None
