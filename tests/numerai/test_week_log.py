"""Tests of the lines of a week, and of the files that a long time leaves."""

import logging
import re
from pathlib import Path

import pytest

from memmap_train.numerai.week import log as log_module
from memmap_train.numerai.week.live import _remove_old
from memmap_train.numerai.week.log import Log, logging_into


def test_a_line_is_the_same_on_stderr_and_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_into(tmp_path) as log:
        log.say("two\nlines")
        log.note("only in the file, \udcff")
    first, second = (tmp_path / "week.log").read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ two lines", first)
    assert second.endswith("Z only in the file, \\udcff")
    assert capsys.readouterr().err == f"{first}\n"


def test_warnings_of_the_package_are_in_the_file(tmp_path: Path) -> None:
    package = logging.getLogger("memmap_train")
    with logging_into(tmp_path):
        package.warning("of a %s", "conversion")
    package.warning("later")
    (line,) = (tmp_path / "week.log").read_text().splitlines()
    assert line.endswith("Z warning: of a conversion")


def test_a_log_without_a_file_writes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Log().say("a dry run")
    Log().note("nothing")
    assert capsys.readouterr().err.endswith("Z a dry run\n")
    assert list(tmp_path.iterdir()) == []


def test_old_lines_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "MAX_BYTES", 1000)
    with logging_into(tmp_path) as log:
        for number in range(200):
            log.note(f"line {number}")
    names = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert names.keys() == {"week.log", "week.log.1", "week.log.2"}
    assert max(names.values()) <= 1000
    assert (tmp_path / "week.log").read_text().endswith("line 199\n")


def test_what_belongs_to_old_rounds_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("live/1334-ab", "live/1335-cd", "live/mine", "predictions"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "live" / "1334-ab" / "manifest.json").touch()
    kept = ["a-b-1326-0123.csv", "a-1335-0123.csv", "mine.csv", "my-own-file.csv"]
    for name in [*kept, "a-1325-0123.csv", "a-b-1324-0123.csv"]:
        (tmp_path / "predictions" / name).touch()
    _remove_old(tmp_path, 1335, "1335-cd")
    assert {path.name for path in (tmp_path / "live").iterdir()} == {"1335-cd", "mine"}
    assert {path.name for path in (tmp_path / "predictions").iterdir()} == set(kept)
