"""Trainings of all kinds, killed and stopped at random moments: they end in the same bits."""

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import memmap_train as mt
from memmap_train.conversion.sample import write_sample
from memmap_train.training import models  # noqa: F401  (layers of saved models)
from tests.support.random_faults import (
    Ended,
    Fault,
    WarmProcess,
    check_stopped,
    finished_after_faults,
    warm_process,
)
from tests.support.training_data import newest_checkpoint
from tests.support.training_runs import TIMES

N_FAULTS = int(os.environ.get("TORTURE_FAULTS", "40"))

_BATCHES = ("window_size=4", "pool_batches=4", "hidden=[8]", "epochs=3", "checkpoint_steps=4")
NET = ("batch_size=64", *_BATCHES)
ROWS = (*NET, "baseline=none", "validation_steps=6")
ERAS = (
    *("eras_per_batch=4", "rows_per_era=20", *_BATCHES, "baseline=none"),
    *("loss=pearson", "std_weight=0.5", "era_weights=half_life:9"),
    *("target_transform=gaussian+residual:{benchmark}", "warmup_steps=5", "schedule=cosine"),
)
RIDGE = ("model=ridge", "checkpoint_steps=1", "era_weights=half_life:9")
SWEEP = ("sweep.model=['mlp', 'resnet']", "sweep.seed=[0, 1]", "epochs=2")

KINDS: dict[str, tuple[tuple[str, ...], str]] = {
    "mlp": ((*ROWS, "plateau_patience=1", "schedule=constant"), ""),
    "mlp on batches of eras": (("model=mlp", *ERAS), ""),
    "mlp in float16": ((*ROWS, "precision=mixed_float16"), ""),
    "mlp with a baseline": (NET, ""),
    "resnet": (("model=resnet", *ROWS), ""),
    "tabm": (("model=tabm", "model_params.k=4", *ROWS), ""),
    "tabm on batches of eras": (("model=tabm", "model_params.k=4", *ERAS), ""),
    "autoencoder": (("model=autoencoder", "model_params.bottleneck=4", *ROWS), ""),
    "ridge": (RIDGE, ""),
    "ridge with folds": (RIDGE, "--folds 2"),
    "folds": (NET, "--folds 2"),
    "seeds": (NET, "--seeds 3"),
    "seeds with folds": (NET, "--seeds 2 --folds 2"),
    "sweep": ((*NET, *SWEEP), ""),
    "sweep of seeds": ((*NET, *SWEEP[:1], "epochs=1"), "--seeds 2"),
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small dataset with benchmarks."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, n_eras=40, rows_per_era=80, n_features=8)
    sources = [folder / "train.parquet", folder / "validation.parquet"]
    benchmarks = sorted(folder.glob("*_benchmark_models.parquet"))
    return mt.convert(sources, folder / "shards", benchmarks=benchmarks).dataset.path


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmProcess]:
    """Return a process that trains in children, which may be killed."""
    with warm_process(tmp_path_factory.mktemp("warm") / "errors") as ready:
        yield ready


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_killed_at_random_moments_ends_in_the_same_bits(
    tmp_path: Path, shards: Path, warm: WarmProcess, kind: str
) -> None:
    check_faults(tmp_path, shards, warm, kind, "kill", n_faults=N_FAULTS)


