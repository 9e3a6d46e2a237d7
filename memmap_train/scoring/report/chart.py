"""The records of a report's charts: a specification, the words around it, its numbers.

Imports nothing but the standard library.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Spec = dict[str, Any]
"""A specification of Vega-Lite, or a part of one."""

N_COLOURS = 6

_DASHES = ([1, 0], [7, 3], [2, 3], [9, 3, 2, 3])  # of models that share a colour

_BENCHMARK_DASH = [5, 4]


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
        The look of each model, in order.
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


def cell_rows(cells: Cells) -> list[dict[str, Any]]:
    """Return the rows of a chart's own table, as the page reads them."""
    return [
        {"m": model, "s": column, "j": j, "name": row, "x": place, "y": value}
        for j, ((row, place), line) in enumerate(zip(cells.rows, cells.values, strict=True))
        for (column, model), value in zip(cells.columns, line, strict=True)
        if value == value
    ]
