"""The summary of an evaluation as a text for a terminal, at most 100 columns wide.

Takes an `Evaluation`; returns lines: a table for each score with a row for each model and its
difference to the first one, exposures, means by year, and what isn't covered.
"""

import math
from collections.abc import Iterator, Sequence

from ..runs.scores.statistics import LAST_ERAS, ScoreStatistics, by_year
from ..text import counted
from .evaluation import Evaluation
from .model_scores import Metric, ModelScores
from .summary import (
    average,
    is_scored,
    last_eras,
    peak,
    score_title,
    scored_eras,
    statements,
    yearly,
)

_Columns = dict[str, dict[str, ScoreStatistics]]
"""The statistics of a table's cells, by column and row."""
_NAME_WIDTH, _MAX_COLUMNS = 24, 4
_HEADER = (
    f"{'mean ± error':>16} {'std':>7} {'Sharpe':>6} {'drawdown':>8} {'positive':>8} "
    f"{'autocorr':>8} {'eras':>5} {f'last {LAST_ERAS}':>9}"
)
_PAID: tuple[Metric, ...] = ("corr", "mmc", "bmc", "fnc")
"""Scores of which more is better: they are compared and shown by year."""


def summary_text(evaluation: Evaluation) -> str:
    """Return the summary as text."""
    lines, names = [title(evaluation)], [model.name for model in evaluation.all_models]
    for target in evaluation.targets:
        for metric in _PAID:
            models = [model for model in evaluation.all_models if is_scored(model, target, metric)]
            if models:
                lines += ["", *_score_table(evaluation, target, metric, models)]
        heading = _of(evaluation, target, "correlation with")
        if columns := _correlations(evaluation, target):
            lines += ["", *_mean_table(heading, columns, names)]
        lines += ["", *_year_table(evaluation, target)]
    lines += ["", *_exposure_table(evaluation), *_notes(evaluation)]
    return "\n".join(line.rstrip() for line in lines)


def title(evaluation: Evaluation) -> str:
    """Return the dataset, the scored eras and the targets, in one line."""
    targets = ", ".join(
        f"{target} (= {evaluation.aliases[target]})" if target in evaluation.aliases else target
        for target in evaluation.targets
    )
    eras = scored_eras(evaluation)
    return f"{evaluation.dataset}: {counted(len(eras), 'era')} ({eras[0]} to {eras[-1]}), {targets}"


def _score_table(
    evaluation: Evaluation, target: str, metric: Metric, models: list[ModelScores]
) -> Iterator[str]:
    heading = _of(evaluation, target, score_title(evaluation, metric))
    if len(heading) <= _NAME_WIDTH:
        yield f"{heading:{_NAME_WIDTH}} {_HEADER}"
    else:
        yield heading
        yield f"{'':{_NAME_WIDTH}} {_HEADER}"
    first = models[0]
    for model in models:
        statistics = model.by_target[target].statistics(metric)
        recent = _mean(last_eras(model, target, metric))
        yield f"{_name(model.name)} {_numbers(statistics)} {recent:>9}"
        for other in (first, *evaluation.references):
            if other not in models or model is other or model.is_reference:
                continue
            difference = evaluation.difference(model.name, other.name, metric, target)
            if difference.n_eras and metric in _PAID:
                yield f"{_name(f'  minus {other.name}')} {_numbers(difference)}"


def _numbers(statistics: ScoreStatistics) -> str:
    return (
        f"{with_error(statistics):>16} {number(statistics.std, '.4f'):>7} "
        f"{number(statistics.sharpe, '.2f'):>6} {number(statistics.max_drawdown, '.4f'):>8} "
        f"{number(statistics.positive, '.0%'):>8} {number(statistics.autocorrelation, '.2f'):>8} "
        f"{statistics.n_eras:>5,}"
    )


