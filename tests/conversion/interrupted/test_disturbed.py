"""Tests of conversions whose source changes meanwhile, or that meet another one at work."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.conversion import convert
from memmap_train.dataset.format import WORKSPACE
from memmap_train.errors import ConversionError, SourceError
from tests.support.errors import refused
from tests.support.interruptions import ERAS, check_whole, held_up, marks, stopped_after
from tests.support.toy import toy_table, write_toy

# -- two at a time ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"dtype": "int8"}, {"overwrite": True}], ids=str)
def test_a_second_conversion_is_refused_and_disturbs_nothing(
    source: Path, undisturbed: str, options: dict[str, Any]
) -> None:
    out = source.with_name("out")
    with held_up(source, out) as reports, refused(ConversionError, "another process"):
        convert(source, out, **options)
    assert reports[0].n_eras_kept == 0
    check_whole(out, undisturbed)


def test_a_lock_of_another_process_ends_with_that_process(
    source: Path, undisturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, 1, lambda: convert(source, out))
    hold = (
        "import fcntl, sys; file = open(sys.argv[1], 'ab'); fcntl.flock(file, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(out / WORKSPACE / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with refused(ConversionError, "another process"):
            convert(source, out)
        other.kill()
    assert convert(source, out).n_eras_kept == 1
    check_whole(out, undisturbed)


def test_a_conversion_that_ends_while_another_plans_stays_as_it_is(
    source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")
    before: list[dict[str, tuple[int, int]]] = []

    def overtake(what: str, done: int, total: int) -> None:
        if not before:
            convert(source, out)
            before.append(marks(out))

    with suppress(ConversionError):
        convert(source, out, progress=overtake)
    assert marks(out) == before[0]
    check_whole(out, undisturbed)


# -- a source that changes --------------------------------------------------------------------


def touch(source: Path) -> None:
    os.utime(source, ns=(0, 0))


def write_into(source: Path) -> None:
    other = source.with_name("other.parquet")
    write_toy(other, ERAS, seed=1, row_group_rows=10, nulls=True)
    source.write_bytes(other.read_bytes())


def replace(source: Path) -> None:
    other = source.with_name("other.parquet")
    write_toy(other, {"0001": 200}, n_features=9)
    os.replace(other, source)


def cut(source: Path) -> None:
    os.truncate(source, source.stat().st_size // 2)


def append(source: Path) -> None:
    with open(source, "ab") as file:
        file.write(b"more")


MOMENTS = {
    "planning": ("reading eras", 0.5),
    "begun": ("converting", 0),
    "half": ("converting", 0.5),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("change", [touch, write_into, replace, cut, append, Path.unlink])
def test_a_source_that_changes_while_it_is_read_is_noticed(
    source: Path, undisturbed: str, moment: str, change: Callable[[Path], None]
) -> None:
    out = source.with_name("out")
    whole, times = source.read_bytes(), source.stat()
    changed: list[int] = []

    def meddle(what: str, done: int, total: int) -> None:
        if what == MOMENTS[moment][0] and done >= total * MOMENTS[moment][1] and not changed:
            changed.append(done)
            change(source)

    with refused(SourceError, "toy.parquet"):
        convert(source, out, progress=meddle, workers=1)
    assert changed
    assert (changed[0] > 0) == (moment != "begun")
    assert not (out / "manifest.json").exists()
    source.write_bytes(whole)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    convert(source, out)
    check_whole(out, undisturbed)


def test_no_era_is_kept_of_a_content_that_a_source_held_only_for_a_while(tmp_path: Path) -> None:
    """Another content of the same layout, then the first one again with its old time."""
    source, other, out = (tmp_path / name for name in ("toy.parquet", "other.parquet", "out"))
    for path, seed in ((source, 0), (other, 1)):
        table = toy_table(ERAS, seed=seed)
        pq.write_table(
            table, path, row_group_size=10, compression="none", use_dictionary=["era", "data_type"]
        )
    whole, times = source.read_bytes(), source.stat()
    assert len(whole) == other.stat().st_size
    digest = convert(source, tmp_path / "undisturbed").dataset.manifest.digest
    changed: list[int] = []

    def meddle(what: str, done: int, total: int) -> None:
        if what == "converting" and done > 40 and not changed:
            changed.append(done)
            source.write_bytes(other.read_bytes())

    with refused(SourceError, "toy.parquet", "changed"):
        convert(source, out, progress=meddle, workers=1)
    assert changed
    source.write_bytes(whole)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    convert(source, out)
    check_whole(out, digest)
