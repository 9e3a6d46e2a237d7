"""The folder of a run: whose it is, and what is written into it. Imports no TensorFlow.

::

    RUN/
      config.json      all that was decided before the first step: flat, sorted keys
      history.csv      a row per epoch: loss, validation scores, rates
      step_scores.csv  with validation_steps: a row per scoring, inside epochs and at their ends
      era_scores.csv   the best epoch's scores: era,target,numerai_corr,pearson
      model.keras      the best epoch's model
      initial.keras    the saved model that it began with, if it did
      checkpoints/     see `checkpoints`
      tensorboard/     with tensorboard: a log of the scores
      state.json       the result; only a finished run has it
      .lock            held by the process that trains it, see `locks`

A run of folds has none of its own of history, model and checkpoints: its `config.json` lists the
`folds`, its `era_scores.csv` holds the scores of all of them, and `fold-01/`, `fold-02/` … are
ordinary runs.

In come plain values, out come files. Each is written beside its final name and renamed, so that it
is whole or absent whatever kills the process.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import ConfigError, RunError, listed
from ..system.durable import sync_directory
from ..system.junk import names_in
from ..system.paths import checked_path
from .config import TrainConfig
from .files import (
    CHECKPOINTS_NAME,
    CONFIG_NAME,
    damaged,
    read_csv,
    read_json,
    unwritable,
    write_csv,
    write_json,
)
from .folds import Fold
from .record import FORMAT, FORMAT_VERSION, RunRecord, faults_of_record

_RESULT_SCORES = ("corr_mean", "corr_std", "corr_sharpe")

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
# Rows of two kinds mixed in one file would be awkward to read: scores inside epochs have their own.
STEP_SCORE_COLUMNS = ("step", *HISTORY_COLUMNS[: HISTORY_COLUMNS.index("seconds")])
ERA_SCORE_COLUMNS = ("era", "target", "numerai_corr", "pearson")

_STATE, _HISTORY, _STEP_SCORES, _ERA_SCORES = (
    "state.json",
    "history.csv",
    "step_scores.csv",
    "era_scores.csv",
)


class NewerRunError(RunError):
    """A run that a later version of this package has made."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder; made by `begin_run`, or by `open_run`.

    Attributes
    ----------
    path : Path
        The folder.
    record : RunRecord
        The content of `config.json`.
    """

    path: Path
    record: RunRecord

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The folds of a run of folds, in order; empty for an ordinary run."""
        return self.record.folds

    def train_config(self) -> TrainConfig:
        """Return the configuration that the run began with, nothing of which is left open.

        The validation eras of a run of folds follow from the folds: they are None.

        Raises
        ------
        RunError
            The record has values that a configuration can't have.
        """
        values = self.record.to_json() | ({"validation_eras": None} if self.folds else {})
        known = {key.name: values[key.name] for key in fields(TrainConfig) if key.name in values}
        try:
            return TrainConfig(**known)
        except ConfigError as error:
            raise damaged(self.path / CONFIG_NAME, str(error)) from None

    def fold_path(self, number: int) -> Path:
        """Return the folder of a fold's run; folds are counted from 1."""
        return self.path / f"fold-{number:02}"

    @property
    def model_path(self) -> Path:
        """The best epoch's model."""
        return self.path / "model.keras"

    @property
    def initial_path(self) -> Path:
        """The saved model that it began with, if it did: a copy."""
        return self.path / "initial.keras"

    @property
    def checkpoint_dir(self) -> Path:
        """The folder of checkpoints."""
        return self.path / CHECKPOINTS_NAME

    @property
    def tensorboard_dir(self) -> Path:
        """The folder of the log for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def chart_path(self) -> Path:
        """The picture of the cumulative validation score."""
        return self.path / "validation.png"

    def read_result(self) -> dict[str, Any] | None:
        """Return what `finish` recorded, or None where the run isn't finished.

        Raises
        ------
        RunError
            The file isn't what `finish` writes.
        """
        path = self.path / _STATE
        try:
            result = read_json(path)
        except FileNotFoundError:
            return None
        for name in _RESULT_SCORES:
            if not isinstance(result.get(name), float | None):
                raise damaged(path, f"{name!r} is {result[name]!r:.40}, expected a number")
        return result

    def has_results(self) -> bool:
        """Tell whether all files are there that a finished run has, its folds' too."""
        names = [_ERA_SCORES] if self.folds else [self.model_path.name, _HISTORY, _ERA_SCORES]
        if not all((self.path / name).exists() for name in names):
            return False
        for number, fold in enumerate(self.folds, start=1):
            try:
                of_fold = open_run(self.fold_path(number))
                is_it = of_fold.record.fold == fold
                if not (is_it and of_fold.read_result() and of_fold.has_results()):
                    return False
            except RunError:
                return False
        return True

    def is_untrained(self) -> bool:
        """Tell whether nothing of a training is there: it failed, or was killed, at its first step.

        Of a run of folds: in none of them.
        """
        paths = [self.path / name for name in (_STATE, _HISTORY, _ERA_SCORES)]
        if any(path.exists() for path in (*paths, self.model_path)):
            return False
        if self.checkpoint_dir.is_dir() and names_in(self.checkpoint_dir):
            return False
        folds = (self.fold_path(number) for number in range(1, len(self.folds) + 1))
        return all(open_run(path).is_untrained() for path in folds if (path / CONFIG_NAME).exists())

    def finish(self, result: Mapping[str, Any]) -> None:
        """Record the result, which makes the run a finished one: the last thing to be written.

        JSON has no NaN: it becomes null.
        """
        undefined = {name for name, value in result.items() if value != value}
        known = {name: None if name in undefined else value for name, value in result.items()}
        write_json(self.path / _STATE, known)

    def reopen(self) -> None:
        """Make a finished run an unfinished one, because more epochs are wanted.

        Raises
        ------
        RunError
            The folder can't be written to.
        """
        try:
            (self.path / _STATE).unlink(missing_ok=True)
            sync_directory(self.path)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def read_history(self) -> list[dict[str, float]]:
        """Return the rows of `history.csv`, none where no epoch is done.

        Raises
        ------
        RunError
            The file isn't what `write_history` writes.
        """
        path = self.path / _HISTORY
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

    def write_history(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Write `history.csv`: one row per epoch, in the order of `HISTORY_COLUMNS`."""
        lines = ([repr(row[name]) for name in HISTORY_COLUMNS] for row in rows)
        write_csv(self.path / _HISTORY, HISTORY_COLUMNS, lines)

    def read_era_scores(self) -> list[tuple[str, str, float, float]]:
        """Return what `write_era_scores` wrote."""
        path = self.path / _ERA_SCORES
        try:
            _, *lines = read_csv(path)
            return [(era, target, float(corr), float(plain)) for era, target, corr, plain in lines]
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: the scores can't be read: {error}; train again") from error

    def write_step_scores(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Write `step_scores.csv`: one row per scoring, in the order of `STEP_SCORE_COLUMNS`."""
        lines = ([repr(row[name]) for name in STEP_SCORE_COLUMNS] for row in rows)
        write_csv(self.path / _STEP_SCORES, STEP_SCORE_COLUMNS, lines)

    def write_era_scores(self, rows: Iterable[tuple[str, str, float, float]]) -> None:
        """Write `era_scores.csv`: era, target, numerai_corr, pearson; NaN where undefined."""
        lines = ([era, target, repr(corr), repr(plain)] for era, target, corr, plain in rows)
        write_csv(self.path / _ERA_SCORES, ERA_SCORE_COLUMNS, lines)


def open_run(path: Path) -> Run:
    """Open the folder of a run.

    Raises
    ------
    RunError
        There is none, or its configuration can't be read; `NewerRunError` where a later version
        has written it.
    """
    checked_path(path, RunError)
    try:
        values = read_json(path / CONFIG_NAME)
    except (FileNotFoundError, NotADirectoryError):
        found = "the folder has no config.json" if path.is_dir() else "there is no such folder"
        raise RunError(
            f"{path}: not a run: {found} (a run is made by `memmap-train train DATASET --run DIR`)"
        ) from None
    if values.get("format") != FORMAT:
        raise RunError(f"{path / CONFIG_NAME}: not the configuration of a run")
    version = values.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise NewerRunError(
            f"{path / CONFIG_NAME}: format_version {version} isn't known here (expected "
            f"{FORMAT_VERSION}); upgrade with `pip install --upgrade memmap-train`"
        )
    if version != FORMAT_VERSION:
        raise damaged(
            path / CONFIG_NAME, f"format_version is {version!r:.40}, expected {FORMAT_VERSION}"
        )
    try:
        return Run(path, RunRecord.from_json(values))
    except ValidationError as error:
        raise damaged(path / CONFIG_NAME, faults_of_record(error, values)) from None


def is_file_of_run(path: Path) -> bool:
    """Tell whether a path is one of the files that a run writes into its folder."""
    names = (CONFIG_NAME, _STATE, _HISTORY, _STEP_SCORES, _ERA_SCORES)
    return path.name in names and (path.parent / CONFIG_NAME).exists()


def find_run(path: Path, *, resume: bool) -> Run | None:
    """Return the run to resume, or None where one can begin.

    Parameters
    ----------
    path : Path
    resume : bool
        Whether a run that is there may be resumed. Without, one that `is_untrained` may begin
        again.

    Raises
    ------
    RunError
        A run is there and `resume` is false, or the folder holds something else.
    """
    checked_path(path, RunError)
    try:
        if not path.exists():
            return None
        if not path.is_dir():
            raise RunError(
                f"{path}: it is a file; expected a folder for the run: choose another --run"
            )
        is_run = (path / CONFIG_NAME).exists()
    except PermissionError as error:
        raise RunError(f"{path}: can't be read: {error.strerror}; choose another --run") from None
    if is_run:
        run = open_run(path)
        if not resume:
            if run.is_untrained():  # nothing is lost
                return None
            finished = "a finished run" if run.read_result() else "a run"
            finished += " of folds" if run.folds else ""
            raise RunError(
                f"{path}: {finished} is there already; resume it with --resume, or choose "
                "another --run"
            )
        return run
    others = sorted(names_in(path))
    if others:
        raise RunError(
            f"{path}: the folder isn't a run, it holds {listed(others, most=3)}; expected a new "
            "or an empty folder: choose another --run"
        )
    return None


def begin_run(path: Path, record: RunRecord) -> Run:
    """Make the folder of a new run and write its `config.json`.

    Raises
    ------
    RunError
        The folder can't be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / CONFIG_NAME, record.to_json())
    except OSError as error:
        raise unwritable(path, error) from error
    return Run(path, record)
