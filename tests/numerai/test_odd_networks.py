"""Tests of what networks, folders and settings do to a download that no server of Numerai would."""

import json
import os
import shutil
from pathlib import Path

import pytest

from memmap_train.errors import NumeraiError
from memmap_train.numerai.download import folder as folder_module
from memmap_train.numerai.download.transfer import MAX_RETRY_AFTER, Source, look
from tests.support.errors import refused
from tests.support.numerai_downloads import check_equal, fetch, parquet, visible
from tests.support.numerai_faults import Fault
from tests.support.numerai_server import NumeraiServer

pytest_plugins = ["tests.support.numerai_fixtures"]

NAME, FULL = "live.parquet", "v5.3/live.parquet"
AGAIN = "6 times in a row"


@pytest.mark.parametrize("location", ["ftp://x/", "file:///x"])
def test_a_redirection_to_no_address_is_one_line(
    server: NumeraiServer, tmp_path: Path, location: str
) -> None:
    elsewhere = Fault(name=FULL, status=302, headers={"Location": location})
    server.fail(*[elsewhere] * 6)
    with refused(NumeraiError, f"{FULL}: can't be fetched", AGAIN):
        fetch(tmp_path / "data", NAME)
    server.heal()
    fetch(tmp_path, NAME)
    check_equal(server, tmp_path, NAME)


@pytest.mark.parametrize("address", ["http://[::1/?SECRET", "http://a..b/?SECRET"])
def test_an_address_that_is_none_is_one_line(
    server: NumeraiServer, tmp_path: Path, address: str
) -> None:
    server.resolvers["dataset"] = lambda variables: address
    with refused(NumeraiError, f"{FULL}: can't be fetched", AGAIN) as caught:
        fetch(tmp_path, NAME)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "ignores"),
    [
        ({"Content-Length": "9" * 5000}, True),
        ({"Content-Range": f"bytes 0-0/{'9' * 5000}"}, False),
    ],
    ids=["length", "range"],
)
def test_a_length_of_thousands_of_digits_is_not_believed(
    server: NumeraiServer, tmp_path: Path, headers: dict[str, str], ignores: bool
) -> None:
    server.fail(Fault(name=FULL, headers=headers, ignore_range=ignores, cut_after=0))
    fetch(tmp_path, NAME)
    check_equal(server, tmp_path, NAME)


@pytest.mark.parametrize(
    ("asked", "seconds"), [("7", 7.0), ("9999", MAX_RETRY_AFTER), ("Sat, 1 Jan 2000", 0.0)]
)
def test_a_server_that_is_busy_is_given_the_time_it_asks_for(
    server: NumeraiServer, asked: str, seconds: float
) -> None:
    waits: list[float] = []
    server.fail(*[Fault(name=FULL, status=503, headers={"Retry-After": asked})] * 2)
    found = look(Source(FULL, None, waits.append))
    assert found.n_bytes == len(server.files[FULL, None].content)
    assert waits == [seconds] * 2


def test_a_broken_encrypted_connection_is_tried_again(
    server: NumeraiServer, tmp_path: Path
) -> None:
    """The server of the address speaks no TLS: only a certificate is an error at once."""
    addresses = [f"{server.url.replace('http', 'https')}/?X-Amz-Signature=SECRET"]

    def address(variables: dict[str, object]) -> str:
        return addresses.pop()

    server.resolvers["dataset"] = address
    with refused(NumeraiError, f"{FULL}: can't be fetched: the encrypted connection was cut"):
        fetch(tmp_path / "data", NAME)


def test_certificates_that_are_not_there_are_named(
    server: NumeraiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    server.resolvers["dataset"] = lambda variables: "https://127.0.0.1:9/"
    with refused(NumeraiError, f"{FULL}: can't be fetched", "certificate", "none.pem"):
        fetch(tmp_path / "data", NAME)
    monkeypatch.setattr("numerapi.base_api.API_TOURNAMENT_URL", "https://127.0.0.1:9/")
    with refused(NumeraiError, "doesn't answer the request", "certificate", "none.pem"):
        fetch(tmp_path / "data", NAME)


def test_a_password_of_the_netrc_is_not_sent_to_numerai(
    server: NumeraiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests would send it in place of the key."""
    (tmp_path / "netrc").write_text("default login me password SECRET\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with refused(NumeraiError, "~/.netrc: its entry", "remove it"):
        fetch(tmp_path / "data", NAME)
    assert server.seen == []


def test_versions_that_would_break_the_list_are_not_offered(
    server: NumeraiServer, tmp_path: Path
) -> None:
    for version in ("v5.3\nv6", "v7\x1b[31m", "", ".. /.."):
        server.put_file(f"{version}/{NAME}", b"x")
    assert fetch(tmp_path, NAME, dry_run=True).plan.versions == ("v4.3", "v5.3")


# -- folders


def test_a_copied_folder_is_recognized(server: NumeraiServer, tmp_path: Path) -> None:
    """Copies, archives and mounted drives give files other times."""
    fetch(tmp_path / "first", NAME)
    shutil.copytree(tmp_path / "first", tmp_path / "copy", copy_function=shutil.copyfile)
    os.utime(tmp_path / "copy" / NAME, ns=(0, 10**18))
    report = fetch(tmp_path / "copy", NAME)
    assert (report.plan.files[0].state, report.received_bytes) == ("unchanged", 0)
    server.put_file(FULL, parquet(55))
    fetch(tmp_path / "copy", NAME)
    check_equal(server, tmp_path / "copy", NAME)


@pytest.mark.parametrize("place", [0, -1])
def test_a_file_of_the_same_length_is_the_users_own(
    server: NumeraiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr(folder_module, "END_BYTES", 10)
    fetch(tmp_path, NAME)
    content = bytearray((tmp_path / NAME).read_bytes())
    content[place] ^= 1
    (tmp_path / NAME).write_bytes(content)
    os.utime(tmp_path / NAME, ns=(0, 10**18))
    with refused(NumeraiError, f"{NAME}: it is there", "was changed since"):
        fetch(tmp_path, NAME)
    assert (tmp_path / NAME).read_bytes() == content


def test_a_link_in_place_of_a_file_is_not_replaced(server: NumeraiServer, tmp_path: Path) -> None:
    fetch(tmp_path / "data", NAME)
    (tmp_path / "data" / NAME).rename(tmp_path / "elsewhere")
    (tmp_path / "data" / NAME).symlink_to(tmp_path / "elsewhere")
    with refused(NumeraiError, f"{NAME}: it is there"):
        fetch(tmp_path / "data", NAME)
    assert (tmp_path / "data" / NAME).is_symlink()


def test_a_part_of_an_older_file_counts_as_free_disk(
    server: NumeraiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is emptied before the new file comes."""
    size = len(server.files[FULL, None].content)
    monkeypatch.setattr("memmap_train.numerai.download.plan.free_disk", lambda path: size - 100)
    with refused(NumeraiError, "the download needs"):
        fetch(tmp_path, NAME)
    (tmp_path / f"{NAME}.part").write_bytes(bytes(100))
    state = {"name": FULL, "etag": '"old"', "n_bytes": 1000, "durable_bytes": 100}
    (tmp_path / f"{NAME}.part.json").write_text(json.dumps(state))
    fetch(tmp_path, NAME)
    check_equal(server, tmp_path, NAME)
    assert visible(tmp_path) == {NAME, folder_module.RECORD_NAME}
