"""The picture of a sweep: the score of its trials over each key that they vary in.

Takes the folder of a sweep; draws a PNG file into it. Like the picture of a run (see `chart`) it is
drawn with matplotlib, without which there is none; what goes wrong becomes a warning.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..reports.chart import BEST, INK, MUTED, SCORE, clear_axes, figure_of, save_figure, shortened
from ..scores.monitor import MONITORS
from .record import SWEEP_CHART, read_sweep
from .table import describe_sweep, varied_keys
from .trials import value_text

_MAX_PANELS, _MAX_COLUMNS = 9, 3
_PANEL_INCHES = (4.8, 3.6)
_MAX_TICK_LETTERS, _MAX_TICKS_UPRIGHT = 18, 24
_MIN_RATIO_OF_LOGARITHMS = 10
_MIN_NUMBERS_OF_AN_AXIS = 6  # fewer values than these are drawn side by side


def draw_sweep(path: Path, *, warn: Callable[[str], None]) -> Path | None:
    """Draw the scores of a sweep into its folder.

    Parameters
    ----------
    path : Path
        The folder of the sweep.
    warn : callable
        Called with one line when the picture can't be drawn.

    Returns
    -------
    Path or None
        None if there is no picture: matplotlib isn't installed, no trial has a score yet, trials
        differ in the seed alone, or the picture failed.
    """
    file = path / SWEEP_CHART
    try:
        file.unlink(missing_ok=True)
        rows = [row for row in describe_sweep(path) if row["score"] is not None]
        rows.sort(key=lambda row: str(row["trials"][0]))  # as values were listed
        keys = varied_keys(read_sweep(path))
        return _draw(file, rows, keys[:_MAX_PANELS]) if rows and keys else None
    except Exception as error:  # fonts, settings, a full disk: the sweep is worth more
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        warn(f"{file}: the picture can't be drawn: {reason}; all else is written")
        return None


def _draw(file: Path, rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Path | None:
    n_columns = min(len(keys), _MAX_COLUMNS)
    n_lines = -(-len(keys) // n_columns)
    width, height = _PANEL_INCHES
    figure = figure_of((max(width * n_columns, 7.2), height * n_lines + 0.6))
    if figure is None:
        return None
    panels = figure.subplots(n_lines, n_columns, sharey=True, squeeze=False)
    name, over = rows[0]["score_name"], rows[0]["standard_error_over"]
    for place, axes in enumerate(panels.flat):
        if place < len(keys):
            _draw_key(axes, rows, keys[place])
            if place % n_columns == 0:
                axes.set_ylabel(name, color=INK)
        else:
            axes.set_visible(False)
    figure.suptitle(
        shortened(f"{file.parent.name}: {name} of {len(rows)} settings", 22 * n_columns + 20),
        x=0.01,
        ha="left",
        color=INK,
        fontsize=14,
        fontweight="bold",
        parse_math=False,
    )
    handles, labels = panels.flat[0].get_legend_handles_labels()
    labels = [label.format(over=over) for label in labels]
    figure.legend(
        handles,
        labels,
        loc="outside lower left",
        ncols=len(labels),
        frameon=False,
        labelcolor=INK,
    )
    return save_figure(figure, file)


def _draw_key(axes: Any, rows: Sequence[Mapping[str, Any]], key: str) -> None:
    """Draw the score of each setting over the values of a key, and the mean of each value."""
    values = [row["settings"].get(key) for row in rows]
    places, ticks = _places(values)
    scores = np.array([row["score"] for row in rows])
    errors = np.array([row["standard_error"] or 0.0 for row in rows])
    # Settings of one value lie side by side, so that their errors can be seen.
    shifts = np.zeros(len(rows))
    if ticks is not None:
        for place in set(places):
            same = [i for i, other in enumerate(places) if other == place]
            reach = min(0.3, 0.04 * len(same))
            shifts[same] = np.linspace(-reach, reach, len(same)) if len(same) > 1 else 0.0
    x = np.array(places) + shifts
    axes.errorbar(
        x,
        scores,
        yerr=errors,
        fmt="o",
        color=SCORE,
        alpha=0.55,
        markersize=5,
        linewidth=0,
        elinewidth=1.2,
        markeredgewidth=0,
        label="settings, ± their standard error over {over}",
    )
    if ticks is not None:
        _draw_means(axes, places, scores)
    is_smaller_better = MONITORS[rows[0]["score_name"]]
    best = int(np.argmin(scores) if is_smaller_better else np.argmax(scores))
    axes.plot(x[best], scores[best], "o", color=BEST, markersize=8, zorder=3, label="the best")
    if ticks is None:
        axes.set_xscale("log" if _is_wide(values) else "linear")
    else:
        labels = [shortened(value_text(value), _MAX_TICK_LETTERS) for value in ticks]
        is_crowded = sum(map(len, labels)) > _MAX_TICKS_UPRIGHT
        axes.set_xticks(
            range(len(ticks)),
            labels,
            rotation=30 if is_crowded else 0,
            ha="right" if is_crowded else "center",
            parse_math=False,
        )
        axes.set_xlim(-0.6, len(ticks) - 0.4)
    axes.set_xlabel(key, color=INK, parse_math=False)
    clear_axes(axes)


def _draw_means(axes: Any, places: Sequence[float], scores: Any) -> None:
    """Draw the mean score of each value of a key, where it has several."""
    means = {
        place: float(np.mean([s for s, at in zip(scores, places, strict=True) if at == place]))
        for place in sorted(set(places))
    }
    if len(means) == len(scores):
        return
    for number, (place, mean) in enumerate(means.items()):
        label = None if number else "the mean of all settings with this value"
        axes.hlines(mean, place - 0.38, place + 0.38, color=MUTED, linewidth=2, label=label)


def _places(values: Sequence[Any]) -> tuple[list[float], list[Any] | None]:
    """Return where values lie on an axis, and what to write there; None: numbers along it."""
    different = []
    for value in values:
        if value not in different:
            different.append(value)
    are_numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in different)
    if are_numbers and len(different) > _MIN_NUMBERS_OF_AN_AXIS:
        return [float(value) for value in values], None
    ordered = sorted(different) if are_numbers else different
    return [float(ordered.index(value)) for value in values], ordered


def _is_wide(values: Sequence[float]) -> bool:
    """Return True if numbers are above 0 and of different orders of magnitude."""
    return min(values) > 0 and max(values) / min(values) >= _MIN_RATIO_OF_LOGARITHMS
