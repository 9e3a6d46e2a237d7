"""Fixtures of interrupted conversions: a source, and the digest that it must come to."""

from pathlib import Path

import pytest

from memmap_train.conversion.conversion import convert
from tests.support.interruptions import write_source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path)


@pytest.fixture
def undisturbed(source: Path) -> str:
    """Return the digest that every conversion of the source must come to."""
    return convert(source, source.with_name("undisturbed")).dataset.manifest.digest
