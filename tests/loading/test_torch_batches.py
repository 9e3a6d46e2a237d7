"""Tests of the batches for PyTorch, alone and under its DataLoader; skipped without torch."""

import gc
import pickle
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import memmap_train as mt
from memmap_train.errors import BatchError, DependencyError
from tests.support.errors import refused

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'memmap-train[torch]'")
DataLoader = torch.utils.data.DataLoader

pytestmark = [
    # Python warns of every fork beside a thread; workers of a DataLoader are made so by default.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
    # A test may run where there are fewer cores than workers.
    pytest.mark.filterwarnings("ignore:.*worker processes in total:UserWarning"),
]

STORES = ["float32", "int8"]
Pair = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
N_EPOCHS = 3


def make(path: Path, **options: Any) -> mt.Batches:
    defaults: dict[str, Any] = {"batch_size": 20, "seed": 5, "window_size": 4, "pool_batches": 3}
    return mt.Batches(mt.open_dataset(path), **{**defaults, **options})


def copied(loader: Iterable[Any]) -> list[Pair]:
    """Return the batches of one iteration, as arrays of their own."""
    return [(x.numpy().copy(), y.numpy().copy()) for x, y in loader]


def assert_same(found: list[Pair], expected: list[Pair]) -> None:
    assert len(found) == len(expected)
    for (x, y), (expected_x, expected_y) in zip(found, expected, strict=True):
        assert x.dtype == y.dtype == np.float32
        np.testing.assert_array_equal(x, expected_x)
        np.testing.assert_array_equal(y, expected_y)


def steps_of(batches: mt.Batches, first: int, end: int) -> list[Pair]:
    return [batches[step] for step in range(first, end)]


# -- alone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop_remainder", [True, False])
@pytest.mark.parametrize("store", STORES)
def test_each_iteration_is_the_next_epoch(
    toys: dict[str, Path], store: str, drop_remainder: bool
) -> None:
    batches = make(toys[store], drop_remainder=drop_remainder)
    loader = mt.torch_batches(batches)
    assert len(loader) == len(batches)
    for epoch in range(N_EPOCHS):
        expected = steps_of(batches, epoch * len(batches), (epoch + 1) * len(batches))
        assert_same(copied(loader), expected)


