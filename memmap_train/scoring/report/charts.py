"""The charts of a report as Vega-Lite specifications, which hold no scores themselves.

Takes what is to be drawn, such as the name of a column; returns a `Chart`. A specification reads
the dataset `rows`: of a chart of eras a row for each era and model with a field for each score, of
another one a row for each cell of the chart's table. What follows from the scores (sums, drawdowns,
rolling means) is computed by the specification. Imports nothing but the standard library.

Colours are names of CSS variables, so that one drawing suits a light and a dark page.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Spec = dict[str, Any]

ROLLING_ERAS = 52
"""Eras of a rolling mean: a year of weekly eras."""

N_COLOURS = 6
_DASHES = ([1, 0], [7, 3], [2, 3], [9, 3, 2, 3])  # of models that share a colour
_BENCHMARK_DASH = [5, 4]
_MAX_POINTED = 30  # eras: fewer are drawn as points too, since a line needs two
_LETTER, _BETWEEN = 7, 30  # pixels: the width of a letter of a label, and between two labels


@dataclass(frozen=True, slots=True)
class Look:
    """How the lines of a model are drawn.

    Attributes
    ----------
    colour : str
        The name of a CSS variable.
    dash : list of int
        Lengths of strokes and gaps, in pixels.
    """

    colour: str
    dash: list[int]

    @property
    def css(self) -> str:
        """The colour as a value in CSS."""
        return f"var(--{self.colour})"


@dataclass(frozen=True, slots=True)
class Cells:
    """The numbers of a chart that isn't one of eras.

    Attributes
    ----------
    head : str
        What the rows are, such as "epoch".
    columns : sequence of tuple of str and int
        The name of each column, and the position of the model that it belongs to.
    rows : sequence of tuple of str and float
        The name of each row, and its place on a numeric axis.
    values : sequence of sequence of float
        A list for each row; NaN where there is no number.
    """

    head: str
    columns: Sequence[tuple[str, int]]
    rows: Sequence[tuple[str, float]]
    values: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart and the words around it.

    Attributes
    ----------
    name : str
        Unique in a page.
    title, note : str
        What is drawn, and what to know about it; the note may be empty.
    spec : dict
        The Vega-Lite specification.
    digits : int
        Decimals of its numbers.
    unit : str
        What the cursor stands on, such as "era".
    along : "x" or "y"
        The axis that the cursor moves along.
    cells : Cells or None
        The chart's numbers; None of a chart of eras, whose numbers are those of the eras.
    """

    name: str
    title: str
    note: str = ""
    spec: Spec
    digits: int
    unit: str = "era"
    along: Literal["x", "y"] = "x"
    cells: Cells | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """What all charts of a report share.

    Attributes
    ----------
    looks : sequence of Look
        Of each model, in order.
    labels : sequence of str
        The eras of the axis, in the order of time.
    borders : sequence of int
        Positions of the eras with which folds begin.
    embargoes : sequence of tuple of int
        The positions of the first and the last era of each embargo.
    first : int
        The position of the first label. It is the number in the label, where it has one, so that
        the ticks of an axis stand at round numbers.
    """

    looks: Sequence[Look]
    labels: Sequence[str]
    borders: Sequence[int] = ()
    embargoes: Sequence[tuple[int, int]] = ()
    first: int = 0

    @property
    def last(self) -> int:
        """The position of the last label."""
        return self.first + len(self.labels) - 1


def look_of(position: int, *, is_benchmark: bool) -> Look:
    """Return how a model is drawn, by its position among the models of its kind.

    >>> look_of(7, is_benchmark=False)
    Look(colour='c1', dash=[7, 3])
    """
    if is_benchmark:
        return Look("benchmark", _BENCHMARK_DASH)
    turn = position // N_COLOURS
    return Look(f"c{position % N_COLOURS}", _DASHES[turn % len(_DASHES)])


# -- charts of eras -------------------------------------------------------------------------------


