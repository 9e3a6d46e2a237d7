"""The scores of an evaluation as a table: a row for each model, era and target.

Takes an `Evaluation`; returns a structured array, or lines of text for a CSV file. The columns are
those of ``era_scores.csv``.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .evaluation import Evaluation
from .model_scores import ModelScores, TargetScores

_NUMBERS = ("corr", "mmc", "bmc", "benchmark_corr", "fnc")
ERA_COLUMNS = (
    "model",
    "era",
    "target",
    "n_rows",
    *_NUMBERS,
    "max_exposure",
    "max_exposure_feature",
    "rms_exposure",
    "turnover",
)


def era_table(evaluation: Evaluation) -> npt.NDArray[np.void]:
    """Return the scores as a structured array with `ERA_COLUMNS`; NaN where undefined."""
    rows = list(_rows(evaluation))
    texts = {
        name: max((len(row[column]) for row in rows), default=0) or 1
        for column, name in enumerate(ERA_COLUMNS)
        if name in ("model", "era", "target", "max_exposure_feature")
    }
    kinds: list[tuple[str, Any]] = [
        (name, f"U{texts[name]}" if name in texts else np.int64 if name == "n_rows" else np.float64)
        for name in ERA_COLUMNS
    ]
    return np.array(rows, dtype=kinds)


def era_lines(evaluation: Evaluation) -> Iterator[Sequence[str]]:
    """Yield the cells of a CSV file's rows: numbers with all digits, empty where undefined."""
    for row in _rows(evaluation):
        yield [_cell(value) for value in row]


def _rows(evaluation: Evaluation) -> Iterator[tuple[Any, ...]]:
    for model in evaluation.models:
        for position, era in enumerate(model.eras):
            for target in evaluation.targets:
                yield _row(model, position, era, model.by_target[target])


def _row(model: ModelScores, position: int, era: str, scores: TargetScores) -> tuple[Any, ...]:
    exposures = model.exposures
    return (
        model.name,
        era,
        scores.target,
        int(scores.n_rows[position]),
        *(float(scores.scores(name)[position]) for name in _NUMBERS),
        float(exposures.max_exposure[position]),
        str(exposures.max_exposure_feature[position]),
        float(exposures.rms_exposure[position]),
        float(exposures.turnover[position]),
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return str(value)
