"""Tests of conversions whose system, memory or own code fails: one line, and resumed."""

import contextlib
import errno
import itertools
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from memmap_train.conversion import pipeline
from memmap_train.conversion.codec import FeatureEncoder
from memmap_train.conversion.conversion import convert
from memmap_train.conversion.journal import FinishedEra, Journal
from memmap_train.conversion.parquet.handle import ParquetHandle
from memmap_train.conversion.transpose import TransposeBuffer
from memmap_train.dataset.array_writer import ArrayWriter
from memmap_train.dataset.format import WORKSPACE
from memmap_train.dataset.opening import open_dataset
from memmap_train.dataset.verify import verify
from memmap_train.errors import ConversionError
from memmap_train.system import disk_writer
from memmap_train.system.disk_writer import DiskWriter
from tests.support.conversion_faults import (
    PREPARATIONS,
    Prepared,
    failing,
    let_fail,
    of_benchmarks,
    of_conversions,
    of_overwriting,
    our_threads,
)
from tests.support.conversion_kills import check_whole, remove
from tests.support.errors import line_of
from tests.support.interruptions import write_source
from tests.support.toy import write_toy
from tests.support.watching import watched_by

N_POINTS = 25
"""Of each kind of conversion, at which something fails here; `make torture` takes all."""


def held(path: Path) -> list[str]:
    """Return the descriptors that are open on a file, or below a folder."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            target = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            if path in (target, *target.parents):
                found.append(str(target))
    return found


# -- the system -------------------------------------------------------------------------------


@pytest.mark.parametrize("prepare", PREPARATIONS)
def test_a_failed_system_call_is_one_line_and_a_rerun_resumes(
    tmp_path: Path, prepare: Callable[[Path], Prepared]
) -> None:
    found = let_fail(tmp_path, prepare, most=N_POINTS)
    # Reading pages that fails once isn't seen: Arrow reads them again.
    assert found["refused"] > 0.75 * N_POINTS
    assert found["absent" if prepare is of_conversions else "old"] > N_POINTS / 2
    assert found.keys() <= {"refused", "done", "absent", "old", "new"}


@pytest.mark.parametrize(
    ("path", "number"),
    [("toy.parquet", 1), ("features.json", 1), ("out/manifest.json", 1), ("out/manifest.json", 2)],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, path: str, number: int) -> None:
    source = write_source(tmp_path)
    (tmp_path / "features.json").write_text('{"feature_sets": {}}')
    features_json = tmp_path / "features.json"
    convert(source, tmp_path / "out", features_json=features_json)
    with failing(tmp_path / path, number, lasting=True):
        line = line_of(lambda: convert(source, tmp_path / "out", features_json=features_json))
    assert path in line
    assert "Input/output error" in line


def test_a_source_that_cannot_be_read_to_its_end_is_one_line_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_source(tmp_path)
    digest = convert(source, tmp_path / "undisturbed").dataset.manifest.digest
    out = tmp_path / "out"
    n_good = 0

    def cut_off(read: Callable[..., Any]) -> Callable[..., Any]:
        def read_or_fail(*arguments: Any, **options: Any) -> Any:
            if next(calls) >= n_good:
                raise OSError(errno.EIO, "Input/output error")
            return read(*arguments, **options)

        return read_or_fail

    for number in itertools.count(0, 5):
        n_good, calls = number, itertools.count()
        with monkeypatch.context() as patch:
            for name in ("read_row_group", "iter_batches"):
                patch.setattr(pq.ParquetFile, name, cut_off(getattr(pq.ParquetFile, name)))
            line = line_of(lambda: convert(source, out, workers=2))
        if not line:
            break
        assert source.name in line
        assert "Input/output error" in line
        assert our_threads() == []
        convert(source, out)
        check_whole(out, digest)
        remove(out)
    assert number > 20
    check_whole(out, digest)


# -- memory and code ------------------------------------------------------------------------------


class UnforeseenError(Exception):
    """Stands for a mistake in the code."""


@pytest.mark.parametrize("kind", [MemoryError, UnforeseenError])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (ParquetHandle, "pieces"),
        (pipeline, "MemoryStore"),
        (FeatureEncoder, "encode"),
        (ArrayWriter, "append"),
        (ArrayWriter, "reserve"),
        (disk_writer, "_open"),
        (DiskWriter, "take"),
        (ArrayWriter, "finish"),
        (TransposeBuffer, "put"),
        (Journal, "begin"),
        (Journal, "publish"),
    ],
)
@pytest.mark.parametrize("number", [1, 5])
def test_a_failure_in_a_thread_ends_all_threads_and_is_resumed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Exception],
    owner: Any,
    name: str,
    number: int,
) -> None:
    source, out = tmp_path / "toy.parquet", tmp_path / "out"
    eras = {f"{era:04}": 9 for era in range(1, 12)}  # of more than a block of the disk
    write_toy(source, eras, row_group_rows=10, n_features=200)
    act, calls = getattr(owner, name), itertools.count(1)
    turn_seconds = sys.getswitchinterval()

    def fail(*arguments: Any) -> Any:
        if next(calls) >= min(number, 1 if owner is pipeline else number):
            raise kind
        return act(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(ConversionError if kind is MemoryError else kind) as caught:
            convert(source, out, workers=3)
    if kind is MemoryError:
        assert str(caught.value).startswith(f"{out}: not enough memory; ")
        assert "--memory" in str(caught.value)
    assert our_threads() == []
    assert sys.getswitchinterval() == turn_seconds
    assert held(tmp_path) == []
    assert not (out / WORKSPACE / "partial").exists()
    assert convert(source, out).n_rows == 99
    assert sys.getswitchinterval() == turn_seconds
    assert held(tmp_path) == []
    assert list(verify(out)) == []


# -- what is durable when -------------------------------------------------------------------------


class Durability:
    """Knows what of a folder a power cut would take away, and who relies on that."""

    def __init__(self, out: Path) -> None:
        self.lost: set[str] = set()
        """Files written to, and folders whose names have changed, since they were made durable."""
        self.renamed: dict[str, Path] = {}
        """By its name, where each thing that was renamed is."""
        self.n_durable: Counter[str] = Counter()
        self.n_removed = 0
        self.mistakes: list[str] = []
        self._out = out
        self._unsafe: set[Path] = set()  # renamed or removed, which may be undone
        self._lock = threading.RLock()  # files are opened and made durable by several threads

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note what is written and named, and check what is renamed."""
        path = Path(str(arguments[0])) if arguments else Path()
        if self._out in path.parents:
            with self._lock:
                self._note(event, path, arguments)

    def _note(self, event: str, path: Path, arguments: tuple[Any, ...]) -> None:
        if event == "open" and set(str(arguments[1])) & set("wa+"):
            self.lost |= {str(path), str(path.parent)}
        elif event in ("os.mkdir", "os.remove", "os.rmdir") and path.name != WORKSPACE:
            self.lost |= {str(path.parent)}
            if event == "os.rmdir":
                self.lost.discard(str(path))  # of what was in it nothing is left to be lost
                self.n_removed += path.parent == self._out and path.name != WORKSPACE
            if path == self._out / "manifest.json":
                self._unsafe.add(path)
                if str(self._out / WORKSPACE) in self.lost:
                    self.mistakes.append("an old update may come back where there is no dataset")
            elif path.suffix == ".npy" and self._out / "manifest.json" in self._unsafe:
                self.mistakes.append(f"{path} is removed while the manifest may come back")
        elif event == "os.rename":
            self._rename(path, Path(str(arguments[1])))

    def _rename(self, old: Path, new: Path) -> None:
        inside = {path for path in self.lost if Path(path) == old or old in Path(path).parents}
        if inside:
            self.mistakes.append(f"{old} gets its name while {inside} may be lost")
        folders = {str(self._out), str(self._out / WORKSPACE)}
        if "staged" in old.parts and list(self.renamed)[-1] == "old-manifest.json":
            self.mistakes += [
                f"{new} is taken while {path} may be lost" for path in folders & self.lost
            ]
        if new == self._out / "manifest.json":
            self.check("the manifest is there")
        self.renamed.pop(new.name, None)  # so that the last one is last
        self.renamed[new.name] = new
        self._unsafe.add(new)
        if old == self._out / "manifest.json":
            self._unsafe.add(old)
        self.lost |= {str(old.parent), str(new.parent)}

    def make_durable(self, descriptor: int) -> None:
        """Note what is durable now."""
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        with self._lock:
            self.n_durable[path] += 1
            self.lost.discard(path)
            self._unsafe -= {new for new in self._unsafe if str(new.parent) == path}

    def is_durable(self, name: str) -> bool:
        """Tell whether something is where it was renamed to, whatever happens."""
        with self._lock:
            return name in self.renamed and self.renamed[name] not in self._unsafe

    def check(self, when: str) -> None:
        """Note a mistake if the dataset's folder, or anything visible in it, could be lost."""
        with self._lock:
            lost = {path for path in self.lost if WORKSPACE not in path}
        if lost:
            self.mistakes.append(f"{when} while {lost} may be lost")


