"""Shared fixtures: toy datasets (see `tests.support.toy`), kills, and a clean state of signals."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.killing import Killer, killer
from tests.support.pictures import pictures
from tests.support.toy import Eras
from tests.support.toy_datasets import ERAS, N_FEATURES, N_TARGETS, MakeToy, convert_toy

# A deadline would be a timed assertion.
settings.register_profile("memmap-train", deadline=None)
settings.load_profile("memmap-train")


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def signals_are_as_before() -> Iterator[None]:
    """Restore the signal handlers of this process, which a command replaces."""
    # A shell has what it starts in the background ignore Ctrl-C, `nohup` the end of the terminal;
    # tests send such signals themselves, to processes of their own as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def no_reports() -> Iterator[None]:
    """Let trainings of this process make no report: each takes a process that starts TensorFlow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "memmap_train.runs.reports.report_process.charts_are_installed", lambda: False
        )
        yield


@pytest.fixture(scope="session", autouse=True)
def no_pictures() -> Iterator[None]:
    """Let trainings of this process draw no pictures."""
    with pictures(are_drawn=False):
        yield


@pytest.fixture
def drawn_pictures() -> Iterator[None]:
    """Let this process draw pictures during one test."""
    with pictures(are_drawn=True):
        yield


@pytest.fixture(scope="session", autouse=True)
def only_loopback() -> Iterator[None]:
    """Let no name be looked up but those of this machine: tests never touch the network."""
    look_up = socket.getaddrinfo

    def look_up_here(host: Any, *arguments: Any, **options: Any) -> Any:
        if host not in (None, "", "localhost", "::1") and not str(host).startswith("127."):
            raise socket.gaierror(socket.EAI_NONAME, f"{host}: tests reach loopback alone")
        return look_up(host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up_here)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_power_cut() -> Iterator[None]:
    """Let `os.fsync` of this process only check the descriptor, because it waits for the disk.

    Only a power cut shows the difference. Tests of what is synced, and when, replace it themselves.
    """

    def fsync(descriptor: int) -> None:
        os.fstat(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


@pytest.fixture
def quick_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `bench` measure memory and disk so shortly that the rates mean nothing."""
    monkeypatch.setattr("memmap_train.loading.rates._COPIED_BYTES", 1_000_000)
    monkeypatch.setattr("memmap_train.loading.rates._DISK_SECONDS", 0.02)


@pytest.fixture(scope="module")
def at_will() -> Iterator[Killer]:
    """Return a `Killer`, which kills conversions at any point."""
    with killer() as ready:
        yield ready


@pytest.fixture
def make_toy(tmp_path: Path) -> MakeToy:
    """Return a function that makes a dataset for one test, which may damage it."""

    def make(eras: Eras = ERAS, **options: Any) -> Path:
        return convert_toy(tmp_path, eras, **options)

    return make


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return datasets of the same eras, which tests only read.

    `float32` and `int8` are two stores of one source of codes, `coordinates` is made of a source of
    floats, `nulls float32` and `nulls int8` have missing features and targets.
    """
    wanted: dict[str, dict[str, Any]] = {
        "float32": {"store": "float32", "dtype": "int8"},
        "int8": {"store": "int8", "dtype": "int8"},
        "coordinates": {"store": "float32", "dtype": "float32"},
        "nulls float32": {"store": "float32", "dtype": "int8", "nulls": True},
        "nulls int8": {"store": "int8", "dtype": "int8", "nulls": True},
    }
    return {
        name: convert_toy(
            tmp_path_factory.mktemp(name.replace(" ", "-")),
            ERAS,
            n_features=N_FEATURES,
            n_targets=N_TARGETS,
            row_group_rows=64,
            **options,
        )
        for name, options in wanted.items()
    }


@pytest.fixture(scope="session")
def many_eras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of 1,300 eras of 3 rows, which tests only read."""
    return convert_toy(
        tmp_path_factory.mktemp("many"),
        {f"{era:04}": 3 for era in range(1, 1301)},
        n_features=3,
        n_targets=1,
        dtype="float32",
    )
