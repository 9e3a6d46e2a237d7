"""Charts over the eras: lines of all models, bars of one.

Takes a column of scores and how it is transformed; returns a `Chart`. What follows from the scores
(sums, drawdowns, rolling means) is computed by the specification. Imports nothing but the standard
library.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .chart import Chart, Frame, Spec
from .specification import MAX_POINTED, by_model, era_ticks, specification, value_axis

ROLLING_ERAS = 52
"""Eras of a rolling mean: a year of weekly eras."""

_IN_ORDER: Spec = {"groupby": ["m"], "sort": [{"field": "i", "order": "ascending"}]}

_BAR_WIDTH = "max(1, 0.8 * width / max(12, hi - lo))"


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
        What makes the field `y` of the scores; see `summed` and others.
    axis : str
        The name of the y axis.
    has_zero : bool
        Whether the y axis always has 0.
    is_filled : bool
        Whether the area between a line and 0 is tinted.
    """
    encoding = {
        "x": _era_axis(frame),
        "y": value_axis(axis, digits, has_zero=has_zero),
        **by_model(frame),
    }
    mark: Spec = {"type": "line", "clip": True, "strokeWidth": 1.9, "strokeJoin": "round"}
    if len(frame.labels) <= MAX_POINTED:
        mark["point"] = {"filled": True, "size": 34, "opacity": 1}
    drawn: list[Spec] = [{"name": "hover", "mark": mark, "encoding": encoding}]
    if is_filled:
        area = {"type": "area", "clip": True, "opacity": 0.12, "line": False}
        without_dash = {key: value for key, value in encoding.items() if key != "strokeDash"}
        drawn.insert(0, {"mark": area, "encoding": {**without_dash, "y": _stacked_at_0(encoding)}})
    lines = {"transform": [*transform, *_shown()], "layer": drawn}
    spec = specification({"layer": [*_surroundings(frame), lines]}, height)
    return Chart(name=name, title=title, note=note, spec=spec, digits=digits)


def era_bars(frame: Frame, model: int, field: str, *, name: str, title: str, axis: str) -> Chart:
    """Return a bar for each era of one model, with the mean of the bars as a line."""
    of_model = [{"filter": f"datum.m === {model} && isValid(datum.{field})"}]
    encoding = {
        "x": _era_axis(frame),
        "y": value_axis(axis, 4, field=field),
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
    spec = specification({"layer": [*_surroundings(frame), bars, mean]}, 130)
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
        "axis": {**era_ticks(frame.labels), "grid": False},
    }


def _stacked_at_0(encoding: Mapping[str, Any]) -> Spec:
    """Return the y axis of an area that isn't stacked on other models' areas."""
    return {**encoding["y"], "stack": None}
