"""Progress on stderr: a bar on a terminal, a line every ten seconds elsewhere.

stdout belongs to results. What is counted is given as a whole number of units, so that both forms
can show a rate and the time left.
"""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

_LINE_SECONDS = 10.0


class Progress:
    """One counted piece of work.

    Parameters
    ----------
    what : str
        Shown in front.
    total : int
    unit : str
        "rows", "B" …; bytes are shown with decimal prefixes.
    """

    def __init__(self, what: str, total: int, unit: str = "rows") -> None:
        self._what, self._total, self._unit = what, total, unit
        self._started = self._shown = time.monotonic()
        self._done = 0
        self._note = ""
        self._bar = (
            tqdm(
                total=total,
                desc=what,
                unit=f" {unit}" if unit != "B" else unit,
                unit_scale=True,
                dynamic_ncols=True,
                smoothing=0.1,
                file=sys.stderr,
            )
            if sys.stderr.isatty()
            else None
        )

    def update(self, done: int, note: str = "") -> None:
        """Say how much is done, and what else is worth a few words."""
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)
            return
        self._done, self._note = done, note
        now = time.monotonic()
        if now - self._shown >= _LINE_SECONDS:
            self._shown = now
            rate = done / max(now - self._started, 1e-9)
            left = (self._total - done) / max(rate, 1e-9)
            print(
                f"{self._what}: {done:,} of {self._total:,} {self._unit} "
                f"({done / max(self._total, 1):.0%}), {rate:,.0f} {self._unit}/s, "
                f"{left:,.0f} s left{', ' + note if note else ''}",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """End the bar; what it showed last stays."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Stages:
    """Progress of work in named stages, one bar after another: `stages(what, done, total)`."""

    def __init__(self, unit: str = "rows") -> None:
        self._unit = unit
        self._what = ""
        self._progress: Progress | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say how much of a stage is done; a new name begins a new stage."""
        if what != self._what or self._progress is None:
            self.close()
            self._what, self._progress = what, Progress(what, total, self._unit)
        self._progress.update(done)

    def close(self) -> None:
        """End the last bar."""
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
