"""Fixtures of configurations: a file with a text."""

from pathlib import Path

import pytest

from tests.support.configurations import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a configuration file and returns its path."""

    def write_text(text: str | bytes) -> Path:
        path = tmp_path / "run.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_text
