"""Tests of conversions that are stopped, killed or fail, and go on with the next rerun."""

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from memmap_train.conversion import execution
from memmap_train.conversion.conversion import convert
from memmap_train.conversion.memory_budget import ConversionBudget
from memmap_train.conversion.parquet.file import describe_file
from memmap_train.dataset.format import WORKSPACE
from memmap_train.dataset.opening import open_dataset
from memmap_train.dataset.verify import verify
from memmap_train.errors import ConversionError
from tests.support.conversions import TinyBudget, convert_within
from tests.support.errors import refused
from tests.support.files import files_limited_to
from tests.support.interruptions import (
    ERAS,
    N_ROWS,
    StoppedError,
    check_ctrl_c_leaves_only_finished_eras,
    check_whole,
    marks,
    stopped_after,
    visible,
)
from tests.support.toy import toy_table, write_toy
from tests.support.toy_datasets import PLAIN_ARRAYS

# -- stopped and resumed ----------------------------------------------------------------------


@pytest.mark.parametrize("n_eras", [0, 1, 3])
def test_a_rerun_keeps_the_eras_that_were_finished(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str, n_eras: int
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, n_eras, lambda: convert(source, out))
    before = marks(out)
    assert len(before) == len(PLAIN_ARRAYS) * n_eras
    assert visible(out) == set()
    assert not (out / WORKSPACE / "partial").exists()
    report = convert(source, out)
    assert report.status == "converted"
    assert report.n_eras_kept == n_eras
    assert before.items() <= marks(out).items()
    check_whole(out, undisturbed)


@pytest.mark.parametrize("how", ["touched", "copied", "in another folder"])
def test_a_rerun_keeps_the_eras_of_a_source_that_was_only_touched(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str, how: str
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, 2, lambda: convert(source, out))
    before = marks(out)
    if how == "touched":
        os.utime(source)
    elif how == "copied":
        shutil.copyfile(source, source.with_name("copy"))
        os.replace(source.with_name("copy"), source)
    else:
        elsewhere = source.with_name("elsewhere")
        elsewhere.mkdir()
        source = source.rename(elsewhere / source.name)
    report = convert(source, out)
    assert report.n_eras_kept == 2
    assert before.items() <= marks(out).items()
    check_whole(out, undisturbed)


def test_a_rerun_keeps_no_era_of_a_source_with_other_values_of_the_same_layout(
    monkeypatch: pytest.MonkeyPatch, source: Path
) -> None:
    out, other = source.with_name("out"), source.with_name("other.parquet")
    for path, order in ((source, 1), (other, -1)):
        table = toy_table(ERAS)
        values = table["feature_y1"].to_numpy()[::order]
        table = table.set_column(table.column_names.index("feature_y1"), "feature_y1", [values])
        pq.write_table(table, path, compression="none", use_dictionary=["era", "data_type"])
    footers = [describe_file(path).footer_digest for path in (source, other)]
    assert footers[0] == footers[1]
    digest = convert(other, source.with_name("undisturbed")).dataset.manifest.digest
    stopped_after(monkeypatch, 2, lambda: convert(source, out))
    times = source.stat()
    source.write_bytes(other.read_bytes())
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert convert(source, out).n_eras_kept == 0
    check_whole(out, digest)


