"""Training steps, validation and checkpoints, compared with their lower limits."""

import itertools
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import memmap_train as mt
from memmap_train.runs.checkpoints import checkpoints
from memmap_train.runs.configuration.config import TrainConfig

from .measuring import print_table
from .sources import Size, make_dataset

BATCH_SIZE = 4096
REPEATS = 5


def run(directory: Path, size: Size) -> None:
    """Print the tables."""
    dataset = make_dataset(directory, size, "float32")
    _print_epochs(dataset)
    _print_validation(dataset)
    _print_checkpoints(dataset, directory)


def _print_epochs(dataset: mt.Dataset) -> None:
    import keras
    import tensorflow as tf

    from memmap_train.training.step import TrainStep

    options: dict[str, Any] = {"batch_size": BATCH_SIZE, "seed": 1, "targets": ["target"]}
    batches = mt.Batches(dataset, **options)
    steps, n_features = len(batches), len(batches.feature_names)
    x, y = batches[0]

    def model() -> Any:
        layers = [keras.Input((n_features,)), keras.layers.Dense(128, "relu")]
        return keras.Sequential([*layers, keras.layers.Dense(1)])

    fitted = model()
    fitted.compile("adam", "mse")
    step = TrainStep(model(), n_features, 1, TrainConfig(batch_size=BATCH_SIZE))
    constant = tf.data.Dataset.from_tensors((x, y)).repeat(steps)
    constant = constant.apply(tf.data.experimental.assert_cardinality(steps))
    streamed = mt.keras_batches(dataset, **options)
    rows_in_memory = slice(0, steps * BATCH_SIZE)
    all_x = np.concatenate([dataset[era].features for era in dataset.eras])[rows_in_memory]
    all_y = np.concatenate([dataset[era].targets[:, :1] for era in dataset.eras])[rows_in_memory]
    with batches.stream() as stream:
        epochs: dict[str, Callable[[], object]] = {
            "fit, one constant batch": lambda: fitted.fit(constant, verbose=0, shuffle=False),
            "fit, keras_batches": lambda: fitted.fit(streamed, verbose=0, shuffle=False),
            "fit, one constant batch again": lambda: fitted.fit(constant, verbose=0, shuffle=False),
            "fit, arrays in memory": lambda: fitted.fit(
                all_x, all_y, batch_size=BATCH_SIZE, verbose=0
            ),
            "own loop, one constant batch": lambda: _steps(step, itertools.repeat((x, y), steps)),
            "own loop, stream": lambda: _steps(step, itertools.islice(stream, steps)),
        }
        seconds = _in_turn(epochs)
    rows = []
    for beside, name in _pairs(list(epochs)):
        ratios = [a / b for a, b in zip(seconds[name], seconds[beside], strict=True)]
        rows += [
            [beside, _rate(seconds[beside], steps), ""],
            [name, _rate(seconds[name], steps), f"{statistics.median(ratios):.2f}"],
        ]
    print_table(
        f"Epochs of {steps} steps, {BATCH_SIZE:,} x {n_features:,} -> 128 -> 1, page cache warm",
        ["what", "rows/s", "times the constant batch"],
        rows,
    )


def _print_validation(dataset: mt.Dataset) -> None:
    from memmap_train.training.models.build import build
    from memmap_train.training.prediction.predictor import BLOCK_ROWS, Predictor
    from memmap_train.training.step import as_tensor
    from memmap_train.training.validation.validation import mapped_labels, score_eras

    n_features = len(dataset.feature_names)
    predictor = Predictor(build(n_features, 1, TrainConfig(hidden=(128,))), None)
    blocks = [np.random.default_rng(0).random((BLOCK_ROWS, n_features), np.float32)] * 8
    n_blocks = -(-dataset.n_rows // BLOCK_ROWS)

    def forward() -> None:
        for block in itertools.islice(itertools.cycle(blocks), n_blocks):
            predictor.run(as_tensor(block)).numpy()

    seconds = _in_turn(
        {
            "forward pass, batches in memory": forward,
            "validation: forward pass and scores per era": lambda: score_eras(
                predictor, dataset, dataset.feature_names, mapped_labels(dataset, ["target"])
            ),
        }
    )
    bare = next(iter(seconds.values()))
    print_table(
        f"Validation on {dataset.n_rows:,} rows x {n_features:,} -> 128 -> 1",
        ["what", "rows/s", "times the forward pass"],
        [
            [
                name,
                f"{dataset.n_rows / statistics.median(found):,.0f}",
                f"{statistics.median(a / b for a, b in zip(found, bare, strict=True)):.2f}",
            ]
            for name, found in seconds.items()
        ],
    )


def _print_checkpoints(dataset: mt.Dataset, directory: Path) -> None:
    from memmap_train.training.train import train_run

    seconds = []
    save = checkpoints.save_checkpoint

    def noting(*arguments: Any, **options: Any) -> Path:
        started = time.perf_counter()
        path = save(*arguments, **options)
        seconds.append(time.perf_counter() - started)
        return path

    run_dir = directory / "checkpointed"
    with mock.patch("memmap_train.runs.checkpoints.state_store.save_checkpoint", noting):
        started = time.perf_counter()
        train_run(
            dataset.path,
            run_dir,
            TrainConfig(
                batch_size=BATCH_SIZE,
                hidden=(128,),
                epochs=2,
                checkpoint_steps=5,
                validation_eras=1,
                embargo_eras=0,
                allow_overlap=True,
            ),
        )
        elapsed = time.perf_counter() - started
    shutil.rmtree(run_dir)
    each = statistics.median(seconds)
    minutes = TrainConfig().checkpoint_minutes
    print_table(
        f"Checkpoints of {len(dataset.feature_names):,} -> 128 -> 1, {elapsed:.1f} s of training",
        ["what", "seconds", "share of the default interval"],
        [["one checkpoint, durable", f"{each:.3f}", f"{each / (minutes * 60):.3%}"]],
    )


def _in_turn(work: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Return the seconds of several runs of each, in turn, so that noise affects all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for repeat in range(REPEATS + 1):
        for name, act in work.items():
            started = time.perf_counter()
            act()
            if repeat:  # the first warms up
                seconds[name].append(time.perf_counter() - started)
    return seconds


def _pairs(names: list[str]) -> list[tuple[str, str]]:
    return list(zip(names[::2], names[1::2], strict=True))


def _rate(seconds: list[float], steps: int) -> str:
    return f"{steps * BATCH_SIZE / statistics.median(seconds):,.0f}"


def _steps(step: Any, batches: Any) -> None:
    for x, y in batches:
        step(x, y)
    _ = step.sums  # waits for the last step
