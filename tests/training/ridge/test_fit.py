"""A ridge regression as a run: its model, its files, resume, and what it reads."""

import json
import math
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import memmap_train as mt
from memmap_train.errors import ConfigError, RunError
from memmap_train.runs.reports.plan import plan_text
from memmap_train.runs.reports.recorded_report import recorded_report
from memmap_train.runs.reports.report import TrainReport
from memmap_train.runs.reports.result_text import result_text
from memmap_train.runs.run import read_run
from memmap_train.system.memory_budget import PROCESS_MEMORY
from memmap_train.training.models.numpy_operations import numpy_operations
from memmap_train.training.parts.fold_loop import train_folds
from memmap_train.training.ridge import model as ridge_model
from memmap_train.training.ridge import sums
from memmap_train.training.train import dry_run, train_run
from tests.support.errors import refused
from tests.support.pictures import pictures
from tests.support.training_data import Script, all_rows, newest_checkpoint, small_config
from tests.support.training_runs import interrupt, read_csv, weights

pytest_plugins = ["tests.support.training_fixtures"]

HELD_OUT = {"validation_eras": 4, "embargo_eras": 1, "allow_overlap": True}
"""Enough training eras to hold some out: the first 19."""
TARGETS = ("target", "target_beta_60")


class Summing(Script):
    """A script that knows the blocks of a ridge regression."""

    def summing(self, rows_done: int, n_rows: int) -> None:
        self._note("summing")


def ridge_config(**changes: Any) -> mt.TrainConfig:
    return small_config(model="ridge", **{**HELD_OUT, **changes})


def files(run: Path) -> dict[str, Any]:
    """Return all that equal runs share to the last bit."""
    (row,) = read_csv(run / "history.csv")
    times = ("seconds", "rows_per_second", "data_wait")
    return {
        "history": {name: value for name, value in row.items() if name not in times},
        "scores": (run / "era_scores.csv").read_bytes(),
        "model": [array.tobytes() for array in weights(run)],
        "strengths": json.loads((run / "state.json").read_text())["strengths"],
    }


@pytest.fixture(scope="module")
def fitted(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainReport]:
    """Return a run that nothing interrupted, which tests only read, and its report."""
    path = tmp_path_factory.mktemp("fitted") / "run"
    with pictures(are_drawn=True):
        return path, train_run(sample, path, ridge_config(targets=TARGETS))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "MAX_BLOCK_ROWS", 30)


# -- the model ------------------------------------------------------------------------------------


def test_the_model_is_the_solution_on_all_training_rows_with_the_strength_that_is_reported(
    fitted: tuple[Path, TrainReport], sample: Path
) -> None:
    path, report = fitted
    dataset = mt.open_dataset(sample)
    train = dataset.select(dataset.eras[:19])
    kernel, bias = weights(path)
    errors, labels = 0.0, 0
    for column, target in enumerate(TARGETS):
        x, y = all_rows(train, target)
        x, y = x[~np.isnan(y)].astype(float), y[~np.isnan(y)].astype(float)
        z = (x - x.mean(axis=0)) / x.std(axis=0)
        strength = report.strengths[target]
        gram = z.T @ z / len(z) + strength * np.eye(z.shape[1])
        expected = np.linalg.solve(gram, z.T @ (y - y.mean()) / len(z)) / x.std(axis=0)
        np.testing.assert_allclose(kernel[:, column], expected, rtol=1e-4, atol=1e-7)
        own = x @ kernel[:, column] + bias[column]
        assert own.mean() == pytest.approx(y.mean(), abs=1e-6)
        errors, labels = errors + ((own - y) ** 2).sum(), labels + len(y)
    (row,) = read_csv(path / "history.csv")
    assert float(row["loss"]) == pytest.approx(errors / labels, rel=1e-6)
    assert f"of strength {report.strengths['target']:g}" in result_text(report)
    assert recorded_report(read_run(path)).strengths == report.strengths


