"""What the Vega-Lite specifications of all charts share: sizes, axes, the looks of models.

A specification holds no scores. It reads the dataset `rows`: of a chart of eras a row for each era
and model with a field for each score, of another one a row for each cell of the chart's table.
Colours are names of CSS variables, so that one drawing suits a light and a dark page; `as_picture`
puts fixed ones in their place. Imports nothing but the standard library.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .chart import Chart, Frame, Spec

MAX_POINTED = 30  # eras: fewer are drawn as points too, since a line needs two
_LETTER, _BETWEEN = 7, 30  # pixels: the width of a letter of a label, and between two labels

CONFIG: Spec = {
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif",
    "view": {"stroke": None},
    "background": None,
    "aria": False,
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "gridColor": "var(--grid)",
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
    },
    "legend": {"labelColor": "var(--muted)", "labelFontSize": 11},
    "title": {"color": "var(--ink)"},
}


def specification(drawn: Spec, height: int) -> Spec:
    """Return a whole specification of what is drawn; its width is that of its place."""
    return {
        "data": {"name": "rows"},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 2, "right": 8, "top": 4, "bottom": 2},
        "config": CONFIG,
        **drawn,
    }


def era_ticks(labels: Sequence[str]) -> Spec:
    """Return the ticks of an axis of eras: as many labels as fit."""
    longest = max(map(len, labels), default=1)
    return {
        "title": "era",
        "labelExpr": "labels[datum.value - first] || ''",
        "tickMinStep": 1,
        "tickCount": {"expr": f"max(2, width / {_LETTER * longest + _BETWEEN})"},
        "labelOverlap": True,
        "labelFlush": True,
    }


def value_axis(title: str, digits: int, *, field: str = "y", has_zero: bool = True) -> Spec:
    """Return a y axis, whose title stands above it, and whether it always has 0."""
    shown = {"titleAngle": 0, "titleAlign": "left", "titleX": 0, "titleY": -6}
    shown |= {"titleBaseline": "bottom"}
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"zero": has_zero},
        "axis": {"title": title, "format": f".{digits}~f", "tickCount": 5, **shown},
    }


def by_model(frame: Frame) -> Spec:
    """Return the colours and dashes of the models."""
    models = list(range(len(frame.looks)))
    colours = [look.css for look in frame.looks]
    dashes = [look.dash for look in frame.looks]
    common = {"field": "m", "type": "nominal", "legend": None}
    return {
        "color": {**common, "scale": {"domain": models, "range": colours}},
        "strokeDash": {**common, "scale": {"domain": models, "range": dashes}},
    }


def as_picture(
    chart: Chart,
    rows: Sequence[Mapping[str, Any]],
    frame: Frame,
    names: Sequence[str],
    colours: Mapping[str, str],
) -> Spec:
    """Return the specification of a picture with its data, in fixed colours and size.

    Parameters
    ----------
    names : sequence of str
        The names of the models, for the legend; the page has one of its own.
    colours : mapping of str to str
        The colour of each CSS variable.
    """
    spec = {**chart.spec, "width": 900, "background": colours["card"], "padding": 16}
    spec["title"] = {"text": chart.title, "anchor": "start", "fontSize": 15, "offset": 14}
    of_eras = {"labels": list(frame.labels), "first": frame.first}
    of_eras |= {"lo": frame.first - 0.5, "hi": frame.last + 0.5}
    values = {"hidden": [], **(of_eras if chart.cells is None else {})}
    spec["params"] = [{"name": name, "value": value} for name, value in values.items()]
    spec["datasets"] = {"rows": list(rows)}
    legend: Spec = {"title": None, "orient": "top", "labelLimit": 220, "columns": 4, "offset": 20}
    legend |= {"symbolType": "stroke", "symbolSize": 300, "symbolStrokeWidth": 2.5}
    legend["labelExpr"] = f"{json.dumps(list(names))}[datum.value]"
    spec = _with_legend(spec, legend)
    coloured: Spec = _replaced(spec, {f"var(--{name})": code for name, code in colours.items()})
    return coloured


def _with_legend(value: Any, legend: Spec) -> Any:
    """Return a nested specification in which models have a legend."""
    if isinstance(value, Mapping):
        return {
            key: legend if key == "legend" and one is None else _with_legend(one, legend)
            for key, one in value.items()
        }
    return [_with_legend(one, legend) for one in value] if isinstance(value, list) else value


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    """Return a nested value in which some texts are replaced by others."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {key: _replaced(one, names) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(one, names) for one in value]
    return value
