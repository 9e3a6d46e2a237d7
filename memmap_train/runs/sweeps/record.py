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

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
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
_MIN_DIGITS = 3  # of a trial's number
_MAX_VALUE, _MAX_NAME = 32, 100  # letters in the name of a folder


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


def grown_trials(
    old: Sequence[Trial],
    settings: Sequence[Mapping[str, Any]],
    path: Path,
    training_of: Callable[[Mapping[str, Any]], str] | None = None,
) -> list[Trial]:
    """Return the trials of a sweep: those that it has, then those that are new.

    Parameters
    ----------
    old : sequence of Trial
    settings : sequence of mapping
        The settings that are asked for.
    path : Path
        The folder of the sweep.
    training_of : callable, optional
        Returns a text for settings: of those that share it, one is trained.

    Raises
    ------
    RunError
        Settings of a trial aren't among those that are asked for.
    """
    asked = {_identity(of_trial): dict(of_trial) for of_trial in settings}
    lost = [trial.name for trial in old if _identity(trial.settings) not in asked]
    if lost:
        raise RunError(
            f"{path}: the sweep has trials that are no longer asked for: {listed(lost, most=3)}; "
            "resume with their values (further ones may be added), or choose another --run"
        )
    known = {_identity(trial.settings) for trial in old}
    training_of = training_of or _identity
    trained = {training_of(trial.settings) for trial in old}
    new = []
    for identity, of_trial in asked.items():
        training = training_of(of_trial)
        if identity not in known and training not in trained:
            new.append(of_trial)
            trained.add(training)
    n_digits = max(_MIN_DIGITS, len(str(len(old) + len(new))))
    return [
        *old,
        *(
            Trial(name=_trial_name(number, n_digits, of_trial), settings=of_trial)
            for number, of_trial in enumerate(new, start=len(old) + 1)
        ),
    ]


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return the settings of a trial in words.

    >>> settings_text({"learning_rate": 0.001, "hidden": [512, 256], "window_size": None})
    'learning_rate=0.001 hidden=512x256 window_size=auto'
    """
    return " ".join(f"{key}={value_text(value)}" for key, value in settings.items())


def value_text(value: object) -> str:
    """Return a value as it is shown in tables and in the names of folders.

    >>> [value_text(value) for value in (0.0003, True, None, [64, 32], [], ["a", "b"], "mse")]
    ['0.0003', 'true', 'auto', '64x32', 'none', 'a+b', 'mse']
    >>> value_text([f"feature_{number}" for number in range(500)])
    'feature_0+499 more'
    """
    if value is None:
        return "auto"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        if not value:
            return "none"
        items = [value_text(item) for item in value]
        text = ("x" if all(isinstance(item, int) for item in value) else "+").join(items)
        return text if len(text) <= _MAX_VALUE else f"{items[0]}+{len(items) - 1} more"
    if isinstance(value, dict):
        return "+".join(f"{key}={value_text(item)}" for key, item in value.items()) or "none"
    return str(value)


def _identity(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)


def _trial_name(number: int, n_digits: int, settings: Mapping[str, Any]) -> str:
    """Return the name of a trial's folder, which every file system can have.

    >>> _trial_name(7, 3, {"learning_rate": 0.001, "model": "runs/a b/model.keras"})
    '007-learning_rate=0.001-model=runs_a_b_model.keras'
    """
    parts = [f"{number:0{n_digits}}"]
    for key, value in settings.items():
        text = re.sub(r"[^A-Za-z0-9._+=-]", "_", value_text(value))[:_MAX_VALUE]
        parts.append(f"{re.sub(r'[^A-Za-z0-9._-]', '_', key)}={text}")
    return "-".join(parts)[:_MAX_NAME].rstrip(".")
