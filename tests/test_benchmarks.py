"""Tests that all benchmarks run, at sizes too small to measure anything."""

import importlib
import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from memmap_train.__main__ import main
from memmap_train.runs.reports import report_process
from memmap_train.system.resources import available_memory
from tests.benchmarks import __main__, measuring
from tests.benchmarks.__main__ import NAMES
from tests.benchmarks.commands import Ran, run_command
from tests.benchmarks.learning_runs import SampleKey, SampleRuns
from tests.benchmarks.learning_variants import BASE, HARMFUL_FAMILY, Variant, variants
from tests.benchmarks.measuring import Spent, alone
from tests.benchmarks.memory_groups import MemoryGroup, NoMemoryGroupError, memory_group
from tests.benchmarks.sources import Size, make_sources

SIZE = Size(
    eras=6,
    rows_per_era=40,
    features=12,
    repeats=1,
    wide_rows=12_000,
    wide_features=40,
    scored_eras=2,
    learning_seeds=2,
    learning_epochs=1,
    learning_sample=(30, 512, 16),
    machine_gigabytes=(8,),
    machine_stores=("int8:all/medium",),
)
SMALLER: dict[str, dict[str, Any]] = {
    "eras": {"ERAS": 2, "ROWS": 8},
    "exporting": {"FEATURES": 12, "HIDDEN": (4,), "ROWS": 300},
    "geometry": {"_MEMORY": (512,)},
    "joining": {"_N_ERAS": 6, "_ERA_ROWS": 40},
    "learning": {
        "SIGNALS": ("market",),
        "variants": lambda epochs: [
            one for one in variants(epochs) if one.name in (BASE, f"neutral to {HARMFUL_FAMILY}")
        ],
    },
    "shuffling": {
        "SHAPE": {"eras": 20, "rows_per_era": 40, "features": 12},
        "N_SEEDS": 2,
        "EPOCHS": 1,
        "BATCH_SIZE": 64,
    },
    "peers": {"BATCH_SIZE": 16, "SHUFFLE_BUFFER": 64},
    "reading": {"BATCH_SIZE": 16, "REPEATS": 1, "memcpy_rate": lambda threads: 1e9},
    "scaling": {
        "BATCH_SIZE": 16,
        "ERAS": 10,
        "FEATURES": 6,
        "STEPS": 20,
        "WARM_STEPS": 2,
        "ORDERED_ROWS": 4_000,
    },
    "scoring": {"ROWS": 300, "FEATURES": (12,)},
    "training": {"BATCH_SIZE": 16, "REPEATS": 1},
    "verifying": {"evict": lambda files: None, "_MEMORY_BYTES": 1000},  # RAM disks are warm
    "machines": {
        "evict": lambda files: None,
        "memory_group": lambda limit_bytes: nullcontext(NoGroup()),
        "make_sources": lambda directory, size: make_sources(
            directory, replace(size, eras=30, rows_per_era=400)
        ),
        "_SPARE_BYTES": 0,
        "_WRITTEN_BYTES": 1000,
    },
    "cold": {
        "BATCH_SIZE": 16,
        "_NAIVE_SECONDS": 0.01,
        "evict": lambda files: None,
        "disk_rate": lambda files: 1e9,
        "memory_group": lambda limit_bytes: nullcontext(NoGroup()),
    },
}


class NoGroup:
    """Replaces a memory group, which would contain all tests."""

    def enter(self) -> None: ...

    def refusals(self) -> int:
        return 0

    def kills(self) -> int:
        return 0


