"""Tests of thread pools, and of all commands, where the system starts few threads or none."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.errors import ThreadError
from memmap_train.system.threads import ThreadPool

pytest_plugins = ["tests.support.training_fixtures"]

Allow = Callable[[int | None], None]


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Allow:
    """Return a function that limits the number of further threads; None removes the limit."""
    left: list[int | None] = [None]
    start = threading.Thread.start

    def limited(self: threading.Thread) -> None:
        if left[0] == 0:
            raise RuntimeError("can't start new thread")  # as CPython does
        if left[0] is not None:
            left[0] -= 1
        start(self)

    def change(n: int | None) -> None:
        left[0] = n

    monkeypatch.setattr(threading.Thread, "start", limited)
    return change


def test_a_pool_works_with_as_many_threads_as_the_system_allows(allow: Allow) -> None:
    allow(2)
    with ThreadPool(8) as threads:
        both = threading.Barrier(2, timeout=60)
        tasks = [threads.submit(both.wait) for _ in range(20)]
        assert sorted(task.result() for task in tasks) == [0] * 10 + [1] * 10


def test_a_pool_without_a_thread_raises_our_error(allow: Allow) -> None:
    allow(0)
    with pytest.raises(ThreadError, match=r"no thread can be started: can't start new .*ulimit -u"):
        ThreadPool(8)


def test_a_pool_may_be_abandoned_in_the_midst_of_its_own_submit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There the garbage collector may run, while the locks of the pool are held."""
    threads = ThreadPool(1)
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        holding.set()
        release.wait(60)

    running, waiting = threads.submit(hold), threads.submit(int)
    assert holding.wait(60)
    monkeypatch.setattr(threads, "_adjust_thread_count", threads.abandon)
    submitting = threading.Thread(target=threads.submit, args=[int], daemon=True)
    submitting.start()
    submitting.join(60)
    assert not submitting.is_alive()
    assert waiting.cancelled()
    release.set()
    assert running.result(60) is None
    for thread in threads._threads:
        thread.join(60)
        assert not thread.is_alive()


COMMANDS = {
    "convert": "convert {files}/train.parquet {files}/validation.parquet --out made --workers 3",
    "subset": "convert {sample} --out made --feature-set small --workers 3",
    "plan": "plan {files}/train.parquet",
    "verify": "verify {sample}",
    "warm": "warm {sample}",
    "bench": "bench {sample} --batch-size 50",
    "train": "train {sample} --run made --quiet --set epochs=1 --set batch_size=64",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("quick_rates")
def test_a_command_works_with_fewer_threads_or_reports_that_there_is_none(
    command: str,
    sample: Path,
    sample_files: Path,
    tmp_path: Path,
    allow: Allow,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = COMMANDS[command].format(sample=sample, files=sample_files).split()
    codes = []
    for n_threads in (0, 1, 2, 3, 4, 6, 8, 12, 30, None):
        allow(n_threads)
        codes.append(main(arguments))
        allow(None)
        printed = capsys.readouterr()
        assert codes[-1] in (0, 1)
        if codes[-1] == 1:
            assert re.search(r"(^|\n)error: no thread can be started: .*\n$", printed.err)
            assert "Traceback" not in printed.err
            assert printed.out == ""
            if command == "train":
                arguments = [part for part in arguments if part != "--resume"] + ["--resume"]
        elif command in ("convert", "subset", "train"):
            break  # what there is is kept: the next time there is nothing to do
    assert (codes[0], codes[-1]) == (1, 0)
    if command in ("convert", "subset"):
        feature_set = None if command == "convert" else "small"
        sources = [sample_files / "train.parquet", sample_files / "validation.parquet"]
        whole = mt.convert(
            sources if command == "convert" else sample, "whole", feature_set=feature_set
        )
        assert mt.open_dataset("made").manifest.digest == whole.dataset.manifest.digest
    if command == "train":
        assert json.loads((tmp_path / "made" / "state.json").read_text())["n_epochs"] == 1
        predict = ["predict", "made", str(sample), "--out", "made.csv"]
        for n_threads, code in ((0, 1), (1, 0)):
            allow(n_threads)
            assert main(predict) == code
            allow(None)
            assert ("error: no thread can be started" in capsys.readouterr().err) == bool(code)
            assert (tmp_path / "made.csv").exists() == (not code)
