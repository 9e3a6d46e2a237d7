"""Tests of batches of eras: every cell at its place, and the same for every way to ask for them."""

import pickle
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import memmap_train as mt
from memmap_train.errors import BatchError
from memmap_train.loading.era_sampler import EraSampler
from memmap_train.loading.explanation import reading_line, shuffling_details, shuffling_line
from memmap_train.loading.rates import measure
from memmap_train.system.direct_io import can_read_directly
from memmap_train.system.memory_budget import MemoryBudget
from tests.support.allocations import counted_allocations
from tests.support.errors import refused
from tests.support.toy import feature_names, toy_features, toy_targets
from tests.support.toy_datasets import ERAS, N_FEATURES, N_TARGETS, MakeToy

Float32 = npt.NDArray[np.float32]
Batch = tuple[Float32, Float32]

STORES = ["float32", "int8"]
LARGE = {era: n_rows for era, n_rows in ERAS.items() if n_rows >= 10}
N_ROWS = sum(LARGE.values())
LITTLE_MEMORY = MemoryBudget(lambda: 1000)
"""Less than any dataset takes."""


def make(path: Path, **options: Any) -> mt.Batches:
    """Return batches of two blocks of ten rows, of all eras that have as many."""
    defaults: dict[str, Any] = {"eras_per_batch": 2, "rows_per_era": 10, "seed": 5}
    defaults |= {"window_size": 4, "pool_batches": 3}
    dataset = mt.open_dataset(path).select(list(LARGE))
    return mt.Batches(dataset, **{**defaults, **options})


def whole(path: Path, **options: Any) -> mt.Batches:
    return make(path, **{"rows_per_era": 0, "window_size": 16, **options})


def toy_era(era: str) -> tuple[Float32, Float32]:
    """Return x and y of an era as the toy computes them."""
    rows = np.arange(ERAS[era])
    return toy_features(era, rows, N_FEATURES, "int8"), toy_targets(era, rows, N_TARGETS)


def assert_same(found: Batch, expected: Batch) -> None:
    assert [array.tobytes() for array in found] == [array.tobytes() for array in expected]


def copied(stream: Iterator[Batch]) -> list[Batch]:
    return [(x.copy(), y.copy()) for x, y in stream]


# -- every cell at its place ----------------------------------------------------------------------


@pytest.mark.parametrize("window_size", [1, 3, 16, 1000])
@pytest.mark.parametrize("budget", [MemoryBudget(lambda: 10**9), LITTLE_MEMORY])
@pytest.mark.parametrize("store", STORES)
def test_blocks_are_different_rows_of_the_eras_of_a_step(
    toys: dict[str, Path], store: str, budget: MemoryBudget, window_size: int
) -> None:
    """Also where all eras are read with direct I/O."""
    batches = make(toys[store], window_size=window_size, memory_budget=budget)
    assert len(batches) == N_ROWS // 20
    if budget is LITTLE_MEMORY and can_read_directly(next(toys[store].glob("*/features.npy"))):
        assert len(batches.direct_eras) == len(LARGE)
    for step, (x, y) in enumerate(copied(batches.stream(end=2 * len(batches)))):
        assert x.dtype == y.dtype == np.float32
        assert (x.shape, y.shape) == ((20, N_FEATURES), (20, N_TARGETS))
        eras = batches.eras_of(step)
        assert len(set(eras)) == 2
        for era, of_x, of_y in zip(eras, np.split(x, 2), np.split(y, 2), strict=True):
            all_x, all_y = toy_era(era)
            rows = [int(np.flatnonzero(all_y[:, 0] == value)[0]) for value in of_y[:, 0]]
            assert len(set(rows)) == 10
            np.testing.assert_array_equal(of_x, all_x[rows])
            np.testing.assert_array_equal(of_y, all_y[rows])
        assert_same(batches[step], (x, y))


