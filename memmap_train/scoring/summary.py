"""The summary of an evaluation as plain values for JSON, and the parts that a text shows too.

Takes an `Evaluation`; returns dictionaries, lists, numbers and texts. What isn't defined is None,
as JSON has no NaN.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..runs.scores.statistics import LAST_ERAS, ScoreStatistics, by_year
from .evaluation import Evaluation
from .model_scores import METRICS, Metric, ModelScores, TargetScores
from .provenance import Provenance

FORMAT, FORMAT_VERSION = "memmap-train evaluation", 1
_VERSIONS = ("memmap_train_version", "keras_version", "tensorflow_version", "numpy_version")


def score_title(evaluation: Evaluation, metric: Metric) -> str:
    """Return what a score is called, with what it was computed against."""
    return {
        "corr": "CORR",
        "mmc": f"MMC ({evaluation.meta_model})",
        "bmc": f"BMC ({evaluation.benchmark})",
        "benchmark_corr": f"correlation with {evaluation.benchmark}",
        "meta_model_corr": f"correlation with {evaluation.meta_model}",
        "fnc": f"FNC ({evaluation.neutral_to})",
    }[metric]


def is_scored(model: ModelScores, target: str, metric: str) -> bool:
    """Return True if a model has a score in one era at least."""
    return not np.isnan(model.by_target[target].scores(metric)).all()


def last_eras(model: ModelScores, target: str, metric: str) -> ScoreStatistics | None:
    """Return the statistics of the last 200 eras; None if the model has no more than these."""
    if len(model.eras) <= LAST_ERAS:
        return None
    return model.by_target[target].statistics(metric, slice(-LAST_ERAS, None))


def yearly(
    evaluation: Evaluation, model: ModelScores, target: str, metric: str
) -> dict[str, ScoreStatistics]:
    """Return the statistics of each year in which a model has eras, by the year's name.

    Years have the same names for all models: those of the eras that any of them is scored on.
    """
    eras = scored_eras(evaluation)
    scores = model.by_target[target]
    found: dict[str, ScoreStatistics] = {}
    low = 0
    for year, part in by_year(eras):
        in_year = set(eras[part])
        high = low + sum(era in in_year for era in model.eras)
        if high > low:
            found[year] = scores.statistics(metric, slice(low, high))
        low = high
    return found


def scored_eras(evaluation: Evaluation) -> list[str]:
    """Return the eras that one of the models is scored on, in the dataset's order."""
    scored = {era for model in evaluation.models for era in model.eras}
    return [era for era in evaluation.dataset_eras if era in scored]


def statements(models: Sequence[ModelScores]) -> list[str]:
    """Return sentences about what isn't covered or defined; equal ones name all their models."""
    of_models: dict[str, list[str]] = {}
    for model in models:
        for note in model.notes:
            of_models.setdefault(note, []).append(model.name)
    return [
        f"{'all models' if 1 < len(names) == len(models) else ', '.join(names)}: {note}"
        for note, names in of_models.items()
    ]


def summarized(evaluation: Evaluation) -> dict[str, Any]:
    """Return the summary; `memmap_train/scoring/README.md` describes its keys."""
    summary = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "dataset": str(evaluation.dataset),
        "dataset_digest": evaluation.dataset_digest,
        "targets": list(evaluation.targets),
        "aliases": dict(evaluation.aliases),
        "benchmark": evaluation.benchmark,
        "meta_model": evaluation.meta_model,
        "neutral_to": evaluation.neutral_to,
        "proportions": list(evaluation.proportions),
        "models": [_model(evaluation, model) for model in evaluation.models],
        "benchmark_scores": evaluation.benchmark_scores
        and _model(evaluation, evaluation.benchmark_scores),
        "baseline_scores": [_model(evaluation, model) for model in evaluation.baseline_scores],
        "notes": list(evaluation.notes),
    }
    finite: dict[str, Any] = _without_nan(summary)
    return finite


