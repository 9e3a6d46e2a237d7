"""Trainings that monitor BMC, MMC or FNC: the scores are those of `evaluate`, and they decide."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.arrays import Floats
from memmap_train.errors import ConfigError, RunError
from memmap_train.runs.reports.recorded_report import recorded_folds_report, recorded_report
from memmap_train.runs.reports.result_text import result_text
from memmap_train.runs.reports.training_display import TrainingDisplay
from memmap_train.runs.run import read_run
from memmap_train.runs.scores.contribution import correlation_contribution
from memmap_train.runs.scores.monitor import FURTHER_SCORES, MONITORS, learning_rate_after
from memmap_train.runs.scores.score_files import ERA_SCORE_COLUMNS, HISTORY_COLUMNS
from memmap_train.runs.table import describe_runs, runs_text
from memmap_train.training.parts.fold_loop import dry_run_folds, train_folds
from memmap_train.training.train import dry_run, train_run
from tests.support.errors import refused
from tests.support.toy_benchmarks import with_benchmarks
from tests.support.training_data import Script, all_rows, small_config
from tests.support.training_runs import interrupt, read_csv, results

pytest_plugins = ["tests.support.training_fixtures"]

STATISTICS = ("mean", "std", "sharpe", "max_drawdown", "positive")
REFERENCES = {"bmc": "v0_lgbm_alpha20", "mmc": "numerai_meta_model", "fnc": "fncv3_features"}
BOTH = ("target", "target_beta_20")


@pytest.fixture(scope="module")
def scored(sample_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the small sample with benchmarks, and a meta model for its last three eras."""
    folder = tmp_path_factory.mktemp("scored")
    features = json.loads((sample_files / "features.json").read_text())
    features["feature_sets"]["fncv3_features"] = features["feature_sets"]["medium"]
    (folder / "features.json").write_text(json.dumps(features))
    names = ("train_benchmark_models", "validation_benchmark_models", "meta_model")
    return mt.convert(
        [sample_files / "train.parquet", sample_files / "validation.parquet"],
        folder / "dataset",
        features_json=folder / "features.json",
        benchmarks=[sample_files / f"{name}.parquet" for name in names],
        workers=1,
    ).dataset.path


