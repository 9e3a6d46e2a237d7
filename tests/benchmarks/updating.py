"""The weekly update, compared with decoding its source and with writing the new arrays.

One week later the source has one more era, and late targets of earlier ones.
"""

import os
import shutil
from functools import partial
from pathlib import Path

from memmap_train.conversion.conversion import convert
from memmap_train.conversion.report import Report

from . import limits
from .converting import convert_alone
from .measuring import Job, in_turn, print_table
from .sources import Size, make_weeks

_DECODE = "decode all features"


def run(directory: Path, size: Size) -> None:
    """Print a table for each store dtype."""
    for dtype in ("float32", "int8"):
        _run(directory, size, dtype)


def _run(directory: Path, size: Size, dtype: str) -> None:
    before, now = make_weeks(directory, size)
    first, out = directory / "updating-first", directory / "updating"
    shutil.rmtree(first, ignore_errors=True)
    convert(before, first, dtype=dtype)
    _restore(first, out)
    report = convert(now, out, dtype=dtype)
    assert report.status == "updated"
    n_new = _new_bytes(first, report)

    restore = partial(_restore, first, out)
    update, trusting, again = "update", "update with --trust-features", "the same again: up to date"
    found = in_turn(
        [
            Job(limits.decode, (_DECODE, [now])),
            Job(limits.write, ("what is new", directory / "plain", n_new)),
            Job(convert_alone, (update, [now], out, dtype), restore),
            Job(convert_alone, (again, [now], out, dtype)),
            Job(convert_alone, (trusting, [now], out, dtype, True), restore),
        ],
        size.repeats,
    )
    for folder in (first, out):
        shutil.rmtree(folder)
    print_table(
        f"Weekly update of a dataset in {dtype}: {report.n_rows:,} rows x {size.features:,} "
        f"features in the source, of {report.n_eras:,} eras {report.n_eras_new} new and "
        f"{report.n_eras_changed} with late targets, {n_new / 1e6:,.1f} MB to write",
        ["what", "seconds", "CPU seconds", "times decoding", "peak anonymous MB"],
        [
            [
                name,
                f"{part.seconds:.3f}",
                f"{part.cpu_seconds:.3f}",
                f"{part.seconds / found[_DECODE].seconds:.2f}",
                f"{part.peak_bytes / 1e6:,.0f}" if name in (update, trusting, again) else "",
            ]
            for name, part in found.items()
        ],
    )


def _restore(first: Path, out: Path) -> None:
    """Restore the first week's dataset by hard links: an update changes no file in place."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(first, out, copy_function=os.link)


def _new_bytes(first: Path, report: Report) -> int:
    """Return the total size of an updated dataset's files that the first one lacks."""
    old = {file.stat().st_ino for file in first.rglob("*.npy")}
    files = [file.stat() for file in report.dataset.path.rglob("*.npy")]
    return sum(status.st_size for status in files if status.st_ino not in old)