@pytest.mark.parametrize("window_size", [1, 3, 16, 1000])
@pytest.mark.parametrize("budget", [MemoryBudget(lambda: 10**9), LITTLE_MEMORY])
@pytest.mark.parametrize("store", STORES)
def test_whole_eras_are_filled_up_with_their_own_rows_without_labels(
    toys: dict[str, Path], store: str, budget: MemoryBudget, window_size: int
) -> None:
    batches = whole(
        toys[store], window_size=window_size, memory_budget=budget, drop_remainder=False
    )
    most = max(LARGE.values())
    assert batches.batch_size == 2 * most
    assert len(batches) == len(LARGE) // 2
    seen = []
    for step, (x, y) in enumerate(copied(batches.epoch(0))):
        assert len(x) == len(y) == 2 * most
        for number, era in enumerate(batches.eras_of(step)):
            of_x, of_y = (a[number * most : (number + 1) * most] for a in (x, y))
            all_x, all_y = toy_era(era)
            np.testing.assert_array_equal(of_y[: len(all_y)], all_y)
            assert np.isnan(of_y[len(all_y) :]).all()
            np.testing.assert_array_equal(of_x, np.resize(all_x, of_x.shape))
            seen.append(era)
        assert_same(batches[step], (x, y))
    assert sorted(seen) == sorted(LARGE)


