"""Tests of benchmarks that are added to a dataset, and of their weekly update."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.conversion.benchmarks.staging import _EraBenchmarks
from memmap_train.conversion.journal import Journal
from memmap_train.conversion.report import report_text
from memmap_train.dataset.format import WORKSPACE
from memmap_train.errors import ConversionError, ManifestError, ShardError, SourceError
from tests.support.conversions import features_json, same_rows
from tests.support.errors import refused
from tests.support.files import contents
from tests.support.interruptions import ERAS, marks, visible, write_source
from tests.support.toy import feature_names, toy_benchmarks
from tests.support.toy_benchmarks import BENCHMARKS, values_of, write_benchmarks
from tests.support.updates import FIRST, LATER, write_first, write_later

TRAIN = {"0001": 30, "0002": 1}
"""Eras of a file as Numerai's train_benchmark_models.parquet; the others are in another file."""
VALIDATION = {"0003": 25, "X": 7}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Return two files of the same two benchmarks, and one of another benchmark."""
    return [
        write_benchmarks(tmp_path / "train_benchmarks.parquet", TRAIN, BENCHMARKS[:2]),
        write_benchmarks(tmp_path / "validation_benchmarks.parquet", VALIDATION, BENCHMARKS[:2]),
        write_benchmarks(tmp_path / "meta_model.parquet", {"0003": 20}, BENCHMARKS[2:]),
    ]


def written(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Return which arrays were written, by the marks before and after."""
    return {name for name, mark in after.items() if before.get(name) != mark}


def of_eras(*eras: str) -> set[str]:
    return {f"era-{era}/benchmarks.npy" for era in eras}


@pytest.mark.parametrize("with_sources", [True, False])
def test_benchmarks_given_later_are_the_only_files_that_are_written(
    source: Path, files: list[Path], with_sources: bool
) -> None:
    at_once = mt.convert(source, source.with_name("once"), benchmarks=files).dataset
    out = source.with_name("out")
    plain = mt.convert(source, out).dataset
    before, digest = marks(out), plain.manifest.digest
    sources = [source] if with_sources else []
    if not with_sources:
        source.unlink()
    report = mt.convert(sources, out, benchmarks=files)
    assert report.status == "updated"
    assert (report.n_eras_new, report.n_eras_changed, report.n_eras_benchmarks) == (0, 0, 4)
    assert written(before, marks(out)) == of_eras(*ERAS)
    assert visible(out) == {"manifest.json", *(f"era-{era}" for era in ERAS)}
    assert not (out / WORKSPACE).exists()
    assert same_rows(report.dataset, at_once)
    assert report.dataset.manifest.digest != digest
    assert report.dataset.manifest.history == ()
    assert report.dataset.manifest.sources == plain.manifest.sources