def test_a_rerun_with_every_era_finished_writes_the_manifest_only(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")

    def stop(*arguments: Any) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(execution, "commit_changes", stop)
        with pytest.raises(StoppedError):
            convert(source, out)
    before = marks(out)
    assert visible(out) == set()
    assert convert(source, out).n_eras_kept == len(ERAS)
    assert marks(out) == before
    check_whole(out, undisturbed)


def test_a_conversion_may_be_stopped_repeatedly(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")
    for _ in range(3):
        before = marks(out)
        stopped_after(monkeypatch, 1, lambda: convert(source, out))
        assert before.items() < marks(out).items()
    assert convert(source, out).n_eras_kept == 3
    check_whole(out, undisturbed)


def test_memory_and_workers_may_change_before_a_rerun(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, 2, lambda: convert(source, out, workers=1))
    report = convert_within(TinyBudget(0), [source], out, n_workers=3)  # staged in a file
    assert report.n_eras_kept == 2
    check_whole(out, undisturbed)


def test_interleaved_eras_are_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "toy.parquet"
    order = sorted(range(N_ROWS), key=lambda row: row * 40503 % 65536)
    write_toy(path, ERAS, order=order, row_group_rows=10)
    digest = convert(path, tmp_path / "undisturbed").dataset.manifest.digest
    stopped_after(monkeypatch, 2, lambda: convert(path, tmp_path / "out"))
    assert convert(path, tmp_path / "out").n_eras_kept == 2
    check_whole(tmp_path / "out", digest)


def test_a_rerun_finds_the_alias_in_the_eras_of_both_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    table = toy_table(ERAS, n_targets=3, nulls=True)
    pq.write_table(table.append_column("target_same", table["target"]), path)
    stopped_after(monkeypatch, 2, lambda: convert(path, out))
    assert convert(path, out).dataset.manifest.aliases == {"target": "target_same"}


# Python itself closes a file that was being opened at this very moment, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_ctrl_c_leaves_only_finished_eras(source: Path, undisturbed: str) -> None:
    check_ctrl_c_leaves_only_finished_eras(source, undisturbed)


# -- other options or sources on an unfinished folder -----------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"dtype": "int8"}, {"missing": "nan"}, {"targets": ["target"]}, {"id_column": "era"}],
    ids=lambda options: next(iter(options)),
)
def test_other_options_start_from_the_beginning(
    monkeypatch: pytest.MonkeyPatch, source: Path, options: dict[str, Any]
) -> None:
    out = source.with_name("out")
    digest = convert(source, source.with_name("fresh"), **options).dataset.manifest.digest
    stopped_after(monkeypatch, 3, lambda: convert(source, out))
    report = convert(source, out, **options)
    assert report.n_eras_kept == 0
    check_whole(out, digest)


def test_other_sources_start_from_the_beginning(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, 3, lambda: convert(source, out))
    write_toy(source, ERAS, seed=1)
    report = convert(source, out)
    assert report.n_eras_kept == 0
    assert report.dataset.manifest.digest != undisturbed
    assert list(verify(out)) == []


def test_another_target_prefix_starts_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "toy.parquet"
    table = toy_table(ERAS)
    pq.write_table(table.append_column("target_same", table["target"]), path)
    out = tmp_path / "out"
    stopped_after(monkeypatch, 2, lambda: convert(path, out, target_prefix="targ"))
    assert convert(path, out).dataset.manifest.aliases == {"target": "target_same"}


# -- killed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", b'{"job_ver'])
def test_a_rerun_resumes_after_a_kill_before_the_journal(
    source: Path, undisturbed: str, content: bytes | None
) -> None:
    out = source.with_name("out")
    (out / WORKSPACE).mkdir(parents=True)
    (out / WORKSPACE / "lock").touch()
    if content is not None:
        (out / WORKSPACE / "journal.partial").write_bytes(content)
    convert(source, out)
    check_whole(out, undisturbed)


# -- a full disk ------------------------------------------------------------------------------


@pytest.mark.parametrize("in_file", [False, True])
def test_a_rerun_resumes_after_a_write_that_failed(tmp_path: Path, in_file: bool) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 20, "0002": 3000}, n_features=40, row_group_rows=2000)
    digest = convert(path, tmp_path / "undisturbed").dataset.manifest.digest
    budget = TinyBudget(0) if in_file else ConversionBudget()
    with (
        files_limited_to(50_000),
        refused(ConversionError, str(out), "File too large", "resumes"),
    ):
        convert_within(budget, [path], out, n_workers=2)
    assert not (out / "manifest.json").exists()
    assert not (out / WORKSPACE / "partial").exists()
    assert convert(path, out).dataset.manifest.digest == digest
    assert list(verify(out)) == []


def test_a_rerun_resumes_after_a_journal_that_couldnt_be_written(tmp_path: Path) -> None:
    """What a full disk has refused once is refused again when the journal is closed."""
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {f"{era:04}": 1 for era in range(60)}, n_features=2)
    digest = convert(path, tmp_path / "undisturbed").dataset.manifest.digest
    with files_limited_to(8000), refused(ConversionError, str(out), "File too large"):
        convert(path, out)
    assert not (out / WORKSPACE / "partial").exists()
    assert 0 < convert(path, out).n_eras_kept < 60
    assert open_dataset(out).manifest.digest == digest
    assert list(verify(out)) == []
