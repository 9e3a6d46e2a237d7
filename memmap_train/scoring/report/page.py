"""The page of a report: its sections, the specifications of its charts, and the code that draws.

Takes a `Subject` and the JavaScript of the chart library; returns HTML that needs nothing else: no
network, no other file.
"""

import datetime
from importlib.resources import files

from ..._version import __version__
from ...runs.scores.statistics import LAST_ERAS
from ...text import counted
from ..summary import scored_eras
from . import tables
from .chart import Chart
from .markup import embedded_json, escaped, facts, key, listing
from .provenance import fold_table, provenance
from .sections import Section, eras_chart, sections
from .specification import CONFIG
from .subject import Subject, span
from .tiles import tiles

_RANGES = ((None, "All eras"), (200, "Last 200"), (52, "Last 52"))
_NO_SCRIPT = (
    "<noscript><p class='empty'>This chart is drawn by JavaScript, which is switched off. Its "
    "numbers stand in the tables of this page.</p></noscript>"
)


def page_html(subject: Subject, library: str, written: datetime.datetime) -> str:
    """Return the page.

    Parameters
    ----------
    subject : Subject
    library : str
        JavaScript that defines `vegaEmbed`.
    written : datetime
        When the page is made.
    """
    made, timeline = sections(subject), eras_chart(subject)
    parts = [
        ("overview", "Overview", _overview(subject)),
        *[(one.name, one.title, _charts_html(subject, one)) for one in made],
        ("years", "By year", tables.year_table(subject)),
        ("training", "What was trained on what", _training(subject, timeline)),
        ("numbers", "All eras in numbers", _numbers(subject)),
        ("definitions", "Definitions", _definitions(subject)),
    ]
    every = [chart for one in made for chart in one.charts] + ([timeline] if timeline else [])
    style, script = (_resource(name) for name in ("report.css", "report.js"))
    body = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escaped(title)}</h2>{html}</section>\n'
        for name, title, html in parts
    )
    links = "".join(f'<li><a href="#{name}">{escaped(title)}</a></li>' for name, title, _ in parts)
    meta = embedded_json(_meta(subject, every))
    title = ", ".join(model.name for model in subject.evaluation.models)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="generator" content="memmap-train">\n<link rel="icon" href="data:,">\n'
        f"<title>{escaped(title)}: report</title>\n<style>{style}</style></head>\n"
        '<body><a class="skip" href="#overview">Skip to the scores</a>\n<div class="page">'
        f"{_header(subject, written)}\n"
        f'<div class="columns"><nav aria-label="contents"><p class="label">Contents</p><ul>{links}'
        f"</ul></nav>\n<main>{_controls(subject)}\n{body}"
        f"<footer>memmap-train {__version__}</footer></main></div></div>\n"
        f'<script type="application/json" id="meta">{meta}</script>\n'
        f"<script>{library}</script>\n<script>{script}</script>\n</body></html>\n"
    )


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _meta(subject: Subject, charts: list[Chart]) -> dict[str, object]:
    """Return what the page's code needs beside the tables."""
    return {
        "labels": list(subject.frame.labels),
        "first": subject.frame.first,
        "models": [
            {"name": model.name, "colour": look.css}
            for model, look in zip(subject.models, subject.frame.looks, strict=True)
        ],
        "config": CONFIG,
        "charts": {
            chart.name: {key: part for key, part in chart.spec.items() if key != "config"}
            for chart in charts
        },
    }


# -- head -----------------------------------------------------------------------------------------


def _header(subject: Subject, written: datetime.datetime) -> str:
    evaluation = subject.evaluation
    names = [model.name for model in evaluation.models]
    title = names[0] if len(names) == 1 else f"{counted(len(names), 'model')} compared"
    named = evaluation.aliases.get(subject.target)
    target = escaped(subject.target) + (f" (equals {escaped(named)})" if named else "")
    items = {
        "dataset": f"{escaped(evaluation.dataset)}",
        "target": target,
        "eras": escaped(span(scored_eras(evaluation))),
        "benchmark": escaped(evaluation.benchmark or "none"),
        "meta model": escaped(evaluation.meta_model or "none"),
        "written": f"{written:%Y-%m-%d %H:%M} UTC",
    }
    lines = "".join(f"<li>{name} <b>{what}</b></li>" for name, what in items.items())
    return (
        f'<header><p class="eyebrow">Report</p><h1>{escaped(title)}</h1>'
        f'<ul class="facts">{lines}</ul></header>'
    )


