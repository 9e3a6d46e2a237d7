"""Charts that aren't over the scored eras: lines over numbers, points by name, the eras of runs.

Takes the cells of a table; returns a `Chart`. Imports nothing but the standard library.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .chart import Cells, Chart, Frame, Spec
from .specification import MAX_POINTED, by_model, era_ticks, specification, value_axis

_LABEL_LIMIT = "max(110, min(300, 0.45 * width))"


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
    if len(cells.rows) <= MAX_POINTED:
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
            "y": value_axis(axes[1], digits, has_zero=has_zero),
            "detail": {"field": "s"},
            **by_model(frame),
        },
    }
    spec = specification({"layer": [drawn]}, 220)
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
            "color": by_model(frame)["color"],
        },
    }
    zero: Spec = {"data": {"values": [{}]}, "mark": "rule"}
    zero["encoding"] = {"x": {"datum": 0}, "color": {"value": "var(--muted)"}}
    spec = specification({"layer": [zero, points]}, 20 * len(names))
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
        The names of the bars, from the top.
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
                "axis": {**era_ticks(labels), "grid": False},
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
    spec = specification({"layer": [bars]}, 24 * len(names) + 6)
    spec["params"] = [{"name": "labels", "value": list(labels)}, {"name": "first", "value": first}]
    return Chart(name="timeline", title="Eras of each run", spec=spec, digits=0)


def _around(low: float, high: float) -> list[float]:
    """Return a domain with a margin."""
    margin = 0.03 * (high - low) or 1
    return [low - margin, high + margin]
