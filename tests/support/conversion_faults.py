"""Conversions in which one system call fails."""

import errno
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memmap_train.conversion.conversion import convert
from tests.support.conversion_kills import (
    check_whole,
    convert_older,
    remove,
    sampled,
    state,
)
from tests.support.errors import line_of
from tests.support.interruptions import ERAS, write_source
from tests.support.toy_benchmarks import BENCHMARKS, write_benchmarks
from tests.support.updates import LATER, write_first, write_later
from tests.support.watching import watched_by

ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EMFILE, errno.EROFS)

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "open")


class Faults:
    """Makes system calls of this process fail: only the n-th, or all from the n-th on."""

    def __init__(self, folder: Path, number: int, code: int, *, lasting: bool) -> None:
        self.n_seen = 0
        self._folder, self._number, self._code = str(folder), number, code
        self._lasting = lasting
        self._lock = threading.Lock()

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Fail in place of a system call below the folder."""
        if event in CHANGES and str(arguments[0]).startswith(self._folder):
            self.fail(arguments[0])

    def fail(self, path: Any = None) -> None:
        """Fail if it is this call's turn."""
        with self._lock:
            self.n_seen += 1
            due = self.n_seen == self._number or (self._lasting and self.n_seen > self._number > 0)
        if due:
            raise OSError(self._code, os.strerror(self._code), path)


@contextmanager
def failing(
    folder: Path, number: int = 0, code: int = errno.EIO, *, lasting: bool = False
) -> Iterator[Faults]:
    """Make a system call below a folder fail; `os.fsync` counts as one."""
    faults = Faults(folder, number, code, lasting=lasting)
    with pytest.MonkeyPatch.context() as patch, watched_by(faults):
        patch.setattr(os, "fsync", lambda descriptor: faults.fail())
        yield faults


def our_threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    ours = ("plan", "convert", "publish", "disk", "benchmarks")
    return [name for name in names if name.startswith(ours)]


Prepared = tuple[Path, dict[str, str], Callable[[], object], dict[str, Any]]
"""A source, the digests that its dataset may have by name, what to do before, and the options."""


def of_conversions(folder: Path) -> Prepared:
    source = write_source(folder)
    known = {convert(source, folder / "new").dataset.manifest.digest: "new"}
    return source, known, lambda: None, {}


def of_overwriting(folder: Path) -> Prepared:
    source, known, *_ = of_conversions(folder)
    known[convert_older(folder)] = "old"
    return (
        source,
        known,
        lambda: shutil.copytree(folder / "old", folder / "out"),
        {"overwrite": True},
    )


def of_updates(folder: Path) -> Prepared:
    source = folder / "validation.parquet"
    write_first(source)
    known = {convert(source, folder / "old").dataset.manifest.digest: "old"}
    write_later(source)
    known[convert(source, folder / "new").dataset.manifest.digest] = "new"
    return source, known, lambda: shutil.copytree(folder / "old", folder / "out"), {}


def of_benchmarks(folder: Path) -> Prepared:
    source, file = write_source(folder), folder / "b.parquet"
    write_benchmarks(file, {"0001": 30, "0003": 9}, BENCHMARKS[:1])
    known = {convert(source, folder / "old", benchmarks=file).dataset.manifest.digest: "old"}
    write_benchmarks(file, ERAS)
    known[convert(source, folder / "new", benchmarks=file).dataset.manifest.digest] = "new"
    return (
        source,
        known,
        lambda: shutil.copytree(folder / "old", folder / "out"),
        {"benchmarks": [file]},
    )


def of_updates_with_benchmarks(folder: Path) -> Prepared:
    source, file = folder / "validation.parquet", folder / "b.parquet"
    write_first(source)
    write_benchmarks(file, {"0001": 12, "0003": 4})
    known = {convert(source, folder / "old", benchmarks=file).dataset.manifest.digest: "old"}
    write_later(source)
    write_benchmarks(file, LATER)
    known[convert(source, folder / "new", benchmarks=file).dataset.manifest.digest] = "new"
    return (
        source,
        known,
        lambda: shutil.copytree(folder / "old", folder / "out"),
        {"benchmarks": [file]},
    )


PREPARATIONS = [
    of_conversions,
    of_overwriting,
    of_updates,
    of_benchmarks,
    of_updates_with_benchmarks,
]


def let_fail(
    folder: Path, prepare: Callable[[Path], Prepared], *, most: int | None
) -> Counter[str]:
    """Make a conversion fail at many of its points, or at all of them; count what is found then."""
    source, known, begin, options = prepare(folder)
    out = folder / "out"
    begin()
    with failing(folder) as faults:
        convert(source, out, workers=1, **options)
    found: Counter[str] = Counter()
    for number in sampled(faults.n_seen, most):
        code, lasting = ERRORS[number % len(ERRORS)], bool(number % 2)
        remove(out)
        begin()
        with failing(folder, number, code, lasting=lasting):
            line = line_of(lambda: convert(source, out, workers=1, **options))
        assert our_threads() == []
        found["refused" if line else "done"] += 1
        found[state(out, known)] += 1
        said = (os.strerror(code), "the disk is full", "the file is missing")
        assert not line or any(part in line for part in said)
        convert(source, out, **options)
        check_whole(out, next(digest for digest, name in known.items() if name == "new"))
    return found
