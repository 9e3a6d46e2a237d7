"""What fits into a machine of a given memory: the commands of a week, on parquet files of any size.

`memmap-train convert`, `train` (one epoch), `predict`, `evaluate` and `export` run one after
another as a user runs them, in a memory group as large as the machine. The group contains the page
cache, which holds none of the files at first. The disk, and batches alone, are measured beside the
commands. Without memory groups nothing is limited, which is said; the peaks of memory are shown
all the same.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memmap_train.system.resources import free_disk, n_cores

from .caching import evict
from .commands import Ran, run_command
from .limits import write
from .machine_commands import Case, Data, commands_of, open_data, stored_bytes
from .measuring import alone, print_table
from .memory_groups import MemoryGroup, NoMemoryGroupError, memory_group
from .sources import Size, make_sources

_SPARE_BYTES = 12_000_000_000  # of disk, beside the dataset
_WRITTEN_BYTES = 1_000_000_000  # to measure the disk


@dataclass(frozen=True, slots=True)
class _Found:
    """What the commands of a case have taken.

    Parameters
    ----------
    commands : mapping of str to Ran
        Those that were run, by name; the last one may have failed.
    epoch : mapping of str to float
        The line of `history.csv`; empty if there was no training.
    written_rate : float or None
        Bytes per second that the disk has written before the conversion.
    refusals, kills : int
        How often the group's limit was reached, and how many processes were killed for memory.
    left_out : str
        Why nothing was run; empty if something was.
    """

    commands: Mapping[str, Ran]
    epoch: Mapping[str, float]
    written_rate: float | None = None
    refusals: int = 0
    kills: int = 0
    left_out: str = ""

    def json(self, command: str) -> dict[str, Any]:
        """Return what a command has printed, empty if it failed or wasn't run."""
        ran = self.commands.get(command)
        found: dict[str, Any] = {} if ran is None or ran.failure else json.loads(ran.stdout)
        return found


def run(directory: Path, size: Size) -> None:
    """Print the tables; on stderr a line for each command that has ended."""
    folder = directory / "machines"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    data = open_data(size.machine_data or make_sources(directory, size)[0].parent, folder)
    found: dict[Case, _Found] = {}
    for gigabytes in size.machine_gigabytes:
        cases = [Case.parse(gigabytes, text) for text in size.machine_stores]
        with _machine(gigabytes) as group:
            evict(sorted(data.folder.glob("*.parquet")))
            for before, case in zip([None, *cases], cases, strict=False):
                is_same = before is not None and before.store == case.store
                is_converted = is_same and (folder / "dataset" / "manifest.json").exists()
                found[case] = _measure(case, data, folder, group, is_converted=is_converted)
    shutil.rmtree(folder)
    _print(data, found)


def _measure(
    case: Case, data: Data, folder: Path, group: MemoryGroup | None, *, is_converted: bool
) -> _Found:
    """Run the commands of a case until one fails."""
    rate = None
    if not is_converted:
        shutil.rmtree(folder / "dataset", ignore_errors=True)
        needed, free = stored_bytes(case, data), free_disk(folder)
        if needed + _SPARE_BYTES > free:
            return _Found(
                {},
                {},
                left_out=f"left out: {needed / 1e9:.1f} GB, found {free / 1e9:.1f} GB free, of "
                f"which {_SPARE_BYTES / 1e9:.0f} GB are spared",
            )
        written, _ = alone(write, "", folder / "plain", _WRITTEN_BYTES)
        rate = _WRITTEN_BYTES / sum(part.seconds for part in written.values())
    shutil.rmtree(folder / "run", ignore_errors=True)
    before = (group.refusals(), group.kills()) if group else (0, 0)
    commands: dict[str, Ran] = {}
    for name, arguments in commands_of(case, data, folder).items():
        if name == "convert" and is_converted:
            continue
        load = os.getloadavg()[0]
        ran = commands[name] = run_command(*arguments, group=group)
        loads = f"load {load:.1f}, then {os.getloadavg()[0]:.1f}"
        print(f"{case.name}: {name}: {_cell(ran)}; {loads}", file=sys.stderr, flush=True)
        if ran.failure:
            break
    after = (group.refusals(), group.kills()) if group else (0, 0)
    epoch = _epoch(folder / "run" / "history.csv")
    return _Found(commands, epoch, rate, after[0] - before[0], after[1] - before[1])