def _correlations(evaluation: Evaluation, target: str) -> _Columns:
    """Return each model's correlation with the benchmark, the meta model and other benchmarks."""
    columns: _Columns = {}
    own = {evaluation.benchmark: "benchmark_corr", evaluation.meta_model: "meta_model_corr"}
    for name, metric in own.items():
        if name is not None:
            columns[name] = {
                model.name: model.by_target[target].statistics(metric)
                for model in evaluation.all_models
                if is_scored(model, target, metric)
            }
    for model in evaluation.all_models:
        scores = model.by_target[target]
        for name, values in scores.all_benchmark_corr.items():
            if name not in own:
                columns.setdefault(name, {})[model.name] = scores.statistics_of(values)
    return columns


def _year_table(evaluation: Evaluation, target: str) -> Iterator[str]:
    """Yield means by year: of several models CORR alone, of one all its scores."""
    if len(evaluation.models) > 1:
        heading = f"CORR of {target}, by year"
        columns = {
            model.name: yearly(evaluation, model, target, "corr") for model in evaluation.all_models
        }
    else:
        (model,) = evaluation.models
        heading = f"{target}, by year"
        columns = {
            metric.upper(): yearly(evaluation, model, target, metric)
            for metric in _PAID
            if is_scored(model, target, metric)
        }
    years = [year for year, _ in by_year(scored_eras(evaluation))]
    yield from _mean_table(heading, columns, years)


def _mean_table(heading: str, columns: _Columns, rows: Sequence[str]) -> Iterator[str]:
    """Yield a table of means with their errors; columns beyond the fourth are left out."""
    shown = dict(list(columns.items())[:_MAX_COLUMNS])
    left_out = f"  ({len(columns) - len(shown)} more: --json)" if len(columns) > len(shown) else ""
    yield f"{_name(heading)} " + " ".join(f"{_cut(name, 17):>17}" for name in shown) + left_out
    for row in rows:
        cells = (with_error(column[row]) if row in column else "-" for column in shown.values())
        yield f"{_name(row)} " + " ".join(f"{cell:>17}" for cell in cells)


def _exposure_table(evaluation: Evaluation) -> Iterator[str]:
    n_features = len(evaluation.models[0].exposures.feature_names)
    yield f"exposure to {counted(n_features, 'feature')} ({evaluation.neutral_to})"
    yield f"{'':{_NAME_WIDTH}} {'rms':>8} {'maximum':>8} {'largest':>8} {'turnover':>8}  feature"
    for model in evaluation.all_models:
        exposures = model.exposures
        where, largest, place = "", math.nan, peak(model)
        if place is not None:
            largest = float(exposures.max_exposure[place])
            where = f"{exposures.max_exposure_feature[place]} in era {model.eras[place]}"
        cells = (
            average(exposures.rms_exposure),
            average(exposures.max_exposure),
            largest,
            average(exposures.turnover),
        )
        numbers = " ".join(f"{number(cell, '.4f'):>8}" for cell in cells)
        yield _cut(f"{_name(model.name)} {numbers}  {where}", 100)


def _notes(evaluation: Evaluation) -> Iterator[str]:
    notes = [*(f"note: {note}" for note in evaluation.notes), *statements(evaluation.models)]
    if notes:
        yield from ("", *notes)


def _of(evaluation: Evaluation, target: str, what: str) -> str:
    """Return a heading, with the target where there are several."""
    return f"{what} of {target}" if len(evaluation.targets) > 1 else what


def with_error(statistics: ScoreStatistics) -> str:
    """Return a mean with its standard error, "-" for what isn't defined."""
    if math.isnan(statistics.mean):
        return "-"
    return f"{statistics.mean:.4f} ± {number(statistics.standard_error, '.4f')}"


def _mean(statistics: ScoreStatistics | None) -> str:
    return "-" if statistics is None else number(statistics.mean, ".4f")


def number(value: float, form: str) -> str:
    """Return a formatted number, "-" for NaN."""
    return "-" if math.isnan(value) else format(value, form)


def _name(name: str) -> str:
    return f"{_cut(name, _NAME_WIDTH):{_NAME_WIDTH}}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
