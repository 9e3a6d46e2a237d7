"""The tables of a report: scores, differences, years, every era, and the numbers of charts.

Takes a `Subject`; returns HTML.
"""

from collections.abc import Mapping

import numpy as np

from ...runs.scores.statistics import ScoreStatistics, by_year
from ...text import counted
from ..model_scores import METRICS, ModelScores, TargetScores
from ..summary import scored_eras, yearly
from .chart import Cells
from .markup import (
    details,
    escaped,
    key,
    number,
    percent,
    plain_number,
    table,
    with_error,
)
from .subject import SCORES, Subject


def model_head(subject: Subject, m: int) -> str:
    """Return the name of a model beside a piece of its line."""
    return f"{key(subject.frame.looks[m])} {escaped(subject.models[m].name)}"


# -- scores ---------------------------------------------------------------------------------------


def score_table(subject: Subject, target: str, last: int | None = None) -> str:
    """Return the scores of all models with one target; of the last so many eras only."""
    heads = ["model", "eras", "CORR", "std", "Sharpe", "drawdown", "positive", "autocorr."]
    every = ("mmc", "bmc", "fnc", "benchmark_corr", "meta_model_corr")
    metrics = [name for name in every if subject.has(name)]
    heads += [
        {"benchmark_corr": "corr. benchmark", "meta_model_corr": "corr. meta model"}.get(
            name, SCORES[name]
        )
        for name in metrics
    ]
    rows = []
    for m, model in enumerate(subject.models):
        of_target = _last(model.by_target[target], last)
        corr = of_target["corr"]
        row = [
            model_head(subject, m),
            f"{corr.n_eras:,}",
            with_error(corr.mean, corr.standard_error),
            number(corr.std),
            number(corr.sharpe, 2),
            number(corr.max_drawdown, 3),
            percent(corr.positive),
            number(corr.autocorrelation, 2),
        ]
        row += [
            _metric_cell(of_target[name], corr.n_eras, is_own=_is_own(model, name))
            for name in metrics
        ]
        rows.append(row)
    which = f"the last {last} eras" if last else "all scored eras"
    return table(
        [escaped(head) for head in heads],
        rows,
        label=f"scores of {target} over {which}",
        classes="card scroll stacked",
    )


def _is_own(model: ModelScores, name: str) -> bool:
    return model.kind == "benchmark" and name in ("bmc", "benchmark_corr")


def _metric_cell(found: ScoreStatistics, n_eras: int, *, is_own: bool) -> str:
    if is_own or not found.n_eras:
        return number(float("nan"))
    covered = "" if found.n_eras == n_eras else f"<small>{found.n_eras:,} eras</small>"
    return with_error(found.mean, found.standard_error) + covered


def _last(scores: TargetScores, last: int | None) -> Mapping[str, ScoreStatistics]:
    """Return the statistics of each score, over the last so many scored eras."""
    chosen = slice(-last if last else None, None)
    return {name: scores.statistics(name, chosen) for name in METRICS}


def difference_table(subject: Subject) -> str:
    """Return by how much CORR of each model is above the first model's and the references'."""
    others = [m for m, model in enumerate(subject.models) if m == 0 or model.is_reference]
    heads = ["model"] + [f"above {model_head(subject, m)}" for m in others]
    rows = []
    for m in range(len(subject.models)):
        row = [model_head(subject, m)]
        row += ["" if m == other else _difference(subject, m, other) for other in others]
        rows.append(row)
    return table(heads, rows, label="differences of CORR between models", classes="card scroll")


def _difference(subject: Subject, m: int, other: int) -> str:
    first, second = (subject.models[i].name for i in (m, other))
    found = subject.evaluation.difference(first, second, target=subject.target)
    if not found.n_eras:
        return "no common era"
    shown = with_error(found.mean, found.standard_error)
    return f"{shown} <small>({counted(found.n_eras, 'era')})</small>"


def year_table(subject: Subject) -> str:
    """Return the mean scores of all models by year."""
    shown = [field for field in ("corr", "mmc", "bmc") if subject.has(field)]
    heads, above = ["year", "eras"], ["<th></th><th></th>"]
    columns: list[tuple[dict[str, ScoreStatistics], bool]] = []
    for m, (model, scores) in enumerate(zip(subject.models, subject.scores, strict=True)):
        fields = [field for field in shown if field in scores]
        heads += [SCORES[field] for field in fields] + ["Sharpe"]
        above.append(f'<th colspan="{len(fields) + 1}">{model_head(subject, m)}</th>')
        by_field = [yearly(subject.evaluation, model, subject.target, field) for field in fields]
        columns += [(years, False) for years in by_field]
        columns.append((yearly(subject.evaluation, model, subject.target, "corr"), True))
    rows = []
    for year, part in by_year(eras := scored_eras(subject.evaluation)):
        row = [escaped(year), f"{len(eras[part]):,}"]
        row += [_year_cell(years.get(year), is_sharpe=is_sharpe) for years, is_sharpe in columns]
        rows.append(row)
    return table(
        heads,
        rows,
        label="scores by year",
        above=f"<tr>{''.join(above)}</tr>",
        classes="card scroll",
    )


def _year_cell(found: ScoreStatistics | None, *, is_sharpe: bool) -> str:
    if found is None:
        return number(float("nan"))
    return number(found.sharpe, 2) if is_sharpe else number(found.mean)


# -- eras -----------------------------------------------------------------------------------------


def era_table(subject: Subject, m: int) -> str:
    """Return every score of every era of one model, which the charts of eras read."""
    model, scores = subject.models[m], subject.scores[m]
    exposures, of_target = model.exposures, subject.of_target(model)
    fields = list(scores)
    names = "".join(
        f'<th scope="col" data-key="{field}">{escaped(SCORES[field])}' for field in fields
    )
    features = [str(name) for name in exposures.max_exposure_feature]
    lines = []
    for k, era in enumerate(model.eras):
        cells = "".join(f"<td>{plain_number(scores[field][k])}" for field in fields)
        lines.append(
            f"<tr><td>{escaped(era)}{cells}<td>{of_target.n_rows[k]}"
            f'<td class="text">{escaped(features[k])}'
        )
    body = "\n".join(lines)
    content = (
        f'<div class="scroll" role="region" tabindex="0" '
        f'aria-label="{escaped(f"scores of {model.name} by era")}"><table data-model="{m}">'
        f'<thead><tr><th scope="col">era{names}<th scope="col">rows<th scope="col" class="text">'
        f"feature of maximal exposure<tbody>\n{body}</table></div>"
    )
    summary = f"{model_head(subject, m)}: {counted(len(model.eras), 'era')}"
    return details(summary, content)


def cells_table(cells: Cells) -> str:
    """Return the numbers of one chart, which it reads from there."""
    heads = "".join(
        f'<th scope="col" data-series="{model}">{escaped(name)}</th>'
        for name, model in cells.columns
    )
    lines = []
    for (name, place), values in zip(cells.rows, cells.values, strict=True):
        row = "".join(f"<td>{plain_number(value, 6)}</td>" for value in values)
        place_text = f' data-x="{place:g}"' if np.isfinite(place) else ""
        lines.append(f'<tr><th scope="row"{place_text}>{escaped(name)}</th>{row}</tr>')
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="numbers of the chart"><table>'
        f'<thead><tr><th scope="col">{escaped(cells.head)}</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