def test_adding_benchmarks_reads_no_features(
    source: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = source.with_name("out")
    mt.convert(source, out)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("nothing of the sources is planned or decoded")

    for name in ("make_plan", "write", "features"):
        monkeypatch.setattr(f"memmap_train.conversion.parquet_source.ParquetSource.{name}", fail)
    monkeypatch.setattr(Journal, "publish", fail)
    assert mt.convert(source, out, benchmarks=files).status == "updated"
    for era in ERAS:  # not even the files of the features are needed
        (out / f"era-{era}" / "features.npy").chmod(0)


def test_the_same_files_again_are_up_to_date(source: Path, files: list[Path]) -> None:
    out = source.with_name("out")
    mt.convert(source, out, benchmarks=files)
    before = contents(out)
    for sources, given in (
        ([source], files),
        ([source], files[::-1]),
        ([source], files[1:2]),
        ([source], []),
        ([], files),
    ):
        assert mt.convert(sources, out, benchmarks=given).status == "up to date"
    assert contents(out) == before


def test_what_a_run_leaves_that_was_killed_at_its_end_is_removed(
    source: Path, files: list[Path]
) -> None:
    out = source.with_name("killed")
    mt.convert(source, out, benchmarks=files)
    expected = contents(out)
    for sources in ([], [source]):
        (out / WORKSPACE / "staged").mkdir(parents=True)
        assert mt.convert(sources, out, benchmarks=files).status == "up to date"
        assert not (out / WORKSPACE).exists()
    assert contents(out) == expected


def test_a_touched_file_changes_nothing_but_its_time(source: Path, files: list[Path]) -> None:
    out = source.with_name("out")
    digest = mt.convert(source, out, benchmarks=files).dataset.manifest.digest
    before = marks(out)
    os.utime(files[0], ns=(0, 10**18))
    report = mt.convert(source, out, benchmarks=files[::-1])
    assert report.status == "up to date"
    assert marks(out) == before
    assert report.dataset.manifest.digest == digest
    times = {s.name: s.modified for s in report.dataset.manifest.benchmark_sources}
    assert times[files[0].name].startswith("2001-09-09")
    assert mt.convert(source, out, benchmarks=files).status == "up to date"
    assert not (out / WORKSPACE).exists()


def test_files_one_after_another_come_to_the_same_as_at_once(
    source: Path, files: list[Path]
) -> None:
    at_once = mt.convert(source, source.with_name("once"), benchmarks=files).dataset
    out = source.with_name("out")
    mt.convert(source, out)
    for file in files:
        report = mt.convert([], out, benchmarks=file)
    assert same_rows(report.dataset, at_once)
    assert report.dataset.manifest.benchmark_sources == at_once.manifest.benchmark_sources


# -- the weekly update ----------------------------------------------------------------------------


def test_late_values_are_filled_in_and_only_eras_that_change_are_written(
    source: Path, files: list[Path]
) -> None:
    out = source.with_name("out")
    write_benchmarks(files[1], {"0003": 11}, BENCHMARKS[:2])  # its last rows and an era are late
    mt.convert(source, out, benchmarks=files)
    before = marks(out)
    assert np.isnan(values_of(mt.open_dataset(out), "0003")[11:, :2]).all()
    write_benchmarks(files[1], VALIDATION, BENCHMARKS[:2])
    report = mt.convert(source, out, benchmarks=files)
    assert (report.status, report.n_eras_benchmarks) == ("updated", 2)
    assert written(before, marks(out)) == of_eras("0003", "X")
    fresh = mt.convert(source, source.with_name("fresh"), benchmarks=files).dataset
    assert same_rows(report.dataset, fresh)
    assert report.dataset.manifest.benchmark_sources == fresh.manifest.benchmark_sources


@pytest.mark.parametrize("trust_features", [False, True])
def test_grown_sources_and_grown_benchmarks_are_one_update(
    tmp_path: Path, trust_features: bool
) -> None:
    source, out, file = tmp_path / "v.parquet", tmp_path / "out", tmp_path / "b.parquet"
    write_first(source)
    write_benchmarks(file, {"0001": 12, "0003": 5}, BENCHMARKS[:2])
    mt.convert(source, out, benchmarks=file)
    before = marks(out)
    write_later(source)
    write_benchmarks(file, {**LATER, "0009": 3}, BENCHMARKS)
    report = mt.convert(source, out, benchmarks=file, trust_features=trust_features)
    assert (report.n_eras_new, report.n_eras_changed, report.n_eras_benchmarks) == (2, 1, 3)
    assert written(before, marks(out)) == {
        *of_eras(*LATER),
        "era-0003/targets.npy",
        *(f"era-{era}/{a}.npy" for era in ("0004", "0005") for a in ("features", "targets")),
        *(f"era-{era}/{a}.npy" for era in ("0004", "0005") for a in ("ids", "counts")),
    }
    fresh = mt.convert(source, tmp_path / "fresh", benchmarks=file).dataset
    assert same_rows(report.dataset, fresh)
    assert "b.parquet: 41 of 44 rows joined; left out: 3 rows whose era" in report_text(report)


def test_new_eras_have_no_benchmarks_until_a_file_has_them(tmp_path: Path) -> None:
    source, out, file = tmp_path / "v.parquet", tmp_path / "out", tmp_path / "b.parquet"
    write_first(source)
    write_benchmarks(file, FIRST)
    mt.convert(source, out, benchmarks=file)
    before = marks(out)
    write_later(source)
    report = mt.convert(source, out)
    assert report.status == "updated"
    assert "no benchmarks yet in 2 new eras: name their files with --benchmarks" in report_text(
        report
    )
    assert not written(before, marks(out)) & of_eras(*FIRST)
    dataset = report.dataset
    assert np.isnan(values_of(dataset, "0004")).all()
    assert dataset.benchmark_eras(BENCHMARKS[0]) == tuple(FIRST)
    assert [source.name for source in dataset.manifest.benchmark_sources] == ["b.parquet"]
    assert mt.verify(out) == []
    write_benchmarks(file, LATER)
    filled = mt.convert(source, out, benchmarks=file).dataset
    assert same_rows(filled, mt.convert(source, tmp_path / "f", benchmarks=file).dataset)


def test_what_no_file_has_rows_of_keeps_its_values(source: Path, files: list[Path]) -> None:
    """An era that a file has lost, and a benchmark whose file isn't given."""
    out = source.with_name("out")
    dataset = mt.convert(source, out, benchmarks=files).dataset
    before = {era: values_of(dataset, era).copy() for era in ERAS}
    write_benchmarks(files[1], {"X": 3}, BENCHMARKS[:2])
    dataset = mt.convert(source, out, benchmarks=files).dataset
    np.testing.assert_array_equal(values_of(dataset, "0003"), before["0003"])
    # All files are given, so rows that none of them has any more have no value.
    assert np.isnan(values_of(dataset, "X")[3:]).all()
    np.testing.assert_array_equal(values_of(dataset, "X")[:3], before["X"][:3])
    write_benchmarks(files[1], {"0003": 2}, BENCHMARKS[:1], nulls=False)
    dataset = mt.convert(source, out, benchmarks=files[1]).dataset
    expected = before["0003"].copy()
    expected[:2, 0] = toy_benchmarks("0003", 2, 1)[:, 0]
    assert not np.array_equal(expected, before["0003"], equal_nan=True)
    np.testing.assert_array_equal(values_of(dataset, "0003"), expected)


def test_a_new_benchmark_is_added_to_every_era(source: Path, files: list[Path]) -> None:
    out = source.with_name("out")
    mt.convert(source, out, benchmarks=files[:2])
    report = mt.convert(source, out, benchmarks=files)
    assert report.dataset.benchmark_names == BENCHMARKS
    assert report.n_eras_benchmarks == len(ERAS)
    fresh = mt.convert(source, source.with_name("fresh"), benchmarks=files).dataset
    assert same_rows(report.dataset, fresh)


def test_a_live_dataset_is_replaced_with_its_benchmarks(tmp_path: Path, source: Path) -> None:
    file, out = tmp_path / "live_benchmark_models.parquet", tmp_path / "live"
    write_benchmarks(file, {"X": 7})
    mt.convert(source, out, benchmarks=file)
    write_benchmarks(file, {"X": 5})
    report = mt.convert(source, out, benchmarks=file, overwrite=True)
    assert report.status == "converted"
    assert np.isnan(values_of(report.dataset, "X")[5:]).all()
    plain = mt.convert(source, out, overwrite=True).dataset
    assert plain.benchmark_names == ()
    assert not list(out.glob("*/benchmarks.npy"))
    assert mt.verify(out) == []
    assert same_rows(plain, mt.convert(source, tmp_path / "plain").dataset)


# -- subsets --------------------------------------------------------------------------------------


@pytest.fixture
def parent(source: Path, files: list[Path]) -> Path:
    sets = features_json(source.parent, {"small": feature_names(5)[1:3]})
    out = source.with_name("parent")
    return mt.convert(source, out, benchmarks=files, features_json=sets).dataset.path


def test_a_subset_has_the_benchmarks_of_its_source_dataset(
    source: Path, files: list[Path], parent: Path
) -> None:
    subset = mt.convert(parent, source.with_name("subset"), feature_set="small").dataset
    sets = source.with_name("features.json")
    fresh = mt.convert(
        source, source.with_name("f"), benchmarks=files, feature_set="small", features_json=sets
    ).dataset
    assert same_rows(subset, fresh)
    assert subset.manifest.benchmark_sources == fresh.manifest.benchmark_sources
    assert mt.convert(parent, subset.path, feature_set="small").status == "up to date"


def test_a_subset_gets_the_new_benchmarks_of_its_source_dataset_and_nothing_else(
    source: Path, files: list[Path], parent: Path
) -> None:
    out = source.with_name("subset")
    mt.convert(parent, out, feature_set="small")
    before = marks(out)
    write_benchmarks(files[2], {"0003": 25, "X": 2}, BENCHMARKS[2:])
    mt.convert([], parent, benchmarks=files)
    report = mt.convert(parent, out, feature_set="small")
    assert report.status == "updated"
    assert written(before, marks(out)) == of_eras("0003", "X")
    np.testing.assert_array_equal(
        values_of(report.dataset, "X"), values_of(mt.open_dataset(parent), "X")
    )
    assert mt.convert(parent, out, feature_set="small").status == "up to date"


def test_a_subset_may_have_benchmarks_of_its_own_besides(
    source: Path, files: list[Path], parent: Path
) -> None:
    plain = mt.convert(source, source.with_name("plain"), benchmarks=files[:2]).dataset.path
    out = source.with_name("subset")
    report = mt.convert(plain, out, targets=["target"], benchmarks=files[2])
    assert report.dataset.benchmark_names == BENCHMARKS
    for era in ERAS:
        np.testing.assert_array_equal(
            values_of(report.dataset, era), values_of(mt.open_dataset(parent), era)
        )
    again = mt.convert(plain, out, targets=["target"], benchmarks=files[2])
    assert again.status == "up to date"
    assert mt.convert(plain, out, targets=["target"]).status == "up to date"


def test_damaged_benchmarks_of_the_source_dataset_are_refused(source: Path, parent: Path) -> None:
    file = parent / "era-0003" / "benchmarks.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with refused(ShardError, str(file), "damaged", "digest"):
        mt.convert(parent, source.with_name("subset"), feature_set="small")
    assert not source.with_name("subset").joinpath("manifest.json").exists()


# -- what is refused, and what is left ------------------------------------------------------------


def test_without_sources_there_has_to_be_a_dataset(tmp_path: Path, files: list[Path]) -> None:
    out = tmp_path / "out"
    with refused(ManifestError, str(out), "not a dataset"):
        mt.convert([], out, benchmarks=files)
    assert not out.exists()
    with refused(SourceError, "no sources"):
        mt.convert([], out)


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "int8"},
        {"overwrite": True},
        {"feature_set": "small"},
        {"targets": ["target"]},
        {"missing": "nan"},
        {"era_column": "date"},
    ],
)
def test_without_sources_no_option_about_them_can_be_chosen(
    source: Path, files: list[Path], options: dict[str, Any]
) -> None:
    out = source.with_name("out")
    mt.convert(source, out)
    before = contents(out)
    with refused(ConversionError, "without sources", "name the sources"):
        mt.convert([], out, benchmarks=files, **options)
    assert contents(out) == before


