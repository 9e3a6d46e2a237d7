"""The CSV files of scores in a run's folder, with rows per epoch, per scoring and per era.

Takes rows; writes files, or returns their rows. Numbers are written with all their digits.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import RunError, listed
from .files import damaged, read_csv, write_csv

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
# Scores inside epochs have a file of their own, since rows of two kinds are awkward to read.
STEP_SCORE_COLUMNS = ("step", *HISTORY_COLUMNS[: HISTORY_COLUMNS.index("seconds")])
ERA_SCORE_COLUMNS = ("era", "target", "numerai_corr", "pearson")


def read_history(path: Path) -> list[dict[str, float]]:
    """Return the rows of a `history.csv`; none if there is no file.

    Raises
    ------
    RunError
        The file isn't what `write_history` writes.
    """
    try:
        columns, *lines = read_csv(path)
    except FileNotFoundError:
        return []
    if missing := [name for name in HISTORY_COLUMNS if name not in columns]:
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


def write_history(path: Path, rows: Iterable[Mapping[str, float]]) -> None:
    """Write a `history.csv`: a row per epoch, with `HISTORY_COLUMNS`."""
    write_csv(
        path, HISTORY_COLUMNS, ([repr(row[name]) for name in HISTORY_COLUMNS] for row in rows)
    )


def write_step_scores(path: Path, rows: Iterable[Mapping[str, float]]) -> None:
    """Write a `step_scores.csv`: a row per scoring, with `STEP_SCORE_COLUMNS`."""
    lines = ([repr(row[name]) for name in STEP_SCORE_COLUMNS] for row in rows)
    write_csv(path, STEP_SCORE_COLUMNS, lines)


def read_era_scores(path: Path) -> list[tuple[str, str, float, float]]:
    """Return the rows of an `era_scores.csv`: era, target, numerai_corr, pearson.

    Raises
    ------
    RunError
        The file is missing, or isn't what `write_era_scores` writes.
    """
    try:
        _, *lines = read_csv(path)
        return [(era, target, float(corr), float(plain)) for era, target, corr, plain in lines]
    except FileNotFoundError:
        raise RunError(
            f"{path}: there are no scores: expected a finished run, which writes them; train with "
            "resume=True, or --resume, until it is"
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: the scores can't be read: {error}; train again") from error


def write_era_scores(path: Path, rows: Iterable[tuple[str, str, float, float]]) -> None:
    """Write an `era_scores.csv`: era, target, numerai_corr, pearson; NaN where undefined."""
    lines = ([era, target, repr(corr), repr(plain)] for era, target, corr, plain in rows)
    write_csv(path, ERA_SCORE_COLUMNS, lines)
