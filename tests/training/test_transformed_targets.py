"""Trainings on transformed targets: what is learned, read, recorded, resumed and refused."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import memmap_train as mt
from memmap_train.arrays import Floats
from memmap_train.errors import ConfigError, DatasetError, RunError
from memmap_train.runs.configuration.target_transforms import TargetTransform
from memmap_train.runs.reports.reporter import Reporter
from memmap_train.runs.reports.training_display import TrainingDisplay
from memmap_train.runs.scores.era_transform import transformed_era
from memmap_train.runs.scores.metrics import numerai_corr
from memmap_train.training import transformed_targets as module
from memmap_train.training.parts.fold_loop import train_folds
from memmap_train.training.prediction.predictor import Predictor
from memmap_train.training.resolve import prepare
from memmap_train.training.train import dry_run, train_run
from memmap_train.training.transformed_targets import (
    hold_transformed_targets,
    transformed_targets,
)
from tests.support.errors import refused
from tests.support.toy_benchmarks import with_benchmarks
from tests.support.training_data import N_ERAS, ROWS_PER_ERA, Script, small_config
from tests.support.training_runs import interrupt, results, train_killed, weights

pytest_plugins = ["tests.support.training_fixtures"]

TEXT = "residual:known+gaussian"
LAST_TRAINED = 12  # of 24 eras: 8 are left out, and 4 validated on

Values = Callable[[str, int], Floats]


def random_benchmark(era: str, n_rows: int, seed: int = 0) -> Floats:
    """Return a benchmark that lacks every tenth row, and all rows of era 0003."""
    values = np.random.default_rng([seed, int(era)]).random((n_rows, 1))
    values[:: 1 if era == "0003" else 10] = np.nan
    return values


@pytest.fixture
def benchmarked(sample: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that copies the small sample and adds a benchmark."""

    def make(values: Values = random_benchmark, name: str = "known") -> Path:
        path = tmp_path / "benchmarked"
        shutil.rmtree(path, ignore_errors=True)
        return with_benchmarks(Path(shutil.copytree(sample, path)), (name,), values)

    return make


def expected_targets(dataset: mt.Dataset, text: str, *names: str) -> npt.NDArray[np.float32]:
    """Return the transformed targets of all rows, in the dataset's order."""
    columns = [dataset.target_names.index(name) for name in names or ("target",)]
    transform, found = TargetTransform.parse(text), []
    for shard in dataset.values():
        values = {} if shard.benchmarks is None else {"known": np.asarray(shard.benchmarks)[:, 0]}
        found.append(transformed_era(transform, np.asarray(shard.targets)[:, columns], values))
    return np.concatenate(found)


