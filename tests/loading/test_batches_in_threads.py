"""Tests of the threads of batches: they end with their stream, and many may share one."""

import gc
import itertools
import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memmap_train.errors import BatchError, MemmapTrainError
from memmap_train.loading.stream import Stream
from tests.support.toy_batches import (
    STORES,
    all_threads_end,
    assert_same,
    reader_threads,
    take,
    toy_batches,
)


@pytest.mark.parametrize("store", STORES)
def test_a_dropped_stream_ends_its_threads(toys: dict[str, Path], store: str) -> None:
    with all_threads_end() as threads:
        stream = toy_batches(toys[store]).stream()
        held = take(stream, 4)
        threads += reader_threads()
        del stream
        gc.collect()
    assert_same(held, take(toy_batches(toys[store]).stream(), 4))


def test_a_stream_may_be_collected_while_its_thread_plans_a_pool(
    toys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector may run in that thread, in the midst of anything."""
    stream = toy_batches(toys["float32"]).stream()
    next(stream)
    held, threads = [stream], stream._threads
    del stream
    monkeypatch.setattr(threads, "_adjust_thread_count", held.clear)
    planning = threading.Thread(target=threads.submit, args=[int], daemon=True)
    planning.start()
    planning.join(60)
    assert not held
    assert not planning.is_alive()
    with all_threads_end() as ending:
        ending += threads._threads


@pytest.mark.parametrize("store", STORES)
def test_an_epoch_that_is_left_early_ends_its_threads(toys: dict[str, Path], store: str) -> None:
    with all_threads_end() as threads:
        for _ in toy_batches(toys[store]):
            threads += reader_threads()
            break
        gc.collect()


def test_a_finished_epoch_ends_its_threads(toys: dict[str, Path]) -> None:
    with all_threads_end() as threads:
        for _ in toy_batches(toys["int8"]):
            threads += reader_threads()


@pytest.mark.parametrize("store", STORES)
def test_a_closed_stream_ends_its_threads_and_says_so(toys: dict[str, Path], store: str) -> None:
    batches = toy_batches(toys[store])
    with all_threads_end() as threads:
        stream = batches.stream()
        x, y = next(stream)
        threads += reader_threads()
        stream.close()
        stream.close()
    with pytest.raises(BatchError, match="closed"):
        next(stream)
    with pytest.raises(BatchError, match="closed"):
        stream.at(0)
    assert_same([(x, y)], [batches[0]])


def test_leaving_the_with_block_closes_the_stream(toys: dict[str, Path]) -> None:
    with all_threads_end() as threads, toy_batches(toys["float32"]).stream() as stream:
        next(stream)
        threads += reader_threads()
    with pytest.raises(BatchError, match="closed"):
        next(stream)


def test_a_stream_that_never_began_can_be_closed(toys: dict[str, Path]) -> None:
    toy_batches(toys["float32"]).stream().close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_stream_of_another_process_is_refused_after_a_fork(toys: dict[str, Path]) -> None:
    """Its threads don't come along: it would wait for them for ever."""
    code = f"""
import os
import memmap_train as mt
from memmap_train.errors import BatchError

batches = mt.Batches(
    mt.open_dataset({str(toys["float32"])!r}), batch_size=20, seed=5, pool_batches=2
)
stream = batches.stream()
next(stream)
if os.fork() == 0:
    try:
        for _ in range(3):
            next(stream)
    except BatchError as error:
        assert "forked" in str(error)
        next(batches.stream(2))  # its own
        os._exit(7)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
next(stream)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_streams_do_not_disturb_each_other(toys: dict[str, Path]) -> None:
    batches = toy_batches(toys["int8"])
    expected = take(batches.stream(), 60)
    with batches.stream() as first, batches.stream(start=13) as second:
        for step in range(40):
            assert_same([next(first), next(second)], [expected[step], expected[13 + step]])
            assert_same([batches[step]], [expected[step]])


@pytest.mark.parametrize("store", STORES)
def test_many_threads_may_ask_for_any_step(toys: dict[str, Path], store: str) -> None:
    batches = toy_batches(toys[store])
    expected = take(batches.stream(), 120)
    steps = random.Random(3).choices(range(120), k=400)
    with ThreadPoolExecutor(8) as threads:
        assert_same(list(threads.map(batches.__getitem__, steps)), [expected[s] for s in steps])


@pytest.mark.parametrize("store", STORES)
def test_many_threads_may_share_one_stream(toys: dict[str, Path], store: str) -> None:
    batches = toy_batches(toys[store])
    expected = take(batches.stream(), 60)
    with batches.stream() as stream, ThreadPoolExecutor(4) as threads:
        found = list(threads.map(stream.at, range(60)))
    assert_same(found, expected)


def test_threads_that_share_an_iterator_get_each_batch_once(
    toys: dict[str, Path],
) -> None:
    batches = toy_batches(toys["float32"])
    expected = take(batches.stream(), 200)
    with batches.stream() as stream, ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: next(stream), range(200)))
    assert sorted(y.tobytes() for _, y in found) == sorted(y.tobytes() for _, y in expected)


def test_closing_a_stream_that_a_thread_waits_for_is_a_batch_error(
    toys: dict[str, Path],
) -> None:
    ends: list[BaseException] = []

    def read(stream: Stream) -> None:
        try:
            for step in itertools.count():
                stream.at(step * 3)  # another pool each time: always waiting
        except BaseException as error:
            ends.append(error)

    for round_ in range(30):
        stream = toy_batches(toys["float32"]).stream()
        thread = threading.Thread(target=read, args=(stream,))
        thread.start()
        for _ in range(round_):
            stream.at(0)
        stream.close()
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert len(ends) == 30
    assert [end for end in ends if not isinstance(end, MemmapTrainError)] == []
