"""A server that answers as Numerai does, as a fixture."""

from collections.abc import Iterator

import pytest

from tests.support.numerai_downloads import put_files
from tests.support.numerai_server import NumeraiServer, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NumeraiServer]:
    """Return a server with all files of v5.3 by default, and one of v4.3; nothing waits."""
    pytest.importorskip("numerapi")
    monkeypatch.setattr("memmap_train.numerai.api.RETRY_SECONDS", (0.0, 0.0))
    monkeypatch.setattr("memmap_train.numerai.download.transfer.RETRY_SECONDS", (0.0,) * 5)
    with serving(monkeypatch) as server:
        put_files(server)
        yield server