@pytest.mark.parametrize("text", ["rank", "gaussian", TEXT])
def test_the_loss_is_that_of_transformed_targets_and_scores_those_of_raw_ones(
    text: str, benchmarked: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = mt.open_dataset(benchmarked())
    # No step moves the model: an epoch's loss is that of the model which is saved.
    config = small_config(
        target_transform=text,
        model="linear",
        learning_rate=1e-30,
        weight_decay=0.0,
        epochs=1,
        batch_size=80,
    )
    train_run(dataset, tmp_path / "run", config)
    run = mt.open_run(tmp_path / "run")
    train, validation = (
        dataset.select(dataset.eras[:LAST_TRAINED]),
        dataset.select(list(run.era_scores["era"])),
    )
    predictor = Predictor(run.model(), None)
    found = np.concatenate([p for _, p in predictor.predict(train, dataset.feature_names)])
    expected = expected_targets(train, text)
    assert np.isnan(expected).any() == ("residual" in text)
    assert run.history[0]["loss"] == pytest.approx(np.nanmean((found - expected) ** 2), rel=1e-5)
    assert abs(found.mean() - TargetTransform.parse(text).mean) < 0.1
    for row, (era, p) in zip(
        run.era_scores, predictor.predict(validation, dataset.feature_names), strict=True
    ):
        raw = np.asarray(dataset[era].targets)[:, dataset.target_names.index("target")]
        assert row["numerai_corr"] == pytest.approx(numerai_corr(p[:, 0], raw), abs=1e-9)


def test_batches_have_the_transformed_targets_of_their_rows(
    benchmarked: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = mt.open_dataset(benchmarked())
    names = ("target_beta_20", "target")
    config = small_config(target_transform=TEXT, targets=names)
    setup = prepare(dataset, None, config)
    hold_transformed_targets(setup, tmp_path / "no" / "run", Reporter())
    train = dataset.select(dataset.eras[:LAST_TRAINED])
    rows = np.concatenate([np.asarray(shard.features) for shard in train.values()])
    places: dict[bytes, list[int]] = {}
    for number, row in enumerate(rows):
        places.setdefault(row.tobytes(), []).append(number)
    assert len(places) > 0.99 * len(rows)  # almost all are known by their features
    expected = expected_targets(train, TEXT, *names)
    for features, found in setup.batches:
        for row, of_row in zip(features, found, strict=True):
            known = expected[places[row.tobytes()]]
            assert of_row.tobytes() in [one.tobytes() for one in known]


def test_many_targets_are_held_in_a_file_without_a_name(
    benchmarked: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = mt.open_dataset(benchmarked())
    transform, names = TargetTransform.parse(TEXT), ("target", "target_beta_20")
    folder = tmp_path / "folder"
    folder.mkdir()
    in_memory = transformed_targets(dataset, names, transform, folder)
    assert not isinstance(in_memory, np.memmap)
    monkeypatch.setattr(module, "MAX_IN_MEMORY", in_memory.nbytes - 1)
    done: list[tuple[int, int]] = []
    held = transformed_targets(
        dataset, names, transform, folder, lambda *progress: done.append(progress)
    )
    assert isinstance(held, np.memmap)
    assert held.tobytes() == in_memory.tobytes()
    assert os.listdir(folder) == []
    n_rows = N_ERAS * ROWS_PER_ERA
    assert done == [((n + 1) * ROWS_PER_ERA, n_rows) for n in range(N_ERAS)]


def test_a_full_disk_is_said_in_one_line(
    benchmarked: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = mt.open_dataset(benchmarked())
    monkeypatch.setattr(module, "MAX_IN_MEMORY", 0)
    with refused(RunError, "the transformed targets take", "temporary file", "free some"):
        transformed_targets(
            dataset, ("target",), TargetTransform.parse(TEXT), tmp_path / "no folder"
        )


def test_the_rows_that_are_transformed_are_reported(
    benchmarked: Callable[..., Path], tmp_path: Path
) -> None:
    class Listener(Reporter):
        seconds_between_reports = 0.0

        def transforming(self, rows_done: int, n_rows: int) -> None:
            seen.append((rows_done, n_rows))

    seen: list[tuple[int, int]] = []
    config = small_config(target_transform=TEXT, epochs=1)
    train_run(benchmarked(), tmp_path / "run", config, report=Listener())
    assert seen == [((n + 1) * ROWS_PER_ERA, 11 * ROWS_PER_ERA) for n in range(11)]


def test_no_byte_of_other_eras_is_read_to_transform(
    benchmarked: Callable[..., Path], tmp_path: Path, opened: list[str]
) -> None:
    dataset = mt.open_dataset(benchmarked())
    setup = prepare(dataset, None, small_config(target_transform=TEXT))
    opened.clear()
    hold_transformed_targets(setup, tmp_path / "run", Reporter())
    read = {(Path(path).parent.name, Path(path).name) for path in opened}
    eras = [f"era-{era}" for era in dataset.eras[:LAST_TRAINED] if era != "0003"]
    assert read == {(era, name) for era in eras for name in ("targets.npy", "benchmarks.npy")}


def test_what_benchmarks_say_of_other_eras_changes_nothing(
    benchmarked: Callable[..., Path], tmp_path: Path
) -> None:
    def other_later(era: str, n_rows: int) -> Floats:
        return random_benchmark(era, n_rows, seed=int(int(era) > LAST_TRAINED))

    def other_before(era: str, n_rows: int) -> Floats:
        return random_benchmark(era, n_rows, seed=int(int(era) == LAST_TRAINED))

    config, found = small_config(target_transform=TEXT, epochs=1), []
    for number, values in enumerate((random_benchmark, other_later, other_before)):
        train_run(benchmarked(values), tmp_path / f"{number}", config)
        found.append([array.tobytes() for array in weights(tmp_path / f"{number}")])
    assert found[0] == found[1] != found[2]


def test_a_stopped_and_a_killed_run_end_like_one_that_wasnt(
    benchmarked: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = benchmarked()
    config = small_config(target_transform=TEXT)
    train_run(dataset, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        train_run(dataset, tmp_path / "run", config, report=Script("step 18", interrupt))
    script = Script()
    train_run(dataset, tmp_path / "run", config, resume=True, report=script)
    assert script.warnings == []
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    killed = replace(config, checkpoint_steps=4)
    train_killed(dataset, tmp_path / "killed", killed, "step 23")
    train_run(dataset, tmp_path / "killed", config, resume=True)
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


def test_a_benchmark_that_has_changed_or_is_gone_is_said_when_a_run_is_resumed(
    benchmarked: Callable[..., Path], tmp_path: Path
) -> None:
    config, run = small_config(target_transform=TEXT), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_run(benchmarked(), run, config, report=Script("step 18", interrupt))
    record = json.loads((run / "config.json").read_text())
    assert record["target_transform"] == TEXT
    assert record["residual_digest"]
    with refused(RunError, "takes residuals to a benchmark that is gone", "'known'"):
        train_run(benchmarked(name="other"), run, config, resume=True)

    def changed(era: str, n_rows: int) -> Floats:
        return random_benchmark(era, n_rows, seed=int(int(era) > LAST_TRAINED))

    def changed_in_training(era: str, n_rows: int) -> Floats:
        return random_benchmark(era, n_rows, seed=1)

    for values, expected in ((changed, []), (changed_in_training, ["values of 'known'"])):
        copy, script = tmp_path / "copy", Script()
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        train_run(benchmarked(values), copy, config, resume=True, report=script)
        assert [said for said in expected if said in script.warnings[0]] == expected
        assert len(script.warnings) == len(expected)


def test_eras_without_a_benchmark_are_left_out_of_batches(
    benchmarked: Callable[..., Path], tmp_path: Path
) -> None:
    config, run = small_config(target_transform=TEXT, batch_size=80), tmp_path / "run"
    plan = dry_run(benchmarked(), run, config)
    assert (plan.n_train_eras, plan.n_train_rows, plan.steps_per_epoch) == (11, 880, 11)
    with pytest.raises(KeyboardInterrupt):
        train_run(benchmarked(), run, config, report=Script("step 3", interrupt))
    record = json.loads((run / "config.json").read_text())
    assert record["eras_without_benchmark"] == ["0003"]
    assert "0003" in record["train_eras"]
    # Batches would be other ones: a run can't be resumed where eras have a benchmark since.
    with refused(
        RunError, "target_transform: other eras to train on", "no value of its benchmarks"
    ):
        train_run(benchmarked(lambda era, n: np.ones((n, 1))), run, config, resume=True)


def test_folds_transform_their_own_eras(benchmarked: Callable[..., Path], tmp_path: Path) -> None:
    dataset = mt.open_dataset(benchmarked())
    config = small_config(
        target_transform=TEXT,
        validation_eras=None,
        model="linear",
        learning_rate=1e-30,
        weight_decay=0.0,
        epochs=1,
        batch_size=80,
    )
    train_folds(dataset, tmp_path / "run", config, folds=2)
    for fold in mt.open_run(tmp_path / "run").folds:
        record = json.loads((fold.path / "config.json").read_text())
        train = dataset.select(record["train_eras"])
        predicted = Predictor(fold.model(), None).predict(train, dataset.feature_names)
        found = np.concatenate([p for _, p in predicted])
        loss = np.nanmean((found - expected_targets(train, TEXT)) ** 2)
        assert fold.history[0]["loss"] == pytest.approx(loss, rel=1e-5)


def test_rows_without_a_benchmark_are_said_in_one_line(
    benchmarked: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = benchmarked()
    config = small_config(target_transform=TEXT, epochs=1)
    line = (
        "residual:known+gaussian; 168 of 960 rows (17.5%) have no value of known and count as "
        "unlabelled; 1 of 12 eras without any are left out"
    )
    assert dry_run(dataset, tmp_path / "run", config).transform == line
    train_run(dataset, tmp_path / "run", config, report=TrainingDisplay(sys.stderr))
    assert f"\ntransform   {line}\n" in capsys.readouterr().err
    whole = benchmarked(lambda era, n_rows: np.ones((n_rows, 1)))
    assert dry_run(whole, tmp_path / "other", config).transform == TEXT
    plain = dry_run(whole, tmp_path / "other", small_config())
    assert plain.transform is None


def test_only_no_benchmark_at_all_is_an_error(
    benchmarked: Callable[..., Path], sample: Path, tmp_path: Path
) -> None:
    config = small_config(target_transform=TEXT)

    def only_later(era: str, n_rows: int) -> Floats:
        return np.full((n_rows, 1), np.nan if int(era) <= LAST_TRAINED else 0.5)

    def check(dataset: Path, kind: Any, *said: str) -> None:
        for command in (train_run, dry_run):
            with refused(kind, *said):
                command(dataset, tmp_path / "run", config)
        assert not (tmp_path / "run").exists()

    said = "no row of the 12 eras to train on (0001 to 0012)"
    check(benchmarked(only_later), ConfigError, said, "a value of 'known'")
    check(benchmarked(name="knowm"), DatasetError, "no benchmark 'known'", "did you mean 'knowm'?")
    check(sample, DatasetError, "no benchmark 'known'", "convert --benchmarks")


def test_a_benchmark_of_unlabelled_rows_only_is_an_error(
    with_missing: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(with_missing, tmp_path / "copy"))
    name = mt.open_dataset(copied).target_names[0]
    labels = {era: np.asarray(of_era.targets) for era, of_era in mt.open_dataset(copied).items()}
    assert any(np.isnan(of_era[:, 0]).any() for of_era in labels.values())

    def elsewhere(era: str, n_rows: int) -> Floats:
        return np.where(np.isnan(labels[era][:, :1]), 0.5, np.nan)

    dataset = mt.open_dataset(with_benchmarks(copied, ("known",), elsewhere))
    assert dataset.benchmark_eras("known")
    with refused(ConfigError, "no row", f"has both a label of {name!r} and a value of known"):
        transformed_targets(dataset, (name,), TargetTransform.parse(TEXT), tmp_path)
