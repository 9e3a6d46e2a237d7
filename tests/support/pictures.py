"""Pictures of runs and sweeps, which tests draw only where they ask for them.

A picture takes as long as a small training, and hardly any test of trainings looks at it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from memmap_train.runs.reports import chart
from memmap_train.runs.sweeps import chart as sweep_chart

_figure_of = chart.figure_of


@contextmanager
def pictures(*, are_drawn: bool) -> Iterator[None]:
    """Let this process draw pictures, or none, as if matplotlib weren't installed."""

    def figure_of(size_inches: tuple[float, float]) -> Any:
        return _figure_of(size_inches) if are_drawn else None

    with (
        patch.object(chart, "figure_of", figure_of),
        patch.object(sweep_chart, "figure_of", figure_of),
    ):
        yield


@contextmanager
def failing_pictures() -> Iterator[None]:
    """Let every picture fail when it is saved."""
    with patch("matplotlib.figure.Figure.savefig", side_effect=ValueError("no fonts")):
        yield
