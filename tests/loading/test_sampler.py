"""Tests of samplers that a user writes: what they say is read, what makes no sense is an error."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import memmap_train as mt
from memmap_train.errors import BatchError
from memmap_train.loading.explanation import reading_line, shuffling_details, shuffling_line
from memmap_train.loading.sampler import Pool, StepLocation
from memmap_train.system.memory_budget import MemoryBudget
from tests.support.errors import refused
from tests.support.toy import toy_features, toy_targets
from tests.support.toy_datasets import ERAS, N_FEATURES, N_TARGETS

N_ROWS = 10  # of each era in a batch


class EraSampler:
    """Batches of `n_eras` different eras, a block of `N_ROWS` consecutive rows of each of them."""

    def __init__(self, rows_per_era: tuple[int, ...], n_eras: int, pool_batches: int = 2) -> None:
        self._rows = np.array(rows_per_era)
        self._eras = np.flatnonzero(self._rows >= N_ROWS)
        self._n_eras, self._pool_batches = n_eras, pool_batches
        self.steps_per_epoch = len(self._eras) // n_eras
        self.max_pool_rows = pool_batches * n_eras * N_ROWS

    def locate(self, step: int) -> StepLocation:
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        pool, batch = divmod(step_in_epoch, self._pool_batches)
        end = min((pool + 1) * self._pool_batches, self.steps_per_epoch)
        batch_rows = self._n_eras * N_ROWS
        return StepLocation(
            epoch,
            pool,
            batch * batch_rows,
            (batch + 1) * batch_rows,
            epoch * self.steps_per_epoch + end,
        )

    def blocks(self, step: int) -> list[tuple[int, int]]:
        """Return the eras of a step's batch, and the first row of each block."""
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        random = np.random.default_rng([epoch])
        order = random.permutation(self._eras)
        starts = random.integers(0, self._rows[order] - N_ROWS + 1)
        some = slice(step_in_epoch * self._n_eras, (step_in_epoch + 1) * self._n_eras)
        return list(zip(order[some].tolist(), starts[some].tolist(), strict=True))

    def pool(self, epoch: int, pool: int) -> Pool:
        first = pool * self._pool_batches
        steps = range(first, min(first + self._pool_batches, self.steps_per_epoch))
        blocks = [b for s in steps for b in self.blocks(epoch * self.steps_per_epoch + s)]
        order = sorted(range(len(blocks)), key=lambda i: blocks[i])
        eras, starts = np.array([blocks[i] for i in order]).T
        places = np.concatenate([i * N_ROWS + np.arange(N_ROWS) for i in order])
        return Pool(eras.astype(np.int32), starts, np.full(len(order), N_ROWS), places)


def expected(sampler: EraSampler, step: int) -> tuple[Any, Any]:
    """Return x and y of a step as the toy computes them."""
    labels = list(ERAS)
    rows = [(labels[era], start + np.arange(N_ROWS)) for era, start in sampler.blocks(step)]
    x = [toy_features(era, numbers, N_FEATURES, "int8") for era, numbers in rows]
    y = [toy_targets(era, numbers, N_TARGETS) for era, numbers in rows]
    return np.concatenate(x), np.concatenate(y)


@pytest.mark.parametrize("store", ["float32", "int8"])
@pytest.mark.parametrize("available", [10**9, 1000])
def test_batches_follow_a_sampler_of_whole_eras(
    toys: dict[str, Path], store: str, available: int
) -> None:
    """Also where all eras are read with direct I/O."""
    dataset = mt.open_dataset(toys[store])
    sampler = EraSampler(dataset.rows_per_era, 2)
    budget = MemoryBudget(lambda: available)
    batches = mt.Batches(dataset, sampler=sampler, memory_budget=budget)
    assert (len(batches), batches.batch_size) == (sampler.steps_per_epoch, 2 * N_ROWS)
    assert len(batches) >= 3
    n_steps = 2 * len(batches)
    with batches.stream(end=n_steps) as stream:
        for step, (x, y) in enumerate(stream):
            expected_x, expected_y = expected(sampler, step)
            np.testing.assert_array_equal(x, expected_x)
            np.testing.assert_array_equal(y, expected_y)
            np.testing.assert_array_equal(batches[step][0], expected_x)
    assert step == n_steps - 1
    copy = pickle.loads(pickle.dumps(batches))
    np.testing.assert_array_equal(copy[2][0], batches[2][0])