def era_lines(
    frame: Frame,
    name: str,
    title: str,
    transform: Sequence[Spec],
    *,
    axis: str,
    note: str = "",
    height: int = 220,
    digits: int = 4,
    has_zero: bool = True,
    is_filled: bool = False,
) -> Chart:
    """Return lines over the eras, one for each model.

    Parameters
    ----------
    transform : sequence of dict
        Makes the field `y` of the scores; see `summed` and others.
    axis : str
        The name of the y axis.
    has_zero : bool
        Whether the y axis always has 0.
    is_filled : bool
        Whether the area between a line and 0 is tinted.
    """
    encoding = {
        "x": _era_axis(frame),
        "y": _value_axis(axis, digits, has_zero=has_zero),
        **_by_model(frame),
    }
    mark: Spec = {"type": "line", "clip": True, "strokeWidth": 1.9, "strokeJoin": "round"}
    if len(frame.labels) <= _MAX_POINTED:
        mark["point"] = {"filled": True, "size": 34, "opacity": 1}
    drawn: list[Spec] = [{"name": "hover", "mark": mark, "encoding": encoding}]
    if is_filled:
        area = {"type": "area", "clip": True, "opacity": 0.12, "line": False}
        without_dash = {key: value for key, value in encoding.items() if key != "strokeDash"}
        drawn.insert(0, {"mark": area, "encoding": {**without_dash, "y": _stacked_at_0(encoding)}})
    lines = {"transform": [*transform, *_shown()], "layer": drawn}
    spec = _spec({"layer": [*_surroundings(frame), lines]}, height)
    return Chart(name=name, title=title, note=note, spec=spec, digits=digits)


def era_bars(frame: Frame, model: int, field: str, *, name: str, title: str, axis: str) -> Chart:
    """Return a bar for each era of one model, with the mean of the bars as a line."""
    of_model = [{"filter": f"datum.m === {model} && isValid(datum.{field})"}]
    encoding = {
        "x": _era_axis(frame),
        "y": _value_axis(axis, 4, field=field),
        "color": {"value": frame.looks[model].css},
    }
    bars: Spec = {
        "name": "hover",
        "transform": [*of_model, {"calculate": f"datum.{field}", "as": "y"}, *_shown()],
        "mark": {"type": "bar", "clip": True, "width": {"expr": _BAR_WIDTH}},
        "encoding": encoding,
    }
    mean: Spec = {
        "transform": [*of_model, *_shown()],
        "mark": {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.2},
        "encoding": {
            "y": {"field": field, "aggregate": "mean", "type": "quantitative"},
            "color": {"value": "var(--ink)"},
        },
    }
    spec = _spec({"layer": [*_surroundings(frame), bars, mean]}, 130)
    return Chart(name=name, title=title, spec=spec, digits=4)


def summed(field: str) -> list[Spec]:
    """Return the transform to the sum of a score over all eras so far."""
    window: Spec = {"window": [{"op": "sum", "field": field, "as": "y"}]}
    return [{"filter": f"isValid(datum.{field})"}, window | _IN_ORDER]


def below_top(field: str) -> list[Spec]:
    """Return the transform to how far the sum of a score is below its highest value so far."""
    window: Spec = {"window": [{"op": "max", "field": "y", "as": "top"}]}
    return [*summed(field), window | _IN_ORDER, {"calculate": "datum.y - datum.top", "as": "y"}]


def rolling(field: str, result: Literal["mean", "sharpe"]) -> list[Spec]:
    """Return the transform to the mean, or mean / std, of the last `ROLLING_ERAS` eras."""
    window: Spec = {
        "window": [
            {"op": "mean", "field": field, "as": "mean"},
            {"op": "stdevp", "field": field, "as": "std"},
            {"op": "count", "as": "n"},
        ],
        "frame": [1 - ROLLING_ERAS, 0],
    }
    return [
        {"filter": f"isValid(datum.{field})"},
        window | _IN_ORDER,
        {"filter": f"datum.n === {ROLLING_ERAS}"},
        {"calculate": "datum.mean" if result == "mean" else "datum.mean / datum.std", "as": "y"},
    ]


def plain(field: str) -> list[Spec]:
    """Return the transform to a score as it is."""
    return [{"filter": f"isValid(datum.{field})"}, {"calculate": f"datum.{field}", "as": "y"}]


# -- other charts ---------------------------------------------------------------------------------


