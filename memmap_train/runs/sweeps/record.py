"""The folder of a sweep: `sweep.json`, and a run for each trial. Imports no TensorFlow.

::

    SWEEP/
      sweep.json       what is swept, the configuration, and all trials, decided beforehand
      sweep.png        the picture of the scores
      001-dropout=0.1/ an ordinary run, or a run of folds, for each trial
      002-dropout=0.3/

The names of trials are stable: a sweep that grows keeps its trials and adds others after them. What
has become of a trial is in the folder of its run; `sweep.json` has the reason why one failed.
"""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ...errors import ConfigError, RunError, listed
from ...system.junk import names_in
from ...system.paths import checked_path
from ..configuration.config import TrainConfig
from ..configuration.ridge_keys import RIDGE
from ..configuration.unused_keys import with_used_keys
from ..configuration.wording import faults_in
from ..files import SWEEP_NAME, damaged, read_json, unwritable, write_json
from ..run import Run, read_run
from .space import SweepSpace, sweep_space, with_settings

SWEEP_CHART = "sweep.png"
_FORMAT, _FORMAT_VERSION = "memmap-train sweep", 1


class Trial(BaseModel):
    """One of the trainings of a sweep.

    Attributes
    ----------
    name : str
        The name of its folder.
    settings : dict
        What it has of the swept keys.
    order : dict
        How its rows are shuffled, which is the same for trials with batches of one size.
    failure : str or None
        The reason if it has failed, in one line.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    name: str
    settings: dict[str, Any]
    order: dict[str, Any] = {}
    failure: str | None = None


class SweepRecord(BaseModel):
    """The content of `sweep.json`.

    Attributes
    ----------
    swept : dict
        What is swept; see `sweep_space`.
    n_runs : int or None
        The number of random draws.
    config : dict
        The configuration that all trials share, apart from what is swept.
    folds, rolling_eras, seeds
        See `train`: each trial is a run of folds, or of seeds.
    eras : list of str
        The dataset's eras when the sweep began: later ones belong to no trial.
    trials : list of Trial
    """

    model_config = ConfigDict(frozen=True, strict=True)

    swept: dict[str, Any]
    n_runs: int | None
    config: dict[str, Any]
    folds: int | Literal["numerai"] | None
    rolling_eras: int | None
    seeds: int | None = None
    eras: list[str]
    trials: list[Trial]

    @property
    def space(self) -> SweepSpace:
        """What is swept, checked."""
        return sweep_space(self.swept, self.n_runs)

    def train_config(self) -> TrainConfig:
        """Return the configuration that all trials share."""
        return TrainConfig(**self.config)

    def config_of(self, trial: Trial) -> TrainConfig:
        """Return the configuration of a trial, without shared keys that its model doesn't have."""
        return with_used_keys(with_settings(self.train_config(), {**trial.settings, **trial.order}))

    def seeds_of(self, trial: Trial) -> int | None:
        """Return the number of seeds of a trial's run; a ridge regression has none."""
        return None if self.config_of(trial).model == RIDGE else self.seeds

    def with_failure(self, name: str, failure: str | None) -> "SweepRecord":
        """Return the record with the reason why a trial has failed, or without one."""
        trials = [
            trial.model_copy(update={"failure": failure}) if trial.name == name else trial
            for trial in self.trials
        ]
        return self.model_copy(update={"trials": trials})


def is_sweep(path: Path) -> bool:
    """Return True if a folder is that of a sweep."""
    return os.path.exists(path / SWEEP_NAME)  # False where the folder can't be read


def find_sweep(path: Path, *, resume: bool) -> SweepRecord | None:
    """Return the sweep to resume, or None if a new one can begin in a folder.

    Raises
    ------
    RunError
        There is a sweep, of which trials were trained, and `resume` is false; or the folder has
        other contents.
    """
    checked_path(path, RunError)
    if not path.exists():
        return None
    if not path.is_dir():
        raise RunError(
            f"{path}: it is a file; expected a folder for the sweep: choose another --run"
        )
    if is_sweep(path):
        record, begun = state_of_sweep(path)
        if resume:
            return record if begun else None
        if record and begun:
            raise RunError(
                f"{path}: a sweep is there already, with {len(begun):,} of "
                f"{len(record.trials):,} trials; resume it with --resume, or choose another --run"
            )
        return None
    if others := sorted(names_in(path)):
        what = "a run" if "config.json" in others else f"it holds {listed(others, most=3)}"
        raise RunError(
            f"{path}: the folder isn't a sweep, {what}; expected a new or an empty folder: choose "
            "another --run"
        )
    return None


def state_of_sweep(path: Path) -> tuple[SweepRecord | None, list[str]]:
    """Return the record of a sweep, if there is one, and the trials of which anything was trained.

    What was decided by an earlier state has to be decided again.

    Raises
    ------
    RunError
        The record, or that of a trial, can't be read.
    """
    if not is_sweep(path):
        return None, []
    record = read_sweep(path)
    return record, [trial.name for trial in record.trials if trained_run(path, trial)]


def trained_run(sweep_dir: Path, trial: Trial) -> Run | None:
    """Return the run of a trial if anything of it was trained.

    Raises
    ------
    RunError
        There is a run that can't be read.
    """
    path = sweep_dir / trial.name
    if not (path / "config.json").exists():
        return None
    run = read_run(path)
    return None if run.is_untrained() else run


def read_sweep(path: Path) -> SweepRecord:
    """Read the record of a sweep.

    Raises
    ------
    RunError
        The file can't be read, is damaged or of a newer version.
    """
    file = path / SWEEP_NAME
    values = read_json(file)
    version = values.pop("format_version", None)
    if values.pop("format", None) != _FORMAT:
        raise damaged(file, "it isn't the record of a sweep")
    if version != _FORMAT_VERSION:
        raise RunError(
            f"{file}: format_version {version!r:.40} isn't known here (expected "
            f"{_FORMAT_VERSION}); upgrade with `pip install --upgrade memmap-train`"
        )
    try:
        record = SweepRecord(**values)
        record.train_config()
    except ValidationError as error:
        schemas = SweepRecord.model_json_schema()["properties"]
        faults = [
            f"{key!r} is {found}, expected {expected}"
            for key, expected, found in faults_in(error, schemas, values)
        ]
        raise damaged(file, "; ".join(faults)) from None
    except (ConfigError, TypeError) as error:
        raise damaged(file, str(error)) from None
    return record


def write_sweep(path: Path, record: SweepRecord) -> None:
    """Write the record of a sweep.

    Raises
    ------
    RunError
        It can't be written.
    """
    marks = {"format": _FORMAT, "format_version": _FORMAT_VERSION}
    try:
        # The order of swept keys is that of the names of trials.
        write_json(path / SWEEP_NAME, {**marks, **record.model_dump()}, sorts_keys=False)
    except OSError as error:
        raise unwritable(path, error) from error
