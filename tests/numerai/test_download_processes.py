"""Tests of downloads in processes of their own: Ctrl-C, kills, limits, two at once."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memmap_train.numerai.download.folder import RECORD_NAME
from memmap_train.numerai.download.part import part_path
from tests.support.numerai_downloads import check_equal, fetch, parquet, visible
from tests.support.numerai_faults import Fault
from tests.support.numerai_server import MAX_WAIT_SECONDS, NumeraiServer

pytest_plugins = ["tests.support.numerai_fixtures"]

NAME, FULL = "train.parquet", "v5.3/train.parquet"
SMALL_SYNCS = "from memmap_train.numerai.download import part; part.SYNC_BYTES = 65536"
QUICK = "from memmap_train.numerai import api; api.RETRY_SECONDS = ()"
CUT = 10 * 65536


@pytest.fixture
def big(server: NumeraiServer) -> bytes:
    return server.put_file(FULL, parquet(200_000)).content


def arguments(folder: Path, *names: str) -> list[str]:
    return ["download", *(names or (NAME,)), "--version", "v5.3", "--out", str(folder)]


@contextmanager
def process(
    server: NumeraiServer, folder: Path, before: str = ""
) -> Iterator["subprocess.Popen[str]"]:
    """Start a download; it has ended when the block has."""
    command = server.command(arguments(folder), before)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def held_in_the_body(server: NumeraiServer) -> tuple[threading.Event, threading.Event]:
    """Let the next download wait in the middle of its file; return "reached" and "go on"."""
    reached, go_on = threading.Event(), threading.Event()

    def sent() -> None:
        reached.set()
        server.wait(go_on)

    # The connection stays open, and silent, when so many bytes are sent.
    server.fail(Fault(name=FULL), Fault(name=FULL, cut_after=CUT, last=sent))
    return reached, go_on


def wait_until_written(path: Path, child: "subprocess.Popen[str]", n_bytes: int) -> None:
    """Wait until the process has written so many bytes of the part."""
    event = threading.Event()
    for _ in range(int(MAX_WAIT_SECONDS / 0.01)):
        if path.exists() and path.stat().st_size >= n_bytes:
            return
        assert child.poll() is None, child.communicate()
        event.wait(0.01)
    raise AssertionError(path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_download_resumes_after_its_last_byte(
    server: NumeraiServer, big: bytes, tmp_path: Path, number: signal.Signals
) -> None:
    """The signal comes while the server is silent in the middle of the file."""
    reached, go_on = held_in_the_body(server)
    with process(server, tmp_path) as child:
        assert reached.wait(MAX_WAIT_SECONDS)
        wait_until_written(part_path(tmp_path / NAME), child, CUT)
        child.send_signal(number)
        out, error = child.communicate(timeout=MAX_WAIT_SECONDS)
    go_on.set()
    assert (child.returncode, out) == (130, "")
    assert error.endswith("\nstopped; run the same command again to resume\n")
    assert "Traceback" not in error
    assert visible(tmp_path) == {f"{NAME}.part", f"{NAME}.part.json"}
    report = fetch(tmp_path, NAME)
    assert report.received_bytes == len(big) - CUT
    check_equal(server, tmp_path, NAME)


def test_a_download_that_waits_for_an_answer_stops_at_once(
    server: NumeraiServer, big: bytes, tmp_path: Path
) -> None:
    """The server has the request for the file, and doesn't answer."""
    reached, go_on = threading.Event(), threading.Event()

    def silent() -> None:
        reached.set()
        server.wait(go_on)

    server.fail(Fault(name=FULL), Fault(name=FULL, first=silent))
    with process(server, tmp_path / "data") as child:
        assert reached.wait(MAX_WAIT_SECONDS)
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=MAX_WAIT_SECONDS)
    assert not go_on.is_set()
    go_on.set()
    assert child.returncode == 130, error
    assert not (tmp_path / "data").exists()


def test_a_killed_download_resumes_after_the_last_durable_byte(
    server: NumeraiServer, big: bytes, tmp_path: Path
) -> None:
    _, go_on = held_in_the_body(server)
    with process(server, tmp_path, SMALL_SYNCS) as child:
        wait_until_written(part_path(tmp_path / NAME), child, CUT)
        child.kill()
        child.communicate(timeout=MAX_WAIT_SECONDS)
    go_on.set()
    assert child.returncode == -signal.SIGKILL
    report = fetch(tmp_path, NAME)
    assert CUT - 2 * 65536 <= report.plan.files[0].present_bytes <= CUT
    check_equal(server, tmp_path, NAME)


def test_two_processes_at_once_are_one_download_and_one_line(
    server: NumeraiServer, big: bytes, tmp_path: Path
) -> None:
    _, go_on = held_in_the_body(server)
    with process(server, tmp_path) as first:
        wait_until_written(part_path(tmp_path / NAME), first, CUT)
        with process(server, tmp_path) as second:
            out, error = second.communicate(timeout=MAX_WAIT_SECONDS)
        assert (second.returncode, out) == (1, "")
        assert error.startswith(f"error: {tmp_path}: another process is downloading")
        assert f"(process {first.pid} on" in error
        assert error.count("\n") == 1
        go_on.set()  # the connection ends; the first process continues on another one
        out, error = first.communicate(timeout=MAX_WAIT_SECONDS)
    assert first.returncode == 0, error
    check_equal(server, tmp_path, NAME)


def test_a_full_disk_is_one_line_and_a_rerun_resumes(
    server: NumeraiServer, big: bytes, tmp_path: Path
) -> None:
    """A limit of the size of files takes the place of a full disk."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({CUT}, {CUT}))"
    command = server.command(arguments(tmp_path), limit)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {tmp_path}/{NAME}.part: can't be written: {os.strerror(27)}; when it can, the "
        "same command resumes\n"
    )
    assert visible(tmp_path) == {f"{NAME}.part", f"{NAME}.part.json"}
    report = fetch(tmp_path, NAME)
    assert report.plan.files[0].present_bytes == CUT
    check_equal(server, tmp_path, NAME)


def test_a_refused_connection_is_one_line(server: NumeraiServer, tmp_path: Path) -> None:
    server.close()
    command = server.command(arguments(tmp_path / "data"), QUICK)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: Numerai doesn't answer the request for the list of its files: Connection refused; "
        "check the network, or try again later\n"
    )
    assert not (tmp_path / "data").exists()


def test_a_whole_download_prints_its_result_alone(server: NumeraiServer, tmp_path: Path) -> None:
    command = server.command(arguments(tmp_path, "live.parquet", "features.json"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{tmp_path}: v5.3, 2 of 2 files fetched, ")
    assert [line.split()[0] for line in lines[1:]] == ["live.parquet", "features.json"]
    assert visible(tmp_path) == {"live.parquet", "features.json", RECORD_NAME}
