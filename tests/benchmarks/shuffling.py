"""The effect of shuffling: validation scores of one training on rows in different orders."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

import memmap_train as mt
from memmap_train.loading.gather import Batch
from memmap_train.runs.folds.folds import split

from .measuring import print_table
from .sources import Size, make_dataset

SHAPE: Mapping[str, Any] = {"eras": 300, "rows_per_era": 2000, "features": 64}  # the sample's
N_SEEDS, EPOCHS, BATCH_SIZE = 6, 4, 4096
SMALL_MEMORY = 24  # MB for pools: a fifth of the rows that are trained on


def run(directory: Path, size: Size) -> None:
    """Print the table."""
    dataset = make_dataset(directory, replace(size, **SHAPE), "float32")
    fold = split(
        dataset.eras,
        dataset.labelled_eras("target"),
        targets=["target"],
        aliases=dataset.manifest.aliases,
    )
    train, validation = dataset.select(fold.train), dataset.select(fold.validation)
    x = np.concatenate([train[era].features for era in train.eras])
    y = np.concatenate([train[era].targets[:, [0]] for era in train.eras])
    options: dict[str, dict[str, Any]] = {
        "windows as chosen": {},
        "windows as chosen for little memory": {"memory": SMALL_MEMORY},
        "windows of 256 rows, unmixed": {"window_size": 256, "pool_batches": 1},
        "a global shuffle": {"window_size": 1},
    }
    scores: dict[str, list[float]] = {}
    variance = {}
    for seed in range(N_SEEDS):
        for name, chosen in options.items():
            batches = mt.Batches(
                train, batch_size=BATCH_SIZE, seed=seed, targets=["target"], **chosen
            )
            variance[name] = f"{batches.shuffling.inflation():.3f}"
            with batches.stream() as stream:
                score = _score(itertools.islice(stream, EPOCHS * len(batches)), validation, seed)
            scores.setdefault(name, []).append(score)
        for name, feed in {
            "in memory, shuffled by Keras's fit": None,
            "consecutive rows": _consecutive(x, y),
        }.items():
            score = _fit(x, y, validation, seed) if feed is None else _score(feed, validation, seed)
            scores.setdefault(name, []).append(score)
    ideal = scores["a global shuffle"]
    rows = []
    for name, found in scores.items():
        differences = [a - b for a, b in zip(found, ideal, strict=True)]
        rows.append(
            [
                name,
                variance.get(name, ""),
                f"{mean(found):.4f} ± {_standard_error(found):.4f}",
                ""
                if found is ideal
                else f"{mean(differences):+.4f} ± {_standard_error(differences):.4f}",
            ]
        )
    print_table(
        f"Validation numerai_corr after {EPOCHS} epochs, {N_SEEDS} seeds (± standard error); the "
        f"best possible is {dataset.manifest.planted:.4f}",
        ["rows come in", "gradient variance x", "numerai_corr", "less than a global shuffle's"],
        rows,
    )


def _standard_error(values: list[float]) -> float:
    return float(stdev(values) / len(values) ** 0.5)


def _consecutive(x: np.ndarray, y: np.ndarray) -> Iterator[Batch]:
    for first in itertools.chain.from_iterable(
        [range(0, len(x) // BATCH_SIZE * BATCH_SIZE, BATCH_SIZE)] * EPOCHS
    ):
        yield x[first : first + BATCH_SIZE], y[first : first + BATCH_SIZE]


def _score(batches: Iterator[Batch], validation: mt.Dataset, seed: int) -> float:
    """Train on batches; return the mean score of the validation eras."""
    import keras

    from memmap_train.runs.configuration.config import TrainConfig
    from memmap_train.training.models.build import build
    from memmap_train.training.step import TrainStep

    config = TrainConfig(batch_size=BATCH_SIZE)
    n_features = len(validation.feature_names)
    keras.utils.set_random_seed(seed)
    model = build(n_features, 1, config)
    step = TrainStep(model, n_features, 1, config)
    for x, y in batches:
        step(x, y)
    return _validate(model, validation)


def _fit(x: np.ndarray, y: np.ndarray, validation: mt.Dataset, seed: int) -> float:
    """Train with Keras's `fit` on arrays in memory."""
    import keras

    from memmap_train.runs.configuration.config import TrainConfig
    from memmap_train.training.models.build import build

    config = TrainConfig(batch_size=BATCH_SIZE)
    keras.utils.set_random_seed(seed)
    model = build(x.shape[1], 1, config)
    optimizer = keras.optimizers.Adam(config.learning_rate, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "mse")
    rows = len(x) // BATCH_SIZE * BATCH_SIZE
    model.fit(x[:rows], y[:rows], batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0)
    return _validate(model, validation)


def _validate(model: object, validation: mt.Dataset) -> float:
    from memmap_train.training.prediction.predictor import Predictor
    from memmap_train.training.validation.validation import mapped_labels, score_eras

    scores = score_eras(
        Predictor(model, None),
        validation,
        validation.feature_names,
        mapped_labels(validation, ["target"]),
    )
    return scores.corr_summary().mean