@pytest.mark.parametrize("fault", ["SIGINT", "SIGTERM", "full disk"])
@pytest.mark.parametrize("kind", ["mlp with a baseline", "ridge", "seeds with folds", "sweep"])
def test_a_training_that_is_stopped_says_so_in_a_line_and_ends_in_the_same_bits(
    tmp_path: Path, shards: Path, warm: WarmProcess, kind: str, fault: Fault
) -> None:
    check_faults(tmp_path, shards, warm, kind, fault, n_faults=N_FAULTS // 4)


@pytest.mark.parametrize("fault", ["kill", "SIGINT"])
def test_a_report_that_is_stopped_is_made_when_the_run_is_resumed(
    tmp_path: Path, shards: Path, warm: WarmProcess, fault: Fault
) -> None:
    run = tmp_path / "run"
    command, page = train_command(shards, run, *ROWS), run / "report.html"

    def end() -> Ended:
        ended = warm.run(command, run, makes_report=True)
        assert ended.code == 0, ended.errors
        assert page.exists()
        page.unlink()
        return ended

    end()
    last = end().n_points  # the old page is removed before the new one is made
    for delay in (0.1, 1.0, 3.0, 6.0):
        ended = warm.run(command, run, point=last, delay=delay, fault=fault, makes_report=True)
        if ended.code == 0:
            page.unlink()  # made in less time
            continue
        assert ended.point == str(page)
        check_stopped(ended, fault)
        assert not page.exists()
        end()


def check_faults(
    folder: Path,
    shards: Path,
    warm: WarmProcess,
    kind: str,
    fault: Fault,
    *,
    n_faults: int,
) -> None:
    """Compare runs whose processes were stopped with one that wasn't disturbed."""
    options, flags = KINDS[kind]

    def command(run: Path) -> list[str]:
        return train_command(shards, run, *options, flags=flags)

    whole, n_runs, found = folder / "whole" / "run", 0, Counter[str]()
    ended = warm.run(command(whole), whole)
    assert ended.code == 0, ended.errors
    for run in finished_after_faults(
        warm,
        command,
        folder,
        fault=fault,
        n_points=ended.n_points,
        n_faults=n_faults,
        found=found,
    ):
        assert_equal_runs(whole, run)
        n_runs += 1
    print(f"\n{kind}, {fault}: {found.total()} in {n_runs} runs, all equal to an undisturbed one")
    print("  at", ", ".join(f"{name} ({n})" for name, n in sorted(found.items())))


def train_command(shards: Path, run: Path, *options: str, flags: str = "") -> list[str]:
    """Return the arguments of `memmap-train` that train a run, or resume it."""
    benchmark = mt.open_dataset(shards).benchmark_names[0]
    settings = [("--set", option.format(benchmark=benchmark)) for option in options]
    train = ["train", str(shards), "--run", str(run), "--resume", *flags.split()]
    return [*train, *(part for setting in settings for part in setting)]


def assert_equal_runs(one: Path, other: Path) -> None:
    """Compare all files of the folders of two runs, except for times and pictures."""
    files, others = files_of(one), files_of(other)
    assert files == others
    for name in files:
        assert content_of(one, name) == content_of(other, name), name
    for folder in (path.parent for path in one.rglob("checkpoints")):
        first, second = (
            newest_checkpoint(path) for path in (folder, other / folder.relative_to(one))
        )
        assert first is not None
        assert second is not None
        assert first.step == second.step
        assert first.arrays.keys() == second.arrays.keys()
        for name, array in first.arrays.items():
            np.testing.assert_array_equal(array, second.arrays[name])


def files_of(run: Path) -> set[str]:
    """Return the names of a run's files, without those of checkpoints and locks."""
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    return {name for name in names if "checkpoints" not in name and not name.endswith(".lock")}


def content_of(run: Path, name: str) -> Any:
    """Return what equal runs have in common of a file."""
    path = run / name
    match path.suffix:
        case ".keras":
            model = keras.models.load_model(path, compile=False)
            return [array.tobytes() for array in model.get_weights()]
        case ".json":
            found = json.loads(path.read_text("utf-8").replace(str(run), "RUN"))
            # A picture that a full disk had no space for is drawn later.
            return {key: found[key] for key in found if key != "chart_path"}
        case ".csv":
            with open(path, newline="") as file:
                rows = list(csv.DictReader(file))
            return [{key: row[key] for key in row if key not in TIMES} for row in rows]
    assert path.suffix in (".png", ".html"), name
    assert path.stat().st_size
    return None
