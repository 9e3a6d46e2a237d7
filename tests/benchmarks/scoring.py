"""All scores of a model, compared with numerai-tools on whole frames.

Eras as wide and long as those of v5.3, whose features are codes in memory-mapped files. A few of
them stand for all: the work doesn't depend on the values. numerai-tools gets a frame of all eras,
as in Numerai's examples, and scores fewer of them: an era of all features takes it half a minute.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from memmap_train.runs.scores.contribution import correlation_contribution
from memmap_train.runs.scores.exposure import exposures, maximal_exposure
from memmap_train.runs.scores.metrics import numerai_corr
from memmap_train.runs.scores.neutral import feature_neutral_corr
from memmap_train.runs.scores.neutralizer import Neutralizer

from .measuring import Job, Measured, Spent, in_turn, print_table, timed
from .sources import Size

ROWS = 6_000
FEATURES = (3_555, 400)  # all of v5.3, and about as many as fncv3_features
OFFICIAL_ERAS = 1
_DISTINCT_ERAS = 2
_COMMON_FACTORS = 30
_BINS = np.array([0, 0.25, 0.5, 0.75, 1], np.float32)

Scores = Callable[[npt.NDArray[np.int8], npt.NDArray[np.float64], npt.NDArray[np.float32]], object]


def run(directory: Path, size: Size) -> None:
    """Print a table for each number of features."""
    for n_features in FEATURES:
        files = _make_eras(directory, n_features)
        jobs = []
        for name in _OURS:
            jobs.append(Job(_score, (f"ours: {name}", files, size.scored_eras, 0)))
            arguments = f"numerai-tools: {name}", files, OFFICIAL_ERAS, size.scored_eras
            jobs.append(Job(_score, arguments))
        found = in_turn(jobs, repeats=1)
        rows = [_row(name, size.scored_eras, found) for name in _OURS]
        print_table(
            f"Scores of eras of {ROWS:,} rows x {n_features:,} features: {size.scored_eras} eras, "
            f"numerai-tools {OFFICIAL_ERAS}",
            ["what", "s per era", "numerai-tools", "times as fast", "peak", "numerai-tools"],
            rows,
        )


def _row(name: str, n_eras: int, found: Mapping[str, Measured]) -> list[str]:
    ours, theirs = found[f"ours: {name}"], found[f"numerai-tools: {name}"]
    seconds, official = ours.seconds / n_eras, theirs.seconds / OFFICIAL_ERAS
    return [
        name,
        f"{seconds:.4f}",
        f"{official:.4f}",
        f"{official / seconds:.1f}",
        f"{ours.peak_bytes / 1e6:,.0f} MB",
        f"{theirs.peak_bytes / 1e6:,.0f} MB",
    ]


def _make_eras(directory: Path, n_features: int) -> list[Path]:
    """Write the features of a few eras, which have factors in common; return the files."""
    folder = directory / f"codes-{ROWS}-{n_features}"
    folder.mkdir(exist_ok=True)
    files = [folder / f"{number}.npy" for number in range(_DISTINCT_ERAS)]
    for number, file in enumerate(files):
        if file.exists():
            continue
        generator = np.random.default_rng([number, n_features])
        values = generator.standard_normal((ROWS, n_features), np.float32)
        factors = generator.standard_normal((ROWS, _COMMON_FACTORS), np.float32)
        weights = generator.standard_normal((_COMMON_FACTORS, n_features), np.float32)
        values += 0.2 * (factors @ weights)
        edges = np.quantile(values[:1000], [0.2, 0.4, 0.6, 0.8])
        np.save(file, np.digitize(values, edges).astype(np.int8))
    return files


def _score(name: str, files: list[Path], n_eras: int, n_held: int) -> dict[str, Spent]:
    """Score eras in one way; return the time it took, without that of imports and of loading.

    Meanwhile the features of `n_held` eras are in memory.
    """
    whose, _, what = name.partition(": ")
    score = (_OURS if whose == "ours" else _official())[what]
    generator = np.random.default_rng([1])
    predictions, other = generator.random((2, ROWS))
    target = generator.choice(_BINS, ROWS)
    arrays = np.column_stack([predictions, other]), target
    score(np.load(files[0])[:300, :20], arrays[0][:300], target[:300])  # so that all is imported

    held = np.empty((n_held * ROWS, np.load(files[0], mmap_mode="r").shape[1]), np.int8)
    for number in range(n_held):
        held[number * ROWS : (number + 1) * ROWS] = np.load(files[number % len(files)])

    def work() -> None:
        for number in range(n_eras):
            score(np.load(files[number % len(files)], mmap_mode="r"), *arrays)

    return {name: timed(work)}


def _our_corr(
    features: npt.NDArray[np.int8],
    predictions: npt.NDArray[np.float64],
    target: npt.NDArray[np.float32],
) -> object:
    contribution = correlation_contribution(predictions[:, :1], predictions[:, 1], target)
    return numerai_corr(predictions[:, 0], target), contribution


def _our_fnc(
    features: npt.NDArray[np.int8],
    predictions: npt.NDArray[np.float64],
    target: npt.NDArray[np.float32],
) -> object:
    return feature_neutral_corr(predictions[:, :1], target, Neutralizer(features))


def _our_exposure(
    features: npt.NDArray[np.int8],
    predictions: npt.NDArray[np.float64],
    target: npt.NDArray[np.float32],
) -> object:
    return maximal_exposure(exposures(features, predictions[:, :1]))


_OURS: Mapping[str, Scores] = {
    "CORR and MMC": _our_corr,
    "FNC": _our_fnc,
    "maximal exposure": _our_exposure,
}


def _official() -> Mapping[str, Scores]:
    """Return the same scores by numerai-tools, on frames that hold all features."""
    import pandas as pd
    from numerai_tools import scoring

    warnings.simplefilter("ignore")

    def frames(*arrays: npt.NDArray[np.generic]) -> list[pd.DataFrame]:
        index = [f"n{row:07}" for row in range(len(arrays[0]))]
        return [pd.DataFrame(array, index) for array in arrays]

    def corr(
        features: npt.NDArray[np.int8],
        predictions: npt.NDArray[np.float64],
        target: npt.NDArray[np.float32],
    ) -> object:
        own, labels = frames(predictions, target)
        label = labels[0].rename("target")
        contribution = scoring.correlation_contribution(own[[0]], own[1], label)
        return scoring.numerai_corr(own[[0]], label), contribution

    def fnc(
        features: npt.NDArray[np.int8],
        predictions: npt.NDArray[np.float64],
        target: npt.NDArray[np.float32],
    ) -> object:
        x, own, labels = frames(np.asarray(features), predictions, target)
        return scoring.feature_neutral_corr(own[[0]], x, labels[0].rename("target"))

    def exposure(
        features: npt.NDArray[np.int8],
        predictions: npt.NDArray[np.float64],
        target: npt.NDArray[np.float32],
    ) -> object:
        x, own = frames(np.asarray(features), predictions)
        return scoring.max_feature_correlation(own[0], x)

    return {"CORR and MMC": corr, "FNC": fnc, "maximal exposure": exposure}
