"""What a sweep varies, and the settings of its trials: all combinations, or random draws of them.

Takes, by key of the configuration, a list of values or a range of numbers; returns a `SweepSpace`,
whose `settings` are decided by it and a seed alone. Does no I/O.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

import numpy as np

from ...arguments import whole_number
from ...errors import ConfigError, listed, nearest, shown
from ..configuration.config import TrainConfig
from ..configuration.config_file import PARAMS
from .ranges import Range

Settings = dict[str, Any]
"""Values by key, as JSON has them; `model_params.NAME` is one of the `model_params`."""

SEED = "seed"
MAX_TRIALS = 10_000
_FIXED = {
    "validation_eras": "all trials are scored on the same eras, or their scores can't be compared"
}
_SWEEP_PURPOSE = 23  # of the seed of draws


@dataclass(frozen=True, slots=True)
class SweepSpace:
    """What a sweep varies; made by `sweep_space`.

    Attributes
    ----------
    keys : tuple of str
        What is varied, without `seed`, as it was listed.
    values : dict of str to tuple
        The values of each key, as JSON has them, without those of `seed`.
    ranges : dict of str to Range
    seeds : tuple of int
        The seeds that all settings are trained with; empty: the configuration's.
    n_runs : int or None
        The number of random draws; None: all combinations.
    """

    keys: tuple[str, ...]
    values: dict[str, tuple[Any, ...]]
    ranges: dict[str, Range]
    seeds: tuple[int, ...]
    n_runs: int | None

    def to_json(self) -> dict[str, Any]:
        """Return what is swept as it is written in a file."""
        varied = {
            key: self.ranges[key].to_json() if key in self.ranges else list(self.values[key])
            for key in self.keys
        }
        return {**varied, **({SEED: list(self.seeds)} if self.seeds else {})}

    def settings(self, seed: int) -> list[Settings]:
        """Return the settings of all trials, those with the same values one after another.

        Parameters
        ----------
        seed : int
            The seed of random draws. The first draws are the same for any `n_runs`.
        """
        found = product_of(self.values) if self.n_runs is None else self._draws(seed)
        seeds = [{SEED: number} for number in self.seeds] or [{}]
        return [{**values, **of_seed} for values in found for of_seed in seeds]

    def _draws(self, seed: int) -> Iterator[Settings]:
        """Yield different settings, as many as are to be drawn."""
        rng = np.random.default_rng([_SWEEP_PURPOSE, seed])
        seen: set[tuple[Any, ...]] = set()
        while len(seen) < (self.n_runs or 0):
            drawn: dict[str, Any] = {}
            # Draws don't depend on the order in which keys are listed.
            for key in sorted(self.keys):
                if key in self.ranges:
                    drawn[key] = self.ranges[key].draw(rng)
                else:
                    drawn[key] = int(rng.integers(len(self.values[key])))
            if tuple(drawn.values()) not in seen:
                seen.add(tuple(drawn.values()))
                yield {
                    key: drawn[key] if key in self.ranges else self.values[key][drawn[key]]
                    for key in self.keys
                }


def product_of(values: Mapping[str, tuple[Any, ...]]) -> Iterator[Settings]:
    """Yield all combinations of values; those of the last key change first.

    >>> list(product_of({"a": (1, 2), "b": ("x",)}))
    [{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'x'}]
    """
    for combination in product(*values.values()):
        yield dict(zip(values, combination, strict=True))


def with_settings(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """Return a configuration with the settings of a trial.

    >>> config = TrainConfig(model_params={"units": 64, "depth": 2})
    >>> changed = with_settings(config, {"dropout": 0.5, "model_params.units": 32})
    >>> changed.dropout, changed.model_params
    (0.5, {'units': 32, 'depth': 2})
    """
    values = config.to_dict()
    values |= {key: value for key, value in settings.items() if "." not in key}
    params = {key.partition(".")[2]: settings[key] for key in settings if "." in key}
    return TrainConfig(**(values | {PARAMS: values[PARAMS] | params}))


def sweep_space(swept: Mapping[str, Any], n_runs: int | None) -> SweepSpace:
    """Check what is to be swept, value by value.

    Parameters
    ----------
    swept : mapping
        By key of the configuration a list of its values, or ``{"min": 1e-4, "max": 1e-2, "scale":
        "log"}``. `model_params` may be a table of such lists, or its name and one of its keys may
        be joined by a dot.
    n_runs : int or None
        The number of random draws; None: all combinations are trained.

    Raises
    ------
    ConfigError
        A key is unknown, a value isn't one that it can have, or comes twice; there is nothing to
        sweep, there are too many trials, or fewer combinations than draws. All faults are named.

    Examples
    --------
    >>> space = sweep_space({"dropout": [0, 0.5], "hidden": [[8], [8, 4]], "seed": [1, 2]}, None)
    >>> [list(settings.values()) for settings in space.settings(0)][:3]
    [[0.0, [8], 1], [0.0, [8], 2], [0.0, [8, 4], 1]]
    """
    values: dict[str, tuple[Any, ...]] = {}
    ranges: dict[str, Range] = {}
    faults = []
    for key, asked in _flat(swept).items():
        try:
            _check_key(key)
            if isinstance(asked, Mapping):
                ranges[key] = _checked_range(key, asked)
            else:
                values[key] = _checked_values(key, asked)
        except ConfigError as error:
            faults.append(f"sweep.{key}: {error}")
    if faults:
        raise ConfigError("; ".join(faults))
    seeds = values.pop(SEED, ())
    if SEED in ranges:
        raise ConfigError(
            f"sweep.{SEED}: expected a list, found a range; write sweep.seed = [0, 1]"
        )
    if n_runs is not None:
        n_runs = whole_number("sweep_runs", n_runs, ConfigError, least=1, most=MAX_TRIALS)
    keys = tuple(key for key in _flat(swept) if key != SEED)
    space = SweepSpace(keys, values, ranges, seeds, n_runs)
    _check_size(space)
    return space


def _check_size(space: SweepSpace) -> None:
    """Raise a ConfigError unless there are some trials, not too many, as many as are wanted."""
    if not (space.values or space.ranges or space.seeds):
        raise ConfigError(
            "there is nothing to sweep: expected lists such as sweep.dropout = [0.1, 0.3]"
        )
    if space.ranges and space.n_runs is None:
        raise ConfigError(
            f"sweep.{next(iter(space.ranges))}: a range has no end of values: set sweep_runs, the "
            "number of random draws, or write a list"
        )
    n_values = [len(values) for values in space.values.values()]
    n_different = math.prod([*n_values, *(drawn.n_values for drawn in space.ranges.values())])
    if space.n_runs is not None and space.n_runs > n_different:
        raise ConfigError(
            f"sweep_runs: expected at most {n_different:,}, the number of different settings, "
            f"found {space.n_runs:,}; leave it out to train all of them"
        )
    n_trials = (space.n_runs or n_different) * max(1, len(space.seeds))
    if n_trials > MAX_TRIALS:
        raise ConfigError(
            f"the sweep has {n_trials:,} trials, expected at most {MAX_TRIALS:,}; set "
            "sweep_runs to train random draws of them"
        )


def _flat(swept: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is swept, with the keys of a table of `model_params` joined to its name."""
    flat: dict[str, Any] = {}
    for key, asked in swept.items():
        if key == PARAMS and isinstance(asked, Mapping):
            flat |= {f"{PARAMS}.{name}": of_name for name, of_name in asked.items()}
        else:
            flat[key] = asked
    return flat


