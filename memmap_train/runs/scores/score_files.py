"""The CSV files of scores in a run's folder, with rows per epoch, per scoring and per era.

Takes rows; writes files, or returns their rows. Numbers are written with all their digits.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ...errors import RunError, listed
from ..files import damaged, read_csv, write_csv
from .monitor import MONITORS, further_score

HISTORY_COLUMNS = (
    "epoch",
    "loss",
    "val_corr_mean",
    "val_corr_std",
    "val_corr_sharpe",
    "val_max_drawdown",
    "val_corr_positive",
    "val_pearson_mean",
    "val_pearson_std",
    "val_pearson_sharpe",
    "val_pearson_max_drawdown",
    "val_pearson_positive",
    "learning_rate",
    "seconds",
    "rows_per_second",
    "data_wait",
)
ERA_SCORE_COLUMNS = ("era", "target", "numerai_corr", "pearson")

EraRow = tuple[str, str, float, float, *tuple[float, ...]]
"""A row of `era_scores.csv`: the era, the target, and its scores."""


def history_columns(monitor: str) -> tuple[str, ...]:
    """Return the columns of `history.csv` in a run that monitors a score.

    They are `HISTORY_COLUMNS`, and where a further score is monitored those of this score.

    >>> added = set(history_columns("val_bmc_mean")).difference(HISTORY_COLUMNS)
    >>> sorted(added)[:3]
    ['val_bmc_max_drawdown', 'val_bmc_mean', 'val_bmc_positive']
    """
    score, place = further_score(monitor), HISTORY_COLUMNS.index("learning_rate")
    added = [name for name in MONITORS if score is not None and further_score(name) == score]
    return (*HISTORY_COLUMNS[:place], *added, *HISTORY_COLUMNS[place:])


def step_score_columns(monitor: str) -> tuple[str, ...]:
    """Return the columns of `step_scores.csv` in a run that monitors a score.

    Scores inside epochs have a file of their own, since rows of two kinds are awkward to read.
    """
    columns = history_columns(monitor)
    return ("step", *columns[: columns.index("seconds")])


def era_score_columns(monitor: str) -> tuple[str, ...]:
    """Return the columns of `era_scores.csv` in a run that monitors a score.

    >>> era_score_columns("val_mmc_std")
    ('era', 'target', 'numerai_corr', 'pearson', 'mmc')
    """
    score = further_score(monitor)
    return ERA_SCORE_COLUMNS if score is None else (*ERA_SCORE_COLUMNS, score)


def read_history(path: Path, monitor: str) -> list[dict[str, float]]:
    """Return the rows of a `history.csv`; none if there is no file.

    Parameters
    ----------
    path : Path
    monitor : str
        The score that the run monitors.

    Raises
    ------
    RunError
        The file isn't what `write_history` writes.
    """
    try:
        columns, *lines = read_csv(path)
    except FileNotFoundError:
        return []
    if missing := [name for name in history_columns(monitor) if name not in columns]:
        raise damaged(path, f"it has no column {listed(missing, most=3)}")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = {name: float(cell) for name, cell in zip(columns, line, strict=True)}
        except ValueError:
            raise damaged(
                path, f"line {number + 1}: expected {len(columns)} numbers, found {line!r:.60}"
            ) from None
        if row["epoch"] != number:
            raise damaged(
                path, f"line {number + 1}: expected epoch {number}, found {row['epoch']:g}"
            )
        rows.append(row)
    return rows


def write_history(path: Path, rows: Iterable[Mapping[str, float]], monitor: str) -> None:
    """Write a `history.csv`: a row per epoch, with `history_columns`."""
    _write_rows(path, history_columns(monitor), rows)


def write_step_scores(path: Path, rows: Iterable[Mapping[str, float]], monitor: str) -> None:
    """Write a `step_scores.csv`: a row per scoring, with `step_score_columns`."""
    _write_rows(path, step_score_columns(monitor), rows)


def _write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, float]]) -> None:
    write_csv(path, columns, ([repr(row[name]) for name in columns] for row in rows))


def read_era_scores(path: Path, monitor: str) -> list[EraRow]:
    """Return the rows of an `era_scores.csv`, with `era_score_columns`.

    Raises
    ------
    RunError
        The file is missing, or isn't what `write_era_scores` writes.
    """
    n_columns = len(era_score_columns(monitor))
    try:
        _, *lines = read_csv(path)
        if faulty := [line for line in lines if len(line) != n_columns]:
            raise ValueError(f"expected {n_columns} cells, found {faulty[0]!r:.60}")
        return [
            (era, target, float(corr), float(plain), *map(float, further))
            for era, target, corr, plain, *further in lines
        ]
    except FileNotFoundError:
        raise RunError(
            f"{path}: there are no scores: expected a finished run, which writes them; train with "
            "resume=True, or --resume, until it is"
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: the scores can't be read: {error}; train again") from error


def write_era_scores(path: Path, rows: Iterable[EraRow], monitor: str) -> None:
    """Write an `era_scores.csv`, with `era_score_columns`; NaN where a score is undefined."""
    lines = ([era, target, *map(repr, scores)] for era, target, *scores in rows)
    write_csv(path, era_score_columns(monitor), lines)
