"""Tests of the files of a sample: the memory that they take; refused, replaced, and interrupted."""

import gc
import itertools
import json
import os
import shutil
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.conversion import convert
from memmap_train.conversion.parquet.writer import SourceWriter
from memmap_train.conversion.sample import SampleSummary, write_sample
from memmap_train.conversion.sample_signal import TARGET_NAMES, Signal
from memmap_train.errors import ConfigError
from tests.support.files import files_limited_to
from tests.support.samples import BENCHMARKS, FEATURES, FILES, SEED, SOURCES, range_names
from tests.support.watching import watched_by


def test_memory_does_not_grow_with_the_eras(tmp_path: Path) -> None:
    def peak_bytes(n_eras: int) -> int:
        of_arrow = 0
        gc.collect()
        before = pa.total_allocated_bytes()  # by what ran earlier in this process

        def progress(what: str, done: int, total: int) -> None:
            nonlocal of_arrow
            of_arrow = max(of_arrow, pa.total_allocated_bytes() - before)

        tracemalloc.start()
        folder = tmp_path / str(n_eras)
        write_sample(folder, n_eras=n_eras, rows_per_era=2_000, n_features=32, progress=progress)
        of_numpy = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return of_numpy + of_arrow

    peak_bytes(5)  # what is imported when it is first needed
    few, many = peak_bytes(15), peak_bytes(75)
    bytes_per_era = 2_000 * (32 + 4 * len(TARGET_NAMES) + 16)
    assert many - few < 3 * bytes_per_era  # of the 60 that it has more
    assert few < 30 * bytes_per_era


def test_the_summary_and_the_progress_report_what_was_done(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    summary = write_sample(
        tmp_path / "new" / "folder",
        n_eras=6,
        rows_per_era=30,
        n_features=7,
        progress=lambda what, done, total: calls.append((what, done, total)),
    )
    assert calls == [("writing the sample", done, 210) for done in range(30, 211, 30)]
    assert summary == SampleSummary(
        paths=tuple(tmp_path / "new" / "folder" / name for name in FILES),
        n_rows=sum(pq.read_metadata(path).num_rows for path in summary.paths[:3]),
        n_eras=6,
        n_features=7,
        best=summary.best,
    )
    assert sorted(summary.paths[0].parent.iterdir()) == sorted(summary.paths)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_eras": 4}, "--eras: expected 5 to 9,999, found 4; type: .* --eras 5$"),
        ({"n_eras": 10_000}, "--eras: expected 5 to 9,999, found 10,000; type: .* --eras 9999$"),
        ({"rows_per_era": 19}, "--rows-per-era: expected 20 or more, found 19"),
        ({"n_features": 0}, "--features: expected 5 to 50,000, found 0"),
        ({"n_features": 10**9}, "--features: expected 5 to 50,000, found 1,000,000,000"),
        ({"rows_per_era": 10**11}, "take at least 130,000.0 GB of memory; expected .* at most"),
        ({"rows_per_era": 10**30}, "GB of memory; expected .* at most, which is what is free"),
        ({"seed": -1}, "--seed: expected 0 or more, found -1"),
    ],
)
def test_sizes_that_make_no_sense_are_refused_before_anything_is_written(
    tmp_path: Path, sizes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        write_sample(tmp_path / "new", **sizes)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_that_the_disk_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: dict[str, Any] = {"n_eras": 5, "rows_per_era": 1000, "n_features": 800}
    written = sum(path.stat().st_size for path in write_sample(tmp_path / "a", **sizes).paths)
    monkeypatch.setattr("memmap_train.conversion.sample.free_disk", lambda path: written)
    write_sample(tmp_path / "b", **sizes)
    monkeypatch.setattr("memmap_train.conversion.sample.free_disk", lambda path: written // 2)
    with pytest.raises(ConfigError, match=r"take at least 1\.9 MB of disk; expected .* at most"):
        write_sample(tmp_path / "c", **sizes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, below: str) -> None:
    taken = tmp_path / "taken"
    taken.write_text("precious")
    with pytest.raises(ConfigError, match=r"can't write a sample into .*taken"):
        write_sample(taken / below, n_eras=5, rows_per_era=20, n_features=5)
    assert taken.read_text() == "precious"


def test_a_former_sample_is_replaced(tmp_path: Path) -> None:
    for n_features in (5, 6):
        write_sample(tmp_path, n_eras=5, rows_per_era=20, n_features=n_features)
    for name in SOURCES:
        assert len(pq.read_schema(tmp_path / name).names) == 6 + 2 + len(TARGET_NAMES) + 1
    assert len(json.loads((tmp_path / "features.json").read_text())["feature_sets"]["all"]) == 6


def test_a_sample_of_before_there_were_benchmark_files_is_replaced(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"n_eras": 5, "rows_per_era": 20}
    write_sample(tmp_path, n_features=5, **sizes)
    for name in BENCHMARKS:
        (tmp_path / name).unlink()
    write_sample(tmp_path, n_features=6, **sizes)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    assert pq.read_schema(tmp_path / "train.parquet").names[-1] == "id"
    assert len(pq.read_schema(tmp_path / "train.parquet").names) == 6 + 2 + len(TARGET_NAMES) + 1


def test_a_full_disk_is_explained_and_leaves_the_former_sample(tmp_path: Path) -> None:
    write_sample(tmp_path, n_eras=5, rows_per_era=20, n_features=5)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with (
        files_limited_to(20_000),
        pytest.raises(ConfigError, match=r"space enough; found: .*File too large"),
    ):
        write_sample(tmp_path, n_eras=50, rows_per_era=500, n_features=5)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


class Kill:
    """Ends a sample at its n-th rename or removal; nothing can be changed from then on."""

    class Error(BaseException):
        """Nobody catches it."""

    def __init__(self, folder: Path, number: int) -> None:
        self.n_seen, self._folder, self._number = 0, str(folder), number

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        changes = event in ("os.rename", "os.remove", "os.rmdir")
        if changes and str(arguments[0]).startswith(self._folder):
            self.n_seen += 1
            if self.n_seen >= self._number:
                raise self.Error


def test_a_killed_sample_is_never_a_mixture_and_a_rerun_completes_it(tmp_path: Path) -> None:
    """What `make` asks for is train.parquet: where it is, all files are of one sample."""
    sizes: dict[str, Any] = {"n_eras": 5, "rows_per_era": 20}
    folder = tmp_path / "sample"
    write_sample(tmp_path / "old", n_features=5, **sizes)
    write_sample(tmp_path / "new", n_features=6, **sizes)
    known = {
        tuple((tmp_path / name / file).read_bytes() for file in FILES): name
        for name in ("old", "new")
    }
    found = []
    for number in itertools.count(1):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "old", folder)
        with watched_by(kill := Kill(folder, number)), suppress(Kill.Error):
            write_sample(folder, n_features=6, **sizes)
        if (folder / "train.parquet").exists():
            contents = tuple((folder / file).read_bytes() for file in FILES)
            found.append(known[contents])
        else:
            found.append("absent")
        write_sample(folder, n_features=6, **sizes)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
            file.name: file.read_bytes() for file in (tmp_path / "new").iterdir()
        }
        if kill.n_seen < number:
            break
    assert list(dict.fromkeys(found)) == ["old", "absent", "new"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["other", "cut", "folder", "link", "broken link", "pipe"])
