"""Fixtures of the command line: a sample and its dataset, which tests only read."""

from pathlib import Path

import pytest

from memmap_train.cli.commands import main
from tests.support.cli_data import json_flag, sources


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    assert main(f"sample {folder} --eras 15 --rows-per-era 40 --features 12 --seed 3".split()) == 0
    return folder


@pytest.fixture(scope="session")
def shards(sample: Path) -> Path:
    out = sample / "shards"
    assert main(["convert", *map(str, sources(sample)), "--out", str(out), *json_flag(sample)]) == 0
    return out
