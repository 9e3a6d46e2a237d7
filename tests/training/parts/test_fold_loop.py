"""Folds trained one after another: what each is trained on, what they leave, how they resume."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from scipy.stats import rankdata

import memmap_train as mt
from memmap_train.errors import BatchError, ConfigError, DatasetError, FoldError, RunError
from memmap_train.loading import batches as batches_module
from memmap_train.runs.reports.report import FoldsReport, TrainReport
from memmap_train.runs.run import read_run
from memmap_train.runs.scores.metrics import numerai_corr
from memmap_train.runs.scores.summary import summary
from memmap_train.runs.table import describe_runs
from memmap_train.system.memory_budget import PROCESS_MEMORY
from memmap_train.training.parts.fold_loop import dry_run_folds, train_folds
from memmap_train.training.parts.resolve_folds import resolve_folds
from memmap_train.training.prediction.predict import write_predictions
from memmap_train.training.train import train_run
from tests.support.errors import refused
from tests.support.fold_runs import FOLDS, folds_config, results_of_folds
from tests.support.pictures import failing_pictures
from tests.support.training_data import ROWS_PER_ERA, Script, all_rows, small_config
from tests.support.training_runs import interrupt, read_csv

pytest_plugins = ["tests.support.training_fixtures"]


def labels(numbers: range) -> list[str]:
    return [f"{number:04}" for number in numbers]


# -- what comes of it -----------------------------------------------------------------------------


def test_each_fold_is_a_run_of_its_own_on_its_own_eras(
    finished: tuple[Path, FoldsReport], sample: Path
) -> None:
    path, _ = finished
    whole = json.loads((path / "config.json").read_text())
    assert (whole["asked_folds"], whole["asked_rolling_eras"], whole["patience"]) == (2, None, 0)
    for number, (trained, predicted) in enumerate(FOLDS, start=1):
        config = json.loads((path / f"fold-{number:02}" / "config.json").read_text())
        for record in (config, whole["folds"][number - 1]):
            assert record["train_eras"] == labels(trained)
            assert record["validation_eras"] == labels(predicted)
            assert record["embargoed_eras"] == labels(range(trained.stop, predicted.start))
        assert config["dataset"] == str(sample.resolve())
        assert (path / f"fold-{number:02}" / "model.keras").exists()
    assert not list(path.rglob("*.npy"))


def test_a_fold_keeps_its_last_epoch_whatever_its_score(sample: Path, tmp_path: Path) -> None:
    # So high a rate that the first epoch is sometimes the better one: seeds are tried for one.
    for seed in range(20):
        config = folds_config(epochs=3, learning_rate=0.1, seed=seed, patience=1)
        report = train_folds(sample, tmp_path / str(seed), config, folds=2)
        histories = [
            read_csv(tmp_path / str(seed) / f"fold-0{number}" / "history.csv") for number in (1, 2)
        ]
        assert [len(history) for history in histories] == [3, 3]
        assert [fold.best_epoch for fold in report.folds] == [3, 3]
        assert not any(fold.stopped_early for fold in report.folds)
        means = [[float(row["val_corr_mean"]) for row in history] for history in histories]
        assert [fold.corr.mean for fold in report.folds] == [mean[-1] for mean in means]
        if any(mean[-1] < max(mean) for mean in means):
            break
    else:
        raise AssertionError("in no run was an earlier epoch better than the last")


def test_the_joint_scores_are_those_of_every_predicted_era_by_its_own_model(
    finished: tuple[Path, FoldsReport], sample: Path
) -> None:
    path, report = finished
    rows = read_csv(path / "era_scores.csv")
    assert [row["era"] for row in rows] == labels(range(15, 25))
    dataset = mt.open_dataset(sample)
    for number, (_, predicted) in enumerate(FOLDS, start=1):
        model = keras.models.load_model(path / f"fold-{number:02}" / "model.keras", compile=False)
        for era in labels(predicted):
            x, y = all_rows(dataset.select([era]))
            (row,) = [row for row in rows if row["era"] == era]
            assert float(row["numerai_corr"]) == numerai_corr(model(x).numpy()[:, 0], y)
    joint = summary([float(row["numerai_corr"]) for row in rows])
    assert (report.corr.mean, report.corr.std, report.corr.sharpe, report.corr.max_drawdown) == (
        joint.mean,
        joint.std,
        joint.sharpe,
        joint.max_drawdown,
    )
    assert (report.n_eras, report.best_possible) == (10, dataset.manifest.planted)


def test_a_fold_is_the_run_that_one_would_train_by_itself(
    finished: tuple[Path, FoldsReport], convert_sample: Callable[..., Path], tmp_path: Path
) -> None:
    path, _ = finished
    first = mt.open_dataset(convert_sample())
    assert first.eras[14:19] == tuple(labels(FOLDS[0][1]))
    shutil.copytree(path, tmp_path / "run")
    # By itself, from its own record, two epochs more: as an ordinary run.
    ((tmp_path / "run" / "fold-01") / "state.json").unlink()
    report = train_run(first.path, tmp_path / "run" / "fold-01", None, resume=True)
    assert report.best_epoch == 2
    assert results_of_folds(tmp_path / "run") == results_of_folds(path)


def test_rolling_folds_train_on_the_last_eras_only(sample: Path, tmp_path: Path) -> None:
    config = folds_config(epochs=1)
    train_folds(sample, tmp_path / "run", config, folds=2, rolling_eras=4)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert [fold["train_eras"] for fold in config["folds"]] == [
        labels(range(3, 7)),
        labels(range(8, 12)),
    ]


def test_no_byte_of_an_era_outside_the_fold_is_read_while_it_trains(
    sample: Path, tmp_path: Path, opened: list[str]
) -> None:
    seen: dict[str, set[str]] = {}

    class Watching(Script):
        """Notes which eras' features were opened while training, and which while scoring."""

        def fold(self, number: int, n_folds: int, fold: Any) -> None:
            opened.clear()
            self.number = number

        def step(self, *numbers: Any) -> None:
            super().step(*numbers)
            if not seen.get(f"scored {self.number}"):
                seen[f"trained {self.number}"] = eras_of("features.npy")
                seen[f"labels {self.number}"] = eras_of("targets.npy")

        def validation(self, rows_done: int, n_rows: int) -> None:
            seen[f"scored {self.number}"] = eras_of("")

    def eras_of(suffix: str) -> set[str]:
        return {Path(file).parent.name for file in opened if file.endswith(suffix)}

    config = folds_config(epochs=1)
    train_folds(sample, tmp_path / "run", config, folds=2, report=Watching())
    for number, (trained, predicted) in enumerate(FOLDS, start=1):
        of_training = {f"era-{era}" for era in labels(trained)}
        assert seen[f"trained {number}"] == of_training
        of_fold = of_training | {f"era-{era}" for era in labels(predicted)}
        assert seen[f"labels {number}"] == seen[f"scored {number}"] == of_fold