def lines_over(
    frame: Frame,
    cells: Cells,
    *,
    name: str,
    title: str,
    axes: tuple[str, str],
    note: str = "",
    digits: int = 4,
    x_format: str = "d",
    has_zero: bool = False,
) -> Chart:
    """Return lines over the rows of a table, one for each of its columns."""
    places = [place for _, place in cells.rows]
    x_axis: Spec = {"title": axes[0], "format": x_format, "grid": False, "labelOverlap": True}
    x_axis |= {"tickCount": 8, "tickMinStep": 1} if x_format == "d" else {"values": places}
    mark: Spec = {"type": "line", "strokeWidth": 1.9}
    if len(cells.rows) <= _MAX_POINTED:
        mark["point"] = {"filled": True, "size": 34, "opacity": 1}
    drawn: Spec = {
        "name": "hover",
        "transform": [{"filter": "indexof(hidden, datum.m) < 0"}],
        "mark": mark,
        "encoding": {
            "x": {
                "field": "x",
                "type": "quantitative",
                "scale": {"domain": _around(min(places), max(places)), "nice": False},
                "axis": x_axis,
            },
            "y": _value_axis(axes[1], digits, has_zero=has_zero),
            "detail": {"field": "s"},
            **_by_model(frame),
        },
    }
    spec = _spec({"layer": [drawn]}, 220)
    return Chart(
        name=name, title=title, note=note, spec=spec, digits=digits, unit=cells.head, cells=cells
    )


def points_by_name(
    frame: Frame, cells: Cells, *, name: str, title: str, axis: str, note: str = ""
) -> Chart:
    """Return a row of points for each row of a table, one for each of its columns."""
    names = [row for row, _ in cells.rows]
    y: Spec = {
        "field": "name",
        "type": "nominal",
        "sort": names,
        "axis": {"title": None, "labelLimit": {"expr": _LABEL_LIMIT}},
    }
    points: Spec = {
        "name": "hover",
        "transform": [{"filter": "indexof(hidden, datum.m) < 0"}],
        "mark": {"type": "point", "filled": True, "size": 75, "opacity": 0.95},
        "encoding": {
            "y": y | {"axis": y["axis"] | {"grid": True}},
            "x": {
                "field": "y",
                "type": "quantitative",
                "axis": {"title": axis, "format": ".3~f", "tickCount": 4, "grid": False},
            },
            "color": _by_model(frame)["color"],
        },
    }
    zero: Spec = {"data": {"values": [{}]}, "mark": "rule"}
    zero["encoding"] = {"x": {"datum": 0}, "color": {"value": "var(--muted)"}}
    spec = _spec({"layer": [zero, points]}, 20 * len(names))
    return Chart(
        name=name,
        title=title,
        note=note,
        spec=spec,
        digits=4,
        unit="",
        along="y",
        cells=cells,
    )


def timeline(
    names: Sequence[str], spans: Sequence[Mapping[str, Any]], labels: Sequence[str], first: int
) -> Chart:
    """Return a bar of time for each run or fold: eras trained on, left out, scored.

    Parameters
    ----------
    names : sequence of str
        Of the bars, from the top.
    spans : sequence of dict
        A part of a bar: its `name`, its first and its last position (`low`, `high`) among the
        labels, and its `part`.
    labels : sequence of str
        All eras, in the order of time.
    first : int
        The position of the first label.
    """
    parts = ["trained on", "embargo", "scored"]
    bars: Spec = {
        "data": {"values": [{**span, "end": span["high"] + 1} for span in spans]},
        "mark": {"type": "bar", "height": 12},
        "encoding": {
            "y": {
                "field": "name",
                "type": "nominal",
                "sort": list(names),
                "axis": {"title": None, "labelLimit": {"expr": _LABEL_LIMIT}},
            },
            "x": {
                "field": "low",
                "type": "quantitative",
                "scale": {"domain": [first, first + len(labels)], "nice": False},
                "axis": {**_era_ticks(labels), "grid": False},
            },
            "x2": {"field": "end"},
            "color": {
                "field": "part",
                "type": "nominal",
                "scale": {"domain": parts, "range": ["var(--c0)", "var(--embargo)", "var(--c4)"]},
                "legend": {"title": None, "orient": "top", "symbolType": "square"},
            },
        },
    }
    spec = _spec({"layer": [bars]}, 24 * len(names) + 6)
    spec["params"] = [{"name": "labels", "value": list(labels)}, {"name": "first", "value": first}]
    return Chart(name="timeline", title="Eras of each run", spec=spec, digits=0)


# -- for a picture --------------------------------------------------------------------------------


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
        Of the models; the page has a legend of its own.
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