@pytest.fixture
def with_others(sample: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that copies the small sample and adds benchmarks, here random ones."""

    def make(*names: str, seed: int = 0) -> Path:
        def values(era: str, n_rows: int) -> Floats:
            seeds = ([seed, int(era), *name.encode()] for name in names)
            return np.column_stack([np.random.default_rng(one).random(n_rows) for one in seeds])

        path = tmp_path / "with others"
        shutil.rmtree(path, ignore_errors=True)
        return with_benchmarks(Path(shutil.copytree(sample, path)), names, values)

    return make


@pytest.mark.parametrize("score", FURTHER_SCORES)
def test_a_monitored_score_is_that_of_evaluate(score: str, scored: Path, tmp_path: Path) -> None:
    config = small_config(monitor=f"val_{score}_sharpe", epochs=3)
    report = train_run(scored, tmp_path / "run", config)
    run = mt.open_run(tmp_path / "run")
    found = mt.evaluate(run, scored).models[0].by_target["target"]
    assert run.era_scores.dtype.names == (*ERA_SCORE_COLUMNS, score)
    ours = run.era_scores[score]
    assert np.isfinite(ours).sum() == (3 if score == "mmc" else 4)
    np.testing.assert_allclose(ours, getattr(found, score), rtol=0, atol=1e-9)
    expected = found.statistics(score)
    best = run.history[report.best_epoch - 1]
    for name in STATISTICS:
        assert best[f"val_{score}_{name}"] == pytest.approx(getattr(expected, name), abs=1e-9)
        assert getattr(report.further[score], name) == best[f"val_{score}_{name}"]
    assert report.further[score].n_eras == expected.n_eras
    assert recorded_report(read_run(run.path)).further == report.further
    assert read_run(run.path).record.monitored_against == REFERENCES[score]


def test_each_target_is_scored_by_its_own_output(scored: Path, tmp_path: Path) -> None:
    config = small_config(monitor="val_bmc_mean", targets=BOTH, epochs=1)
    train_run(scored, tmp_path / "run", config)
    run, dataset = mt.open_run(tmp_path / "run"), mt.open_dataset(scored)
    model = run.model()
    for era, target, *_, ours in run.era_scores.tolist():
        features, labels = all_rows(dataset.select([era]), target)
        predictions = model(features).numpy()[:, [BOTH.index(target)]].astype(np.float64)
        other = np.asarray(dataset[era].benchmarks)[:, 0]
        expected = correlation_contribution(predictions, other, labels)[0]
        assert ours == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("monitor", [name for name in MONITORS if name.split("_")[1:2] == ["bmc"]])
def test_the_monitored_score_decides_best_epoch_plateau_and_patience(
    monitor: str, scored: Path, tmp_path: Path
) -> None:
    config = small_config(
        monitor=monitor, epochs=8, patience=3, plateau_patience=1, learning_rate=0.1
    )
    report = train_run(scored, tmp_path / "run", config)
    rows = mt.open_run(tmp_path / "run").history
    values = rows[monitor].tolist()
    wanted = min(values) if MONITORS[monitor] else max(values)
    assert report.best_epoch == 1 + values.index(wanted)
    assert report.stopped_early == (len(rows) - report.best_epoch >= 3)
    assert rows["learning_rate"].tolist() == pytest.approx(
        [learning_rate_after(values[:epoch], config) for epoch in range(len(rows))]
    )
    assert len(set(values)) > 1


@pytest.mark.parametrize("score", FURTHER_SCORES)
def test_a_monitored_score_survives_interruptions(score: str, scored: Path, tmp_path: Path) -> None:
    config = small_config(
        monitor=f"val_{score}_mean", epochs=3, validation_steps=4, plateau_patience=1
    )
    train_run(scored, tmp_path / "whole", config)
    whole = results(tmp_path / "whole")
    assert f"best/further/{score}" in whole["state"]
    assert f",val_{score}_mean," in whole["step scores"].decode().splitlines()[0]
    run = tmp_path / "run"
    for call in ("step 8", "scored 1", "step 9", "epoch 1", "step 4", "validation 1"):
        with pytest.raises(KeyboardInterrupt):
            train_run(scored, run, config, resume=True, report=Script(call, interrupt))
    report = train_run(scored, run, config, resume=True)
    assert results(run) == whole
    assert report.further == recorded_report(read_run(tmp_path / "whole")).further


def test_other_runs_have_the_usual_columns_and_read_no_benchmarks(
    scored: Path, tmp_path: Path, opened: list[str]
) -> None:
    train_run(scored, tmp_path / "run", small_config(epochs=1))
    assert opened
    assert not any("benchmarks" in path for path in opened)
    run = mt.open_run(tmp_path / "run")
    assert tuple(read_csv(run.path / "history.csv")[0]) == HISTORY_COLUMNS
    assert tuple(read_csv(run.path / "era_scores.csv")[0]) == ERA_SCORE_COLUMNS
    assert "monitored_against" not in json.loads((run.path / "config.json").read_text())
    assert run.result.further == {}


def test_a_monitored_score_is_shown(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(monitor="val_bmc_mean", validation_steps=8)
    with TrainingDisplay(sys.stderr) as display:
        report = train_run(scored, tmp_path / "runs" / "first", config, report=display)
    shown = capsys.readouterr().err
    row = mt.open_run(tmp_path / "runs" / "first").history[report.best_epoch - 1]
    assert "\nmonitor     val_bmc_mean (v0_lgbm_alpha20)\n" in shown
    assert f"BMC {row['val_bmc_mean']:.4f}, Sharpe {row['val_bmc_sharpe']:.2f}" in shown
    assert shown.count(", BMC ") == 5  # after 8, 15, 16, 24 and 30 steps
    line = f"BMC         {row['val_bmc_mean']:.4f} on average"
    assert line in result_text(report)
    assert "in 4 eras" in result_text(report)
    (found,) = describe_runs([tmp_path / "runs"])
    assert found["score"] == row["val_bmc_mean"]
    assert "score: val_bmc_mean of the best epoch" in runs_text([found])


def test_validation_eras_without_a_value_are_said_and_left_out(
    scored: Path, tmp_path: Path
) -> None:
    script = Script()
    report = train_run(
        scored, tmp_path / "run", small_config(monitor="val_mmc_mean"), report=script
    )
    (warning,) = script.warnings  # though there were two epochs
    assert "1 of 4 validation eras have no MMC: numerai_meta_model has no row" in warning
    assert report.further["mmc"].n_eras == 3


@pytest.mark.parametrize(
    ("score", "names", "words"),
    [
        ("bmc", (), ("it has no benchmarks", "convert --benchmarks FILE…")),
        ("bmc", ("numerai_meta_model",), ("besides the meta model", "'numerai_meta_model'")),
        ("mmc", (), ("'numerai_meta_model'", "it has no benchmarks")),
        ("mmc", ("numerai_meta_modle",), ("did you mean 'numerai_meta_modle'?",)),
    ],
)
def test_a_benchmark_that_the_dataset_lacks_is_refused_before_anything_is_written(
    score: str,
    names: tuple[str, ...],
    words: tuple[str, ...],
    sample: Path,
    with_others: Callable[..., Path],
    tmp_path: Path,
) -> None:
    dataset = with_others(*names) if names else sample
    config = small_config(monitor=f"val_{score}_mean")
    for command in (train_run, dry_run):
        with refused(ConfigError, "monitor: ", f"val_{score}_mean", *words):
            command(dataset, tmp_path / "run", config)
    for with_folds in (train_folds, dry_run_folds):
        with refused(ConfigError, "monitor: ", f"val_{score}_mean", *words):
            with_folds(dataset, tmp_path / "run", folds_config(score), folds=2)
    assert not (tmp_path / "run").exists()


def test_validation_eras_that_all_lack_values_are_refused_before_anything_is_written(
    scored: Path, tmp_path: Path
) -> None:
    config = small_config(monitor="val_mmc_mean", validation_eras=("0019", "0020", "0021"))
    with refused(ConfigError, "'numerai_meta_model'", "none of 3 eras", "era 0022 to 0024"):
        train_run(scored, tmp_path / "run", config)
    with refused(ConfigError, "'numerai_meta_model'", "eras", "(it has none)"):
        train_folds(
            mt.open_dataset(scored).select([f"{era:04}" for era in range(1, 22)]),
            tmp_path / "run",
            folds_config("mmc"),
            folds=2,
        )
    assert not (tmp_path / "run").exists()


def folds_config(score: str, **changes: Any) -> mt.TrainConfig:
    return small_config(
        monitor=f"val_{score}_mean",
        validation_eras=None,
        embargo_eras=1,
        allow_overlap=True,
        epochs=1,
        **changes,
    )


@pytest.mark.parametrize("score", FURTHER_SCORES)
def test_folds_have_the_monitored_score_out_of_fold(
    score: str, scored: Path, tmp_path: Path
) -> None:
    report = train_folds(scored, tmp_path / "run", folds_config(score), folds=3)
    run = mt.open_run(tmp_path / "run")
    found = mt.evaluate(run, scored).models[0].by_target["target"]
    np.testing.assert_allclose(run.era_scores[score], getattr(found, score), rtol=0, atol=1e-9)
    # The meta model has no value in the eras of the first two folds.
    assert [fold.further[score].n_eras > 0 for fold in report.folds] == (
        [False, False, True] if score == "mmc" else [True, True, True]
    )
    expected = found.statistics(score)
    for name in STATISTICS:
        assert getattr(report.further[score], name) == pytest.approx(
            getattr(expected, name), abs=1e-9
        )
    assert recorded_folds_report(read_run(run.path)).further == report.further
    rows = {Path(row["run"]).name: row for row in describe_runs([tmp_path / "run"])}
    assert rows["run"]["score"] == report.further[score].mean
    assert f"\n{score.upper()}         {report.further[score].mean:.4f}" in result_text(report)


def test_plateaus_of_folds_may_not_follow_a_score_of_the_eras_to_predict(
    scored: Path, tmp_path: Path
) -> None:
    with refused(ConfigError, "plateau_patience", "val_bmc_mean", 'monitor = "loss"'):
        train_folds(scored, tmp_path / "run", folds_config("bmc", plateau_patience=1), folds=2)
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_its_benchmark_when_the_dataset_gets_others(
    with_others: Callable[..., Path], tmp_path: Path
) -> None:
    config, run = small_config(monitor="val_bmc_mean"), tmp_path / "run"
    dataset = with_others("first")
    train_run(dataset, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        train_run(dataset, run, config, report=Script("step 18", interrupt))
    assert mt.open_dataset(with_others("another", "first")).benchmark_names[0] == "another"
    script = Script()
    train_run(dataset, run, config, resume=True, report=script)
    assert script.warnings == []
    assert read_run(run).record.monitored_against == "first"
    assert results(run) == results(tmp_path / "whole")


def test_folds_that_begin_later_keep_the_benchmark(
    with_others: Callable[..., Path], tmp_path: Path
) -> None:
    config, run = folds_config("bmc"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_folds(with_others("first"), run, config, folds=2, report=Script("epoch 1", interrupt))
    train_folds(with_others("another", "first"), run, config, folds=2, resume=True)
    of_folds = [read_run(run / f"fold-0{number}").record for number in (1, 2)]
    assert [record.monitored_against for record in of_folds] == ["first", "first"]


def test_a_benchmark_that_has_changed_or_is_gone_is_said_when_a_run_is_resumed(
    with_others: Callable[..., Path], tmp_path: Path
) -> None:
    config, run = small_config(monitor="val_bmc_mean"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_run(with_others("first"), run, config, report=Script("step 18", interrupt))
    with refused(RunError, "monitors val_bmc_mean against a benchmark that is gone", "'first'"):
        train_run(with_others("other"), run, config, resume=True)
    script = Script()
    train_run(with_others("first", seed=1), run, config, resume=True, report=script)
    (warning,) = script.warnings
    assert "values of 'first' of the run's eras have changed since it began" in warning


@pytest.mark.parametrize("call", ["started 1", "validation 1"])
def test_benchmarks_that_are_replaced_during_a_training_do_not_change_its_results(
    call: str, with_others: Callable[..., Path], tmp_path: Path
) -> None:
    def replace_benchmarks() -> None:
        for file in dataset.glob("*/benchmarks.npy"):
            data = file.read_bytes()
            file.with_suffix(".new").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
            file.with_suffix(".new").replace(file)
            replaced.append(file)

    config, replaced = small_config(monitor="val_bmc_mean"), list[Path]()
    dataset = with_others("first")
    train_run(dataset, tmp_path / "whole", config)
    train_run(dataset, tmp_path / "run", config, report=Script(call, replace_benchmarks))
    assert len(replaced) == len(mt.open_dataset(dataset).eras)
    assert results(tmp_path / "run") == results(tmp_path / "whole")
