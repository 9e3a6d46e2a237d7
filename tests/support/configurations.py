"""What tests of configurations share: all keys, and the line with which one is refused."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from memmap_train.errors import ConfigError
from memmap_train.runs.configuration.config import TrainConfig
from tests.support.errors import refused

Write: TypeAlias = Callable[[str | bytes], Path]
KEYS = [key.name for key in dataclasses.fields(TrainConfig)]


def refusal(path: Path | None = None, overrides: Sequence[str] = ()) -> str:
    """Return the one line with which `TrainConfig.load` refuses."""
    with refused(ConfigError) as caught:
        TrainConfig.load(path, overrides)
    return str(caught.value)
