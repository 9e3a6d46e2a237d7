"""The trials that a sweep gets, and their settings in words: in tables and in names of folders.

Takes settings; returns trials and text. Writes nothing.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import RunError, listed
from .record import Trial

_MIN_DIGITS = 3  # of a trial's number
_MAX_VALUE, _MAX_NAME = 32, 100  # letters in the name of a folder


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