# -- refused --------------------------------------------------------------------------------------


def test_an_existing_run_of_folds_is_refused_and_left_alone(
    finished: tuple[Path, FoldsReport], sample: Path
) -> None:
    before = results_of_folds(finished[0])
    with refused(RunError, "a finished run of folds", "--resume"):
        train_folds(sample, finished[0], folds_config(), folds=2)
    with refused(RunError, "run of 2 folds", "--folds 2 --resume"):
        train_run(sample, finished[0], None, resume=True)
    assert results_of_folds(finished[0]) == before


def test_an_ordinary_run_has_no_folds_to_resume(sample: Path, tmp_path: Path) -> None:
    train_run(sample, tmp_path / "run", small_config(epochs=1))
    with refused(RunError, "without folds"):
        train_folds(sample, tmp_path / "run", None, folds=2, resume=True)


def test_other_folds_or_another_configuration_are_refused_naming_what_differs(
    finished: tuple[Path, FoldsReport], sample: Path
) -> None:
    before = results_of_folds(finished[0])
    with refused(RunError, "--folds 2 in the run, 3 now", "--rolling None in the run, 5 now"):
        train_folds(sample, finished[0], folds_config(), folds=3, rolling_eras=5, resume=True)
    with refused(RunError, "learning_rate: 0.01 in the run, 0.02 now"):
        train_folds(sample, finished[0], folds_config(learning_rate=0.02), folds=2, resume=True)
    assert results_of_folds(finished[0]) == before


