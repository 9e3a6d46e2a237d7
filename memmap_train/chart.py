"""The picture of a run: the cumulative validation score, era by era.

In come labels and scores, out goes a PNG file. Draws with matplotlib (of the extra `report`), which
is imported when a picture is drawn; without it there is no picture, and that is no error.
"""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .metrics import summary
from .runs import replacing

_INK, _MUTED, _GRID = "#1f2933", "#7b8794", "#e4e7eb"
_SCORE, _BEST, _FOLD = "#0b69a3", "#de911d", "#9446ed"
_SIZE_INCHES, _DOTS_PER_INCH = (9.6, 5.4), 150  # 1,440 x 810


def draw_scores(
    path: Path,
    eras: Sequence[str],
    scores: Sequence[float] | npt.NDArray[np.float64],
    *,
    title: str,
    best_possible: float | None = None,
    boundaries: Sequence[int] = (),
) -> Path | None:
    """Draw the cumulative score of the eras into a PNG file.

    Parameters
    ----------
    path : Path
        There whole or not at all.
    eras : sequence of str
        Labels, in the order of time.
    scores : sequence of float, shape (eras,)
        `numerai_corr` of each era; NaN where undefined, which adds nothing.
    title : str
    best_possible : float, optional
        The best mean that a model can expect, drawn as a line.
    boundaries : sequence of int
        How many eras lie before each fold but the first: upright lines.

    Returns
    -------
    Path or None
        None where matplotlib isn't installed.

    Raises
    ------
    OSError
        The file can't be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None

    # Figures of their own: pyplot would touch the state that a notebook shares.
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw(axes, eras, np.asarray(scores, np.float64), title, best_possible)
    for number, boundary in enumerate(boundaries):
        label = None if number else "another fold"
        axes.axvline(boundary + 0.5, color=_FOLD, linewidth=1, linestyle=(0, (2, 3)), label=label)
    _draw_legend(axes)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
    return path


def _draw(
    axes: Any,
    eras: Sequence[str],
    scores: npt.NDArray[np.float64],
    title: str,
    best_possible: float | None,
) -> None:
    total = np.cumsum(np.nan_to_num(scores))
    positions = np.arange(1, len(eras) + 1)
    overall = summary(scores)
    sharpe = f", Sharpe {overall.sharpe:.2f}" if isfinite(overall.sharpe) else ""
    label = f"model: mean {overall.mean:.4f}{sharpe}, max drawdown {overall.max_drawdown:.3f}"
    if best_possible is not None:
        axes.plot(
            [0, len(eras)],
            [0, best_possible * len(eras)],
            color=_BEST,
            linewidth=1.6,
            linestyle=(0, (5, 3)),
            label=f"best possible: mean {best_possible:.4f}",
        )
    axes.bar(positions, scores, width=0.8, color=_SCORE, alpha=0.25, label="each era")
    line_x, line_y = np.concatenate([[0], positions]), np.concatenate([[0], total])
    axes.plot(line_x, line_y, color=_SCORE, linewidth=2.2, label=label)
    axes.fill_between(line_x, np.maximum.accumulate(line_y), line_y, color=_SCORE, alpha=0.12)
    axes.axhline(0, color=_INK, linewidth=0.8)

    # A dollar sign in a name is no formula.
    axes.set_title(
        title, loc="left", color=_INK, fontsize=14, fontweight="bold", pad=12, parse_math=False
    )
    axes.set_xlabel("validation era", color=_INK)
    axes.set_ylabel("cumulative numerai_corr", color=_INK)
    shown = np.unique(np.linspace(1, len(eras), min(len(eras), 9)).astype(int))
    axes.set_xticks(shown, [eras[position - 1] for position in shown], parse_math=False)
    axes.set_xlim(0, len(eras) + 0.6)
    axes.grid(axis="y", color=_GRID)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, length=0)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _draw_legend(axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: not labels[i].startswith("model"))
    axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="upper left",
        frameon=False,
        labelcolor=_INK,
    )
