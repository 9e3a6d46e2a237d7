"""Progress of counted work: the callable that a caller may pass, and the bars shown without one.

A function that takes long has a keyword ``progress``: None shows bars in a terminal and in a
notebook, True shows them anywhere, False nowhere, and a `Progress` is called instead. tqdm is
imported when the first bar is drawn.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from .errors import ArgumentError, shown
from .text import in_bytes, in_time

SECONDS_BETWEEN_LINES = 10.0


class Progress(Protocol):
    """Any callable that takes ``progress(what, done, total)``.

    It is called by one thread at a time, which needn't be the main one. An exception that it
    raises ends the work.

    Parameters
    ----------
    what : str
        The stage of the work, such as "converting". A new text begins a new stage.
    done, total : int
        Units of this stage: rows, or bytes where files are only read.
    """

    def __call__(self, what: str, done: int, total: int, /) -> None:
        """Receive the progress of one stage of the work."""
        ...


ProgressOption = bool | Progress | None
"""The keyword ``progress``, as the docstring of this module describes it."""


def reporting(option: ProgressOption, unit: str = "rows") -> AbstractContextManager[Progress]:
    """Return a context manager that yields the callable to which progress is reported.

    Parameters
    ----------
    option : bool, callable or None
        What the caller passed as ``progress``.
    unit : str
        "rows", or "B" for bytes.
    """
    if callable(option):
        return nullcontext(option)
    return ProgressBars(unit) if is_shown(option) else nullcontext(ignore)


def is_shown(option: bool | None) -> bool:
    """Return True if progress is shown: as requested, or else if it is visible to a user.

    Raises
    ------
    ArgumentError
        The option is neither a bool nor None.
    """
    if option is None:
        return in_notebook() or sys.stderr.isatty()
    if not isinstance(option, bool):
        raise ArgumentError(
            f"progress: expected True, False, None or a function, found {shown(option)}"
        )
    return option


def ignore(what: str, done: int, total: int, /) -> None:
    """Do nothing: a `Progress` that ignores all reports."""


def in_notebook() -> bool:
    """Return True if this process is the kernel of a notebook, which shows widgets."""
    shell = sys.modules.get("IPython")
    return shell is not None and getattr(shell.get_ipython(), "kernel", None) is not None


class ProgressBar:
    """One counted stage: a bar in a terminal or a notebook, a line every ten seconds elsewhere.

    Parameters
    ----------
    what : str
        Shown in front.
    total : int
    unit : str
        "rows", "B" …; bytes are shown with decimal prefixes.
    initial : int
        Units that were done before; they count for nothing in the speed.
    file : text stream, optional
        The default is stderr, or a widget in a notebook.
    stays : bool
        Whether the bar stays visible when it is closed.
    seconds_between_lines : float
    """

    def __init__(
        self,
        what: str,
        total: int,
        unit: str = "rows",
        initial: int = 0,
        *,
        file: TextIO | None = None,
        stays: bool = True,
        seconds_between_lines: float = SECONDS_BETWEEN_LINES,
    ) -> None:
        self._what, self._total, self._unit, self._initial = what, total, unit, initial
        self._file = sys.stderr if file is None else file
        self._seconds_between_lines = seconds_between_lines
        self._started = self._shown = time.monotonic()
        self._bar: Any = None
        is_widget = file is None and in_notebook()
        if is_widget or self._file.isatty():
            self._bar = _bar_class(is_widget=is_widget)(
                total=total,
                initial=initial,
                desc=what,
                unit=f" {unit}" if unit != "B" else unit,
                unit_scale=True,
                dynamic_ncols=True,
                smoothing=0.1,
                leave=stays,
                file=self._file,
            )

    def update(self, done: int, note: str = "") -> None:
        """Show how much is done, followed by a short text."""
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if now - self._shown >= self._seconds_between_lines:
            self._shown = now
            print(self._line(done, now - self._started, note), file=self._file, flush=True)

    def _line(self, done: int, seconds: float, note: str) -> str:
        """Return the line that says how much is done, and what is left at this speed."""
        rate = (done - self._initial) / max(seconds, 1e-9)
        if self._unit == "B":
            amount, speed = f"{in_bytes(done)} of {in_bytes(self._total)}", f"{in_bytes(rate)}/s"
        else:
            amount = f"{done:,} of {self._total:,} {self._unit}"
            speed = f"{rate:,.0f} {self._unit}/s"
        parts = [f"{self._what}: {amount} ({done / max(self._total, 1):.0%})", speed]
        if rate > 0:
            parts.append(f"{in_time((self._total - done) / rate)} left")
        return ", ".join([*parts, note] if note else parts)

    def finish(self) -> None:
        """Close a bar whose work is done, even if the last updates weren't shown."""
        if self._bar is not None:
            self._bar.update(self._total - self._bar.n)
        self.close()

    def close(self) -> None:
        """Close the bar at what it showed last."""
        if self._bar is not None:
            self._bar.close()


class ProgressBars:
    """A `Progress` that shows one bar after another, and closes the last one as a context manager.

    Parameters
    ----------
    unit, file, stays, seconds_between_lines
        See `ProgressBar`.
    """

    def __init__(
        self,
        unit: str = "rows",
        *,
        file: TextIO | None = None,
        stays: bool = True,
        seconds_between_lines: float = SECONDS_BETWEEN_LINES,
    ) -> None:
        self._unit = unit
        self._options: dict[str, Any] = {
            "file": file,
            "stays": stays,
            "seconds_between_lines": seconds_between_lines,
        }
        self._what = ""
        self._bar: ProgressBar | None = None

    def __call__(
        self, what: str, done: int, total: int, note: str = "", *, initial: int = 0
    ) -> None:
        """Show how much of a stage is done; a new name finishes the stage before.

        `initial` is how much of it was done by an earlier process; by default, what is done at the
        first call of the stage.
        """
        if what != self._what or self._bar is None:
            self.finish()
            self._what = what
            self._bar = ProgressBar(what, total, self._unit, initial or done, **self._options)
        self._bar.update(done, note)

    def finish(self) -> None:
        """Close the last bar, whose work is done."""
        if self._bar is not None:
            self._bar.finish()
            self._bar = None

    def close(self) -> None:
        """Close the last bar at what it showed last."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.close()


@contextmanager
def above_bars(file: TextIO) -> Iterator[None]:
    """Let what the block writes to a terminal appear above the bars that are drawn there."""
    tqdm = sys.modules.get("tqdm")
    with nullcontext() if tqdm is None else tqdm.tqdm.external_write_mode(file=file):
        yield


def _bar_class(*, is_widget: bool) -> Any:
    """Return the class of bars; in a notebook without ipywidgets, those of a terminal do."""
    if is_widget and find_spec("ipywidgets") is not None:
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    return tqdm