@pytest.mark.parametrize(
    ("folds", "changes", "kind", "said"),
    [
        (2, {"validation_eras": 4}, ConfigError, "validation_eras"),
        (2, {"batch_size": 500}, BatchError, "fold 1 of 2: "),
        (2, {"embargo_eras": 2}, FoldError, "embargo_eras"),
        (30, {}, FoldError, "at most 15"),
        (0, {}, FoldError, "1 or more"),
        ("numerai", {}, FoldError, "156"),
    ],
)
def test_what_doesnt_suit_leaves_nothing_behind(
    sample: Path, tmp_path: Path, folds: Any, changes: dict[str, Any], kind: Any, said: str
) -> None:
    with refused(kind, said):
        train_folds(sample, tmp_path / "run", folds_config(**changes), folds=folds)
    assert not list(tmp_path.iterdir())


# -- stopped and resumed --------------------------------------------------------------------------


def test_interrupted_folds_end_like_those_that_werent(
    finished: tuple[Path, FoldsReport], sample: Path, tmp_path: Path
) -> None:
    run, script = tmp_path / "run", Script("step 25", interrupt)  # inside the second fold
    with pytest.raises(KeyboardInterrupt):
        train_folds(sample, run, folds_config(), folds=2, report=script)
    n_steps = script.calls.count("step")
    resumed = Script()
    report = train_folds(sample, run, folds_config(), folds=2, resume=True, report=resumed)
    assert results_of_folds(run) == results_of_folds(finished[0])
    assert report.corr.mean == finished[1].corr.mean
    # 7 steps an epoch in the first fold, 13 in the second.
    assert n_steps + resumed.calls.count("step") == 2 * 7 + 2 * 13


def test_folds_that_are_resumed_keep_the_words_in_which_they_were_asked_for(
    finished: tuple[Path, FoldsReport], sample: Path, tmp_path: Path
) -> None:
    untrained = tmp_path / "untrained"  # as if it was killed at its first step
    untrained.mkdir()
    shutil.copy(finished[0] / "config.json", untrained)
    for run in map(read_run, (finished[0], untrained)):
        config = run.train_config()
        assert config.embargo_eras == 8
        record = resolve_folds(mt.open_dataset(sample), run, config, 2, None).record
        assert record.asked_embargo_eras == run.record.asked_embargo_eras == "auto"


