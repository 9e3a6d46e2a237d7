"""What the model of a run was trained on: a record, read from the run's folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..runs.folds.fold import Fold


@dataclass(frozen=True, slots=True, eq=False)
class Provenance:
    """What the model of a run was trained on.

    Attributes
    ----------
    config : mapping of str to any
        The whole content of the run's ``config.json``.
    folds : tuple of Fold
        The folds in order; one for an ordinary run.
    histories : tuple of tuple of mapping of str to float
        The rows of ``history.csv`` of each fold: a row for each epoch. In a run of seeds those of
        each seed, and with folds those of each fold of the first seed, of the second, and so on.
    """

    config: Mapping[str, Any]
    folds: tuple[Fold, ...]
    histories: tuple[tuple[Mapping[str, float], ...], ...]
