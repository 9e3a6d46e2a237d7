"""The summary of an evaluation as HTML for a notebook: a table, and small cumulative charts.

Takes an `Evaluation`; returns one element without scripts, which takes its colours from the page,
light or dark. Names are escaped.
"""

from collections.abc import Sequence
from html import escape

import numpy as np

from ..arrays import Float64
from ..text import counted
from .evaluation import Evaluation
from .model_scores import METRICS, Metric, ModelScores
from .summary import is_scored, score_title, statements
from .summary_text import number, title, with_error

_WIDTH, _HEIGHT = 160, 32  # of a chart, in pixels
_CELL = 'style="text-align:right;padding:2px 8px;white-space:nowrap"'
_HEAD = 'style="text-align:left;padding:2px 8px"'


def summary_html(evaluation: Evaluation) -> str:
    """Return the summary as HTML."""
    parts = [f"<div><p>{escape(title(evaluation))}</p>"]
    parts += [_table(evaluation, target) for target in evaluation.targets]
    notes = [*evaluation.notes, *statements(evaluation.models)]
    if notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in notes)
        parts.append(
            f"<details><summary>{counted(len(notes), 'note')}</summary><ul>{items}</ul></details>"
        )
    return "".join([*parts, "</div>"])


def _table(evaluation: Evaluation, target: str) -> str:
    metrics = [
        metric
        for metric in METRICS
        if any(is_scored(model, target, metric) for model in evaluation.models)
    ]
    heads = ["Sharpe", "drawdown", *(score_title(evaluation, metric) for metric in metrics)]
    caption = escape(f"mean ± standard error, {target}")
    rows = "".join(_row(model, target, metrics) for model in evaluation.all_models)
    return (
        f"<table><caption>{caption}</caption><thead><tr><th {_HEAD}>model</th>"
        f"<th {_HEAD}>cumulative CORR</th>"
        + "".join(f"<th {_CELL}>{escape(head)}</th>" for head in heads)
        + f"</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(model: ModelScores, target: str, metrics: Sequence[Metric]) -> str:
    scores = model.by_target[target]
    corr = scores.statistics("corr")
    numbers = [number(corr.sharpe, ".2f"), number(corr.max_drawdown, ".4f")]
    numbers += [with_error(scores.statistics(metric)) for metric in metrics]
    cells = "".join(f"<td {_CELL}>{number}</td>" for number in numbers)
    name, chart = escape(model.name), _chart(scores.corr, model)
    return f"<tr><th {_HEAD}>{name}</th><td>{chart}</td>{cells}</tr>"


def _chart(corr: Float64, model: ModelScores) -> str:
    """Return the cumulative scores as a line of an SVG; empty if there are none."""
    total = np.cumsum(np.nan_to_num(corr))
    if len(total) < 2 or np.isnan(corr).all():
        return ""
    low, high = min(0.0, float(total.min())), max(0.0, float(total.max()))
    height = (high - low) or 1.0
    points = " ".join(
        f"{_WIDTH * place / (len(total) - 1):.1f},{_HEIGHT * (high - value) / height:.1f}"
        for place, value in enumerate(total.tolist())
    )
    label = escape(f"cumulative CORR of {model.name}, {total[-1]:.2f} at the end", quote=True)
    return (
        f'<svg role="img" aria-label="{label}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="-1 -1 {_WIDTH + 2} {_HEIGHT + 2}" fill="none" stroke="currentColor">'
        f'<polyline points="{points}"/></svg>'
    )