def _model(evaluation: Evaluation, model: ModelScores) -> dict[str, Any]:
    return {
        "name": model.name,
        "path": None if model.path is None else str(model.path),
        "kind": model.kind,
        "n_eras": len(model.eras),
        "first_era": model.eras[0],
        "last_era": model.eras[-1],
        "scores": {
            target: {metric: _score(evaluation, model, target, metric) for metric in METRICS}
            for target in evaluation.targets
        },
        "benchmarks": {target: _benchmarks(scores) for target, scores in model.by_target.items()},
        "neutralized": {
            target: _neutralized(evaluation, scores)
            for target, scores in model.by_target.items()
            if scores.neutralized_corr is not None
        },
        "exposures": _exposures(model),
        "differences": _differences(evaluation, model),
        "trained_on": model.provenance and _provenance(model.provenance),
        "notes": list(model.notes),
    }


def _score(
    evaluation: Evaluation, model: ModelScores, target: str, metric: Metric
) -> dict[str, Any]:
    years = yearly(evaluation, model, target, metric)
    recent = last_eras(model, target, metric)
    return {
        **asdict(model.by_target[target].statistics(metric)),
        f"last_{LAST_ERAS}": recent and asdict(recent),
        "by_year": {year: asdict(of) for year, of in years.items()},
    }


def _benchmarks(scores: TargetScores) -> dict[str, Any]:
    """Return BMC and correlation with each benchmark."""
    return {
        name: {
            "bmc": asdict(scores.statistics_of(scores.all_bmc[name])),
            "benchmark_corr": asdict(scores.statistics_of(scores.all_benchmark_corr[name])),
        }
        for name in scores.all_bmc
    }


def _neutralized(evaluation: Evaluation, scores: TargetScores) -> list[dict[str, Any]]:
    """Return the statistics of CORR for each proportion of neutralisation."""
    assert scores.neutralized_corr is not None
    return [
        {
            "proportion": proportion,
            **asdict(scores.statistics_of(scores.neutralized_corr[:, column])),
        }
        for column, proportion in enumerate(evaluation.proportions)
    ]


def _exposures(model: ModelScores) -> dict[str, Any]:
    exposures = model.exposures
    largest = peak(model)
    return {
        "max_exposure": average(exposures.max_exposure),
        "rms_exposure": average(exposures.rms_exposure),
        "turnover": average(exposures.turnover),
        "largest": None
        if largest is None
        else {
            "exposure": float(exposures.max_exposure[largest]),
            "feature": str(exposures.max_exposure_feature[largest]),
            "era": model.eras[largest],
        },
        "features": [
            {"feature": feature, "mean_exposure": exposure}
            for feature, exposure in exposures.largest()
        ],
    }


def average(scores: Any) -> float:
    """Return the mean over the eras in which a number is defined; NaN if there are none."""
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if len(known) else math.nan


def peak(model: ModelScores) -> int | None:
    """Return the position of the era with the largest exposure; None if no exposure is defined."""
    sizes = model.exposures.max_exposure
    return None if np.isnan(sizes).all() else int(np.nanargmax(sizes))


def _differences(evaluation: Evaluation, model: ModelScores) -> dict[str, Any]:
    """Return the differences to the first model and to references, by target, name and score."""
    others = [evaluation.models[0], *evaluation.references]
    return {
        target: {
            other.name: {
                metric: asdict(evaluation.difference(model.name, other.name, metric, target))
                for metric in METRICS
            }
            for other in others
            if other.name != model.name
        }
        for target in evaluation.targets
    }


def _provenance(provenance: Provenance) -> dict[str, Any]:
    """Return what a run's model was trained on."""
    config = provenance.config
    return {
        "dataset": config.get("dataset"),
        "dataset_digest": config.get("dataset_digest"),
        "model": config.get("model"),
        "targets": config.get("targets"),
        "n_features": len(config.get("features", ())),
        "seed": config.get("seed"),
        "seeds": config.get("seeds"),
        "embargo_eras": config.get("embargo_eras"),
        "folds": [
            {
                "n_train_eras": len(fold.train),
                "train": [fold.train[0], fold.train[-1]],
                "validation": [fold.validation[0], fold.validation[-1]],
            }
            for fold in provenance.folds
        ],
        "versions": {key: config[key] for key in _VERSIONS if key in config},
    }


def _without_nan(value: Any) -> Any:
    """Return plain values in which NaN is None."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
