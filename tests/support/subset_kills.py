"""Conversions of datasets to subsets that are killed at every point and resumed."""

import shutil
from collections import Counter
from pathlib import Path

import memmap_train as mt
from memmap_train.conversion.conversion import convert
from tests.support.conversion_kills import kill_and_resume
from tests.support.interruptions import check_whole, write_source
from tests.support.killing import Killer
from tests.support.updates import write_first, write_later


def kill_subset_conversions(at_will: Killer, folder: Path, *, most: int | None) -> Counter[str]:
    """Kill conversions to a subset at their points; count what readers find in between."""
    parent, out = convert(write_source(folder), folder / "parent").dataset.path, folder / "out"
    digest = mt.open_dataset(parent).manifest.digest
    found = kill_and_resume(
        at_will,
        lambda: shutil.rmtree(out, ignore_errors=True),
        parent,
        out,
        {digest: "new"},
        most=most,
    )
    check_whole(parent, digest)
    return found


def kill_subset_updates(at_will: Killer, folder: Path, *, most: int | None) -> Counter[str]:
    """Kill updates of a subset at their points, as `kill_subset_conversions` does."""
    source, parent, out = folder / "v.parquet", folder / "parent", folder / "out"
    write_first(source)
    old = convert(source, parent).dataset.manifest.digest
    convert(parent, folder / "first")
    write_later(source)
    new = convert(source, parent).dataset.manifest.digest

    def begin() -> None:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(folder / "first", out)

    return kill_and_resume(at_will, begin, parent, out, {old: "old", new: "new"}, most=most)
