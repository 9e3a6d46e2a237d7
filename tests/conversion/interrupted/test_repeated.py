"""Tests of conversions repeated on a finished dataset: up to date, refused, or overwritten."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.conversion import convert
from memmap_train.errors import ConversionError, SourceError
from tests.support.errors import refused
from tests.support.interruptions import ERAS, N_ROWS, check_whole, marks, stopped_after, visible
from tests.support.toy import write_toy
from tests.support.watching import watched_by


def test_the_same_again_is_up_to_date(source: Path, undisturbed: str) -> None:
    out = source.with_name("out")
    convert(source, out)
    before = marks(out)
    report = convert(source, out)
    assert report.status == "up to date"
    assert (report.n_rows, report.n_eras, report.n_eras_kept) == (N_ROWS, len(ERAS), 0)
    assert marks(out) == before


class OpenedArrays:
    """Notes the arrays that are opened."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".npy"):
            self.paths.append(str(arguments[0]))


def test_a_conversion_of_1300_eras_is_up_to_date_without_decoding(
    source: Path, many_eras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work for a large dataset is that for its manifest: nothing is read of any row."""
    read: list[Any] = []
    read_row_group = pq.ParquetFile.read_row_group

    def note(self: Any, *arguments: Any, **options: Any) -> Any:
        read.append(options["columns"])
        return read_row_group(self, *arguments, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", note)
    opened = OpenedArrays()
    with watched_by(opened):
        convert(source, source.with_name("out"))
        assert read
        assert opened.paths
        read.clear()
        opened.paths.clear()
        report = convert(
            many_eras.with_name("source.parquet"),
            many_eras,
            features_json=many_eras.with_name("features.json"),
        )
    assert (report.status, report.n_eras) == ("up to date", 1300)
    assert (read, opened.paths) == ([], [])


def test_the_same_file_in_another_folder_is_up_to_date(source: Path) -> None:
    out = source.with_name("out")
    convert(source, out)
    (source.parent / "moved").mkdir()
    moved = source.rename(source.parent / "moved" / source.name)
    assert convert(moved, out).status == "up to date"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "int8"}, "dtype"),
        ({"missing": "nan"}, "missing"),
        ({"targets": ["target"]}, "targets"),
        ({"feature_prefix": "feature_z"}, "features"),
        ({"id_column": "data_type"}, "id column"),
        ({"era_column": "data_type"}, "era column"),
    ],
)
def test_other_options_on_a_dataset_are_refused(
    source: Path, undisturbed: str, options: dict[str, Any], said: str
) -> None:
    out = source.with_name("out")
    convert(source, out)
    before = marks(out)
    with refused(ConversionError, str(out), said, "--overwrite"):
        convert(source, out, **options)
    assert marks(out) == before
    check_whole(out, undisturbed)


@pytest.mark.parametrize("other", ["one more", "another name"])
def test_other_sources_on_a_dataset_are_refused(source: Path, undisturbed: str, other: str) -> None:
    out = source.with_name("out")
    convert(source, out)
    shutil.copy2(source, source.with_name("more.parquet"))
    sources = [*[source][: other == "one more"], source.with_name("more.parquet")]
    with refused(ConversionError, "sources", "--overwrite"):
        convert(sources, out)
    check_whole(out, undisturbed)


def test_overwrite_replaces_a_dataset(source: Path, undisturbed: str) -> None:
    out = source.with_name("out")
    write_toy(source.with_name("other.parquet"), {"0001": 3, "0099": 2}, seed=1)
    convert(source.with_name("other.parquet"), out, dtype="int8")
    report = convert(source, out, overwrite=True)
    assert report.status == "converted"
    check_whole(out, undisturbed)


def test_overwrite_resumes_with_an_unfinished_one_of_the_same_job(
    monkeypatch: pytest.MonkeyPatch, source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")
    stopped_after(monkeypatch, 2, lambda: convert(source, out))
    assert convert(source, out, overwrite=True).n_eras_kept == 2
    check_whole(out, undisturbed)


def test_overwrite_makes_a_dataset_where_there_is_none(source: Path, undisturbed: str) -> None:
    convert(source, source.with_name("out"), overwrite=True)
    check_whole(source.with_name("out"), undisturbed)


def test_an_early_error_keeps_the_dataset_that_was_to_be_overwritten(
    source: Path, undisturbed: str
) -> None:
    out = source.with_name("out")
    convert(source, out)
    with suppress(SourceError):
        convert(source.with_name("none.parquet"), out, overwrite=True)
    with suppress(ConversionError):
        convert(source, out, overwrite=True, workers=0)
    check_whole(out, undisturbed)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    "foreign", ["notes.txt", "folder/notes.txt", "era-notes.txt", "era-0001/notes.txt"]
)
def test_a_folder_with_an_unexpected_file_is_not_touched(
    monkeypatch: pytest.MonkeyPatch, source: Path, begun: bool, foreign: str
) -> None:
    out = source.with_name("out")
    if begun:
        stopped_after(monkeypatch, 1, lambda: convert(source, out))
    else:
        convert(source, out)
    path = out / foreign
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    before = marks(out), visible(out)
    with refused(ConversionError, str(out), "won't be touched"):
        convert(source, out, dtype="int8", overwrite=True)
    assert (marks(out), visible(out)) == before
    assert path.read_text() == "mine"


def test_hidden_files_are_left_alone(source: Path, undisturbed: str) -> None:
    out = source.with_name("out")
    convert(source, out)
    (out / ".gitignore").write_text("*")
    convert(source, out, overwrite=True)
    assert (out / ".gitignore").read_text() == "*"
    check_whole(out, undisturbed)
