"""The picture of a run: its validation scores per era and their cumulative sum.

Takes the scores that a run's folder holds; draws a PNG file beside them. Draws with matplotlib
(of the extra `report`), which is imported when a picture is drawn; without it there is no picture,
and that is no error. Nothing about a picture ends a run: what goes wrong becomes a warning.
"""

import warnings
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Float64
from ..files import replacing
from ..run import Run
from ..scores.summary import summary

INK, MUTED, _GRID = "#1f2933", "#7b8794", "#e4e7eb"
SCORE, BEST, _FOLD = "#0b69a3", "#de911d", "#9446ed"
_SIZE_INCHES, _DOTS_PER_INCH = (9.6, 5.4), 150  # 1,440 x 810
_HEIGHTS = (5, 2)  # of the cumulative score and of the eras below it
_LONGEST_TITLE = 66  # letters of that size in that width
_LONGEST_ERA = 25  # a timestamp has 19 letters
_MAX_TICKS, _TICKS_LETTERS = 9, 110
_DOTTED = (0, (2, 3))


def draw_run(
    run: Run, *, best_epoch: int | None, best_possible: float | None, warn: Callable[[str], None]
) -> Path | None:
    """Draw the scores of a run's folder into its picture.

    Parameters
    ----------
    run : Run
        Its `era_scores.csv` is written.
    best_epoch : int or None
        Whose scores they are; None for a run of folds or seeds.
    best_possible : float or None
        The best mean that a model can expect, drawn as a line.
    warn : callable
        Called with one line when the picture can't be drawn.

    Returns
    -------
    Path or None
        None where there is no picture: matplotlib isn't installed, or the picture failed.
    """
    try:
        run.chart_path.unlink(missing_ok=True)  # of fewer epochs: worse than none
        target, folds = run.record.main_target, run.folds
        rows = [row for row in run.read_era_scores() if row[1] == target]
        parts = [f"{len(run.seeds)} seeds together"] if run.seeds else []
        parts += [f"{len(folds)} folds, out of fold"] if folds else []
        what = ", ".join(parts) or f"epoch {best_epoch}"
        ends = list(accumulate(len(fold.validation) for fold in folds))
        return draw_scores(
            run.chart_path,
            [row[0] for row in rows],
            [row[2] for row in rows],
            title=f"{run.path.name}: {target}, {what}",
            best_possible=best_possible,
            boundaries=ends[:-1],
        )
    except Exception as error:  # fonts, settings, a full disk: the run is worth more
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        warn(
            f"{run.chart_path}: the picture can't be drawn: {reason}; all else is written, and "
            "--resume draws it once it can be"
        )
        return None


def draw_scores(
    path: Path,
    eras: Sequence[str],
    scores: Sequence[float] | Float64,
    *,
    title: str,
    best_possible: float | None = None,
    boundaries: Sequence[int] = (),
) -> Path | None:
    """Draw the score of the eras, and its sum so far above it, into a PNG file.

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
    figure = figure_of(_SIZE_INCHES)
    if figure is None:
        return None
    upper, lower = figure.subplots(2, sharex=True, height_ratios=_HEIGHTS)
    known = np.asarray(scores, np.float64)
    _draw_sum(upper, known, best_possible)
    _draw_eras(lower, [shortened(_printable(era), _LONGEST_ERA) for era in eras], known)
    for axes in (upper, lower):
        for number, boundary in enumerate(boundaries):
            label = None if number else "another fold"
            axes.axvline(boundary + 0.5, color=_FOLD, linewidth=1, linestyle=_DOTTED, label=label)
        clear_axes(axes)
    # A dollar sign in a name is no formula.
    upper.set_title(
        shortened(_printable(title), _LONGEST_TITLE),
        loc="left",
        color=INK,
        fontsize=14,
        fontweight="bold",
        pad=30,  # the legend lies between, where it hides nothing
        parse_math=False,
    )
    _draw_legend(upper)
    return save_figure(figure, path)


def figure_of(size_inches: tuple[float, float]) -> Any:
    """Return a new matplotlib figure, or None where matplotlib isn't installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None

    # Figures of their own: pyplot would touch the state that a notebook shares, and MPLBACKEND.
    figure = Figure(figsize=size_inches, dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> Path:
    """Write a figure into a PNG file, there whole or not at all; return its path."""
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that no font has is drawn as a box
        figure.savefig(temporary, format="png")
    return path


def _printable(text: str) -> str:
    r"""Return a text that fonts can be asked for: names of files may hold half characters.

    >>> _printable("run \udcff")
    'run \\udcff'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shortened(text: str, most: int) -> str:
    """Return a text, with its middle cut out if it is too long.

    >>> shortened("a rather long name: target", 19)
    'a rather…e: target'
    """
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: half - 1]}…{text[-half:]}"


def _draw_sum(axes: Any, scores: Float64, best_possible: float | None) -> None:
    """Draw the cumulative score, and how far it is below its highest point so far."""
    n_eras = len(scores)
    overall = summary(scores)
    sharpe = f", Sharpe {overall.sharpe:.2f}" if isfinite(overall.sharpe) else ""
    label = f"model: mean {overall.mean:.4f}{sharpe}, max drawdown {overall.max_drawdown:.3f}"
    if best_possible is not None:
        axes.plot(
            [0, n_eras],
            [0, best_possible * n_eras],
            color=BEST,
            linewidth=1.6,
            linestyle=(0, (5, 3)),
            label=f"best possible: mean {best_possible:.4f}",
        )
    line_x = np.arange(n_eras + 1)
    line_y = np.concatenate([[0], np.cumsum(np.nan_to_num(scores))])
    axes.plot(line_x, line_y, color=SCORE, linewidth=2.2, label=label)
    axes.fill_between(line_x, np.maximum.accumulate(line_y), line_y, color=SCORE, alpha=0.12)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_ylabel("cumulative numerai_corr", color=INK)


def _draw_eras(axes: Any, eras: Sequence[str], scores: Float64) -> None:
    """Draw a bar for each era, on a scale of its own."""
    positions = np.arange(1, len(eras) + 1)
    # A single era is no wall. Of hundreds the bars touch: gaps finer than a pixel make them pale.
    width = min(0.08 * len(eras), 0.8) if len(eras) < 100 else 1.0
    axes.bar(positions, scores, width=width, color=SCORE, linewidth=0)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_ylabel("of each era", color=INK)
    axes.set_xlabel("validation era", color=INK)
    fitting = _TICKS_LETTERS // (max(map(len, eras), default=0) + 2)
    n_shown = min(len(eras), _MAX_TICKS, max(2, fitting))
    shown = np.unique(np.linspace(1, len(eras), n_shown).astype(int))
    axes.set_xticks(shown, [eras[position - 1] for position in shown], parse_math=False)
    axes.set_xlim(0, len(eras) + 0.6)


def clear_axes(axes: Any) -> None:
    """Remove the frame and draw a light grid."""
    axes.grid(axis="y", color=_GRID)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _draw_legend(axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: not labels[i].startswith("model"))
    axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        ncols=len(labels),
        frameon=False,
        labelcolor=INK,
    )
