"""Tests of how a file arrives whatever goes wrong on the way, in this process."""

import errno
import json
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import memmap_train as mt
from memmap_train.errors import NumeraiError
from memmap_train.numerai.download import part as part_module
from memmap_train.numerai.download.folder import LOCK_NAME, RECORD_NAME
from memmap_train.numerai.download.plan import DEFAULT_FILES
from tests.support.errors import refused
from tests.support.numerai_downloads import check_equal, fetch, parquet, visible
from tests.support.numerai_faults import Fault
from tests.support.numerai_server import MAX_WAIT_SECONDS, NumeraiServer
from tests.support.numerai_transfers import BEGUN, CUT, FULL, N_ROWS, NAME

pytest_plugins = ["tests.support.numerai_fixtures", "tests.support.numerai_transfers"]


def test_a_cut_connection_is_continued_in_the_same_run(
    server: NumeraiServer, big: int, tmp_path: Path
) -> None:
    server.fail(Fault(name=FULL), Fault(name=FULL, cut_after=CUT))
    server.fail(Fault(name=FULL, cut_after=1), Fault(name=FULL, status=500), Fault(name=FULL))
    report = fetch(tmp_path, NAME)
    check_equal(server, tmp_path, NAME)
    starts = ["bytes=0-0", "", f"bytes={CUT}-", f"bytes={CUT}-", f"bytes={CUT}-"]
    assert server.ranges(FULL) == starts
    assert report.received_bytes == big


def test_a_rerun_fetches_only_the_rest(server: NumeraiServer, big: int, begun: Path) -> None:
    report = fetch(begun, NAME)
    check_equal(server, begun, NAME)
    assert server.ranges(FULL) == ["bytes=0-0", f"bytes={BEGUN}-"]
    assert report.received_bytes == report.plan.wanted_bytes == big - BEGUN
    assert (report.plan.files[0].state, report.plan.files[0].present_bytes) == ("resume", BEGUN)
    tag = server.files[FULL, None].etag
    assert server.of_kind("get")[-1].headers["if-match"] == tag


def test_a_server_that_ignores_the_range_is_read_from_the_beginning(
    server: NumeraiServer, begun: Path
) -> None:
    server.fail(Fault(name=FULL), Fault(name=FULL, ignore_range=True))
    fetch(begun, NAME)
    check_equal(server, begun, NAME)


def test_a_server_that_ignores_all_ranges_is_good_enough(
    server: NumeraiServer, big: int, tmp_path: Path
) -> None:
    server.fail(*[Fault(name=FULL, ignore_range=True)] * 2)
    report = fetch(tmp_path, NAME)
    check_equal(server, tmp_path, NAME)
    assert report.received_bytes == big


def test_a_server_that_always_begins_from_0_and_cuts_is_given_up(
    server: NumeraiServer, big: int, tmp_path: Path
) -> None:
    server.fail(Fault(name=FULL))
    server.fail(*[Fault(name=FULL, ignore_range=True, cut_after=70_000)] * 9)
    with refused(NumeraiError, "the connection was cut, 6 times in a row"):
        fetch(tmp_path, NAME)
    assert server.heal() == 9 - 6


def test_an_address_that_expires_is_asked_for_again(server: NumeraiServer, begun: Path) -> None:
    server.fail(Fault(name=FULL), Fault(name=FULL, first=server.expire_addresses))
    fetch(begun, NAME)
    check_equal(server, begun, NAME)
    assert server.ranges(FULL)[-2:] == [f"bytes={BEGUN}-", f"bytes={BEGUN}-"]
    assert server.of_kind("graphql")[-1].names == ("dataset",)


def test_an_address_that_expires_in_the_middle_loses_nothing(
    server: NumeraiServer, big: int, tmp_path: Path
) -> None:
    cut = Fault(name=FULL, cut_after=CUT, last=server.expire_addresses)
    server.fail(Fault(name=FULL), cut)
    report = fetch(tmp_path, NAME)
    check_equal(server, tmp_path, NAME)
    assert report.received_bytes == big


def test_an_address_that_never_works_is_an_error(server: NumeraiServer, tmp_path: Path) -> None:
    server.fail(*[Fault(name=FULL, status=403)] * 6)
    with refused(NumeraiError, f"{FULL}: can't be fetched: the server answers 403", "6 times"):
        fetch(tmp_path / "data", NAME)
    assert not (tmp_path / "data").exists()
    assert server.heal() == 0


@pytest.mark.parametrize("ignores", [False, True], ids=["412", "If-Match ignored"])
def test_a_change_between_two_tries_begins_from_0(
    server: NumeraiServer, begun: Path, ignores: bool
) -> None:
    """The remote file has another content of the same length in every stage of the rerun."""
    old = server.files[FULL, None].content

    def change() -> None:
        assert len(server.put_file(FULL, parquet(N_ROWS, seed=1)).content) == len(old)

    server.fail(Fault(name=FULL), Fault(name=FULL, first=change, ignore_match=ignores))
    report = fetch(begun, NAME)
    check_equal(server, begun, NAME)
    assert (begun / NAME).read_bytes() != old
    assert report.plan.files[0].state == "resume"
    assert server.ranges(FULL)[:2] == ["bytes=0-0", f"bytes={BEGUN}-"]


