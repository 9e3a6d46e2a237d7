"""One pass over the eras of a dataset, which scores all models at once.

Takes a dataset and the predictions of models; returns a table of scores for each model. One era is
in memory at a time: its features are read from their map in blocks and factorised once for all
models that have predictions of the same rows.
"""

import math
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arrays import Float64, Mask, Stored
from ..dataset.dataset import Dataset
from ..dataset.shard import Shard
from ..progress import Progress
from ..runs.scores.contribution import (
    correlation_contribution,
    correlation_with,
    why_no_contribution,
)
from ..runs.scores.exposure import exposures, maximal_exposure, rms_exposure, turnover
from ..runs.scores.metrics import numerai_corr, why_undefined
from ..runs.scores.neutral import feature_neutral_corr, neutralized_corr, why_not_neutral
from ..runs.scores.neutralizer import Neutralizer
from .model_table import ModelTable, ScoreOptions


@dataclass(frozen=True, slots=True)
class ScoredModel:
    """A model to score, and a function that returns its predictions of one era.

    Attributes
    ----------
    eras : tuple of str
        The eras to score.
    predicted : collection of str
        All eras that it predicts: turnover compares an era with the one before, scored or not.
    predictions : callable
        Takes an era and its shard, and returns an array of shape (rows,), NaN where a row has no
        prediction.
    """

    eras: tuple[str, ...]
    predicted: Container[str]
    predictions: Callable[[str, Shard], npt.NDArray[np.floating]]


@dataclass(frozen=True, slots=True, eq=False)
class _Era:
    """The arrays of one era, and the models that predict it, with their places in their tables.

    `by_id` are the positions of the rows in the order of their ids.
    """

    by_id: npt.NDArray[np.intp]
    features: Stored
    targets: Stored
    benchmarks: Stored
    predictions: Float64
    tables: Sequence[ModelTable]
    places: Sequence[int]


def score_eras(
    dataset: Dataset, models: Sequence[ScoredModel], options: ScoreOptions, report: Progress
) -> list[ModelTable]:
    """Score models on their eras.

    Parameters
    ----------
    dataset : Dataset
    models : sequence of ScoredModel
    options : ScoreOptions
        Names that the dataset has.
    report : callable(what, done, total)
        Called with rows, an era at a time.

    Returns
    -------
    list of ModelTable
        The tables, in the order of `models`.
    """
    columns = dataset.feature_columns(options.neutral_to)
    n_features = len(dataset.feature_names if columns is None else columns)
    tables = [ModelTable.empty(len(model.eras), options, n_features) for model in models]
    places = [{era: place for place, era in enumerate(model.eras)} for model in models]
    target_columns = list(dataset.target_columns(list(options.targets)) or ())
    chosen = options.benchmarks
    benchmark_columns = list(dataset.benchmark_columns(list(chosen)) or ()) if chosen else []
    eras = [era for era in dataset.eras if any(era in place for place in places)]
    era_before = dict(zip(dataset.eras[1:], dataset.eras, strict=False))
    n_done, n_rows = 0, sum(dataset.entry(era).rows for era in eras)
    for era in eras:
        report("scoring", n_done, n_rows)
        shard = dataset[era]
        present = [number for number, place in enumerate(places) if era in place]
        found = _Era(
            by_id=_order(shard),
            features=shard.features if columns is None else shard.features.take(columns, axis=1),
            targets=_columns(shard.targets, target_columns, len(options.targets)),
            benchmarks=_columns(shard.benchmarks, benchmark_columns, len(chosen)),
            predictions=np.column_stack(
                [models[number].predictions(era, shard).astype(np.float64) for number in present]
            ),
            tables=[tables[number] for number in present],
            places=[places[number][era] for number in present],
        )
        _score_targets(found, options)
        _score_exposures(found)
        if era in era_before:
            own = [models[number] for number in present]
            _score_turnover(found, own, shard, dataset, era_before[era])
        n_done += shard.n_rows
    report("scoring", n_rows, n_rows)
    return tables


def _order(shard: Shard) -> npt.NDArray[np.intp]:
    return np.arange(shard.n_rows) if shard.ids is None else np.argsort(shard.ids, kind="stable")


def _columns(array: Stored | None, columns: Sequence[int], n_columns: int) -> Stored:
    """Return columns of an array of the store in its dtype; no columns stand for all of them.

    numerai-tools centres a target in its own dtype too: in float64 the ninth digit differs.
    """
    if array is None or not n_columns:
        return np.empty((0 if array is None else len(array), 0))
    return array.take(columns, axis=1) if columns else np.asarray(array)


