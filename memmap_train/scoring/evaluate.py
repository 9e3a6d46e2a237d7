"""`evaluate`: the scores of runs and of predictions on a dataset, as records.

Takes what `inputs` finds and a dataset; returns an `Evaluation`. Everything that can be refused is
refused before a run is predicted. What isn't covered or isn't defined becomes a note.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import flag, instance
from ..dataset.dataset import Dataset
from ..dataset.shard import Shard
from ..errors import ArgumentError, FoldError
from ..progress import Progress, ProgressOption, reporting
from ..runs.folds.selection import DatasetOrPath, opened
from ..runs.run import Run
from ..text import counted
from .baselines import baselines_of
from .era_scores import ScoredModel, score_eras
from .evaluation import Evaluation
from .inputs import Frame, found_models
from .model_predictions import (
    ModelPredictions,
    predictions_in_file,
    predictions_in_frame,
    predictions_in_memory,
)
from .model_records import model_scores
from .model_scores import ModelScores
from .run_predictions import RunEras, check_finished, predictions_of_run, run_eras
from .scored_on import ScoredOn, asked_eras, labelled_eras, notes, scored_on


def evaluate(
    models: Any,
    dataset: DatasetOrPath,
    *,
    targets: str | Sequence[str] | None = None,
    benchmark: str | None = None,
    meta_model: str | None = None,
    neutral_to: str | None = None,
    eras: str | Sequence[str] | None = None,
    details: bool = False,
    progress: ProgressOption = None,
) -> Evaluation:
    """Score models on the eras of a dataset that they weren't trained on.

    Parameters
    ----------
    models : model, sequence of models, or mapping of str to model
        A model is a run, the path of a run's folder or of a file of predictions (parquet or CSV),
        what `predict` returned, or a data frame with ids (a column, or the index), predictions and
        perhaps eras: of pandas, Polars or Arrow, or any other with ``__arrow_c_stream__``. A
        mapping gives names; otherwise a model's name is the end of its path. The first model is the
        one that others are compared with.
    dataset : Dataset or path
        A selection of eras, such as ``dataset.select(eras)``, restricts the scores to these eras.
    targets : str or sequence of str, optional
        The targets to score; by default the main targets of the runs, or without a run the
        dataset's first target.
    benchmark : str, optional
        The benchmark column of BMC; by default the dataset's first one that isn't the meta model.
    meta_model : str, optional
        The benchmark column of MMC; by default ``numerai_meta_model`` where the dataset has it.
    neutral_to : str, optional
        The feature set of FNC and of exposures, or "all"; by default ``fncv3_features`` where the
        dataset has it, else all features.
    eras : str or sequence of str, optional
        Eras to score, by their labels or as ranges such as ``"0575-0800"``, or "all" for all eras
        with labels. By default all such eras that predictions cover, and of a run its validation
        eras (of folds those that are predicted out of fold) and eras with labels that are farther
        than the embargo after them.
    details : bool
        Whether to score the predictions neutralised by several proportions too.
    progress : bool or callable(what, done, total), optional
        Whether to show how far the work is, or what to call instead (see `types.Progress`). By
        default it is shown in a terminal and in a notebook.

    Returns
    -------
    Evaluation

    Raises
    ------
    RunError
        A path is neither a run nor a file, or a run isn't finished.
    SourceError
        A file of predictions can't be read, or its rows can't be matched to the dataset's.
    DatasetError
        The dataset has no such target, benchmark, feature set or ids.
    FoldError
        There is no era to score a model on.

    Notes
    -----
    Rows without a label leave before anything of that target is computed; exposures count all rows
    that have a prediction. Nothing is filled in: what isn't covered or isn't defined is NaN, and
    the notes of the result say so.

    Examples
    --------
    ::

        evaluation = mt.evaluate(["runs/first", "predictions.csv"], "data/shards")
        evaluation.models[0].by_target["target"].statistics("corr").mean
        evaluation.to_csv("era_scores.csv")
    """
    details = flag("details", details)
    for option, name in (
        ("benchmark", benchmark),
        ("meta_model", meta_model),
        ("neutral_to", neutral_to),
    ):
        if name is not None:
            instance(option, name, str, ArgumentError)
    found = found_models(models)
    data = opened(dataset)
    for model in found.values():
        if isinstance(model, Run):
            check_finished(model)
    on = scored_on(found, data, targets, benchmark, meta_model, neutral_to, details=details)
    labelled = labelled_eras(data, on.options.targets)
    asked = asked_eras(data, labelled, eras, on.options.targets[0])
    with reporting(progress) as report:
        baselines = baselines_of(found)
        predicted = _predicted({**found, **baselines}, data, labelled, asked, report)
        kept = _kept_eras(predicted, labelled, on)
        own_eras = _benchmark_eras(data, on.benchmark, kept)
        scored = []
        for name, its in predicted.items():
            values = {**its.before, **its.values}
            scored.append(ScoredModel(kept[name], values, partial(_of_era, values)))
        if own_eras:
            column = on.options.benchmarks.index(str(on.benchmark))
            known = data.benchmark_eras(str(on.benchmark))
            scored.append(ScoredModel(own_eras, known, partial(_of_benchmark, column)))
        tables = score_eras(data, scored, on.options, report)
    models = [
        model_scores(on, name, kept[name], table, predicted[name])
        for name, table in zip(predicted, tables, strict=False)
    ]
    own_name = f"{on.benchmark} (benchmark)" if on.benchmark in predicted else str(on.benchmark)
    own = model_scores(on, own_name, own_eras, tables[-1], None) if own_eras else None
    compared = [replace(model, kind="baseline") for model in models[len(found) :]]
    return _evaluation(on, tuple(models[: len(found)]), own, tuple(compared))


def _evaluation(
    on: ScoredOn,
    models: tuple[ModelScores, ...],
    benchmark_scores: ModelScores | None,
    baseline_scores: tuple[ModelScores, ...],
) -> Evaluation:
    """Return the evaluation of models that are scored."""
    manifest, options = on.dataset.manifest, on.options
    return Evaluation(
        dataset=on.dataset.path,
        dataset_digest=manifest.digest,
        dataset_eras=on.dataset.eras,
        targets=options.targets,
        aliases={
            target: manifest.aliases[target]
            for target in options.targets
            if target in manifest.aliases
        },
        benchmark=on.benchmark,
        meta_model=on.meta_model,
        neutral_to=options.neutral_to,
        proportions=options.proportions,
        models=models,
        benchmark_scores=benchmark_scores,
        baseline_scores=baseline_scores,
        notes=tuple(notes(on.dataset, on.benchmark, on.meta_model)),
    )


def _kept_eras(
    predicted: Mapping[str, ModelPredictions], labelled: Sequence[str], on: ScoredOn
) -> dict[str, tuple[str, ...]]:
    """Return the eras with labels that each model predicts; a FoldError if there are none."""
    kept: dict[str, tuple[str, ...]] = {}
    for name, model in predicted.items():
        kept[name] = tuple(era for era in labelled if era in model.values)
        if not kept[name]:
            raise FoldError(
                f"{name}: its predictions cover none of the {counted(len(labelled), 'era')} of "
                f"{on.dataset.path} with labels of {on.options.targets[0]!r}; name a dataset with "
                "labels of the eras that are predicted"
            )
    return kept


def _predicted(
    found: Mapping[str, Any],
    dataset: Dataset,
    labelled: tuple[str, ...],
    asked: tuple[str, ...] | None,
    report: Progress,
) -> dict[str, ModelPredictions]:
    """Return the predictions of all models; runs come last, as they take longest."""
    of_runs: dict[str, RunEras] = {
        name: run_eras(model, dataset, asked)
        for name, model in found.items()
        if isinstance(model, Run)
    }
    wanted = labelled if asked is None else asked
    predicted: dict[str, ModelPredictions] = {}
    for name, model in found.items():
        if isinstance(model, Path):
            predicted[name] = predictions_in_file(model, dataset, labelled, wanted, report)
        elif isinstance(model, Frame):
            predicted[name] = predictions_in_frame(
                model.frame, name, dataset, labelled, wanted, report
            )
        elif not isinstance(model, Run):
            predicted[name] = predictions_in_memory(model, dataset, labelled, wanted, report)
    for name, its_eras in of_runs.items():
        predicted[name] = predictions_of_run(found[name], dataset, its_eras, report)
    return {name: predicted[name] for name in found}


def _of_era(
    values: Mapping[str, npt.NDArray[np.floating[Any]]], era: str, shard: Shard
) -> npt.NDArray[np.floating[Any]]:
    return values[era]


def _of_benchmark(column: int, era: str, shard: Shard) -> npt.NDArray[np.floating[Any]]:
    assert shard.benchmarks is not None  # the dataset has this column
    return shard.benchmarks[:, column]


def _benchmark_eras(
    dataset: Dataset, benchmark: str | None, kept: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Return the eras of all models in which the benchmark has rows."""
    if benchmark is None:
        return ()
    scored = {era for eras in kept.values() for era in eras}
    return tuple(era for era in dataset.benchmark_eras(benchmark) if era in scored)
