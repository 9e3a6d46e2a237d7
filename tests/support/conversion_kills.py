"""Conversions and updates that are killed at every point, and run again."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from memmap_train.conversion.conversion import convert
from memmap_train.conversion.workspace import STAGED
from memmap_train.dataset.format import WORKSPACE
from memmap_train.dataset.opening import open_dataset
from memmap_train.dataset.verify import verify
from memmap_train.errors import ManifestError
from tests.support.interruptions import ERAS, write_source
from tests.support.killing import Killer
from tests.support.toy import toy_table, write_toy
from tests.support.toy_benchmarks import BENCHMARKS, write_benchmarks
from tests.support.updates import LATER, write_first, write_later

N_KILLS = 20
"""Points of each kind of conversion at which it is killed here; `make torture` takes all."""


def convert_older(folder: Path) -> str:
    """Make the dataset `old`, with one more era and other codes; return its digest."""
    source = folder / "older.parquet"
    write_toy(source, {**ERAS, "0004": 5}, row_group_rows=10, seed=1)
    return convert(source, folder / "old", dtype="int8").dataset.manifest.digest


def sampled(n_points: int, most: int | None) -> list[int]:
    """Return the numbers of points: the first, the last, and others evenly between."""
    assert n_points > 60
    every = np.arange(1, n_points + 1)
    chosen = every if most is None else np.unique(np.linspace(1, n_points, most, dtype=int))
    return [int(number) for number in chosen]


def noted(out: Path) -> dict[str, int]:
    """Return the inodes of the arrays that a conversion has finished, by its journal's whole lines.

    The arrays wait in the workspace; some may be in place already if the old dataset is gone.
    """
    journal = out / WORKSPACE / "journal.jsonl"
    if not journal.is_file():
        return {}
    lines = journal.read_text().split("\n")[1:-1]
    in_place = {} if (out / "manifest.json").exists() else inodes(out)
    return {
        name: inode
        for name, inode in (in_place | inodes(out / WORKSPACE / STAGED)).items()
        if any(f'"era": "{name.split("/")[0].removeprefix("era-")}"' in line for line in lines)
    }


def inodes(folder: Path) -> dict[str, int]:
    return {str(f.relative_to(folder)): f.stat().st_ino for f in folder.glob("era-*/*.npy")}


def state(out: Path, known: dict[str, str]) -> str:
    """Check that a reader finds a whole dataset or none; return the name of the dataset."""
    try:
        digest = open_dataset(out).manifest.digest
    except ManifestError as error:
        return "absent" if "not a dataset" in str(error) else str(error)
    assert list(verify(out)) == []
    return known[digest]


def check_whole(out: Path, digest: str) -> None:
    """Check that the folder holds the expected dataset and nothing else."""
    assert list(verify(out)) == []
    assert open_dataset(out).manifest.digest == digest
    assert not (out / WORKSPACE).exists()


def kill_and_resume(
    at_will: Killer,
    begin: Callable[[], Any],
    source: Path,
    out: Path,
    known: dict[str, str],
    *,
    most: int | None,
    **options: Any,
) -> Counter[str]:
    """Kill a conversion at each of its points and resume it; count what readers find in between."""
    begin()
    n_points = at_will.points(source, out, **options)
    found: Counter[str] = Counter()
    for number in sampled(n_points, most):
        begin()
        at_will.kill(source, out, number, **options)
        found[what := state(out, known)] += 1
        before = noted(out) if what != "new" else {}  # a whole one is overwritten as a whole
        convert(source, out, **options)
        assert before.items() <= inodes(out).items()
        check_whole(out, next(digest for digest, name in known.items() if name == "new"))
    return found


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def kill_conversions(
    at_will: Killer, source: Path, *, overwrite: bool, most: int | None
) -> Counter[str]:
    """Kill conversions into an empty folder, or over a dataset made with other options."""
    folder = source.parent
    out = folder / "out"
    known = {
        convert(source, folder / "new").dataset.manifest.digest: "new",
        convert_older(folder): "old",
    }

    def begin() -> None:
        remove(out)
        if overwrite:
            shutil.copytree(folder / "old", out)

    options = {"overwrite": True} if overwrite else {}
    return kill_and_resume(at_will, begin, source, out, known, most=most, **options)


def kill_with_benchmarks(at_will: Killer, folder: Path, *, most: int | None) -> Counter[str]:
    """Kill conversions with benchmarks into an empty folder."""
    source, out = write_source(folder), folder / "out"
    files = [write_benchmarks(folder / "b.parquet", ERAS)]
    new = convert(source, folder / "new", benchmarks=files).dataset.manifest.digest
    given = {"benchmarks": [str(file) for file in files]}
    return kill_and_resume(
        at_will, lambda: remove(out), source, out, {new: "new"}, most=most, **given
    )


def kill_added_benchmarks(at_will: Killer, folder: Path, *, most: int | None) -> Counter[str]:
    """Kill updates that bring benchmarks up to date, and nothing else."""
    source, out, file = write_source(folder), folder / "out", folder / "b.parquet"
    write_benchmarks(file, {"0001": 30, "0003": 9}, BENCHMARKS[:1])
    known = {convert(source, folder / "old", benchmarks=file).dataset.manifest.digest: "old"}
    write_benchmarks(file, ERAS)
    known[convert(source, folder / "new", benchmarks=file).dataset.manifest.digest] = "new"

    def begin() -> None:
        remove(out)
        shutil.copytree(folder / "old", out)

    given = {"benchmarks": [str(file)]}
    return kill_and_resume(at_will, begin, source, out, known, most=most, **given)


def kill_updates_with_benchmarks(
    at_will: Killer, folder: Path, *, most: int | None
) -> Counter[str]:
    """Kill updates of a dataset whose source and whose file of benchmarks have grown."""
    source, out, file = folder / "validation.parquet", folder / "out", folder / "b.parquet"
    write_first(source)
    write_benchmarks(file, {"0001": 12, "0003": 4})
    known = {convert(source, folder / "old", benchmarks=file).dataset.manifest.digest: "old"}
    write_later(source)
    write_benchmarks(file, LATER)
    known[convert(source, folder / "new", benchmarks=file).dataset.manifest.digest] = "new"

    def begin() -> None:
        remove(out)
        shutil.copytree(folder / "old", out)

    given = {"benchmarks": [str(file)]}
    return kill_and_resume(at_will, begin, source, out, known, most=most, **given)


def kill_updates(at_will: Killer, folder: Path, *, most: int | None) -> Counter[str]:
    """Kill updates of a dataset whose source has new eras and new targets of an old one."""
    source, out = folder / "validation.parquet", folder / "out"
    write_first(source)
    known = {convert(source, folder / "old").dataset.manifest.digest: "old"}
    write_later(source)
    known[convert(source, folder / "new").dataset.manifest.digest] = "new"

    def begin() -> None:
        remove(out)
        shutil.copytree(folder / "old", out)

    return kill_and_resume(at_will, begin, source, out, known, most=most)


WAYS: list[dict[str, Any]] = [
    {},
    {},
    {"trust_features": True},
    {"overwrite": True},
    {"overwrite": True, "dtype": "int8"},
    {"dtype": "int8"},
]


def write_last(path: Path) -> None:
    """Write the source of one more week later."""
    table = toy_table({**LATER, "0006": 6}, nulls=True)
    pq.write_table(table, path, row_group_size=11)


def kill_sequences(at_will: Killer, folder: Path, n_sequences: int, seed: int) -> Counter[str]:
    """Run conversions of all kinds into one folder, most of them killed; count how they end."""
    source, out = folder / "validation.parquet", folder / "out"
    weeks = (write_first, write_later, write_last)
    known = {}
    for week, write in enumerate(weeks):
        write(source)
        for dtype in ("float32", "int8"):
            report = convert(source, folder / f"week {week}, {dtype}", dtype=dtype)
            known[report.dataset.manifest.digest] = f"week {week}, {dtype}"
    random = np.random.default_rng([3, seed])
    ends: Counter[str] = Counter()
    for _ in range(n_sequences):
        remove(out)
        if random.integers(4):
            shutil.copytree(folder / "week 0, float32", out)
        for _ in range(random.integers(2, 6)):
            week = int(random.integers(len(weeks)))
            weeks[week](source)
            os.utime(source, ns=(0, 10**18 + week))
            options = WAYS[random.integers(len(WAYS))]
            ends[at_will.try_to_kill(source, out, int(random.integers(1, 150)), **options)] += 1
            ends[state(out, known).split(",")[0]] += 1
        write_last(source)
        convert(source, out, overwrite=True)
        check_whole(out, next(d for d, name in known.items() if name == "week 2, float32"))
    return ends
