"""The model "linear": one layer without an activation."""

from typing import Any

from ...runs.configuration.config import TrainConfig
from .heads import head


def linear(features: Any, n_targets: int, config: TrainConfig) -> Any:
    """Return the outputs, shape (rows, targets), for standardised features."""
    return head(n_targets, config)(features)