def _controls(subject: Subject) -> str:
    models = "".join(
        f'<li><button class="chip" type="button" data-toggle="{m}" aria-pressed="true" disabled '
        f'title="{escaped(model.name)}">{key(subject.frame.looks[m])}'
        f"<span>{escaped(model.name)}</span></button></li>"
        for m, model in enumerate(subject.models)
    )
    ranges = "".join(
        f'<button class="chip" type="button" data-last="{last or ""}" disabled '
        f'aria-pressed="{"false" if last else "true"}">{name}</button>'
        for last, name in _RANGES
        if last is None or last < len(subject.frame.labels)
    )
    return (
        '<div class="controls"><ul class="models" aria-label="models, shown in all charts">'
        f'{models}</ul><div class="ranges" role="group" aria-label="eras, shown in all charts">'
        f"{ranges}</div></div>"
    )


# -- sections -------------------------------------------------------------------------------------


def _overview(subject: Subject) -> str:
    parts = [tiles(subject)]
    statements = subject.statements()
    if statements:
        parts.append(f'<div class="statements">{listing(map(escaped, statements))}</div>')
    for target in subject.evaluation.targets:
        parts.append(f"<h3 class='above'>Scores of {escaped(target)}, all eras</h3>")
        parts.append(tables.score_table(subject, target))
    if len(subject.frame.labels) > LAST_ERAS:
        parts.append(
            f"<h3 class='above'>Scores of {escaped(subject.target)}, last {LAST_ERAS} eras</h3>"
        )
        parts.append(tables.score_table(subject, subject.target, LAST_ERAS))
    if len(subject.models) > 1:
        parts.append("<h3 class='above'>Differences of CORR</h3>")
        parts.append(tables.difference_table(subject))
    return "".join(parts)


def _charts_html(subject: Subject, section: Section) -> str:
    remarks = "".join(f'<p class="note">{escaped(text)}</p>' for text in section.remarks)
    charts = list(section.charts)
    first = ""
    if section.is_grid and len(charts) % 2 == 1 and len(charts) > 1:
        first = _figure(charts.pop(0))  # no gap beside the last one
    rest = "".join(_figure(chart) for chart in charts)
    return remarks + first + (f'<div class="grid">{rest}</div>' if section.is_grid else rest)


def _figure(chart: Chart) -> str:
    of_eras = " data-eras" if chart.cells is None and chart.name != "timeline" else ""
    note = f'<p class="note">{escaped(chart.note)}</p>' if chart.note else ""
    numbers = ""
    if chart.cells is not None:
        numbers = f"<details><summary>Numbers</summary>{tables.cells_table(chart.cells)}</details>"
    help_text = f"{chart.title}. Arrow keys move a cursor that says the numbers."
    wide = ' class="wide"' if chart.along == "y" else ""
    return (
        f'<figure id="{chart.name}"{wide} data-digits="{chart.digits}" data-unit="{chart.unit}" '
        f'data-along="{chart.along}"{of_eras}><figcaption><h3>{escaped(chart.title)}</h3>{note}'
        f'</figcaption><div class="plot" tabindex="0" role="group" aria-roledescription="chart" '
        f'aria-label="{escaped(help_text)}"><div class="drawing"></div>{_NO_SCRIPT}</div>'
        f"{numbers}</figure>\n"
    )


def _training(subject: Subject, timeline: Chart | None) -> str:
    parts = []
    if timeline is not None:
        parts += [_figure(timeline), fold_table(subject)]
    for m in range(len(subject.models)):
        head = f"<h3>{tables.model_head(subject, m)}</h3>"
        parts.append(f'<div class="card model">{head}{provenance(subject, m)}</div>')
    evaluation = subject.evaluation
    parts.append(
        f'<p class="note">Scored against {escaped(evaluation.dataset)}, manifest '
        f"{escaped(evaluation.dataset_digest)}.</p>"
    )
    return "".join(parts)


def _numbers(subject: Subject) -> str:
    note = '<p class="note">Cells are empty where a score is undefined.</p>'
    return note + "".join(tables.era_table(subject, m) for m in range(len(subject.models)))


def _definitions(subject: Subject) -> str:
    to = escaped(subject.evaluation.neutral_to)
    items = {
        "CORR": "Numerai's correlation of an era: predictions are ranked and made normal, both "
        "sides raised to the power 1.5, then correlated.",
        "MMC, BMC": "What the predictions add to the meta model, or to the benchmark model: the "
        "part that is orthogonal to it, times the target.",
        "FNC": f"CORR of the predictions after they are neutralised to the features of {to}.",
        "&plusmn;": "The standard error of a mean. It respects that labels of neighbouring eras "
        "share returns.",
        "Sharpe": "Mean / standard deviation over eras, not annualised.",
        "Drawdown": "The largest fall of the summed score from its highest value so far.",
        "Exposure": "The correlation of predictions with a feature in an era.",
        "Turnover": "1 minus the rank correlation with the predictions of the era before.",
    }
    return facts(items)
