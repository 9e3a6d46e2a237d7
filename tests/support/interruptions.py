"""Conversions that are stopped in the middle, and what is found afterwards."""

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memmap_train.conversion.conversion import convert
from memmap_train.conversion.journal import FinishedEra, Journal
from memmap_train.conversion.report import Report
from memmap_train.conversion.workspace import STAGED
from memmap_train.dataset.format import WORKSPACE
from memmap_train.dataset.opening import open_dataset
from memmap_train.dataset.verify import verify
from tests.support.toy import write_toy

ERAS = {"0001": 30, "0002": 1, "0003": 25, "X": 7}
N_ROWS = sum(ERAS.values())

FOLDERS = {f"era-{era}" for era in ERAS}


class StoppedError(Exception):
    """Ends a conversion early."""


def write_source(folder: Path) -> Path:
    write_toy(folder / "toy.parquet", ERAS, row_group_rows=10, nulls=True)
    return folder / "toy.parquet"


def stopped_after(monkeypatch: pytest.MonkeyPatch, n_eras: int, act: Callable[[], Any]) -> None:
    """Run a conversion that stops after this many published eras."""
    publish, begun = Journal.publish, itertools.count()

    def limited(self: Journal, era: FinishedEra) -> FinishedEra:
        if next(begun) >= n_eras:
            raise StoppedError
        return publish(self, era)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "publish", limited)
        with pytest.raises(StoppedError):
            act()


def check_ctrl_c_leaves_only_finished_eras(source: Path, undisturbed: str) -> None:
    """Interrupt a conversion as soon as some rows are done; check what is left, and resume."""
    out = source.with_name("out")
    pressed: list[int] = []

    def press(what: str, done: int, total: int) -> None:
        if what == "converting" and done and not pressed:
            pressed.append(done)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        convert(source, out, progress=press)
    assert pressed
    assert visible(out) == set()
    assert not (out / WORKSPACE / "partial").exists()
    assert not [
        thread
        for thread in threading.enumerate()
        if thread.is_alive() and thread.name.startswith(("convert", "publish"))
    ]
    convert(source, out)
    check_whole(out, undisturbed)


def visible(folder: Path) -> set[str]:
    return {name for name in os.listdir(folder) if not name.startswith(".")}


def marks(out: Path, *, waiting: bool = True) -> dict[str, tuple[int, int]]:
    """Return inode and time of each array in place and, if `waiting`, in the workspace."""
    folders = [out, out / WORKSPACE / STAGED] if waiting else [out]
    return {
        str(file.relative_to(folder)): (file.stat().st_ino, file.stat().st_mtime_ns)
        for folder in folders
        for file in folder.glob("era-*/*.npy")
    }


def check_whole(out: Path, digest: str) -> None:
    """Check that the folder holds the expected dataset, undamaged."""
    assert visible(out) == {"manifest.json", *FOLDERS}
    assert list(verify(out)) == []
    assert open_dataset(out).manifest.digest == digest


@contextmanager
def held_up(source: Path, out: Path) -> Iterator[list[Report]]:
    """Pause a conversion in another thread half-way; let it end when the block ends."""
    reached, go_on = threading.Event(), threading.Event()
    reports: list[Report] = []

    def wait(what: str, done: int, total: int) -> None:
        if what == "converting" and done:
            reached.set()
            go_on.wait()

    def run() -> None:
        try:
            reports.append(convert(source, out, progress=wait, workers=1))
        finally:
            reached.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        reached.wait()
        yield reports
    finally:
        go_on.set()
        thread.join()