@contextmanager
def _machine(gigabytes: float) -> Iterator[MemoryGroup | None]:
    """Yield a memory group, or None where none can be made."""
    try:
        with memory_group(round(gigabytes * 1e9)) as group:
            yield group
    except NoMemoryGroupError as error:
        print(f"nothing limits the commands to {gigabytes:g} GB: {error}", file=sys.stderr)
        yield None


def _epoch(history: Path) -> dict[str, float]:
    """Return the last epoch of a `history.csv`; empty if there is none."""
    if not history.exists():
        return {}
    heads, *_, last = (line.split(",") for line in history.read_text().splitlines())
    return {name: float(value) for name, value in zip(heads, last, strict=True) if value}


def _cell(ran: Ran | None, rate: float = 0) -> str:
    """Return the rows per second, the seconds and the peak of a command, or why it failed."""
    if ran is None:
        return ""
    spent = f"{ran.seconds:.0f} s, {ran.peak_bytes / 1e6:,.0f} MB"
    if ran.failure:
        return f"{ran.failure} ({spent})"
    return f"{rate:,.0f} rows/s, {spent}" if rate else spent


def _print(data: Data, found: Mapping[Case, _Found]) -> None:
    size = sum(path.stat().st_size for path in data.sources)
    print_table(
        f"{data.n_rows:,} rows x {len(data.sets['all']):,} features ({size / 1e9:.1f} GB of "
        f"parquet), {n_cores()} cores; seconds of whole commands, peaks of the anonymous memory "
        "of all their processes",
        [
            *("memory", "store", "trained on", "disk", "convert", "train, one epoch"),
            *("predict live rows", "evaluate", "export"),
        ],
        [_row(case, of_case) for case, of_case in found.items()],
    )
    print_table(
        "The disk and batches alone, in the same runs",
        [
            *("memory, store, trained on", "disk writes", "disk reads", "batches alone"),
            *("train", "waits for data", "limit reached", "killed"),
        ],
        [_limits_row(case, of_case) for case, of_case in found.items()],
    )


def _row(case: Case, found: _Found) -> list[str]:
    first = [f"{case.gigabytes:g} GB", f"{case.dtype}, {case.stored}", case.trained]
    if found.left_out:
        return [*first, "", found.left_out]
    commands, converted = found.commands, found.json("convert")
    convert, rate = commands.get("convert"), 0.0
    if convert is not None and converted:
        rate = converted["n_rows"] / convert.seconds
    return [
        *first,
        f"{converted['bytes'] / 1e9:.1f} GB" if converted else "",
        _cell(convert, rate),
        _cell(commands.get("train"), found.epoch.get("rows_per_second", 0)),
        *(_cell(commands.get(name)) for name in ("predict", "evaluate", "export")),
    ]


def _limits_row(case: Case, found: _Found) -> list[str]:
    bench, epoch = found.json("bench"), found.epoch
    return [
        case.name,
        f"{found.written_rate / 1e9:.2f} GB/s" if found.written_rate else "",
        f"{(bench['disk_bytes_per_second'] or 0) / 1e9:.2f} GB/s" if bench else "",
        f"{bench['rates']['now']['rows_per_second']:,.0f} rows/s" if bench else "",
        f"{epoch['rows_per_second']:,.0f} rows/s" if epoch else "",
        f"{epoch['data_wait']:.0%}" if epoch else "",
        f"{found.refusals:,}",
        f"{found.kills}",
    ]
