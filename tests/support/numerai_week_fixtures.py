"""Numerai's week on loopback as a fixture, with a finished run of random weights."""

from pathlib import Path

import pytest

import memmap_train as mt
from tests.support.numerai_server import NumeraiServer
from tests.support.numerai_week import NumeraiWeek, copy_run, make_finished_run


@pytest.fixture(scope="session")
def trained(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of random weights."""
    path = tmp_path_factory.mktemp("trained") / "run"
    features = list(mt.open_dataset(sample).feature_names)
    make_finished_run(path, features, dataset=str(sample))
    return path


@pytest.fixture
def numerai(
    server: NumeraiServer,
    tmp_path: Path,
    sample_files: Path,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> NumeraiWeek:
    """Return an open round, and a folder with a finished run and a configuration."""
    monkeypatch.setattr("memmap_train.numerai.submission.upload.RETRY_SECONDS", (0.0,) * 3)
    for name, value in zip(("PUBLIC_ID", "SECRET_KEY"), server.keys, strict=True):
        monkeypatch.setenv(f"NUMERAI_{name}", value)
    copy_run(trained, tmp_path / "runs" / "one")
    numerai = NumeraiWeek(server, tmp_path, sample_files)
    numerai.write_config()
    return numerai
