"""Tests of the part of a file that has arrived: what of it is used, and when it is durable."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from memmap_train.numerai.download import part as part_module
from memmap_train.numerai.download.transfer import PIECE_BYTES
from memmap_train.runs.files import write_json
from tests.support.numerai_downloads import check_equal, fetch
from tests.support.numerai_server import NumeraiServer
from tests.support.numerai_transfers import BEGUN, FULL, NAME

pytest_plugins = ["tests.support.numerai_fixtures", "tests.support.numerai_transfers"]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{}",
        b"[]",
        b'{"etag": 3}',
        b"\xff",
        b'{"etag": ETAG, "n_bytes": SIZE, "durable_bytes": "x"}',
        b'{"etag": ETAG, "n_bytes": SIZE, "durable_bytes": -5}',
        b'{"etag": ETAG, "n_bytes": SIZE}',
    ],
)
def test_a_damaged_state_of_a_part_begins_from_0(
    server: NumeraiServer, big: int, begun: Path, damage: bytes
) -> None:
    tag = json.dumps(server.files[FULL, None].etag).encode()
    damage = damage.replace(b"ETAG", tag).replace(b"SIZE", str(big).encode())
    (begun / f"{NAME}.part.json").write_bytes(damage)
    assert fetch(begun, NAME).plan.files[0].state == "fetch"
    check_equal(server, begun, NAME)


@pytest.mark.parametrize("n_bytes", [0, 1, BEGUN - 1])
def test_a_part_that_was_cut_is_continued_where_it_ends(
    server: NumeraiServer, begun: Path, n_bytes: int
) -> None:
    os.truncate(begun / f"{NAME}.part", n_bytes)
    fetch(begun, NAME)
    check_equal(server, begun, NAME)
    assert server.ranges(FULL)[-1] == (f"bytes={n_bytes}-" if n_bytes else "")


def test_bytes_that_are_not_known_to_be_on_the_disk_are_not_used(
    server: NumeraiServer, begun: Path
) -> None:
    """After a power cut a file may have a length, and zeros where its last bytes should be."""
    with open(begun / f"{NAME}.part", "ab") as file:
        file.write(bytes(1000))
    fetch(begun, NAME)
    check_equal(server, begun, NAME)
    assert server.ranges(FULL)[-1] == f"bytes={BEGUN}-"


def test_a_complete_part_is_only_checked_and_moved(
    server: NumeraiServer, big: int, begun: Path
) -> None:
    content = server.files[FULL, None].content
    (begun / f"{NAME}.part").write_bytes(content)
    state = json.loads((begun / f"{NAME}.part.json").read_text())
    (begun / f"{NAME}.part.json").write_text(json.dumps({**state, "durable_bytes": big}))
    assert fetch(begun, NAME).received_bytes == 0
    check_equal(server, begun, NAME)
    assert server.ranges(FULL) == ["bytes=0-0"]


def test_a_part_of_an_older_file_goes_when_the_file_is_there(
    server: NumeraiServer, tmp_path: Path
) -> None:
    fetch(tmp_path, NAME)
    for suffix in (".part", ".part.json"):
        (tmp_path / f"{NAME}{suffix}").write_bytes(b"{}")
    fetch(tmp_path, NAME)
    check_equal(server, tmp_path, NAME)


def test_a_part_is_made_durable_while_it_grows(
    server: NumeraiServer, big: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_module, "SYNC_BYTES", PIECE_BYTES)
    recorded: list[int] = []

    def watch(path: Path, data: dict[str, Any]) -> None:
        recorded.append(data["durable_bytes"])
        write_json(path, data)

    monkeypatch.setattr(part_module, "write_json", watch)
    fetch(tmp_path, NAME)
    assert recorded[0] == 0
    assert recorded == sorted(recorded)
    assert any(PIECE_BYTES <= n_bytes < big for n_bytes in recorded)
    assert recorded[-1] == big