@pytest.mark.parametrize("prepare", PREPARATIONS)
def test_files_are_synced_before_anything_relies_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Path], Prepared]
) -> None:
    source, _, begin, options = prepare(tmp_path)
    begin()
    out = tmp_path / "out"
    durability, append = Durability(out), Journal._append
    journal, noted = str(out / WORKSPACE / "journal.jsonl"), []

    def check_and_append(self: Journal, era: FinishedEra) -> None:
        entry = era.entry
        if not durability.is_durable("journal.jsonl"):
            durability.mistakes.append("an era is noted in a journal that may be lost")
        if not durability.is_durable(entry.folder):
            durability.mistakes.append(f"{entry.folder} is noted while it may be lost")
        before = durability.n_durable[journal]
        append(self, era)
        if durability.n_durable[journal] == before:
            durability.mistakes.append(f"{entry.folder} counts as noted while the line may be lost")
        noted.append(entry.era)

    with watched_by(durability):
        monkeypatch.setattr(os, "fsync", durability.make_durable)
        monkeypatch.setattr(Journal, "_append", check_and_append)
        convert(source, out, workers=1, **options)
    durability.check("it is done")
    assert durability.mistakes == []
    # Benchmarks alone are found again by their checksums.
    assert sorted(noted) == ([] if prepare is of_benchmarks else sorted(open_dataset(out).eras))
    assert list(durability.renamed)[-1] == "manifest.json"
    assert durability.n_durable[str(out)] > 1
    assert durability.n_removed == (prepare is of_overwriting)