def test_a_file_that_is_not_part_of_a_sample_is_never_replaced(
    tmp_path: Path, name: str, kind: str
) -> None:
    folder, theirs = tmp_path / "data", tmp_path / "theirs"
    write_sample(folder, n_eras=5, rows_per_era=20, n_features=5)
    path = folder / name
    whole = path.read_bytes()
    path.unlink()
    match kind:
        case "other":
            if name == "features.json":
                data = json.loads(whole)
                data["feature_sets"]["mine"] = data["feature_sets"]["small"]
                path.write_text(json.dumps(data))
            else:
                pq.write_table(pa.table({"era": ["0001"], "feature_a": [1]}), path)
        case "cut":
            path.write_bytes(whole[:-9])
        case "folder":
            path.mkdir()
        case "link":
            theirs.write_text("mine")
            path.symlink_to(theirs)
        case "broken link":
            path.symlink_to(theirs)
        case "pipe":
            os.mkfifo(path)
    before = {p.name: (p.lstat().st_ino, p.lstat().st_mtime_ns) for p in folder.iterdir()}
    with pytest.raises(ConfigError, match=f"found '{name}', which `sample` didn't write"):
        write_sample(folder, n_eras=5, rows_per_era=20, n_features=6)
    assert {p.name: (p.lstat().st_ino, p.lstat().st_mtime_ns) for p in folder.iterdir()} == before


@pytest.mark.parametrize("where", [".", "deep/er", "era-0001"])
def test_a_sample_in_a_dataset_is_refused(tmp_path: Path, where: str) -> None:
    write_sample(tmp_path / "sample", n_eras=5, rows_per_era=20, n_features=5)
    out = convert(tmp_path / "sample" / "train.parquet", tmp_path / "out").dataset.path
    before = sorted(out.rglob("*"))
    with pytest.raises(ConfigError, match="found the dataset"):
        write_sample(out / where, n_eras=5, rows_per_era=20, n_features=5)
    assert sorted(out.rglob("*")) == before


def test_an_interrupted_writer_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    path.write_bytes(b"former")
    era = Signal(FEATURES, SEED).era(1, 40)

    def write_and_stop() -> None:
        with SourceWriter(path, range_names(FEATURES), TARGET_NAMES, rows_per_group=30) as source:
            for label in ("0001", "0002"):
                source.write_era(
                    label, "train", features=era.features, targets=era.targets, ids=era.ids
                )
            assert [entry.name for entry in tmp_path.iterdir() if entry != path]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"former"


def test_an_interrupted_sample_leaves_no_empty_folder(tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        assert (tmp_path / "sample").exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "sample", n_eras=5, rows_per_era=20, n_features=5, progress=stop)
    assert not list(tmp_path.iterdir())
