"""A configuration passed by a caller in Python; anything else is an error that helps to write it.

Takes any object; returns it if it is a `TrainConfig` or None.
"""

from collections.abc import Mapping
from os import PathLike

from ...errors import ConfigError, shown
from .config import TrainConfig

_MAX_SHOWN = 200  # characters of a value in a message


def checked_config(config: object) -> TrainConfig | None:
    """Return a configuration that a caller passed, or None.

    Raises
    ------
    ConfigError
        It is something else; the error shows how to write it as a `TrainConfig`.
    """
    if config is None or isinstance(config, TrainConfig):
        return config
    found, advice = shown(config), "TrainConfig(...)"
    if isinstance(config, Mapping):
        found = type(config).__name__
        given = ", ".join(f"{key}={value!r:.60}" for key, value in config.items())
        advice = f"TrainConfig({given})" if len(given) <= _MAX_SHOWN else "TrainConfig(**config)"
    elif isinstance(config, type):
        advice = "TrainConfig()"
    elif isinstance(config, str | PathLike):
        advice = f"TrainConfig.load({str(config)!r:.{_MAX_SHOWN}})"
    raise ConfigError(f"config: expected a TrainConfig, found {found}: write {advice}")
