"""Fixtures of runs of folds: a finished one, which tests only read."""

from pathlib import Path

import pytest

from memmap_train.runs.reports.report import FoldsReport
from memmap_train.training.parts.fold_loop import train_folds
from tests.support.fold_runs import folds_config


@pytest.fixture(scope="session")
def finished(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FoldsReport]:
    """Return a run of two folds that nothing interrupted, and its report."""
    path = tmp_path_factory.mktemp("finished") / "run"
    return path, train_folds(sample, path, folds_config(), folds=2)