def test_a_last_batch_of_whole_eras_may_have_fewer(toys: dict[str, Path]) -> None:
    batches = whole(toys["int8"], eras_per_batch=4, drop_remainder=False)
    assert [len(batches.eras_of(step)) for step in range(4)] == [4, 2, 4, 2]
    assert [len(x) // max(LARGE.values()) for x, _ in batches] == [4, 2]
    assert not batches.are_even
    assert whole(toys["int8"], eras_per_batch=4).are_even
    assert len(whole(toys["int8"], eras_per_batch=4)) == 1


@pytest.mark.parametrize("rows_per_era", [10, 0])
def test_both_stores_and_all_selections_give_the_same_rows(
    toys: dict[str, Path], rows_per_era: int
) -> None:
    names = feature_names(N_FEATURES)
    everything = make(toys["float32"], rows_per_era=rows_per_era)
    some = make(
        toys["int8"], rows_per_era=rows_per_era, features=[names[7], names[2]], targets="target"
    )
    target = everything.target_names.index("target")
    for (x, y), (some_x, some_y) in zip(everything, some, strict=True):
        np.testing.assert_array_equal(some_x, x[:, [7, 2]])
        np.testing.assert_array_equal(some_y, y[:, [target]])


@pytest.mark.parametrize("rows_per_era", [10, 0])
def test_a_dataset_without_targets_gives_targets_of_no_columns(
    make_toy: MakeToy, rows_per_era: int
) -> None:
    batches = mt.Batches(
        mt.open_dataset(make_toy({"0001": 12, "0002": 30}, n_targets=0)),
        eras_per_batch=2,
        era_weights="equal",
        rows_per_era=rows_per_era,
        seed=0,
    )
    assert {(y.shape[1], len(x) == len(y)) for x, y in batches} == {(0, True)}


# -- a function of seed and step ------------------------------------------------------------------


@pytest.mark.parametrize("rows_per_era", [10, 0])
@pytest.mark.parametrize("store", STORES)
def test_steps_are_the_same_in_any_order_and_thread(
    toys: dict[str, Path], store: str, rows_per_era: int
) -> None:
    batches = make(toys[store], rows_per_era=rows_per_era)
    n_steps = 3 * len(batches)
    expected = copied(batches.stream(end=n_steps))
    assert len({x.tobytes() for x, _ in expected}) == n_steps
    steps = list(range(n_steps))
    random.Random(0).shuffle(steps)
    with ThreadPoolExecutor(4) as threads:
        for step, batch in zip(steps, threads.map(batches.__getitem__, steps), strict=True):
            assert_same(batch, expected[step])
    for start in range(0, n_steps, 4):
        with batches.stream(start) as stream:
            assert_same(next(stream), expected[start])
    copy = pickle.loads(pickle.dumps(batches))
    for step in (0, n_steps - 1):
        assert_same(copy[step], expected[step])
        assert copy.eras_of(step) == batches.eras_of(step)
    for other in (make(toys[store], rows_per_era=rows_per_era, pool_batches=1), copy):
        assert_same(other[2], expected[2])


def test_another_process_gets_the_same_batches(toys: dict[str, Path]) -> None:
    code = f"""
import hashlib
import memmap_train as mt

dataset = mt.open_dataset({str(toys["int8"])!r}).select({list(LARGE)!r})
batches = mt.Batches(
    dataset, eras_per_batch=2, rows_per_era=10, seed=5, window_size=4, era_weights="half_life:3"
)
print(batches.eras_of(17), hashlib.sha256(batches[17][0].tobytes()).hexdigest())
"""
    found = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert found[0].stdout == found[1].stdout != ""


def test_a_window_is_chosen_for_the_rows_of_a_block(make_toy: MakeToy) -> None:
    path = make_toy({"0001": 600, "0002": 500, "0003": 400}, n_features=320, dtype="float32")
    dataset = mt.open_dataset(path)
    common: dict[str, Any] = {"eras_per_batch": 2, "seed": 0}
    batches = mt.Batches(dataset, rows_per_era=200, **common)
    assert (batches.window_size, batches.pool_batches) == (50, 16)
    assert "4 places of its era" in batches.reasons[0]
    assert mt.Batches(dataset, rows_per_era=3, **common).window_size == 1
    whole_eras = mt.Batches(dataset, rows_per_era=0, **common)
    assert whole_eras.window_size == 205  # 262,144 bytes
    assert "read at nearly full speed" in whole_eras.reasons[0]
    little = mt.Batches(dataset, rows_per_era=200, memory=1, **common)
    assert little.pool_batches == 2
    assert "1.0 MB of memory" in little.reasons[1]
    given = mt.Batches(dataset, rows_per_era=200, window_size=7, **common)
    assert (given.window_size, given.pool_batches, given.reasons) == (7, 16, ())
    chosen = mt.Batches(dataset, rows_per_era=200, window_size=50, **common)
    assert_same(chosen[3], batches[3])


@pytest.mark.parametrize("sizes", [{"batch_size": 600}, {"eras_per_batch": 2, "rows_per_era": 0}])
def test_chosen_pools_leave_memory_for_decoded_batches(
    make_toy: MakeToy, monkeypatch: pytest.MonkeyPatch, sizes: dict[str, Any]
) -> None:
    """Which take more than half of it: 600 rows of 1,600 bytes each, three times."""
    monkeypatch.setattr("memmap_train.loading.batches.MIN_AVAILABLE", 1000)
    path = make_toy({f"{era:04}": 300 for era in range(40)}, n_features=400, store="int8")
    dataset = mt.open_dataset(path)
    enough = MemoryBudget(lambda: 4_600_000)
    batches = mt.Batches(dataset, seed=0, memory_budget=enough, **sizes)
    assert 2 * batches.pool_bytes + 3 * 600 * 1_600 <= 4_600_000
    assert batches.pool_batches >= 2
    with refused(BatchError, "and decoded batches 2.9 MB; expected 3.0 MB at most"):
        mt.Batches(dataset, seed=0, memory_budget=MemoryBudget(lambda: 3_000_000), **sizes)


def test_two_pools_of_buffers_are_reused(make_toy: MakeToy) -> None:
    """However many steps are read."""
    path = make_toy({f"{era:04}": 300 + era for era in range(20)}, n_features=40)
    batches = mt.Batches(
        mt.open_dataset(path), eras_per_batch=4, rows_per_era=64, seed=0, pool_batches=3
    )
    with batches.stream() as stream:
        for _ in range(2 * len(batches)):
            next(stream)
        with counted_allocations(batches.pool_bytes // 3) as sizes:
            for _ in range(4 * len(batches)):
                next(stream)
    assert sizes == []


options = st.fixed_dictionaries(
    {
        "eras_per_batch": st.integers(1, len(LARGE)),
        "rows_per_era": st.integers(0, min(LARGE.values())),
        "era_weights": st.sampled_from(["equal", [1.0, 0.6, 1.0, 0.9, 1.0, 0.2]]),
        "window_size": st.integers(1, 90),
        "pool_batches": st.integers(1, 5),
        "seed": st.integers(0, 2**40),
    }
)


@settings(max_examples=40)
@given(options, st.sampled_from(STORES), st.booleans(), st.integers(0, 30))
def test_any_batches_are_what_their_sampler_says(
    toys: dict[str, Path], options: dict[str, Any], store: str, from_disk: bool, start: int
) -> None:
    """A stream from any step on, and each step alone, compared with the toy's own rows."""
    assume(options["era_weights"] == "equal" or options["eras_per_batch"] <= 4)
    budget = LITTLE_MEMORY if from_disk else MemoryBudget(lambda: 10**9)
    batches = make(toys[store], memory_budget=budget, **options)
    sampler, eras = batches.sampler, list(LARGE)
    with batches.stream(start, start + 4) as stream:
        for step, batch in enumerate(stream, start=start):
            place = sampler.locate(step)
            pool = sampler.pool(place.epoch, place.pool).only(place.low, place.high)
            windows = zip(pool.eras, pool.starts, pool.starts + pool.lengths, strict=True)
            rows = [[part[low:high] for part in toy_era(eras[era])] for era, low, high in windows]
            x, y = (np.concatenate(parts) for parts in zip(*rows, strict=True))
            if pool.padding is not None:
                y[np.repeat(pool.padding, pool.lengths)] = np.nan
            order = np.argsort(pool.places)
            np.testing.assert_array_equal(batch[0], x[order])
            np.testing.assert_array_equal(batch[1], y[order])
            assert_same(batches[step], batch)


# -- weights --------------------------------------------------------------------------------------


def blocks_of(batches: mt.Batches, n_epochs: int) -> dict[str, float]:
    """Return how many blocks of each era an epoch has on average."""
    found = [era for step in range(n_epochs * len(batches)) for era in batches.eras_of(step)]
    return {era: found.count(era) / n_epochs for era in LARGE}


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        (None, LARGE),
        ("rows", LARGE),
        ("equal", dict.fromkeys(LARGE, 1)),
        ("half_life:3", {era: 2 ** (n / 3) for n, era in enumerate(LARGE)}),
        ([1, 2, 3, 3, 2, 1], dict(zip(LARGE, [1, 2, 3, 3, 2, 1], strict=True))),
        ({**dict.fromkeys(ERAS, 1), "0003": 2.5}, {**dict.fromkeys(LARGE, 1), "0003": 2.5}),
    ],
    ids=str,
)
def test_era_weights_decide_how_often_an_era_comes(
    toys: dict[str, Path], given: Any, weights: dict[str, float]
) -> None:
    batches = make(toys["int8"], era_weights=given)
    found = blocks_of(batches, 40)
    for era, n_blocks in found.items():
        quota = 2 * len(batches) * weights[era] / sum(weights.values())
        assert n_blocks == pytest.approx(quota, abs=0.1)
    np.testing.assert_array_equal(batches.row_weights(0), np.ones(20))