def test_a_dataset_with_linked_eras_is_refused(source: Path, files: list[Path]) -> None:
    out = source.with_name("out")
    mt.convert(source, out)
    shutil.move(out / "era-0001", source.with_name("elsewhere"))
    (out / "era-0001").symlink_to(source.with_name("elsewhere"))
    with refused(ConversionError, "'0001'", "is a link"):
        mt.convert(source, out, benchmarks=files)


def test_an_interrupted_run_leaves_nothing_for_one_with_other_files(
    source: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that were staged are used by the same command, and removed by another one."""
    out = source.with_name("out")
    plain = mt.convert(source, source.with_name("plain")).dataset
    write = _EraBenchmarks._write

    def stop(self: Any, folder: Path, values: Any) -> None:
        write(self, folder, values)
        if folder.name == "era-0003":
            raise KeyboardInterrupt

    for begun in (False, True):
        shutil.rmtree(out, ignore_errors=True)
        if begun:
            shutil.copytree(plain.path, out)
        with monkeypatch.context() as patch:
            patch.setattr(_EraBenchmarks, "_write", stop)
            with pytest.raises(KeyboardInterrupt):
                mt.convert(source, out, benchmarks=files, workers=1)
        assert len(list((out / WORKSPACE).rglob("benchmarks.npy"))) > 2
        other = mt.convert(source, out, benchmarks=files[2:] if begun else ())
        assert not (out / WORKSPACE).exists()
        assert other.dataset.benchmark_names == (BENCHMARKS[2:] if begun else ())
        assert mt.verify(out) == []
