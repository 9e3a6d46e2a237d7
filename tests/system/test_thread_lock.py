"""Tests of children that are forked while other threads hold locks: they must not wait."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.errors import BatchError
from memmap_train.loading.batches import Batches
from memmap_train.loading.direct_files import PROCESS_FILES
from memmap_train.loading.stitched_map import StitchedArray
from memmap_train.loading.window_sampler import WindowSampler
from memmap_train.system.thread_lock import ThreadLock

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork"),
    # Python warns of what is tried here.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

_SECONDS = 60  # after which a child that waits is killed


def in_child(work: Callable[[], None]) -> int:
    """Do work in a forked child; return its exit code, or minus the signal that killed it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_SECONDS)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def while_held(locks: list[Any], do: Callable[[], int]) -> int:
    """Call a function while another thread holds locks."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        return do()
    finally:
        done.set()
        thread.join()


def test_a_lock_that_a_thread_holds_is_free_in_a_forked_child() -> None:
    lock = ThreadLock()

    def take() -> None:
        with lock, lock:
            pass

    assert while_held([lock], lambda: in_child(take)) == 0


def test_a_lock_keeps_other_threads_out() -> None:
    lock, seen = ThreadLock(), []

    def look() -> int:
        with lock:
            seen.append("inside")
        return 0

    def start() -> int:
        other.start()
        seen.append("held")
        return 0

    other = threading.Thread(target=look)
    while_held([lock], start)
    other.join()
    assert seen == ["held", "inside"]


def test_a_worker_that_is_forked_while_a_stream_reads_gets_its_batches(
    toys: dict[str, Path],
) -> None:
    dataset = mt.open_dataset(toys["int8"])
    batches = Batches(dataset, batch_size=16, seed=3, window_size=4, pool_batches=2)
    expected = [batches[step] for step in range(2 * len(batches))]
    batches = Batches(dataset, batch_size=16, seed=3, window_size=4, pool_batches=2)
    with batches.stream() as stream:
        next(stream)
        reader, sampler = batches.reader, batches.sampler
        assert isinstance(sampler, WindowSampler)
        assert isinstance(reader._targets, StitchedArray)
        locks = [
            sampler._lock,
            reader._features._lock,
            reader._targets._lock,
            PROCESS_FILES.lock,
            stream._lock,
            stream._threads._shutdown_lock,
            stream._decoder._shutdown_lock,
        ]

        def work() -> None:
            for step, (x, y) in enumerate(expected):
                found = batches[step]
                np.testing.assert_array_equal(found[0], x)
                np.testing.assert_array_equal(found[1], y)
            try:
                next(stream)
            except BatchError:
                stream.close()
                with batches.stream() as own:
                    np.testing.assert_array_equal(next(own)[0], expected[0][0])
                return
            sys.exit("the stream of another process went on")

        assert while_held(locks, lambda: in_child(work)) == 0
        np.testing.assert_array_equal(next(stream)[0], expected[1][0])  # it goes on here