def test_numbers_of_windows_are_refused_with_another_sampler(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["float32"])
    sampler = EraSampler(dataset.rows_per_era, 2)
    for options in (
        {"batch_size": 20},
        {"eras_per_batch": 2},
        {"rows_per_era": 10},
        {"era_weights": "equal"},
        {"seed": 0},
        {"window_size": 1},
        {"pool_batches": 2},
        {"memory": 100},
        {"drop_remainder": False},
    ):
        with refused(BatchError, "a sampler of your own decides", "leave out batch_size"):
            mt.Batches(dataset, sampler=sampler, **options)
    batches = mt.Batches(dataset, sampler=sampler)
    for name in ("window_size", "pool_batches", "shuffling"):
        with refused(BatchError, "EraSampler, the sampler of these batches, is your own"):
            getattr(batches, name)
    assert "EraSampler" in shuffling_line(batches)
    assert shuffling_details(batches) == []
    assert "fit into" in reading_line(batches)


@pytest.mark.parametrize("left_out", ["batch_size", "seed"])
def test_without_a_sampler_batch_size_and_seed_are_needed(
    toys: dict[str, Path], left_out: str
) -> None:
    options: dict[str, Any] = {"batch_size": 20, "seed": 0}
    del options[left_out]
    with refused(BatchError, f"{left_out}: expected a whole number", "found None"):
        mt.Batches(mt.open_dataset(toys["float32"]), **options)


# -- samplers that are wrong ----------------------------------------------------------------------

Change = Callable[[Any], Any]


class Changed:
    """An `EraSampler` of which one answer is changed."""

    def __init__(self, inner: EraSampler, **changes: Change) -> None:
        self._inner, self._changes = inner, changes

    def _answer(self, name: str, value: Any) -> Any:
        return self._changes[name](value) if name in self._changes else value

    @property
    def steps_per_epoch(self) -> int:
        return int(self._answer("steps_per_epoch", self._inner.steps_per_epoch))

    @property
    def max_pool_rows(self) -> int:
        return int(self._answer("max_pool_rows", self._inner.max_pool_rows))

    def locate(self, step: int) -> StepLocation:
        found: StepLocation = self._answer("locate", self._inner.locate(step))
        return found

    def pool(self, epoch: int, pool: int) -> Pool:
        found: Pool = self._answer("pool", self._inner.pool(epoch, pool))
        return found


def moved(array: npt.NDArray[Any], to: int) -> npt.NDArray[Any]:
    """Return an array whose last number is another one."""
    changed = array.copy()
    changed[-1] = to
    return changed


