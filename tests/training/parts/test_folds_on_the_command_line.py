"""Tests of folds on the command line: trained, planned by dry runs, and shown by `runs`."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from memmap_train.cli.commands import main
from memmap_train.errors import ConfigError, MemmapTrainError
from memmap_train.runs.lock import holding
from memmap_train.runs.reports.report import FoldsReport
from memmap_train.runs.reports.training_display import TrainingDisplay
from memmap_train.runs.table import describe_runs, runs_text
from memmap_train.training import probe, train
from memmap_train.training.parts.fold_loop import dry_run_folds, train_folds
from memmap_train.training.train import dry_run, train_run
from tests.support.errors import refused
from tests.support.files import contents
from tests.support.fold_runs import FOLDS, folds_config, results_of_folds
from tests.support.training_data import Script, small_config
from tests.support.training_runs import interrupt

pytest_plugins = ["tests.support.training_fixtures"]


def test_folds_are_trained_stopped_resumed_and_predicted_on_the_command_line(
    finished: tuple[Path, FoldsReport],
    sample: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, out = str(tmp_path / "run"), str(tmp_path / "out.csv")
    settings = [
        part
        for key, value in folds_config().to_dict().items()
        if value is not None
        for part in ("--set", f"{key}={json.dumps(value)}")
    ]
    command = ["train", str(sample), "--run", run, "--folds", "2", *settings]
    with monkeypatch.context() as patch:
        patch.setattr(TrainingDisplay, "epoch", lambda *_: interrupt())
        assert main(command) == 130
    assert "--resume" in capsys.readouterr().err
    assert main(command) == 1
    assert "a run of folds is there already" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert results_of_folds(tmp_path / "run") == results_of_folds(finished[0])
    printed = capsys.readouterr()
    assert "the last epoch's model predicts" in printed.err
    assert "fold 2 of 2: trains on 11 eras (0001 to 0011), predicts 5 (0020 to 0024)" in printed.err
    assert f"out of fold numerai_corr {finished[1].corr.mean:.4f} on average" in printed.out
    assert main([*command, "--resume"]) == 0
    assert "already finished" in capsys.readouterr().out
    assert main(["predict", run, str(sample), "--out", out]) == 0
    assert "left out: 14 eras (0001 to 0014)" in capsys.readouterr().out


@pytest.mark.parametrize(("flags", "code"), [("--folds many", 2), ("--rolling 5", 1)])
def test_flags_of_folds_that_make_no_sense_are_refused(
    tmp_path: Path, flags: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found = main(["train", "D", "--run", str(tmp_path / "run"), *flags.split()])
    except SystemExit as stopped:
        found = stopped.code  # type: ignore[assignment]
    assert found == code
    assert "--folds" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_dry_run_plans_every_fold_and_writes_nothing(sample: Path, tmp_path: Path) -> None:
    plans, is_finished = dry_run_folds(sample, tmp_path / "run", folds_config(), folds=2)
    assert not is_finished
    assert [plan.n_train_eras for plan in plans] == [len(trained) for trained, _ in FOLDS]
    assert [plan.n_validation_eras for plan in plans] == [len(after) for _, after in FOLDS]
    assert not (tmp_path / "run").exists()


def error_of(command: Any, *arguments: Any, **options: Any) -> str:
    """Return what a command is refused with."""
    with pytest.raises(MemmapTrainError) as caught:
        command(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({}, {}, "a finished run of folds is there already"),
        ({}, {"resume": True, "folds": 3}, "--folds 2 in the run, 3 now"),
        ({}, {"resume": True, "rolling_eras": 4}, "--rolling None in the run, 4 now"),
        ({"learning_rate": 0.02}, {"resume": True}, "learning_rate: 0.01 in the run, 0.02 now"),
        ({"epochs": 1}, {"resume": True}, "epochs: 2 in the run, 1 now"),
        ({"callbacks": ["nowhere:Callback"]}, {"resume": True}, "callbacks: "),
        ({"validation_eras": 4}, {"resume": True}, "validation_eras"),
    ],
)
def test_a_dry_run_of_folds_refuses_what_the_command_refuses(
    changes: dict[str, Any],
    options: dict[str, Any],
    said: str,
    finished: tuple[Path, FoldsReport],
    sample: Path,
) -> None:
    before = contents(finished[0])
    options = {"folds": 2, **options}
    found = [
        error_of(command, sample, finished[0], folds_config(**changes), **options)
        for command in (train_folds, dry_run_folds)
    ]
    assert found[0] == found[1]
    assert said in found[0]
    assert contents(finished[0]) == before


def test_what_a_user_brings_to_folds_is_refused_before_anything_is_written(
    sample: Path, tmp_path: Path
) -> None:
    for changes in ({"callbacks": ["nowhere:Callback"]}, {"model": "nowhere:build"}):
        for command in (train_folds, dry_run_folds):
            with refused(ConfigError, "'nowhere:", "can't be imported"):
                command(sample, tmp_path / "run", folds_config(**changes), folds=2)
    assert not list(tmp_path.iterdir())


def test_a_dry_run_refuses_a_run_of_the_other_kind(
    finished: tuple[Path, FoldsReport], sample: Path, tmp_path: Path
) -> None:
    assert error_of(dry_run, sample, finished[0], None, resume=True) == error_of(
        train_run, sample, finished[0], None, resume=True
    )
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", small_config(), report=Script("step 3", interrupt))
    options = {"folds": 2, "resume": True}
    assert error_of(dry_run_folds, sample, tmp_path / "run", None, **options) == error_of(
        train_folds, sample, tmp_path / "run", None, **options
    )


def test_a_folder_that_another_process_holds_or_that_cant_be_made_is_refused_at_once(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "compile_model", lambda setup: pytest.fail("it compiles"))
    monkeypatch.setattr(probe, "compile_model", lambda setup: pytest.fail("it compiles"))
    run, file = tmp_path / "run", tmp_path / "file"
    file.write_text("x")
    with holding(run):
        for path in (run, file / "run"):
            for command, config, options in (
                ((train_run, dry_run), small_config(), {}),
                ((train_folds, dry_run_folds), folds_config(), {"folds": 2}),
            ):
                found = {error_of(each, sample, path, config, **options) for each in command}
                assert len(found) == 1
    assert not [path for path in run.iterdir() if not path.name.startswith(".")]


def test_a_dry_run_says_which_folds_are_done_and_where_the_running_one_goes_on(
    finished: tuple[Path, FoldsReport], sample: Path, tmp_path: Path
) -> None:
    free = partial(dry_run_folds, folds=2, resume=True, measures_cost=False)
    plans, is_finished = free(sample, finished[0])
    assert is_finished
    assert [plan.already_finished for plan in plans] == [True, True]
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_folds(sample, run, folds_config(), folds=2, report=Script("step 25", interrupt))
    before = contents(run)
    plans, is_finished = free(sample, run)
    assert not is_finished
    assert [plan.already_finished for plan in plans] == [True, False]
    assert [plan.first_step for plan in plans] == [14, 11]  # of 7 and 13 steps an epoch
    longer, _ = free(sample, run, folds_config(epochs=3))
    assert [plan.already_finished for plan in longer] == [False, False]
    assert contents(run) == before


def test_runs_shows_the_scores_of_all_folds_together_and_of_each(
    finished: tuple[Path, FoldsReport], tmp_path: Path
) -> None:
    path, report = finished
    (of_all,) = describe_runs([path.parent])
    assert (of_all["score"], of_all["corr_sharpe"]) == (report.corr.mean, report.corr.sharpe)
    assert (of_all["folds"], of_all["folds_finished"], of_all["state"]) == (2, 2, "finished")
    assert "finished, 2 of 2 folds" in runs_text([of_all])
    rows = {Path(row["run"]).name: row for row in describe_runs([path])}
    assert rows.keys() == {"run", "fold-01", "fold-02"}
    for name, fold in zip(("fold-01", "fold-02"), report.folds, strict=True):
        assert rows[name]["score"] == pytest.approx(fold.corr.mean)
        assert rows[name]["best_epoch"] == fold.best_epoch == rows[name]["epochs"]


def test_runs_shows_folds_that_are_under_way(
    finished: tuple[Path, FoldsReport], tmp_path: Path
) -> None:
    path = tmp_path / "run"
    shutil.copytree(finished[0], path)
    (path / "state.json").unlink()
    (path / "fold-02" / "state.json").unlink()
    with holding(path):
        assert describe_runs([tmp_path])[0]["state"] == "running"
    rows = {Path(row["run"]).name: row for row in describe_runs([path])}
    assert (rows["run"]["state"], rows["run"]["score"]) == ("stopped", None)
    assert "stopped, 1 of 2 folds" in runs_text(list(rows.values()))
    shutil.rmtree(path / "fold-02")
    assert len(describe_runs([path])) == 2