def test_a_dataset_and_its_arguments_are_batches_too(toys: dict[str, Path]) -> None:
    batches = make(toys["int8"], features="small", targets=["target"])
    loader = mt.torch_batches(
        mt.open_dataset(toys["int8"]),
        batch_size=20,
        seed=5,
        window_size=4,
        pool_batches=3,
        features="small",
        targets=["target"],
    )
    assert_same(copied(loader), steps_of(batches, 0, len(batches)))
    with refused(BatchError, "'seed': expected no such arguments beside Batches"):
        mt.torch_batches(batches, seed=3)
    with refused(BatchError, "expected Batches, or a dataset", "found 3"):
        mt.torch_batches(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("store", STORES)
def test_tensors_share_the_memory_of_batches_and_may_be_written(
    toys: dict[str, Path], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warnings are errors here: torch warns of arrays that aren't writeable."""
    given: list[int] = []
    from_numpy = torch.from_numpy

    def noting(array: npt.NDArray[Any]) -> Any:
        given.append(array.ctypes.data)
        return from_numpy(array)

    monkeypatch.setattr(torch, "from_numpy", noting)
    for x, y in mt.torch_batches(make(toys[store])):
        assert [x.data_ptr(), y.data_ptr()] == given[-2:]
        x.mul_(2)
        y.zero_()


@pytest.mark.parametrize("store", STORES)
def test_a_tensor_that_is_held_is_never_overwritten(toys: dict[str, Path], store: str) -> None:
    """Some are held whole, of some a row as a view, most are dropped at once."""
    loader = mt.torch_batches(make(toys[store], pool_batches=2))
    held = []
    for epoch in range(6):
        for step, (x, y) in enumerate(loader):
            if (epoch + step) % 4 == 0:
                part = x if step % 2 else y[3]
                held.append((part, part.clone()))
        del x, y
        gc.collect()
    assert len(held) > 10
    for part, before in held:
        assert torch.equal(part, before)


def test_an_iteration_that_is_left_early_is_over(toys: dict[str, Path]) -> None:
    batches = make(toys["float32"])
    loader = mt.torch_batches(batches)
    iter(loader)  # asks for nothing: takes no epoch
    next(iter(loader))
    n = len(batches)
    assert_same(copied(loader), steps_of(batches, n, 2 * n))
    loader.set_epoch(7)
    assert_same(copied(loader), steps_of(batches, 7 * n, 8 * n))
    wrong: Any
    for wrong in (-1, 2**62, 2**63, 10**5000, "1"):
        with refused(BatchError, "epoch: expected a whole number"):
            loader.set_epoch(wrong)
    loader.set_epoch(2**62 // n)


# -- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
def test_a_state_is_the_step_that_comes_next(toys: dict[str, Path], store: str) -> None:
    batches = make(toys[store])
    n = len(batches)
    for n_read in (0, 1, n - 1, n, n + 3, 2 * n):
        loader = mt.torch_batches(batches)
        stream = (pair for _ in range(3) for pair in loader)
        for _ in range(n_read):
            next(stream)
        state = loader.state_dict()
        assert state["step"] == n_read
        resumed = mt.torch_batches(make(toys[store]))
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        rest = -(-(n_read + 1) // n) * n  # to the end of the epoch
        assert_same(copied(resumed), steps_of(batches, n_read, rest))
        assert_same(copied(resumed), steps_of(batches, rest, rest + n))


def test_a_state_of_other_batches_is_refused(toys: dict[str, Path]) -> None:
    loader = mt.torch_batches(make(toys["float32"]))
    own = loader.state_dict()
    without = [{key: own[key] for key in own if key != left_out} for left_out in own]
    for state in ({}, None, *without, own | {"world_size": "two"}):
        with refused(BatchError, "load_state_dict: expected what state_dict has returned"):
            loader.load_state_dict(state)  # type: ignore[arg-type]
    with refused(BatchError, "step: expected a whole number, 0 to", "found -1"):
        loader.load_state_dict(own | {"step": -1})
    other = mt.torch_batches(make(toys["float32"], batch_size=30)).state_dict()
    with refused(BatchError, "found one of 8 batches of 1 ranks", "the same data, batch_size"):
        loader.load_state_dict(other)
    ranks = mt.torch_batches(make(toys["float32"], batch_size=10), rank=1, world_size=2)
    with refused(BatchError, "batches of 2 ranks"):
        loader.load_state_dict(ranks.state_dict())
    for step in (2**62 + 1, 2**64, "1"):
        with refused(BatchError, "step: expected a whole number"):
            loader.load_state_dict(own | {"step": step})  # type: ignore[arg-type]
    of_worker = {"worker": 0, "num_workers": 1, "epoch_end": 12}
    for left_out in ("num_workers", "epoch_end"):
        state = own | {key: of_worker[key] for key in of_worker if key != left_out}
        with refused(BatchError, "load_state_dict: expected what state_dict has returned"):
            loader.load_state_dict(state)
    with refused(BatchError, "epoch_end: expected a whole number"):
        loader.load_state_dict(own | of_worker | {"epoch_end": 2**64})
    own |= {"worker": 1, "num_workers": 2, "epoch_end": 12}
    with refused(BatchError, "the state of worker 0 of 1, found that of 1 of 2"):
        loader.load_state_dict(own)


@pytest.mark.parametrize("rows_per_era", [10, 0])
def test_batches_of_eras_resume_in_the_middle_of_an_epoch(
    toys: dict[str, Path], rows_per_era: int
) -> None:
    dataset = mt.open_dataset(toys["int8"])
    eras = [era for era, n in zip(dataset.eras, dataset.rows_per_era, strict=True) if n > 10]
    options: dict[str, Any] = {"eras_per_batch": 2, "rows_per_era": rows_per_era, "seed": 5}
    options |= {"window_size": 4, "era_weights": "equal"}
    batches = mt.Batches(dataset.select(eras), **options)
    loader, again = (mt.torch_batches(dataset.select(eras), **options) for _ in range(2))
    n = len(batches)
    assert_same(copied(loader), steps_of(batches, 0, n))
    next(iter(loader))
    again.load_state_dict(loader.state_dict())
    assert_same(copied(again), steps_of(batches, n + 1, 2 * n))
    with_workers = DataLoader(again, batch_size=None, num_workers=2)
    assert_same(copied(with_workers), steps_of(batches, 2 * n, 3 * n))
    ranks = [mt.torch_batches(batches, rank=rank, world_size=2) for rank in range(2)]
    expected = steps_of(batches, 0, n // 2 * 2)
    assert_same([pair for rank in ranks for pair in copied(rank)], expected)


# -- ranks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_ranks_share_an_epoch_without_its_remainder(toys: dict[str, Path], world_size: int) -> None:
    batches = make(toys["int8"])
    n = len(batches) // world_size
    loaders = [
        mt.torch_batches(make(toys["int8"]), rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert {len(loader) for loader in loaders} == {n}
    for epoch in range(2):
        first = epoch * len(batches)
        expected = steps_of(batches, first, first + n * world_size)
        assert_same([pair for loader in loaders for pair in copied(loader)], expected)
    loaders[-1].load_state_dict(loaders[0].state_dict() | {"step": n + 1})
    begin = len(batches) + (world_size - 1) * n
    assert_same(copied(loaders[-1]), steps_of(batches, begin + 1, begin + n))


def test_ranks_that_make_no_sense_are_refused(toys: dict[str, Path]) -> None:
    batches = make(toys["float32"])
    with refused(BatchError, "rank: expected 0 to 1 of 2, found 2"):
        mt.torch_batches(batches, rank=2, world_size=2)
    with refused(BatchError, "world_size: expected a whole number, 1 or more, found 0"):
        mt.torch_batches(batches, world_size=0)
    with refused(BatchError, "an epoch has 12 batches, too few for 13 ranks"):
        mt.torch_batches(batches, world_size=13)
    chosen = make(toys["float32"], window_size=None, pool_batches=None)
    with refused(BatchError, "window_size: expected a number where there are several ranks"):
        mt.torch_batches(chosen, world_size=2)
    assert len(mt.torch_batches(chosen)) == len(chosen)


def test_a_rank_that_shares_each_batch_has_its_part_as_tensors(toys: dict[str, Path]) -> None:
    ranks = [make(toys["int8"], rank=rank, world_size=3) for rank in range(3)]
    parts = [copied(mt.torch_batches(batches)) for batches in ranks]
    assert [len(part[0][0]) for part in parts] == [6, 7, 7]
    alone = make(toys["int8"])
    together = [
        (np.concatenate([x for x, _ in of_step]), np.concatenate([y for _, y in of_step]))
        for of_step in zip(*parts, strict=True)
    ]
    assert_same(together, steps_of(alone, 0, len(alone)))
    with refused(BatchError, "found those of rank 1 of 3", "give rank and world_size to one"):
        mt.torch_batches(ranks[1], rank=1, world_size=3)


# -- under a DataLoader ---------------------------------------------------------------------------


def run(code: str) -> str:
    """Run code in a fresh interpreter, where workers are made from a small process."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("n_workers", [0, 1, 2, 3])
@pytest.mark.parametrize("store", STORES)
def test_a_data_loader_gives_epochs_in_their_order(
    toys: dict[str, Path], store: str, n_workers: int
) -> None:
    batches = make(toys[store])
    loader = DataLoader(mt.torch_batches(batches), batch_size=None, num_workers=n_workers)
    assert len(loader) == len(batches)
    for epoch in range(N_EPOCHS if n_workers < 3 else 2):
        expected = steps_of(batches, epoch * len(batches), (epoch + 1) * len(batches))
        assert_same(copied(loader), expected)


def test_workers_that_persist_go_on_to_the_next_epoch(toys: dict[str, Path]) -> None:
    batches = make(toys["float32"])
    data = mt.torch_batches(batches)
    loader = DataLoader(data, batch_size=None, num_workers=2, persistent_workers=True)
    n = len(batches)
    for epoch in (0, 1):
        assert_same(copied(loader), steps_of(batches, epoch * n, (epoch + 1) * n))
    data.set_epoch(6)
    for epoch in (6, 7):
        assert_same(copied(loader), steps_of(batches, epoch * n, (epoch + 1) * n))


def test_workers_continue_at_a_state_and_have_none_for_the_main_process(
    toys: dict[str, Path],
) -> None:
    batches = make(toys["float32"])
    data = mt.torch_batches(batches)
    data.load_state_dict(data.state_dict() | {"step": 5})
    loader = DataLoader(data, batch_size=None, num_workers=2)
    n = len(batches)
    assert_same(copied(loader), steps_of(batches, 5, n))
    assert_same(copied(loader), steps_of(batches, n, 2 * n))
    with refused(BatchError, "workers read these batches", "StatefulDataLoader"):
        data.state_dict()


def test_each_pass_is_the_next_epoch_in_the_main_process_and_in_workers(
    toys: dict[str, Path],
) -> None:
    batches = make(toys["float32"])
    data, n = mt.torch_batches(batches), len(batches)
    for epoch, n_workers in enumerate([0, 2, 0, 0, 1, 0]):
        loader = DataLoader(data, batch_size=None, num_workers=n_workers)
        assert_same(copied(loader), steps_of(batches, epoch * n, (epoch + 1) * n))
        if not n_workers:
            assert data.state_dict()["step"] == (epoch + 1) * n


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
def test_another_number_of_workers_is_refused_until_the_epoch_is_set(
    toys: dict[str, Path], before: int, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers are only said to be some: torch takes five seconds to end those that failed."""
    batches = make(toys["float32"])
    data, n = mt.torch_batches(batches), len(batches)
    copied(DataLoader(data, batch_size=None, num_workers=before))
    for worker in range(after):
        info = SimpleNamespace(id=worker, num_workers=after)
        with monkeypatch.context() as patch:
            patch.setattr(
                "memmap_train.loading.torch_batches.get_worker_info", lambda info=info: info
            )
            with refused(BatchError, f"expected {before} again", f"{after}; call set_epoch(1)"):
                next(iter(data))
    data.set_epoch(1)
    loader = DataLoader(data, batch_size=None, num_workers=after)
    for epoch in (1, 2):
        assert_same(copied(loader), steps_of(batches, epoch * n, (epoch + 1) * n))


def test_workers_may_set_the_epoch_themselves(toys: dict[str, Path]) -> None:
    batches = make(toys["float32"])
    data, n = mt.torch_batches(batches), len(batches)
    copied(DataLoader(data, batch_size=None, num_workers=1))

    def begin_at_epoch_five(_: int) -> None:
        torch.utils.data.get_worker_info().dataset.set_epoch(5)

    loader = DataLoader(data, batch_size=None, num_workers=2, worker_init_fn=begin_at_epoch_five)
    assert_same(copied(loader), steps_of(batches, 5 * n, 6 * n))


@pytest.mark.skipif(sys.platform == "win32", reason="spawn is the only way there, tested above")
def test_workers_may_be_spawned_and_ranks_have_workers(toys: dict[str, Path]) -> None:
    """In a script of its own: a spawned worker imports the main module again."""
    code = f"""
import torch
import memmap_train as mt
from torch.utils.data import DataLoader
if __name__ == "__main__":
    batches = mt.Batches(mt.open_dataset({str(toys["int8"])!r}), batch_size=20, seed=5,
                         window_size=4, pool_batches=3)
    n = len(batches) // 2
    data = mt.torch_batches(batches, rank=1, world_size=2)
    loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    for epoch in range(2):
        first = epoch * len(batches) + n
        found = [(x.clone(), y.clone()) for x, y in loader]
        assert len(found) == n
        for (x, y), step in zip(found, range(first, first + n)):
            assert (x.numpy() == batches[step][0]).all()
            assert (y.numpy() == batches[step][1]).all()
    print("same")
"""
    assert run(code) == "same\n"


def test_too_many_workers_for_the_memory_are_refused(toys: dict[str, Path]) -> None:
    batches = make(toys["float32"])
    batches.pool_bytes = 10**15
    loader = DataLoader(mt.torch_batches(batches), batch_size=None, num_workers=1)
    with pytest.raises(BatchError, match=r"num_workers: 1 workers have two pools .* num_workers=0"):
        next(iter(loader))


def test_batches_go_to_another_process(toys: dict[str, Path]) -> None:
    batches = make(toys["int8"])
    data = mt.torch_batches(batches)
    data.set_epoch(2)
    copy = pickle.loads(pickle.dumps(data))
    n = len(batches)
    assert_same(copied(copy), steps_of(batches, 2 * n, 3 * n))


@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_data_loader_over_plain_batches_ends_after_an_epoch(
    toys: dict[str, Path], n_workers: int
) -> None:
    batches = make(toys["float32"])
    loader = DataLoader(batches, batch_size=None, num_workers=n_workers)
    for _ in range(2):
        assert_same(copied(loader), steps_of(batches, 0, len(batches)))


@pytest.mark.parametrize("options", [{}, {"batch_size": 4}])
def test_a_data_loader_that_would_make_batches_of_batches_says_what_to_use(
    toys: dict[str, Path], options: dict[str, Any]
) -> None:
    with refused(BatchError, "DataLoader(batches, batch_size=None)", "torch_batches"):
        next(iter(DataLoader(make(toys["float32"]), **options)))


@pytest.mark.parametrize("options", [{}, {"batch_size": 2}, {"batch_size": 2, "drop_last": True}])
def test_a_data_loader_would_make_no_batches_of_torch_batches_either(
    toys: dict[str, Path], options: dict[str, Any]
) -> None:
    loader = DataLoader(mt.torch_batches(make(toys["float32"])), **options)
    with refused(BatchError, "expected DataLoader(loader, batch_size=None)"):
        next(iter(loader))


# -- torchdata ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_stateful_data_loader_resumes_anywhere(toys: dict[str, Path], n_workers: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="needs torchdata")

    def new() -> Any:
        data = mt.torch_batches(make(toys["float32"], batch_size=40))
        return stateful.StatefulDataLoader(data, batch_size=None, num_workers=n_workers)

    batches = make(toys["float32"], batch_size=40)
    n = len(batches)
    for n_read in (0, 1, 2, n - 1, n, n + 2):
        loader, read = new(), 0
        while read < n_read:
            for _ in loader:
                read += 1
                if read == n_read:
                    break
        state = loader.state_dict()
        resumed = new()
        resumed.load_state_dict(state)
        rest = (n_read // n + 1) * n
        found = copied(resumed)
        if n_workers and n_read == n:  # the loader didn't know yet that the epoch was over
            assert found == []
            found = copied(resumed)
        assert_same(found, steps_of(batches, n_read, rest))
        assert_same(copied(resumed), steps_of(batches, rest, rest + n))


# -- without torch --------------------------------------------------------------------------------


def test_without_torch_the_error_names_the_extra(toys: dict[str, Path]) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
import memmap_train as mt
try:
    mt.torch_batches(mt.open_dataset({str(toys["int8"])!r}), batch_size=20, seed=5)
except mt.MemmapTrainError as error:
    print(type(error).__name__, error)
"""
    assert run(code).startswith(f"{DependencyError.__name__} torch_batches needs PyTorch")
    assert "pip install 'memmap-train[torch]'" in run(code)