def doubled(pool: Pool, times: int) -> Pool:
    """Return a pool with all windows repeated, so that their eras aren't in order."""
    eras, starts = np.tile(pool.eras, times), np.tile(pool.starts, times)
    return Pool(eras, starts, np.tile(pool.lengths, times), np.tile(pool.places, times))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps_per_epoch": lambda _: 0}, "steps_per_epoch: expected a whole number, 1 or more"),
        ({"max_pool_rows": lambda _: -1}, "max_pool_rows: expected a whole number, 1 or more"),
        ({"max_pool_rows": lambda _: 10}, "expected rows within a pool of 10, found 0 to 20"),
        ({"locate": lambda _: (0, 0, 0, 20)}, "locate(0): expected a StepLocation, found (0, 0"),
        ({"locate": lambda found: replace(found, low=20)}, "found 20 to 20"),
        ({"locate": lambda found: replace(found, low=-1)}, "found -1 to 20"),
        ({"locate": lambda found: replace(found, low="0")}, "low: expected a whole number"),
        ({"locate": lambda found: replace(found, high=None)}, "high: expected a whole number"),
        ({"locate": lambda found: replace(found, epoch="0")}, "epoch: expected a whole number"),
        ({"locate": lambda found: replace(found, pool=0.5)}, "pool: expected a whole number"),
        ({"locate": lambda found: replace(found, next_pool_step="1")}, "next_pool_step: expected"),
        ({"locate": lambda found: replace(found, next_pool_step=0)}, "next_pool_step behind the"),
    ],
)
def test_a_wrong_answer_about_steps_is_an_error_at_once(
    toys: dict[str, Path], change: dict[str, Change], message: str
) -> None:
    dataset = mt.open_dataset(toys["float32"])
    sampler = Changed(EraSampler(dataset.rows_per_era, 2), **change)
    with refused(BatchError, "Changed", message):
        mt.Batches(dataset, sampler=sampler)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: None, "pool(0, 0): expected a Pool, found None"),
        (lambda p: replace(p, eras=p.eras.tolist()), "eras: expected a one-dimensional array"),
        (lambda p: replace(p, starts=p.starts * 1.0), "starts: expected a one-dimensional array"),
        (lambda p: replace(p, lengths=p.lengths[:-1]), "as many eras as starts and lengths"),
        (lambda p: replace(p, eras=p.eras[::-1]), "eras: expected ascending positions"),
        (lambda p: replace(p, eras=np.arange(99)[::-1]), "as many eras as starts"),
        (lambda p: replace(p, starts=np.ones((40, 9))), "starts: expected a one-dimensional"),
        (lambda p: doubled(p, 30), "eras: expected ascending positions"),
        (lambda p: replace(p, eras=moved(p.eras, len(ERAS))), "eras: expected ascending positions"),
        (lambda p: replace(p, starts=moved(p.starts, -1)), "from row -1 on of an era of"),
        (lambda p: replace(p, starts=moved(p.starts, 10**6)), "from row 1000000 on of an era of"),
        (lambda p: replace(p, lengths=moved(p.lengths, 0)), "found 0 rows from row"),
        (lambda p: replace(p, padding=np.ones(3, np.bool_)), "padding: expected None or an array"),
        (
            lambda p: replace(p, padding=p.lengths),
            "padding: expected None or an array of bool, one",
        ),
        (lambda p: replace(p, padding=[True]), "windows, found [True] (list)"),
        (lambda p: replace(p, places=p.places[:-1]), "places: expected one for each"),
        (lambda p: replace(p, places=moved(p.places, 0)), "places: expected a permutation"),
        (lambda p: replace(p, places=moved(p.places, -1)), "places: expected a permutation"),
    ],
)
def test_a_wrong_pool_is_an_error_before_a_row_is_read(
    toys: dict[str, Path], change: Change, message: str
) -> None:
    """Rows are read at addresses that follow from these numbers."""
    dataset = mt.open_dataset(toys["float32"])
    batches = mt.Batches(dataset, sampler=Changed(EraSampler(dataset.rows_per_era, 2), pool=change))
    with refused(BatchError, "Changed.pool(0, 0)", message, "; see `memmap_train.Sampler`"):
        batches[0]
    with batches.stream() as stream, refused(BatchError, message):
        next(stream)


def test_a_batch_beyond_its_pool_is_an_error(toys: dict[str, Path]) -> None:
    """The pool is smaller than the largest one, so both answers make sense on their own."""
    dataset = mt.open_dataset(toys["float32"])
    inner = EraSampler(dataset.rows_per_era, 2)
    beyond = Changed(inner, locate=lambda found: replace(found, high=inner.max_pool_rows))
    short = min(
        range(inner.steps_per_epoch), key=lambda step: inner.pool(0, inner.locate(step).pool).n_rows
    )
    place = inner.locate(short)
    assert inner.pool(0, place.pool).n_rows < inner.max_pool_rows
    batches = mt.Batches(dataset, sampler=beyond)
    said = f"sampler.locate({short}): expected rows within the"
    with refused(BatchError, said, f"sampler.pool(0, {place.pool})"):
        batches[short]
    with batches.stream(short) as stream, refused(BatchError, said):
        next(stream)


def test_an_object_that_lacks_a_method_is_refused(toys: dict[str, Path]) -> None:
    with refused(BatchError, "steps_per_epoch, max_pool_rows, locate, pool", "found int"):
        mt.Batches(mt.open_dataset(toys["float32"]), sampler=3)  # type: ignore[arg-type]
    with refused(BatchError, "step: expected a whole number, 0 or more, found -1"):
        dataset = mt.open_dataset(toys["float32"])
        mt.Batches(dataset, sampler=EraSampler(dataset.rows_per_era, 2))[-1]