def run_here(work: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    """Run work in this process: the fresh ones of `alone` take too long to start."""
    return work(*arguments), 0


def run_command_here(*arguments: object, group: MemoryGroup | None = None) -> Ran:
    """Run a command in this process: TensorFlow takes seconds to start."""
    stdout = io.StringIO()
    with patch.object(sys, "argv", ["memmap-train", *map(str, arguments)]), redirect_stdout(stdout):
        code = main()
    assert not code, arguments
    return Ran(0.1, 0, stdout.getvalue(), None)


@pytest.mark.usefixtures("quick_rates")
@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_prints_tables(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name in ("learning", "machines", "peers", "shuffling", "training"):
        pytest.importorskip("keras")
    module = importlib.import_module(f"tests.benchmarks.{name}")
    monkeypatch.setattr(os, "sync", lambda: None)
    for where in (measuring, module):
        monkeypatch.setattr(where, "alone", run_here, raising=False)
        monkeypatch.setattr(where, "run_command", run_command_here, raising=False)
    monkeypatch.setattr(report_process, "charts_are_installed", lambda: False)  # no page either
    for constant, value in SMALLER.get(name, {}).items():
        monkeypatch.setattr(module, constant, value)
    module.run(tmp_path, SIZE)
    tables = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(tables) > 3
    # What is made once, and nothing of the measuring.
    assert len(list(tmp_path.iterdir())) == (2 if name in ("ridge", "scaling") else 1)


def test_benchmarks_stay_in_a_folder_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They remove former results, such as a folder `plain`."""
    given: list[Path] = []
    module = SimpleNamespace(run=lambda directory, size: given.append(directory))
    monkeypatch.setattr(__main__, "import_module", lambda name, package: module)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "converting", "--dir", str(tmp_path)])
    __main__.main()
    (directory,) = given
    assert directory.parent == tmp_path
    assert list(directory.iterdir()) == []


def hold(n_bytes: int) -> dict[str, Spent]:
    """Take memory for long enough that a sample sees it."""
    held = b"x" * n_bytes
    return {"hold": measuring.timed(held.hex)}


def test_isolated_measurements_run_in_another_process() -> None:
    here = measuring.anonymous_bytes(os.getpid())
    parts, peak = alone(hold, 200_000_000)
    assert parts.keys() == {"hold"}
    assert peak > 200_000_000
    assert measuring.anonymous_bytes(os.getpid()) < here + 200_000_000


def test_a_measurement_in_a_memory_group_has_the_memory_of_the_group(tmp_path: Path) -> None:
    limit = 100_000_000
    try:
        with memory_group(limit) as group:
            found, _ = alone(available_in, group)
            assert 0 < found["available"] <= limit
            with pytest.raises(EOFError):
                alone(available_in, group, 2 * limit)
            assert group.kills() == 1
    except NoMemoryGroupError as error:
        pytest.skip(str(error))
    assert not group.folder.exists()


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    ran = run_command("--version")
    assert ran.failure is None
    assert ran.stdout.startswith("memmap-train ")
    ran = run_command("inspect", tmp_path / "absent")
    assert ran.failure is not None
    assert ran.failure.startswith("exit code 1: error: ")


def test_a_command_has_the_memory_of_its_group() -> None:
    try:
        with memory_group(4_000_000) as group:  # too few for Python
            ran = run_command("--version", group=group)
            assert ran.failure is not None
            assert ran.failure.startswith(f"exit code {-signal.SIGKILL}: ")
            assert group.kills() == 1
    except NoMemoryGroupError as error:
        pytest.skip(str(error))


def test_a_memory_group_is_removed_after_an_error_too() -> None:
    try:
        with pytest.raises(ZeroDivisionError), memory_group(10**8) as group:
            raise ZeroDivisionError
    except NoMemoryGroupError as error:
        pytest.skip(str(error))
    assert not group.folder.exists()


def available_in(group: MemoryGroup, n_bytes: int = 0) -> dict[str, int]:
    """Enter a group, take memory there, and return how much is left."""
    group.enter()
    held = b"x" * n_bytes
    return {"available": available_memory() - len(held)}


def test_learning_trains_what_is_missing_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("keras")
    from memmap_train.training import train

    runs = SampleRuns(tmp_path, SampleKey("plain", 0, 30, 512, 6))
    base = Variant(
        "base",
        {"baseline": "none", "epochs": 1, "hidden": (2,), "eras_per_batch": 2, "rows_per_era": 256},
    )
    found = runs.scored(base, {})
    assert len(found.corr) == len(found.bmc) == 6  # a fifth of the eras
    monkeypatch.setattr(train, "train_run", lambda *_, **__: pytest.fail("it trains again"))
    assert runs.scored(base, {}) == found
    changed = replace(base, settings={**base.settings, "epochs": 2})
    with pytest.raises(pytest.fail.Exception, match="it trains again"):
        runs.scored(changed, {})