def test_its_run_is_one_as_any_other(
    fitted: tuple[Path, TrainReport], sample: Path, live: Path
) -> None:
    path, report = fitted
    model = keras.models.load_model(path / "model.keras", compile=False)
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "Dense"]
    assert numpy_operations(model).unknown == ()
    (scored,) = mt.evaluate(path, sample).models
    recorded = mt.open_run(path).era_scores
    own = recorded[recorded["target"] == "target"]["numerai_corr"]
    np.testing.assert_allclose(scored.by_target["target"].corr, own, atol=1e-9)
    assert len(mt.predict(path, live).values) == mt.open_dataset(live).n_rows
    assert {file.name for file in path.iterdir()} >= {"config.json", "validation.png"}
    assert len(list((path / "checkpoints").iterdir())) == 1
    again = train_run(sample, path, resume=True)
    assert (again.already_finished, again.corr) == (True, report.corr)
    assert train_run(sample, path, ridge_config(targets=TARGETS, epochs=9), resume=True) == again


def test_weights_and_transforms_count(sample: Path, tmp_path: Path) -> None:
    def fitted_with(name: str, **changes: Any) -> Any:
        train_run(sample, tmp_path / name, ridge_config(**changes), draws=False)
        return weights(tmp_path / name)[0][:, 0]

    fixed = {"model_params": {"strength": 0.5}}
    plain, ranked = (
        fitted_with("plain", **fixed),
        fitted_with("rank", **fixed, target_transform="rank"),
    )
    assert not np.allclose(plain, ranked, rtol=1e-3)
    weighted = fitted_with("weighted", **fixed, era_weights="half_life:3")
    dataset = mt.open_dataset(sample)
    train = dataset.select(dataset.eras[:19])
    x, y = all_rows(train)
    ages = np.repeat(np.arange(18, -1, -1), train.rows_per_era)
    w = np.where(np.isnan(y), 0, 0.5 ** (ages / 3))
    x, y = x.astype(float), np.nan_to_num(y).astype(float)
    mean, mean_y = np.average(x, axis=0, weights=w), np.average(y, weights=w)
    std = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=w))
    z = (x - mean) / std
    gram = (z.T * w) @ z / w.sum() + 0.5 * np.eye(z.shape[1])
    expected = np.linalg.solve(gram, (z.T * w) @ (y - mean_y) / w.sum()) / std
    np.testing.assert_allclose(weighted, expected, rtol=1e-4, atol=1e-7)


def test_missing_features_are_filled(with_missing: Path, tmp_path: Path) -> None:
    config = {"targets": mt.open_dataset(with_missing).target_names, "embargo_eras": 0}
    for fill in (0.5, 0.3):  # a code, and no code
        report = train_run(
            with_missing,
            tmp_path / f"{fill}",
            ridge_config(**config, fill_missing=fill, validation_eras=2),
            draws=False,
        )
        assert np.isfinite(report.corr.mean)
    first, second = weights(tmp_path / "0.5")[0], weights(tmp_path / "0.3")[0]
    assert np.isfinite(first).all()
    assert not np.allclose(first, second, rtol=1e-6)


# -- resume ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_blocks")
def test_an_interrupted_fit_ends_in_the_same_bits(sample: Path, tmp_path: Path) -> None:
    config = ridge_config(targets=TARGETS, era_weights="half_life:5", target_transform="gaussian")
    whole = Summing()
    train_run(sample, tmp_path / "whole", config, report=whole, draws=False)
    n_blocks = whole.calls.count("summing")
    assert n_blocks > 40  # three blocks of each era
    done = 0
    while True:
        script = Summing("summing 13", interrupt)
        try:
            train_run(sample, tmp_path / "run", config, resume=done > 0, report=script, draws=False)
        except KeyboardInterrupt:
            done += script.calls.count("summing")
            newest = newest_checkpoint(tmp_path / "run")
            assert newest is not None
            assert ("choice/weights" in newest.arrays) == (newest.state["part"] > 0)
            continue
        break
    assert done // 13 >= 3
    assert done + script.calls.count("summing") == n_blocks
    assert files(tmp_path / "run") == files(tmp_path / "whole")


