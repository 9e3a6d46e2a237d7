"""Progress as a caller asks for it: bars, lines where bars can't be drawn, a callable, nothing."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from types import ModuleType, SimpleNamespace

import pytest

from memmap_train import progress
from memmap_train.progress import ProgressBar, ProgressBars, above_bars, ignore, reporting


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Make stderr a terminal."""
    with redirect_stderr(Terminal()) as stream:
        yield stream


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process the kernel of a notebook, as far as IPython says so."""
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)


def work(told: progress.Progress) -> None:
    """Tell of two stages; the last updates of a stage may be left out."""
    told("reading", 40, 100)
    told("writing", 5, 10)


def test_no_progress_is_shown_without_a_terminal_or_notebook(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with reporting(None) as told:
        assert told is ignore
        work(told)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_bars_that_end_where_the_work_ends() -> None:
    with terminal() as stream, reporting(None, "B") as told:
        work(told)
    reading, writing, _ = stream.getvalue().split("\n")
    assert reading.rpartition("\r")[2].startswith("reading: 100%")
    assert writing.rpartition("\r")[2].startswith("writing: 100%")


def test_a_bar_of_failed_work_stays_where_it_was() -> None:
    def fail() -> None:
        with reporting(None) as told:
            work(told)
            raise OSError("the disk is full")

    with terminal() as stream, pytest.raises(OSError, match="full"):
        fail()
    assert stream.getvalue().rstrip().rpartition("\r")[2].startswith("writing:  50%")


def test_progress_can_be_turned_off() -> None:
    with terminal() as stream, reporting(False) as told:
        work(told)
    assert stream.getvalue() == ""


def test_a_callable_is_called_instead() -> None:
    calls: list[tuple[str, int, int]] = []
    with terminal() as stream, reporting(lambda *call: calls.append(call)) as told:
        work(told)
    assert calls == [("reading", 40, 100), ("writing", 5, 10)]
    assert stream.getvalue() == ""


def test_lines_are_shown_elsewhere_if_requested(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with reporting(True) as told:
        assert isinstance(told, ProgressBars)
        work(told)
    assert capsys.readouterr() == ("", "")  # it took no ten seconds
    with ProgressBars("B", seconds_between_lines=0) as told:
        work(told)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "reading: 40 B of 100 B (40%), 0 B/s"
    assert second == "writing: 5 B of 10 B (50%), 0 B/s"


def test_lines_have_the_speed_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an earlier process has done counts for no speed: a download is resumed at 4 of 5 GB."""
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with ProgressBars("B", seconds_between_lines=1) as told:
        told("downloading", 4_000_000_000, 5_000_000_000)
        now[0] = 10
        told("downloading", 4_010_000_000, 5_000_000_000)
    assert capsys.readouterr().err == (
        "downloading: 4.0 GB of 5.0 GB (80%), 1.0 MB/s, 16 min left\n"
    )
    with ProgressBars(seconds_between_lines=1) as told:
        told("reading", 0, 6000)
        now[0] = 30
        told("reading", 1000, 6000, "era 0001")
    assert capsys.readouterr().err == (
        "reading: 1,000 of 6,000 rows (17%), 50 rows/s, 2 min left, era 0001\n"
    )


def test_a_notebook_shows_bars(
    notebook: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert progress.in_notebook()
    assert progress.is_shown(None)
    monkeypatch.setattr(progress, "find_spec", lambda name: None)  # ipywidgets isn't installed
    with reporting(None) as told:
        work(told)
    assert "writing: 100%" in capsys.readouterr().err


def test_an_interactive_python_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert not progress.in_notebook()
    ipython.get_ipython = lambda: None  # type: ignore[attr-defined]
    assert not progress.in_notebook()


def test_a_warning_appears_above_a_bar() -> None:
    stream, warning = Terminal(), "warning: a feature is left out\n"
    bar = ProgressBar("reading", 100, file=stream)
    bar.update(50)
    before = len(stream.getvalue())
    with above_bars(stream):
        stream.write(warning)
    cleared, warned, drawn = stream.getvalue()[before:].partition(warning)
    bar.close()
    assert cleared.endswith("\r")
    assert warned
    assert drawn.lstrip("\r").startswith("reading:  50%")
