"""Training steps on streamed batches beside the same steps on one constant batch."""

import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import memmap_train as mt

from .measuring import print_table
from .sources import Size, make_dataset

BATCH_SIZE = 4096
REPEATS = 5


def run(directory: Path, size: Size) -> None:
    """Print the table."""
    import keras
    import tensorflow as tf

    from memmap_train.config import TrainConfig
    from memmap_train.training.step import TrainStep

    dataset = make_dataset(directory, size, "float32")
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
    with batches.stream() as stream:
        epochs: dict[str, Callable[[], object]] = {
            "fit, one constant batch": lambda: fitted.fit(constant, verbose=0, shuffle=False),
            "fit, keras_batches": lambda: fitted.fit(streamed, verbose=0, shuffle=False),
            "own loop, one constant batch": lambda: _steps(step, itertools.repeat((x, y), steps)),
            "own loop, stream": lambda: _steps(step, itertools.islice(stream, steps)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in epochs}
        for repeat in range(REPEATS + 1):  # in turn, so that all meet the same noise
            for name, epoch in epochs.items():
                started = time.perf_counter()
                epoch()
                if repeat:  # the first warms up
                    seconds[name].append(time.perf_counter() - started)
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


def _pairs(names: list[str]) -> list[tuple[str, str]]:
    return list(zip(names[::2], names[1::2], strict=True))


def _rate(seconds: list[float], steps: int) -> str:
    return f"{steps * BATCH_SIZE / statistics.median(seconds):,.0f}"


def _steps(step: Any, batches: Any) -> None:
    for x, y in batches:
        step(x, y)
    _ = step.sums  # waits for the last step