@pytest.mark.usefixtures("small_blocks")
def test_a_fit_that_was_killed_continues_at_its_last_checkpoint(
    sample: Path, tmp_path: Path, fitted: tuple[Path, TrainReport]
) -> None:
    """What a kill leaves are files: those of a fit that is copied while it runs."""
    copies: list[Path] = []

    class Copying(Summing):
        def summing(self, rows_done: int, n_rows: int) -> None:
            super().summing(rows_done, n_rows)
            if self.calls.count("summing") in (8, 20, 45):
                copies.append(tmp_path / f"killed {len(copies)}")
                shutil.copytree(tmp_path / "run", copies[-1])

    config = ridge_config(targets=TARGETS, checkpoint_steps=4)
    train_run(sample, tmp_path / "run", config, report=Copying(), draws=False)
    assert len(copies) == 3
    for copy in copies:
        script = Summing()
        train_run(sample, copy, resume=True, report=script, draws=False)
        assert 0 < script.calls.count("summing") < 55
        assert files(copy) == files(tmp_path / "run")
    # Blocks of another size make the same sums, but for squares of labels.
    assert files(tmp_path / "run")["model"] == files(fitted[0])["model"]


@pytest.mark.usefixtures("small_blocks")
def test_a_full_disk_is_told_with_the_rows_that_are_saved(
    sample: Path, tmp_path: Path, fitted: tuple[Path, TrainReport]
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))

    run, script = tmp_path / "run", Summing("summing 20", fill)
    try:
        config = ridge_config(targets=TARGETS, checkpoint_steps=4)
        with refused(RunError, "the newest checkpoint is of row ", " of 1,520: free some disk"):
            train_run(sample, run, config, report=script, draws=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (warning,) = script.warnings
    assert "a checkpoint couldn't be written" in warning
    train_run(sample, run, resume=True, draws=False)
    assert files(run)["model"] == files(fitted[0])["model"]


@pytest.mark.usefixtures("small_blocks")
def test_a_fit_begins_again_where_labels_have_come(
    growing: Callable[..., Path], tmp_path: Path
) -> None:
    """Sums of some labels can't be added to sums of others."""
    config = ridge_config(targets=TARGETS, checkpoint_steps=1)
    script = Summing("summing 9", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_run(growing(24), tmp_path / "run", config, report=script, draws=False)
    # One label that goes: the targets have labels in different rows then.
    changed, script = growing(24, lost=TARGETS[1:], era="0003"), Summing()
    train_run(changed, tmp_path / "run", resume=True, report=script, draws=False)
    assert "begins again with the new ones" in script.warnings[-1]
    train_run(changed, tmp_path / "whole", config, draws=False)
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_lost_results_are_written_again_without_sums(
    fitted: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    copy, script = tmp_path / "copy", Summing()
    shutil.copytree(fitted[0], copy)
    (copy / "model.keras").unlink()
    train_run(sample, copy, resume=True, report=script)
    assert "summing" not in script.calls
    assert files(copy) == files(fitted[0])


# -- what is read ---------------------------------------------------------------------------------


def test_nothing_but_training_eras_makes_the_model(
    sample: Path, tmp_path: Path, opened: list[str], fitted: tuple[Path, TrainReport]
) -> None:
    eras = mt.open_dataset(sample).eras
    copy, before = tmp_path / "dataset", list[str]()
    shutil.copytree(sample, copy)
    for era in eras[19:]:
        for array in ("features", "targets"):
            file = copy / f"era-{era}" / f"{array}.npy"
            np.save(file, np.load(file)[::-1])
            os.utime(file, ns=(0, 0))  # a file of long ago is believed without its digest

    opened.clear()

    class Watching(Summing):
        def summing(self, rows_done: int, n_rows: int) -> None:
            before[:] = opened
            assert "validation" not in self.calls

    train_run(copy, tmp_path / "run", ridge_config(targets=TARGETS), report=Watching(), draws=False)
    read = {Path(file).parent.name for file in before if file.endswith("features.npy")}
    assert read == {f"era-{era}" for era in eras[:19]}
    assert files(tmp_path / "run")["model"] == files(fitted[0])["model"]
    assert files(tmp_path / "run")["strengths"] == files(fitted[0])["strengths"]
    assert files(tmp_path / "run")["scores"] != files(fitted[0])["scores"]


def test_each_fold_is_fitted_on_its_own_eras(sample: Path, tmp_path: Path) -> None:
    config = ridge_config(validation_eras=None, model_params={"strength": 1})
    report = train_folds(sample, tmp_path / "run", config, folds=2)
    first, second = (weights(Path(fold.run_dir))[0] for fold in report.folds)
    assert not np.array_equal(first, second)


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": "huber"}, "loss: a ridge regression minimises squared errors"),
        ({"corr_weight": 0.5}, "corr_weight = 0.5"),
        ({"callbacks": ("my:callback",)}, "callbacks: a ridge regression has no epochs"),
        ({"model_params": {"strenght": 1}}, "did you mean 'strength'"),
        ({"model_params": {"strength": 0}}, "model_params.strength: expected a number above 0"),
    ],
)
def test_what_it_cannot_do_is_refused(
    sample: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with refused(ConfigError, said):
        train_run(sample, tmp_path / "run", ridge_config(**changes))
    assert not (tmp_path / "run").exists()


def test_keys_of_steps_are_no_errors(sample: Path, tmp_path: Path) -> None:
    config = ridge_config(
        hidden=(9,), eras_per_batch=5, rows_per_era=7, schedule="cosine", warmup_steps=10**6
    )
    plan = dry_run(sample, tmp_path / "run", config)
    assert (plan.epochs, plan.steps_per_epoch, plan.batch_size) == (1, 1, plan.n_train_rows)
    assert "products of all rows are added up" in plan_text(plan)
    assert "for sums and weights" in plan_text(plan)


def test_sums_that_do_not_fit_into_memory_are_refused(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ridge_model, "matrix_bytes", lambda n_features: 10**15)
    for attempt in (train_run, dry_run):
        with refused(ConfigError, "the sums of a ridge regression on 8 features take 2,500,000"):
            attempt(sample, tmp_path / "run", ridge_config())
    assert not (tmp_path / "run").exists()


def test_features_that_are_no_codes_take_more_memory(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Codes fit: three matrices or so of 8 x 8, and two blocks of rows.
    free = 2 * 4 * 8192 * 8 + 10_000
    monkeypatch.setattr(PROCESS_MEMORY, "available", lambda: free)
    dry_run(sample, tmp_path / "run", ridge_config())
    monkeypatch.setattr(ridge_model, "are_codes", lambda *_: False)
    with refused(ConfigError, "the sums of a ridge regression on 8 features take 1.1 MB"):
        dry_run(sample, tmp_path / "run", ridge_config())


def test_too_few_eras_to_hold_out_take_the_usual_strength(sample: Path, tmp_path: Path) -> None:
    dataset = mt.open_dataset(sample)
    few = dataset.select(dataset.eras[:4])
    script, config = Summing(), ridge_config(validation_eras=1, embargo_eras=1)
    report = train_run(few, tmp_path / "run", config, report=script, draws=False)
    assert report.strengths == {"target": 0.1}
    (warning,) = script.warnings
    assert "for 'target' is 0.1, not chosen: no training eras are held out (" in warning


def test_labels_that_are_all_equal_choose_no_strength(sample: Path, tmp_path: Path) -> None:
    copy, script = tmp_path / "dataset", Summing()
    shutil.copytree(sample, copy)
    for file in copy.glob("era-*/targets.npy"):
        np.save(file, np.full_like(np.load(file), 0.5))
        os.utime(file, ns=(0, 0))  # a file of long ago is believed without its digest
    report = train_run(
        copy, tmp_path / "run", ridge_config(targets=TARGETS), report=script, draws=False
    )
    assert report.strengths == dict.fromkeys(TARGETS, 0.1)
    assert "not chosen: no era that was held out has a score" in script.warnings[0]
    assert math.isnan(report.corr.mean)
    kernel, bias = weights(tmp_path / "run")
    assert not kernel.any()
    assert bias == pytest.approx(0.5)
