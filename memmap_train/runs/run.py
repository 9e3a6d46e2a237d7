"""The folder of a run, with its files and paths. Imports no TensorFlow.

::

    RUN/
      config.json      the record: everything that is decided before the first step
      history.csv      a row per epoch: loss, validation scores, rates
      step_scores.csv  with validation_steps: a row per scoring, inside epochs and at their ends
      era_scores.csv   the best epoch's scores: era,target,numerai_corr,pearson
      model.keras      the best epoch's model
      initial.keras    a copy of the saved model that the run began with, if it did
      checkpoints/     see `checkpoints`
      tensorboard/     with tensorboard: a log of the scores
      baseline/        the ridge regression to compare with, an ordinary run; see `baseline`
      state.json       the result; only a finished run has it
      .lock            exists while a process trains the run, see `lock`

A run of folds has no history, model and checkpoints itself: its `config.json` lists the `folds`,
its `era_scores.csv` has the scores of all of them, and `fold-01/`, `fold-02/` … are ordinary runs.
So it is with a run of seeds: `seed-01/`, `seed-02/` … are ordinary runs or runs of folds, and the
scores are those of all seeds' models together.

Each file is written under a temporary name and renamed, so that it is complete or absent even if
the process is killed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..dataset.format import FILE_NAME
from ..errors import ConfigError, RunError
from ..system.durable import sync_directory
from ..system.junk import names_in
from ..system.paths import checked_path
from .configuration.config import TrainConfig
from .configuration.defaults import VALUES_BEFORE
from .files import (
    CHECKPOINTS_NAME,
    CONFIG_NAME,
    SWEEP_NAME,
    damaged,
    read_json,
    unwritable,
    write_json,
)
from .folds.fold import Fold
from .record import FORMAT, FORMAT_VERSION, RunRecord, faults_of_record
from .scores.score_files import (
    EraRow,
    read_era_scores,
    read_history,
    write_era_scores,
    write_history,
    write_step_scores,
)

_RESULT_SCORES = ("corr_mean", "corr_std", "corr_sharpe")

_STATE, _HISTORY, _STEP_SCORES, _ERA_SCORES = (
    "state.json",
    "history.csv",
    "step_scores.csv",
    "era_scores.csv",
)


class NewerRunError(RunError):
    """A run that was made by a newer version of this package."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder, as `read_run` returns it, or `run_folder` for one to be trained.

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
        """The folds of a run of folds, or of each of its seeds, in order; otherwise empty."""
        return self.record.folds

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of a run of seeds, in order; empty for other runs."""
        return self.record.seeds

    @property
    def part_paths(self) -> tuple[Path, ...]:
        """The folders of the runs that it consists of: of its seeds, or else of its folds."""
        name, parts = ("seed", self.seeds) if self.seeds else ("fold", self.folds)
        return tuple(self.path / f"{name}-{number:02}" for number in range(1, len(parts) + 1))

    @property
    def resume_command(self) -> str:
        """The command that trains the run to its end."""
        flags = "".join(f" {flag}" for flag in (self.record.flags, "--resume") if flag)
        return f"memmap-train train {self.record.dataset} --run {self.path}{flags}"

    def train_config(self) -> TrainConfig:
        """Return the configuration of the run, with everything decided that was left open.

        The validation eras of a run of folds follow from the folds: they are None.

        Raises
        ------
        RunError
            The record has values that a configuration can't have.
        """
        values = {**VALUES_BEFORE, **self.record.to_json()}
        values |= {"validation_eras": None} if self.folds else {}
        known = {key.name: values[key.name] for key in fields(TrainConfig) if key.name in values}
        known.setdefault("baseline", "none")  # as runs of earlier versions have it
        try:
            return TrainConfig(**known)
        except ConfigError as error:
            raise damaged(self.path / CONFIG_NAME, str(error)) from None

    @property
    def model_path(self) -> Path:
        """The path of the best epoch's model."""
        return self.path / "model.keras"

    @property
    def initial_path(self) -> Path:
        """The path of the copy of the saved model that the run began with, if it did."""
        return self.path / "initial.keras"

    @property
    def checkpoint_dir(self) -> Path:
        """The folder of checkpoints."""
        return self.path / CHECKPOINTS_NAME

    @property
    def baseline_path(self) -> Path:
        """The folder of the run to compare with, which lies in that of the run."""
        return self.path / "baseline"

    @property
    def tensorboard_dir(self) -> Path:
        """The folder of the log for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def chart_path(self) -> Path:
        """The path of the picture of the validation scores."""
        return self.path / "validation.png"

    @property
    def report_path(self) -> Path:
        """The path of the page of the official scores."""
        return self.path / "report.html"

    def read_result(self) -> dict[str, Any] | None:
        """Return the result that `finish` wrote, or None if the run isn't finished.

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
        """Return True if no file of a finished run is missing, those of its parts included."""
        names = [_ERA_SCORES] if self.part_paths else [self.model_path.name, _HISTORY, _ERA_SCORES]
        if not all((self.path / name).exists() for name in names):
            return False
        try:
            return all(
                self._has_part(number, part) and part.read_result() and part.has_results()
                for number, part in enumerate(map(read_run, self.part_paths))
            )
        except RunError:
            return False

    def _has_part(self, number: int, part: "Run") -> bool:
        """Return True if a run is the one at a position among this one's seeds or folds."""
        if not self.seeds:
            return part.record.fold == self.folds[number]
        same_eras = (part.record.fold, part.folds) == (self.record.fold, self.folds)
        return same_eras and part.record.seed == self.seeds[number]

    def is_untrained(self) -> bool:
        """Return True if nothing was trained: the run failed, or was killed, at its first step.

        A run of folds or seeds is untrained if all these are.
        """
        paths = [self.path / name for name in (_STATE, _HISTORY, _ERA_SCORES)]
        if any(path.exists() for path in (*paths, self.model_path)):
            return False
        if self.checkpoint_dir.is_dir() and names_in(self.checkpoint_dir):
            return False
        begun = (path for path in self.part_paths if (path / CONFIG_NAME).exists())
        return all(read_run(path).is_untrained() for path in begun)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result, which makes the run a finished one. It is the last file to be written.

        NaN becomes null, since JSON has no NaN.
        """
        undefined = {name for name, value in result.items() if value != value}
        known = {name: None if name in undefined else value for name, value in result.items()}
        write_json(self.path / _STATE, known)

    def reopen(self) -> None:
        """Make a finished run an unfinished one, so that it can be trained for more epochs.

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
        """Return the rows of `history.csv`; none before the first epoch has ended."""
        return read_history(self.path / _HISTORY, self.record.monitor)

    def write_history(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Write `history.csv`: a row per epoch."""
        write_history(self.path / _HISTORY, rows, self.record.monitor)

    def write_step_scores(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Write `step_scores.csv`: a row per scoring inside an epoch or at its end."""
        write_step_scores(self.path / _STEP_SCORES, rows, self.record.monitor)

    def read_era_scores(self) -> list[EraRow]:
        """Return the rows of `era_scores.csv`: era, target, numerai_corr, pearson.

        Where a further score is monitored, it is the fifth.
        """
        return read_era_scores(self.path / _ERA_SCORES, self.record.monitor)

    def write_era_scores(self, rows: Iterable[EraRow]) -> None:
        """Write `era_scores.csv`: a row per era and target; NaN where a score is undefined."""
        write_era_scores(self.path / _ERA_SCORES, rows, self.record.monitor)


def read_run(path: Path) -> Run:
    """Open the folder of a run.

    Raises
    ------
    RunError
        There is no run, or its record can't be read; `NewerRunError` if a newer version of this
        package has written it.
    """
    checked_path(path, RunError)
    try:
        values = read_json(path / CONFIG_NAME)
    except (FileNotFoundError, NotADirectoryError):
        found = "the folder has no config.json" if path.is_dir() else "there is no such folder"
        if (path / FILE_NAME).exists():
            found = "it is a dataset"
        if (path / SWEEP_NAME).exists():
            found = "it is a sweep, whose runs are in its folders"
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
    """Return True if a path is a file that a run has written into its folder."""
    names = (CONFIG_NAME, _STATE, _HISTORY, _STEP_SCORES, _ERA_SCORES)
    return path.name in names and (path.parent / CONFIG_NAME).exists()