def test_a_change_before_the_rerun_begins_from_0(server: NumeraiServer, begun: Path) -> None:
    server.put_file(FULL, parquet(N_ROWS, seed=1))
    assert fetch(begun, NAME).plan.files[0].state == "fetch"
    check_equal(server, begun, NAME)
    assert server.ranges(FULL) == ["bytes=0-0", ""]


def test_a_file_that_changes_all_the_time_is_given_up(
    server: NumeraiServer, big: int, tmp_path: Path
) -> None:
    def change() -> None:
        server.put_file(FULL, parquet(N_ROWS), etag=f'"{len(server.seen)}"')

    server.fail(*[Fault(name=FULL, first=change)] * 20)
    with refused(NumeraiError, "it changes while it is fetched, 6 times in a row"):
        fetch(tmp_path, NAME)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 0-1600000/1600001"},
        {"Content-Range": "bytes 1000000-1600000/1700000"},
        {"Content-Range": f"bytes {BEGUN}-1600000/1700000"},
        {"Content-Range": "nonsense"},
        {"Content-Range": ""},
        {"ETag": '"another"'},
        {"Content-Encoding": "gzip"},
    ],
    ids=str,
)
def test_an_answer_that_does_not_fit_is_not_appended(
    server: NumeraiServer, begun: Path, headers: dict[str, str]
) -> None:
    server.fail(Fault(name=FULL), Fault(name=FULL, headers=headers))
    fetch(begun, NAME)
    check_equal(server, begun, NAME)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(name=FULL, headers={"Content-Length": ""}, cut_after=5),
        Fault(name=FULL, headers={"Content-Length": "0"}, body=b""),
        Fault(name=FULL, headers={"Content-Range": "bytes 0-0/0"}),
        Fault(name=FULL, headers={"Content-Range": "bytes 0-0/*"}),
        Fault(name=FULL, status=503),
        Fault(name=FULL, status=429),
        Fault(name=FULL, status=404),
        Fault(name=FULL, drop=True),
    ],
    ids=range(8),
)
def test_a_first_look_that_fails_is_repeated(
    server: NumeraiServer, big: int, tmp_path: Path, fault: Fault
) -> None:
    server.fail(fault, fault)
    fetch(tmp_path, NAME)
    check_equal(server, tmp_path, NAME)
    assert server.heal() == 0


def test_more_bytes_than_the_length_are_not_kept(
    server: NumeraiServer, big: int, begun: Path
) -> None:
    longer = server.files[FULL, None].content + b"more"
    lie = {"Content-Range": f"bytes {BEGUN}-{big - 1}/{big}"}
    server.fail(Fault(name=FULL), Fault(name=FULL, body=longer, headers=lie))
    fetch(begun, NAME)
    check_equal(server, begun, NAME)


def test_wrong_bytes_of_the_right_length_get_no_name(
    server: NumeraiServer, big: int, tmp_path: Path
) -> None:
    server.fail(Fault(name=FULL), Fault(name=FULL, body=b"x" * big))
    with refused(NumeraiError, "isn't whole", "it was deleted"):
        fetch(tmp_path / "data", NAME)
    assert not (tmp_path / "data").exists()
    fetch(tmp_path, NAME)
    check_equal(server, tmp_path, NAME)