def cell_rows(cells: Cells) -> list[dict[str, Any]]:
    """Return the rows of a chart's own table, as the page reads them."""
    return [
        {"m": model, "s": column, "j": j, "name": row, "x": place, "y": value}
        for j, ((row, place), line) in enumerate(zip(cells.rows, cells.values, strict=True))
        for (column, model), value in zip(cells.columns, line, strict=True)
        if value == value
    ]


def with_note(chart: Chart, note: str) -> Chart:
    """Return a chart with another note."""
    return replace(chart, note=note)


_IN_ORDER: Spec = {"groupby": ["m"], "sort": [{"field": "i", "order": "ascending"}]}
_LABEL_LIMIT = "max(110, min(300, 0.45 * width))"
_BAR_WIDTH = "max(1, 0.8 * width / max(12, hi - lo))"
_CONFIG: Spec = {
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


def _spec(drawn: Spec, height: int) -> Spec:
    return {
        "data": {"name": "rows"},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 2, "right": 8, "top": 4, "bottom": 2},
        "config": _CONFIG,
        **drawn,
    }


def _shown() -> list[Spec]:
    """Return the transform that leaves what the reader wants to see.

    One era more on each side lets lines run to the border.
    """
    return [
        {"filter": "indexof(hidden, datum.m) < 0"},
        {"filter": "datum.i >= lo - 1 && datum.i <= hi + 1"},
    ]


def _surroundings(frame: Frame) -> list[Spec]:
    """Return the zero line, the embargoes and the borders of folds."""
    drawn: list[Spec] = []
    x = _era_axis(frame)
    if frame.embargoes:
        spans = [{"from": low - 0.5, "to": high + 0.5} for low, high in frame.embargoes]
        drawn.append(
            {
                "data": {"values": spans},
                "mark": {"type": "rect", "clip": True, "opacity": 0.16},
                "encoding": {
                    "x": {**x, "field": "from"},
                    "x2": {"field": "to"},
                    "color": {"value": "var(--embargo)"},
                },
            }
        )
    if frame.borders:
        drawn.append(
            {
                "data": {"values": [{"at": border - 0.5} for border in frame.borders]},
                "mark": {"type": "rule", "clip": True, "strokeDash": [2, 3]},
                "encoding": {"x": {**x, "field": "at"}, "color": {"value": "var(--muted)"}},
            }
        )
    return drawn


def _era_axis(frame: Frame) -> Spec:
    return {
        "field": "i",
        "type": "quantitative",
        "scale": {
            "domainMin": {"expr": "lo"},
            "domainMax": {"expr": "hi"},
            "nice": False,
            "zero": False,
        },
        "axis": {**_era_ticks(frame.labels), "grid": False},
    }


def _era_ticks(labels: Sequence[str]) -> Spec:
    longest = max(map(len, labels), default=1)
    return {
        "title": "era",
        "labelExpr": "labels[datum.value - first] || ''",
        "tickMinStep": 1,
        "tickCount": {"expr": f"max(2, width / {_LETTER * longest + _BETWEEN})"},
        "labelOverlap": True,
        "labelFlush": True,
    }


def _value_axis(title: str, digits: int, *, field: str = "y", has_zero: bool = True) -> Spec:
    shown = {"titleAngle": 0, "titleAlign": "left", "titleX": 0, "titleY": -6}
    shown |= {"titleBaseline": "bottom"}
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"zero": has_zero},
        "axis": {"title": title, "format": f".{digits}~f", "tickCount": 5, **shown},
    }


def _stacked_at_0(encoding: Mapping[str, Any]) -> Spec:
    """Return the y axis of an area that isn't stacked on other models' areas."""
    return {**encoding["y"], "stack": None}


def _by_model(frame: Frame) -> Spec:
    """Return the colours and dashes of the models."""
    models = list(range(len(frame.looks)))
    colours = [look.css for look in frame.looks]
    dashes = [look.dash for look in frame.looks]
    common = {"field": "m", "type": "nominal", "legend": None}
    return {
        "color": {**common, "scale": {"domain": models, "range": colours}},
        "strokeDash": {**common, "scale": {"domain": models, "range": dashes}},
    }


def _around(low: float, high: float) -> list[float]:
    """Return a domain with a margin."""
    margin = 0.03 * (high - low) or 1
    return [low - margin, high + margin]


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