def test_folds_are_trained_by_one_process_at_a_time(sample: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    states: list[str] = []

    def try_again() -> None:
        states.extend(row["state"] for row in describe_runs([tmp_path]))
        before = (run / "config.json").read_bytes()
        with refused(RunError, f"{run}: another process is training"):
            train_folds(sample, run, folds_config(epochs=9), folds=2, resume=True)
        assert (run / "config.json").read_bytes() == before

    train_folds(sample, run, folds_config(), folds=2, report=Script("step 25", try_again))
    assert states == ["running"]


def test_finished_folds_end_well_at_once(finished: tuple[Path, FoldsReport], sample: Path) -> None:
    path, report = finished
    before = {entry: entry.stat().st_mtime_ns for entry in path.rglob("*")}
    for config in (None, folds_config()):
        script = Script()
        again = train_folds(sample, path, config, folds=2, resume=True, report=script)
        assert again.already_finished
        assert script.calls == []
        assert again.corr.mean == report.corr.mean
        assert [fold.corr.mean for fold in again.folds] == [f.corr.mean for f in report.folds]
    assert {entry: entry.stat().st_mtime_ns for entry in path.rglob("*")} == before


@pytest.mark.parametrize("lost", ["fold-02", "fold-01/model.keras", "fold-02/state.json"])
def test_what_is_lost_of_finished_folds_is_made_again(
    finished: tuple[Path, FoldsReport], sample: Path, tmp_path: Path, lost: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    if (run / lost).is_dir():
        shutil.rmtree(run / lost)
    else:
        (run / lost).unlink()
    report = train_folds(sample, run, folds_config(), folds=2, resume=True)
    assert not report.already_finished
    assert results_of_folds(run) == results_of_folds(finished[0])


@pytest.mark.usefixtures("drawn_pictures")
def test_pictures_that_fail_cost_no_fold_and_come_when_the_folds_are_resumed(
    finished: tuple[Path, FoldsReport],
    sample: Path,
    tmp_path: Path,
) -> None:
    pytest.importorskip("matplotlib")
    run, script = tmp_path / "run", Script()
    with failing_pictures():
        report = train_folds(sample, run, folds_config(), folds=2, report=script)
    assert report.chart_path is None
    assert len(script.warnings) == 3  # of each fold, and of both together
    assert results_of_folds(run) == results_of_folds(finished[0])
    again = train_folds(sample, run, folds_config(), folds=2, resume=True)
    assert again.already_finished
    assert again.chart_path == str(run / "validation.png")
    for folder in (run, run / "fold-01", run / "fold-02"):
        assert (folder / "validation.png").exists()


def test_folds_that_changed_places_are_refused(
    finished: tuple[Path, FoldsReport], sample: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    (run / "fold-01").rename(run / "other")
    (run / "fold-02").rename(run / "fold-01")
    (run / "other").rename(run / "fold-02")
    with refused(RunError, "fold-01", "differs"):
        train_folds(sample, run, folds_config(), folds=2, resume=True)


def test_folds_of_which_nothing_was_trained_may_be_resumed_as_others(
    growing: Callable[..., Path], tmp_path: Path
) -> None:
    config, run = folds_config(epochs=1), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_folds(
            growing(20), run, config, folds=3, rolling_eras=2, report=Script("started 1", interrupt)
        )
    shutil.rmtree(run / "fold-01" / "checkpoints", ignore_errors=True)  # as if it was killed
    report = train_folds(growing(24), run, config, folds=2, resume=True)
    assert [fold.run_dir for fold in report.folds] == [str(run / "fold-01"), str(run / "fold-02")]
    for path in (run, run / "fold-01", run / "fold-02"):
        assert "labels_digest" in json.loads((path / "config.json").read_text())


def test_more_epochs_are_those_of_longer_folds(
    finished: tuple[Path, FoldsReport], sample: Path, tmp_path: Path
) -> None:
    train_folds(sample, tmp_path / "long", folds_config(epochs=3), folds=2)
    shutil.copytree(finished[0], tmp_path / "run")
    train_folds(sample, tmp_path / "run", folds_config(epochs=3), folds=2, resume=True)
    assert results_of_folds(tmp_path / "run") == results_of_folds(tmp_path / "long")
    assert results_of_folds(tmp_path / "run") != results_of_folds(finished[0])


def test_appended_eras_move_no_fold_and_are_predicted_by_the_last(
    growing: Callable[..., Path], tmp_path: Path
) -> None:
    dataset, config = growing(20), folds_config(epochs=1)
    train_folds(dataset, tmp_path / "whole", config, folds=2)
    script = Script("started 2", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_folds(dataset, tmp_path / "run", config, folds=2, report=script)
    growing(24)
    resumed = Script()
    train_folds(dataset, tmp_path / "run", config, folds=2, resume=True, report=resumed)
    assert resumed.warnings == []
    assert results_of_folds(tmp_path / "run") == results_of_folds(tmp_path / "whole")
    write_predictions(tmp_path / "run", dataset, tmp_path / "out.csv", raw=True, era=True)
    write_predictions(
        tmp_path / "run" / "fold-02", dataset, tmp_path / "last.csv", raw=True, era=True
    )
    last = read_csv(tmp_path / "last.csv")[20 * ROWS_PER_ERA :]
    assert {row["era"] for row in last} == {"0021", "0022", "0023", "0024"}
    assert read_csv(tmp_path / "out.csv")[-len(last) :] == last


# -- predictions out of fold ----------------------------------------------------------------------


def test_every_era_is_predicted_by_the_fold_that_it_belongs_to(
    finished: tuple[Path, FoldsReport], sample: Path, tmp_path: Path
) -> None:
    path, dataset = finished[0], mt.open_dataset(sample)
    for raw in (True, False):
        out = tmp_path / f"raw {raw}.csv"
        report = write_predictions(path, sample, out, raw=raw, era=True)
        assert (report.n_rows, report.n_folds) == (10 * ROWS_PER_ERA, 2)
        assert report.left_out == tuple(labels(range(1, 15)))
        rows = read_csv(out)
        assert len(rows) == report.n_rows
        for number, (_, predicted) in enumerate(FOLDS, start=1):
            model = keras.models.load_model(
                path / f"fold-{number:02}" / "model.keras", compile=False
            )
            for era in labels(predicted):
                values = model.predict(all_rows(dataset.select([era]))[0], verbose=0)[:, 0]
                expected = values if raw else (rankdata(values) - 0.5) / ROWS_PER_ERA
                mine = [row for row in rows if row["era"] == era]
                assert [row["id"].encode() for row in mine] == np.asarray(dataset[era].ids).tolist()
                found = np.array([float(row["prediction"]) for row in mine])
                np.testing.assert_array_equal(found.astype(expected.dtype), expected)


def test_eras_behind_the_folds_are_predicted_by_the_last_one(
    finished: tuple[Path, FoldsReport], live: Path, tmp_path: Path
) -> None:
    report = write_predictions(finished[0], live, tmp_path / "live.csv")
    assert (report.n_rows, report.n_folds, report.left_out) == (ROWS_PER_ERA, 1, ())
    write_predictions(finished[0] / "fold-02", live, tmp_path / "last.csv")
    write_predictions(finished[0] / "fold-01", live, tmp_path / "first.csv")
    predicted = (tmp_path / "live.csv").read_bytes()
    assert predicted == (tmp_path / "last.csv").read_bytes()
    assert predicted != (tmp_path / "first.csv").read_bytes()


def test_unfinished_folds_and_eras_of_training_have_no_predictions(
    finished: tuple[Path, FoldsReport], growing: Callable[..., Path], sample: Path, tmp_path: Path
) -> None:
    early = growing(10)
    with refused(DatasetError, "before '0015'"):
        write_predictions(finished[0], early, tmp_path / "out.csv")
    script = Script("step 20", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_folds(sample, tmp_path / "run", folds_config(), folds=2, report=script)
    with refused(RunError, "not all of its 2 folds", "--folds 2 --resume"):
        write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


# -- one after another -----------------------------------------------------------------------------


def test_folds_take_the_memory_of_one_at_a_time(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two pools of 4 batches of 64 rows take 16.4 kB; the last fold's features 41 kB at most.
    monkeypatch.setattr(PROCESS_MEMORY, "available", lambda: 60_000)
    monkeypatch.setattr(batches_module, "MIN_AVAILABLE", 0)
    config = folds_config(epochs=1)
    plans, _ = dry_run_folds(sample, tmp_path / "run", config, folds=5, measures_cost=False)
    assert len(plans) == 5
    assert all("fit into the 60.0 kB of memory available" in plan.reading for plan in plans)
    script = Script()
    readings: list[str] = []
    script.started = lambda plan: readings.append(plan.reading)  # type: ignore[method-assign]
    train_folds(sample, tmp_path / "run", config, folds=5, report=script)
    assert readings == [plan.reading for plan in plans]


def test_an_update_between_two_folds_is_told_of(
    growing: Callable[..., Path], tmp_path: Path
) -> None:
    dataset, script = growing(20), Script()
    targets = ("target", "target_alpha_20")

    def update_after_the_first(number: int, n_folds: int, report: TrainReport) -> None:
        if number == 1:
            growing(21, changed=targets)

    script.fold_done = update_after_the_first  # type: ignore[method-assign]
    train_folds(dataset, tmp_path / "run", folds_config(epochs=1), folds=2, report=script)
    (warning,) = script.warnings
    assert "targets of the run's eras have changed" in warning


def test_a_learning_rate_may_not_follow_the_scores_of_predicted_eras(
    sample: Path, tmp_path: Path
) -> None:
    with refused(ConfigError, "plateau_patience", 'monitor = "loss"'):
        train_folds(sample, tmp_path / "run", folds_config(plateau_patience=1), folds=2)
    assert not (tmp_path / "run").exists()
    plans, _ = dry_run_folds(
        sample, tmp_path / "run", folds_config(plateau_patience=1, monitor="loss"), folds=2
    )
    assert len(plans) == 2
