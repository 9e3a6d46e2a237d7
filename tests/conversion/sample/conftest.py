"""Fixtures of the sample: one that tests only read."""

from pathlib import Path

import pytest

from memmap_train.conversion.sample import write_sample
from tests.support.samples import ERAS, FEATURES, ROWS, SEED


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, n_eras=ERAS, rows_per_era=ROWS, n_features=FEATURES, seed=SEED)
    return directory