def _check_key(key: str) -> None:
    """Check that the configuration has a key, and that it can be swept."""
    known = [field.name for field in fields(TrainConfig)]
    table, _, name = key.partition(".")
    if key not in known and not (table == PARAMS and name):
        keys = nearest(key, known) or f"; the keys are {listed(known, most=len(known))}"
        raise ConfigError(f"unknown key {key!r}{keys}")
    if key in _FIXED:
        raise ConfigError(f"it can't be swept: {_FIXED[key]}")


def _checked_values(key: str, asked: object) -> tuple[Any, ...]:
    """Return the values of a key as JSON has them."""
    if not isinstance(asked, list | tuple) or not asked:
        raise ConfigError(f"expected a list of values, found {shown(asked)}")
    values: list[Any] = []
    for number, value in enumerate(asked, start=1):
        try:
            found = _checked(key, value)
        except ConfigError as error:
            lists = f"; write a list of lists: [{asked}]" if _is_a_list_itself(key, asked) else ""
            said = str(error).removeprefix(f"{key}: ")
            raise ConfigError(f"value {number} of {len(asked)}: {said}{lists}") from None
        if found in values:
            raise ConfigError(f"value {number} of {len(asked)}: {value!r} comes twice")
        values.append(found)
    return tuple(values)


def _is_a_list_itself(key: str, asked: list[Any] | tuple[Any, ...]) -> bool:
    """Return True if the list of values is one value of the key: its lists were left out."""
    try:
        _checked(key, asked)
    except ConfigError:
        return False
    return True


def _checked_range(key: str, asked: Mapping[str, Any]) -> Range:
    """Return a range of numbers that a key can have."""
    expected = 'expected a list, or a range such as {min = 0.0001, max = 0.01, scale = "log"}'
    if unknown := sorted(set(asked) - {"min", "max", "scale"}):
        raise ConfigError(f"{expected}, found the key {listed(unknown, most=3)}")
    ends = [asked.get(end) for end in ("min", "max")]
    for end, value in zip(("min", "max"), ends, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{expected}, found {end} = {shown(value)}")
    scale = asked.get("scale", "linear")
    if scale not in ("linear", "log"):
        raise ConfigError(f'scale: expected "linear" or "log", found {shown(scale)}')
    least, most = (_checked(key, value) for value in ends)
    if isinstance(least, float) or isinstance(most, float):
        least, most = float(least), float(most)
    if not least < most:
        raise ConfigError(f"expected min below max, found {least} and {most}")
    if scale == "log" and least <= 0:
        raise ConfigError(f"expected min above 0 where the scale is logarithmic, found {least}")
    return Range(least, most, scale == "log")


def _checked(key: str, value: object) -> Any:
    """Return a value as JSON has it; it is refused if the key can't have it."""
    table, _, name = key.partition(".")
    if name:
        return TrainConfig(model_params={name: value}).to_dict()[table][name]
    return TrainConfig(**{key: value}).to_dict()[key]  # type: ignore[arg-type]
