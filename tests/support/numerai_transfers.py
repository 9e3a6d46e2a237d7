"""A file of several pieces at the server, and a folder in which its transfer was interrupted."""

from pathlib import Path

import pytest

from memmap_train.errors import NumeraiError
from memmap_train.numerai.download.transfer import PIECE_BYTES
from tests.support.errors import refused
from tests.support.numerai_downloads import fetch, parquet, visible
from tests.support.numerai_faults import Fault
from tests.support.numerai_server import NumeraiServer

NAME, FULL = "train.parquet", "v5.3/train.parquet"
N_ROWS = 200_000  # 1.6 MB: many pieces
CUT, BEGUN = 15 * PIECE_BYTES, 17 * PIECE_BYTES


@pytest.fixture
def big(server: NumeraiServer) -> int:
    """Give the server a file of several pieces; return its bytes."""
    return len(server.put_file(FULL, parquet(N_ROWS)).content)


def interrupt(server: NumeraiServer, folder: Path) -> None:
    """Let a download fail after the first `BEGUN` bytes of the file."""
    server.fail(Fault(name=FULL), Fault(name=FULL, cut_after=BEGUN))
    server.fail(*[Fault(name=FULL, drop=True)] * 5)
    with refused(NumeraiError, "the connection was cut, 6 times in a row", "resumes"):
        fetch(folder, NAME)
    assert server.heal() == 0
    assert visible(folder) == {f"{NAME}.part", f"{NAME}.part.json"}
    assert (folder / f"{NAME}.part").stat().st_size == BEGUN
    server.seen.clear()


@pytest.fixture
def begun(server: NumeraiServer, big: int, tmp_path: Path) -> Path:
    """Return a folder in which the first `BEGUN` bytes of the file have arrived."""
    interrupt(server, tmp_path)
    return tmp_path
