"""Fixtures of subsets: a source with feature sets."""

from pathlib import Path

import pytest

from tests.support.conversions import features_json
from tests.support.subsets import ERAS, SETS
from tests.support.toy import write_toy


@pytest.fixture
def source(tmp_path: Path) -> Path:
    features_json(tmp_path, SETS)
    path = tmp_path / "toy.parquet"
    write_toy(path, ERAS, n_features=6, n_targets=3, nulls=True, row_group_rows=20)
    return path