def test_weights_come_from_a_file_with_all_eras_of_the_dataset(
    toys: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "weights.csv"
    path.write_text("era,weight\n" + "".join(f"{era},{len(era)}\n" for era in ERAS))
    found = blocks_of(make(toys["int8"], era_weights=f"file:{path}"), 20)
    assert found["X"] == pytest.approx(found["0001"] / 4, abs=0.1)
    path.write_text("era,weight\n0099,1\n")
    with refused(BatchError, "weights.csv: the dataset has no era '0099'"):
        make(toys["int8"], era_weights=f"file:{path}")


def test_whole_eras_come_equally_often_by_rows(toys: dict[str, Path]) -> None:
    for weights in (None, "rows", "equal"):
        found = blocks_of(whole(toys["int8"], era_weights=weights), 10)
        assert set(found.values()) == {1}
    heavy = whole(toys["int8"], era_weights=[5, 1, 1, 1, 1, 1], eras_per_batch=2)
    assert blocks_of(heavy, 10)["0001"] == 3


def test_era_weights_of_batches_of_rows_are_weights_of_their_loss(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["int8"])
    common: dict[str, Any] = {"batch_size": 20, "seed": 5, "window_size": 4, "pool_batches": 3}
    common["drop_remainder"] = False  # every row comes once
    plain = mt.Batches(dataset, **common)
    batches = mt.Batches(dataset, era_weights="equal", **common)
    known = {value: era for era in ERAS for value in toy_era(era)[1][:, 0].tolist()}
    sums = dict.fromkeys(ERAS, 0.0)
    for step in random.Random(1).sample(range(len(batches)), len(batches)):
        weights, (_, y) = batches.row_weights(step), batches[step]
        assert weights.dtype == np.float32
        for weight, value in zip(weights.tolist(), y[:, 0].tolist(), strict=True):
            sums[known[value]] += weight
    for total in sums.values():
        assert total == pytest.approx(sum(ERAS.values()) / len(ERAS), rel=1e-5)
    assert_same(plain[3], batches[3])
    np.testing.assert_array_equal(plain.row_weights(3), np.ones(20))
    by_rows = mt.Batches(dataset, era_weights="rows", **common)
    np.testing.assert_array_equal(by_rows.row_weights(3), np.ones(20))
    copy = pickle.loads(pickle.dumps(batches))
    np.testing.assert_array_equal(copy.row_weights(7), batches.row_weights(7))


@pytest.mark.parametrize("rows_per_era", [10, 0])
@pytest.mark.parametrize("given", ["half_life:30", "file:weights.csv"])
def test_eras_that_are_not_selected_have_no_influence(
    make_toy: MakeToy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows_per_era: int,
    given: str,
) -> None:
    """Neither their files, which may be gone, nor their weights."""
    monkeypatch.chdir(tmp_path)
    path = make_toy(n_features=N_FEATURES, n_targets=N_TARGETS)
    chosen = ["0001", "0003", "0005", "0010"]

    def read(weight_of_others: float) -> list[Batch]:
        weights = {era: 3.0 if era in chosen else weight_of_others for era in ERAS}
        lines = "".join(f"{era},{weight}\n" for era, weight in weights.items())
        Path("weights.csv").write_text("era,weight\n" + lines)
        batches = mt.Batches(
            mt.open_dataset(path).select(chosen),
            eras_per_batch=2,
            rows_per_era=rows_per_era,
            seed=5,
            era_weights=given,
        )
        for era in set(ERAS) - set(chosen):
            for file in (path / f"era-{era}").iterdir():
                file.rename(file.with_suffix(".away"))
        found = copied(batches.stream(end=2 * len(batches)))
        for file in path.rglob("*.away"):
            file.rename(file.with_suffix(".npy"))
        return found

    first, second = read(1.0), read(1e6)
    assert len(first) >= 2
    for one, other in zip(first, second, strict=True):
        assert_same(one, other)


# -- what is said of them -------------------------------------------------------------------------


def test_batches_of_eras_are_described(toys: dict[str, Path]) -> None:
    batches = make(toys["int8"])
    assert shuffling_line(batches) == (
        "2 eras per batch, 10 rows of each, window 4 rows, pool 3 batches; each of 6 eras 1.59 to "
        "7.19 times per epoch"
    )
    assert "of the pairs of rows in a batch are of one era" in " ".join(shuffling_details(batches))
    assert "fit into" in reading_line(batches)
    whole_line = shuffling_line(whole(toys["int8"]))
    assert whole_line == (
        "2 eras per batch, all rows of each, up to 77, pool 3 batches; each of 6 eras once per "
        "epoch"
    )
    assert batches.shuffling.same_era_rate == pytest.approx(9 / 19)
    assert batches.shuffling.eras_per_batch == 2
    assert batches.shuffling.inflation() > 1
    assert isinstance(batches.sampler, EraSampler)
    for some in (batches, whole(toys["int8"])):
        assert measure(some).rows_per_second > 0


def test_a_batch_of_one_era_is_described(make_toy: MakeToy) -> None:
    dataset = mt.open_dataset(make_toy({"0001": 7}))
    for rows_per_era in (1, 7, 0):
        batches = mt.Batches(dataset, eras_per_batch=1, rows_per_era=rows_per_era, seed=0)
        assert batches.shuffling.inflation() == 1
        assert "each of 1 era" in shuffling_line(batches)


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch_size": 20}, "batch_size, eras_per_batch: expected one of them"),
        ({"eras_per_batch": None}, "rows_per_era: expected only beside eras_per_batch, found 10"),
        ({"rows_per_era": None}, "rows_per_era: expected a whole number, 0 or more, found None"),
        ({"eras_per_batch": 0}, "eras_per_batch: expected a whole number, 1 or more, found 0"),
        ({"eras_per_batch": "8"}, "eras_per_batch: expected a whole number"),
        ({"eras_per_batch": 7}, "eras_per_batch 7 is larger than the data (6 eras)"),
        ({"rows_per_era": 18}, "rows_per_era 18 is larger than 1 era ('X')"),
        ({"rows_per_era": True}, "rows_per_era: expected a whole number"),
        ({"seed": None}, "seed: expected a whole number, 0 or more, found None"),
        ({"window_size": 0}, "window_size: expected a whole number, 1 or more, found 0"),
        ({"pool_batches": 0}, "pool_batches: expected a whole number, 1 or more, found 0"),
        ({"memory": 0}, "memory: expected a whole number, 1 or more, found 0"),
        ({"drop_remainder": False}, "drop_remainder: expected True"),
        ({"era_weights": "even"}, "era_weights: expected 'rows', 'equal'"),
        ({"era_weights": [0] * 6}, "the weights of all 6 eras are 0"),
        ({"era_weights": [9, 1, 1, 1, 1, 1]}, "era '0001' has 64.3% of the weights"),
        ({"era_weights": [1, 0, 0, 0, 0, 0]}, "era '0001' has 100.0% of the weights"),
    ],
    ids=str,
)
def test_sizes_and_weights_that_make_no_sense_are_refused(
    toys: dict[str, Path], change: dict[str, Any], said: str
) -> None:
    with refused(BatchError, said):
        make(toys["int8"], **change)


def test_batches_of_rows_have_no_eras_to_name(toys: dict[str, Path]) -> None:
    batches = mt.Batches(mt.open_dataset(toys["int8"]), batch_size=20, seed=0)
    with refused(BatchError, "eras_of: expected batches of eras", "eras_per_batch=..."):
        batches.eras_of(0)
    with refused(BatchError, "era_weights: expected 'rows'"):
        mt.Batches(mt.open_dataset(toys["int8"]), batch_size=20, seed=0, era_weights="even")


def test_pools_larger_than_memory_are_refused(
    toys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memmap_train.loading.batches.MIN_AVAILABLE", 1000)
    little = MemoryBudget(lambda: 2000)
    with refused(BatchError, "pools of 3 batches of 20 rows take", "fewer pool_batches"):
        make(toys["float32"], memory_budget=little)
    # Pools of 360 bytes, three decoded batches of 720 bytes.
    with refused(BatchError, "two are in use, and decoded batches 2.2 kB; expected 2.0 kB at most"):
        make(toys["int8"], pool_batches=2, memory_budget=little)
    make(toys["int8"], pool_batches=2, rows_per_era=5, memory_budget=little)