def test_a_refused_connection_is_an_error(server: NumeraiServer, big: int, tmp_path: Path) -> None:
    """The API answers, with the address of a machine where nothing listens."""
    server.resolvers["dataset"] = lambda variables: "http://127.0.0.1:9/x?X-Amz-Signature=SECRET"
    with refused(NumeraiError, f"{FULL}: can't be fetched: Connection refused, 6 times") as caught:
        fetch(tmp_path / "data", NAME)
    assert "SECRET" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_a_server_that_falls_silent_is_asked_again(
    server: NumeraiServer, big: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memmap_train.numerai.download.transfer.TIMEOUT_SECONDS", (1.0, 0.1))
    go_on = threading.Event()
    silent = Fault(name=FULL, cut_after=CUT, hold=go_on)
    server.fail(Fault(name=FULL), silent)
    fetch(tmp_path, NAME)
    check_equal(server, tmp_path, NAME)
    assert server.ranges(FULL) == ["bytes=0-0", "", f"bytes={CUT}-"]
    go_on.set()


def test_an_error_of_one_file_leaves_the_others_to_a_rerun(
    server: NumeraiServer, big: int, tmp_path: Path
) -> None:
    server.fail(Fault(name=FULL), *[Fault(name=FULL, status=500)] * 6)
    with refused(NumeraiError, f"{FULL}: can't be fetched: the server answers 500"):
        fetch(tmp_path)
    fetch(tmp_path)
    check_equal(server, tmp_path, *DEFAULT_FILES)


# -- the disk


@pytest.mark.parametrize("when", ["write", "sync", "replace", "record"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
def test_a_disk_that_fails_is_one_line_and_a_rerun_helps(
    server: NumeraiServer,
    big: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    code: int,
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError(code, os.strerror(code))

    places = {
        "sync": "memmap_train.numerai.download.part.sync_file",
        "replace": "memmap_train.numerai.download.folder.os.replace",
        "record": "memmap_train.numerai.download.folder.write_json",
    }
    with monkeypatch.context() as patch:
        if when == "write":
            patch.setattr(part_module, "open", _opener(fail), raising=False)
        else:
            patch.setattr(places[when], fail)
        with refused(NumeraiError, "can't be written", os.strerror(code), "resumes"):
            fetch(tmp_path / "data", NAME)
    assert not (tmp_path / "data" / NAME).exists()
    fetch(tmp_path / "data", NAME)
    check_equal(server, tmp_path / "data", NAME)


def _opener(fail: Callable[..., None]) -> Callable[..., Any]:
    class Full:
        """A file on a full disk."""

        def __init__(self, path: Path, *arguments: Any, **options: Any) -> None:
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115
            self.write = fail

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    return Full


def test_a_kill_between_record_and_rename_loses_neither_file(
    server: NumeraiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(tmp_path, NAME)
    old = (tmp_path / NAME).read_bytes()
    server.put_file(FULL, parquet(500))

    class KilledError(BaseException):
        pass

    def kill(*arguments: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("memmap_train.numerai.download.folder.sync_directory", kill)
        patch.setattr("memmap_train.numerai.download.folder.os.replace", kill)
        with pytest.raises(KilledError):
            fetch(tmp_path, NAME)
    assert (tmp_path / NAME).read_bytes() == old
    fetch(tmp_path, NAME)
    check_equal(server, tmp_path, NAME)
    assert len(json.loads((tmp_path / RECORD_NAME).read_text())["files"][NAME]) == 2


def test_a_second_download_into_the_folder_is_refused(
    server: NumeraiServer, big: int, tmp_path: Path
) -> None:
    """The first one waits in the middle of its file; it ends as if nothing had happened."""
    reached, go_on = threading.Event(), threading.Event()
    server.fail(Fault(name=FULL), Fault(name=FULL, first=reached.set, cut_after=CUT, hold=go_on))
    first = threading.Thread(target=fetch, args=(tmp_path, NAME))
    first.start()
    reached.wait()
    try:
        with refused(NumeraiError, "another process is downloading", f"process {os.getpid()}"):
            fetch(tmp_path, NAME)
        fetch(tmp_path / "elsewhere", "live.parquet")
        assert (tmp_path / LOCK_NAME).exists()
    finally:
        go_on.set()
        first.join()
    assert (tmp_path / NAME).read_bytes() == server.files[FULL, None].content
    assert visible(tmp_path) == {NAME, RECORD_NAME, "elsewhere"}


def test_an_error_of_the_progress_ends_all_transfers(
    server: NumeraiServer, big: int, tmp_path: Path
) -> None:
    def fail(what: str, done: int, total: int) -> None:
        if what == "downloading" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mt.download(NAME, version="v5.3", out=tmp_path, progress=fail)
    for thread in threading.enumerate():
        if thread.name.startswith("download"):  # it has noticed, and is about to end
            thread.join(MAX_WAIT_SECONDS)
            assert not thread.is_alive()
    assert (tmp_path / f"{NAME}.part").exists()
    fetch(tmp_path, NAME)
    check_equal(server, tmp_path, NAME)


FAULTS = st.one_of(
    st.builds(Fault, name=st.just(FULL), cut_after=st.integers(0, 1_700_000)),
    st.builds(
        Fault, name=st.just(FULL), ignore_range=st.just(True), cut_after=st.integers(0, 1_700_000)
    ),
    st.builds(Fault, name=st.just(FULL), status=st.sampled_from([403, 412, 416, 500, 503])),
    st.just(Fault(name=FULL, drop=True)),
    st.just(Fault(name=FULL, ignore_match=True)),
    st.just("expire"),
    st.integers(1, 3),
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FAULTS, max_size=9))
def test_after_any_faults_a_rerun_has_the_right_bytes(
    server: NumeraiServer,
    tmp_path_factory: pytest.TempPathFactory,
    faults: list[Fault | str | int],
) -> None:
    """Faults in any order, expired addresses and changes of the file between them."""
    folder = tmp_path_factory.mktemp("data")
    server.put_file(FULL, parquet(N_ROWS))
    for fault in faults:
        if isinstance(fault, Fault):
            server.fail(fault)
        elif fault == "expire":
            server.fail(Fault(name=FULL, first=server.expire_addresses))
        else:
            content = parquet(N_ROWS, seed=int(fault))
            server.fail(Fault(name=FULL, first=partial(server.put_file, FULL, content)))
    try:
        fetch(folder, NAME)
    except NumeraiError:
        assert not (folder / NAME).exists()
    server.heal()
    fetch(folder, NAME)
    check_equal(server, folder, NAME)
