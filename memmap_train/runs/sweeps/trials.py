"""The trials of a sweep: their settings, as text too, and the names of their folders.

Names are stable: a sweep that grows keeps its trials and adds others after them. Touches no files.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ...errors import RunError, listed

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


def grown_trials(
    old: Sequence[Trial], settings: Sequence[Mapping[str, Any]], path: Path
) -> list[Trial]:
    """Return the trials of a sweep: those that it has, then those that are new.

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
    new = [of_trial for identity, of_trial in asked.items() if identity not in known]
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
