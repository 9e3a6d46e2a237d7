"""The measuring of all benchmarks: each job alone in a fresh process, all in turn, medians.

Jobs are functions; results are seconds, CPU seconds, peaks of memory, and Markdown tables.
"""

import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")

_SAMPLING_SECONDS = 0.02
_SAMPLES_PER_SEARCH = 10  # for child processes: reading all of /proc costs a millisecond


@dataclass(frozen=True, slots=True)
class Spent:
    """Wall and CPU seconds (of all threads of the process) that a piece of work took."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians over several runs; the peak is of the anonymous memory of the whole process."""

    seconds: float
    cpu_seconds: float
    peak_bytes: float


@dataclass(frozen=True, slots=True)
class Job:
    """A function to be measured in a process of its own.

    Parameters
    ----------
    work : callable
        A module's function, which prepares what it needs and returns the times of its parts by
        name.
    arguments : tuple
        Arguments of `work`; they are pickled.
    before : callable, optional
        Called in this process before the work's process starts, to delete what the last run left.
    """

    work: Callable[..., Mapping[str, Spent]]
    arguments: tuple[Any, ...]
    before: Callable[[], object] = lambda: None


def timed(work: Callable[[], object]) -> Spent:
    """Call a function once; return its wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def in_turn(jobs: Sequence[Job], repeats: int) -> dict[str, Measured]:
    """Run all jobs one after another, several times, so that noise affects all of them.

    Returns
    -------
    dict of str to Measured
        Medians by the names of the jobs' parts.
    """
    runs: dict[str, list[tuple[float, float, int]]] = {}
    for _ in range(repeats):
        for job in jobs:
            job.before()
            os.sync()  # nobody waits for what others have written
            parts, peak = alone(job.work, *job.arguments)
            for name, spent in parts.items():
                runs.setdefault(name, []).append((spent.seconds, spent.cpu_seconds, peak))
    return {
        name: Measured(*map(statistics.median, zip(*of_part, strict=True)))
        for name, of_part in runs.items()
    }


def alone(work: Callable[..., Found], *arguments: Any) -> tuple[Found, int]:
    """Run work in a fresh process; return its result and its peak of anonymous memory."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, work, arguments))
    process.start()
    sender.close()  # so that the process's end is noticed, whatever ends it
    assert process.pid is not None
    with peak_memory(process.pid) as peak:
        try:
            found: Found = receiver.recv()
        finally:
            process.join()
    return found, peak()


def _send_result(
    sender: Connection, work: Callable[..., object], arguments: tuple[Any, ...]
) -> None:
    sender.send(work(*arguments))


@contextmanager
def peak_memory(pid: int) -> Iterator[Callable[[], int]]:
    """Sample the anonymous memory of a process and its children while the block runs.

    A memory limit can't reclaim anonymous memory. The yielded function returns the peak.
    """
    done = threading.Event()
    peak = 0

    def watch() -> None:
        nonlocal peak
        family = [pid]
        samples = 0
        while not done.wait(_SAMPLING_SECONDS):
            if samples % _SAMPLES_PER_SEARCH == 0:
                family = _family(pid)
            samples += 1
            peak = max(peak, sum(map(anonymous_bytes, family)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: peak
    finally:
        done.set()
        thread.join()


def anonymous_bytes(pid: int | None = None) -> int:
    """Return a process's anonymous memory, by default this one's; 0 where it has ended."""
    try:
        for line in Path(f"/proc/{pid or os.getpid()}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _family(pid: int) -> list[int]:
    """Return the numbers of a process and of all its descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                # After the name, which may hold anything, in brackets: state, parent.
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().rpartition(")")[2].split()[1]
                )
            except OSError:
                continue
    family = [pid]
    for member in family:  # grows meanwhile
        family += [child for child, parent in parents.items() if parent == member]
    return family


def print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table; short rows are filled with empty cells."""
    full = [[*row, *[""] * (len(heads) - len(row))] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *full, strict=True)]
    print(f"\n{title}\n")
    for row in (heads, ["-" * width for width in widths], *full):
        print("| " + " | ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) + " |")
    print(flush=True)