def _score_targets(era: _Era, options: ScoreOptions) -> None:
    """Fill in the scores of one era for all targets and models."""
    has_prediction = ~np.isnan(era.predictions)
    jobs: dict[bytes, tuple[Mask, list[tuple[int, list[int]]]]] = {}
    for target in range(len(options.targets)):
        labelled = ~np.isnan(era.targets[:, target])
        for rows, models in _alike(has_prediction & labelled[:, None]):
            jobs.setdefault(rows.tobytes(), (rows, []))[1].append((target, models))
    for rows, scored in jobs.values():
        neutralizer = Neutralizer(era.features, None if rows.all() else rows)
        for target, models in scored:
            _score_alike(era, rows, target, models, neutralizer, options)


def _alike(masks: Mask) -> Iterator[tuple[Mask, list[int]]]:
    """Yield the distinct columns of a mask, each with the numbers of the columns equal to it."""
    groups: dict[bytes, list[int]] = {}
    for number, mask in enumerate(masks.T):
        groups.setdefault(mask.tobytes(), []).append(number)
    for numbers in groups.values():
        yield masks[:, numbers[0]], numbers


def _score_alike(
    era: _Era,
    rows: Mask,
    target: int,
    models: list[int],
    neutralizer: Neutralizer,
    options: ScoreOptions,
) -> None:
    """Fill in the scores of models whose predictions and labels are in the same rows."""
    predictions, labels = era.predictions[rows][:, models], era.targets[rows, target]
    others = era.benchmarks[rows] if len(options.benchmarks) else np.empty((len(labels), 0))
    fnc = feature_neutral_corr(predictions, labels, neutralizer)
    neutralized = np.empty((0, len(models)))
    if options.proportions:
        neutralized = neutralized_corr(predictions, labels, neutralizer, options.proportions)
    # By id, as numerai-tools centres the target: the mean of float32 numbers depends on the order.
    by_id = era.by_id[rows[era.by_id]]
    contributions = [
        correlation_contribution(
            era.predictions[by_id][:, models],
            era.benchmarks[by_id, number],
            era.targets[by_id, target],
        )
        for number in range(len(options.benchmarks))
    ]
    correlations = [
        correlation_with(predictions, others[:, number])
        for number in range(len(options.benchmarks))
    ]
    for column, model in enumerate(models):
        table, place, own = era.tables[model], era.places[model], predictions[:, column]
        table.n_rows[place, target] = len(labels)
        table.corr[place, target] = corr = numerai_corr(own, labels)
        if math.isnan(corr):
            table.note_undefined("corr", target, 0, why_undefined(own, labels))
        table.fnc[place, target] = fnc[column]
        if math.isnan(fnc[column]):
            table.note_undefined("fnc", target, 0, why_not_neutral(own, labels, neutralizer))
        table.neutralized[place, target] = neutralized[:, column]
        for number, contribution in enumerate(contributions):
            other = others[:, number]
            table.contribution[place, target, number] = contribution[column]
            table.correlation[place, target, number] = correlations[number][column]
            if math.isnan(contribution[column]):
                why = why_no_contribution(own, other, labels)
                table.note_undefined("contribution", target, number, why)
            elif np.isnan(other).any():
                table.n_partial[target, number] += 1


def _score_exposures(era: _Era) -> None:
    """Fill in the exposures of one era, to which all rows with a prediction count."""
    for rows, models in _alike(~np.isnan(era.predictions)):
        features = era.features if rows.all() else era.features[rows]
        found = exposures(features, era.predictions[rows][:, models])
        positions, largest = maximal_exposure(found)
        rms = rms_exposure(found)
        for column, model in enumerate(models):
            table, place = era.tables[model], era.places[model]
            table.max_exposure[place], table.max_feature[place] = largest[column], positions[column]
            table.rms_exposure[place] = rms[column]
            of_model = found[:, column]
            known = ~np.isnan(of_model)
            table.exposure_sum[known] += of_model[known]
            table.exposure_size[known] += np.abs(of_model[known])
            table.n_exposures += known


def _score_turnover(
    found: _Era,
    models: Sequence[ScoredModel],
    shard: Shard,
    dataset: Dataset,
    era_before: str,
) -> None:
    """Fill in the turnover from the era before, for models that predict both."""
    if not any(era_before in model.predicted for model in models):
        return
    shard_before = dataset[era_before]
    if shard.ids is None or shard_before.ids is None:
        return
    if not np.isin(shard.ids, shard_before.ids).any():
        return  # as in Numerai's own data
    for number, (table, place, model) in enumerate(
        zip(found.tables, found.places, models, strict=True)
    ):
        if era_before not in model.predicted:
            continue
        now = found.predictions[:, number]
        then = model.predictions(era_before, shard_before).astype(np.float64)
        here, there = ~np.isnan(now), ~np.isnan(then)
        table.turnover[place] = turnover(
            now[here, None], shard.ids[here], then[there, None], shard_before.ids[there]
        )[0]
