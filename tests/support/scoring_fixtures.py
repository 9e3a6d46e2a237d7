"""Fixtures with a dataset to score, for test modules that list it in `pytest_plugins`."""

from pathlib import Path

import pandas as pd
import pytest

from tests.support.scoring_data import (
    make_scoring_dataset,
    predictions_frame,
    scoring_frame,
    write_csv,
    write_parquet,
)


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    """Return all rows of the dataset, indexed by id."""
    return scoring_frame()


@pytest.fixture(scope="session")
def scored_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the dataset, which tests only read."""
    return make_scoring_dataset(tmp_path_factory.mktemp("scoring"))


@pytest.fixture(scope="session")
def prediction_files(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two files: of all rows in order; of nine in ten rows in any order, without eras."""
    folder = tmp_path_factory.mktemp("predictions")
    write_csv(predictions_frame(frame), folder / "whole.csv")
    part = predictions_frame(frame, 1).drop(columns="era").sample(frac=0.9, random_state=1)
    write_parquet(part, folder / "part.parquet")
    return [folder / "whole.csv", folder / "part.parquet"]
