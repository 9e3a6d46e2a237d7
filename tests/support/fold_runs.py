"""Runs of folds: their configuration, and what tests compare of them."""

from pathlib import Path
from typing import Any

from tests.support.training_data import newest_checkpoint, small_config
from tests.support.training_runs import read_csv

# Of the sample's 24 eras: (trained on, predicted) by each of two folds; 8 between are left out.
FOLDS = [(range(1, 7), range(15, 20)), (range(1, 12), range(20, 25))]


def folds_config(**changes: Any) -> Any:
    return small_config(**{"validation_eras": None} | changes)


def results_of_folds(path: Path) -> dict[str, Any]:
    """Return everything that equal runs of folds have in common, to the last bit."""
    found: dict[str, Any] = {"scores": (path / "era_scores.csv").read_bytes()}
    for fold in sorted(path.glob("fold-*")):
        newest = newest_checkpoint(fold)
        assert newest is not None
        found[fold.name] = (
            (fold / "era_scores.csv").read_bytes(),
            {name: array.tobytes() for name, array in newest.arrays.items()},
            [row["loss"] for row in read_csv(fold / "history.csv")],
        )
    return found
