"""The tables of a report: scores, differences, years, what was trained on what, and every era.

Takes a `Subject`; returns HTML.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...runs.folds import Fold
from ...runs.statistics import ScoreStatistics, by_year, score_statistics
from ...text import counted
from ..records import METRICS, ModelScores, TargetScores
from .chart import Cells
from .markup import (
    details,
    escaped,
    facts,
    key,
    listing,
    number,
    percent,
    plain_number,
    table,
    with_error,
)
from .subject import SCORES, Subject, span

_MAX_FEATURES = 100  # of which all names are listed; `config.json` of the run has them


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
    """Return by how much CORR of each model is above the first model's and the benchmark's."""
    others = [m for m, model in enumerate(subject.models) if m == 0 or model.kind == "benchmark"]
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
    scored = {era for model in subject.models for era in model.eras}
    eras = [era for era in subject.frame.labels if era in scored]
    fields = [field for field in ("corr", "mmc", "bmc") if subject.has(field)]
    heads, above = ["year", "eras"], ["<th></th><th></th>"]
    columns = []
    for m, scores in enumerate(subject.scores):
        own = [field for field in fields if field in scores]
        heads += [SCORES[field] for field in own] + ["Sharpe"]
        above.append(f'<th colspan="{len(own) + 1}">{model_head(subject, m)}</th>')
        columns += [(m, field) for field in own] + [(m, "sharpe")]
    rows = []
    for name, part in by_year(eras):
        of_year = frozenset(eras[part])
        row = [escaped(name), f"{len(of_year):,}"]
        row += [_year_cell(subject, m, field, of_year) for m, field in columns]
        rows.append(row)
    return table(
        heads,
        rows,
        label="scores by year",
        above=f"<tr>{''.join(above)}</tr>",
        classes="card scroll",
    )


def _year_cell(subject: Subject, m: int, field: str, eras: frozenset[str]) -> str:
    chosen = np.array([era in eras for era in subject.models[m].eras], bool)
    values = subject.scores[m].get("corr" if field == "sharpe" else field, np.empty(0))
    if not len(values):
        return number(float("nan"))
    of_target = subject.of_target(subject.models[m])
    found = score_statistics(values[chosen], of_target.overlap_eras, of_target.positions[chosen])
    return number(found.sharpe, 2) if field == "sharpe" else number(found.mean)


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


# -- what was trained on what ---------------------------------------------------------------------


def fold_table(subject: Subject) -> str:
    """Return the eras of each run and fold, and CORR of the fold's own eras."""
    heads = ["run", "trained on", "embargo", "scored", "CORR", "Sharpe"]
    rows = []
    for m, model in enumerate(subject.models):
        for name, fold in folds_of(model):
            found = _fold_statistics(subject, m, fold)
            rows.append(
                [
                    f"{key(subject.frame.looks[m])} {escaped(name)}",
                    escaped(span(fold.train)),
                    escaped(span(fold.embargo)),
                    escaped(span(fold.validation)),
                    with_error(found.mean, found.standard_error),
                    number(found.sharpe, 2),
                ]
            )
    return table(heads, rows, label="eras of each run", texts=(1, 2, 3), classes="card scroll")


def folds_of(model: ModelScores) -> Iterator[tuple[str, Fold]]:
    """Yield the folds of a run with a name for each."""
    folds = model.provenance.folds if model.provenance else ()
    for number_, fold in enumerate(folds, start=1):
        yield (model.name if len(folds) == 1 else f"{model.name}, fold {number_}"), fold


def _fold_statistics(subject: Subject, m: int, fold: Fold) -> ScoreStatistics:
    eras, validation = subject.models[m].eras, frozenset(fold.validation)
    chosen = np.array([era in validation for era in eras], bool)
    of_target = subject.of_target(subject.models[m])
    return score_statistics(
        of_target.corr[chosen], of_target.overlap_eras, of_target.positions[chosen]
    )


def provenance(subject: Subject, m: int) -> str:
    """Return everything that is known about how a model was made."""
    model = subject.models[m]
    if model.provenance is None:
        where = escaped(model.path) if model.path else "a column of the dataset"
        what = "Nothing is known about what it was trained on."
        return f"<p>{where}. {what}</p>" if model.kind != "benchmark" else f"<p>{where}.</p>"
    config = model.provenance.config
    features, targets = config.get("features", []), config.get("targets", [])
    items = {
        "folder": escaped(model.path),
        "model": escaped(_with_digest(config, "model", "model_digest")),
        "targets": escaped(", ".join(_with_alias(t, config) for t in targets)),
        "features": escaped(
            f"{counted(len(features), 'feature')} ({config.get('features_digest')})"
        ),
        "seed": escaped(config.get("seed")),
        "epochs": escaped(
            f"{config.get('epochs')} at most, the {config.get('kept_epoch')} predicts"
        ),
        "embargo": counted(int(config.get("embargo_eras", 0)), "era"),
        "dataset": escaped(f"{config.get('dataset')}, manifest {config.get('dataset_digest')}"),
        "versions": escaped(", ".join(_versions(config))),
    }
    settings = sorted(
        f"{name} = {value}"
        for name, value in config.items()
        if not isinstance(value, list | dict) and name not in ("dataset", "dataset_digest")
    )
    more = details("All settings", listing(map(escaped, settings)))
    names = ""
    if 0 < len(features) <= _MAX_FEATURES:
        all_features = f"All {counted(len(features), 'feature')}"
        names = details(all_features, f"<p>{escaped(', '.join(features))}</p>")
    return facts(items) + more + names


def _with_digest(config: Mapping[str, Any], name: str, digest: str) -> str:
    found = config.get(digest)
    return f"{config.get(name)}" + (f" ({found})" if found else "")


def _with_alias(target: str, config: Mapping[str, Any]) -> str:
    named = dict(zip(config.get("targets", []), config.get("named_targets", []), strict=False))
    return target if named.get(target, target) == target else f"{target} (equals {named[target]})"


def _versions(config: Mapping[str, Any]) -> Iterator[str]:
    for name in ("memmap_train", "python", "numpy", "keras", "tensorflow"):
        if found := config.get(f"{name}_version"):
            yield f"{name.replace('_', '-')} {found}"
