"""What Keras sees of `keras_batches`, whatever it peeks at: exactly the batches, in their order."""

import gc
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

import memmap_train as mt
from memmap_train.errors import BatchError, DatasetError
from memmap_train.loading.stream import Stream
from memmap_train.loading.window_sampler import WindowSampler
from tests.support.errors import refused

Pair = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

# 258 rows of 9 features: 13 steps of 19 rows, the rest is dropped; pools of 2 or 3 batches.
ORDER: dict[str, Any] = {"batch_size": 19, "seed": 5, "window_size": 3, "pool_batches": 3}
STEPS = 13


@keras.saving.register_keras_serializable()
class Recorder(keras.Model):
    """A linear model that keeps what it is trained and tested on; not built before it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.trained: list[Pair] = []
        self.tested: list[Pair] = []

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)

    def train_step(self, data: Any) -> Any:
        tf.numpy_function(_keep_in(self.trained), list(data), [])
        return super().train_step(data)

    def test_step(self, data: Any) -> Any:
        tf.numpy_function(_keep_in(self.tested), list(data), [])
        return super().test_step(data)


def _keep_in(pairs: list[Pair]) -> Callable[[Any, Any], None]:
    def keep(x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]) -> None:
        pairs.append((np.array(x), np.array(y)))

    return keep


def recorder() -> Recorder:
    model = Recorder()
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    return model


def assert_same(seen: list[Pair], expected: list[Pair]) -> None:
    assert len(seen) == len(expected)
    for (x, y), (x_expected, y_expected) in zip(seen, expected, strict=True):
        assert x.dtype == y.dtype == np.float32
        np.testing.assert_array_equal(x, x_expected)
        np.testing.assert_array_equal(y, y_expected)


def batches_of(dataset: mt.Dataset, steps: range | list[int], **options: Any) -> list[Pair]:
    batches = mt.Batches(dataset, **(ORDER | options))
    return [batches[step] for step in steps]


def pairs(data: Any) -> Iterator[Pair]:
    return ((x.numpy(), y.numpy()) for x, y in data)


@pytest.fixture
def dataset(toys: dict[str, Path]) -> mt.Dataset:
    """Return a dataset whose batches are slices of pools."""
    return mt.open_dataset(toys["float32"])


@pytest.fixture(params=["float32", "int8"])
def any_store(toys: dict[str, Path], request: pytest.FixtureRequest) -> mt.Dataset:
    """Return one of two datasets of the same rows; int8 batches are decoded one by one."""
    return mt.open_dataset(toys[request.param])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of the steps that streams are asked for."""
    steps: list[int] = []
    at = Stream.at

    def noted(self: Stream, step: int) -> Any:
        steps.append(step)
        return at(self, step)

    monkeypatch.setattr(Stream, "at", noted)
    return steps


# -- fit ------------------------------------------------------------------------------------------


def test_fit_sees_all_epochs_in_order_by_default(any_store: mt.Dataset) -> None:
    model = recorder()
    data = mt.keras_batches(any_store, **ORDER)
    with pytest.warns(UserWarning, match="`shuffle=True` was passed, but will be ignored"):
        model.fit(data, epochs=3, verbose=0)
    expected = batches_of(any_store, range(3 * STEPS))
    assert_same(model.trained, expected)
    assert not np.array_equal(expected[0][0], expected[STEPS][0])  # epochs do differ


def test_reading_the_first_batches_does_not_move_the_position(
    dataset: mt.Dataset, asked: list[int]
) -> None:
    data = mt.keras_batches(dataset, **ORDER)
    for _ in range(3):
        assert_same([next(pairs(data))], batches_of(dataset, [0]))
    # Under a strategy Keras itself looks at a batch of a model that isn't built.
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        model = recorder()
    model.fit(data, epochs=2, verbose=0, shuffle=False)
    assert asked[3:] == [0, 1, 2, *range(2 * STEPS)]
    assert_same(model.trained, batches_of(dataset, range(2 * STEPS)))


def test_a_built_model_sees_the_same_without_a_warning(dataset: mt.Dataset) -> None:
    model = recorder()
    model(np.zeros((1, 9)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(mt.keras_batches(dataset, **ORDER), epochs=2, verbose=0, shuffle=False)
    assert_same(model.trained, batches_of(dataset, range(2 * STEPS)))


def test_a_second_fit_continues_with_the_next_epoch(dataset: mt.Dataset) -> None:
    model, data = recorder(), mt.keras_batches(dataset, **ORDER)
    model.fit(data, epochs=2, verbose=0, shuffle=False)
    recompiled = recorder()
    recompiled.fit(data, epochs=1, verbose=0, shuffle=False)
    assert_same(recompiled.trained, batches_of(dataset, range(2 * STEPS, 3 * STEPS)))


def test_start_is_the_first_step(dataset: mt.Dataset) -> None:
    model = recorder()
    model.fit(mt.keras_batches(dataset, start=20, **ORDER), epochs=2, verbose=0, shuffle=False)
    assert_same(model.trained, batches_of(dataset, range(20, 20 + 2 * STEPS)))


def test_validation_sees_every_row_and_disturbs_nothing(any_store: mt.Dataset) -> None:
    train, held_out = any_store.select(any_store.eras[:4]), any_store.select(any_store.eras[4:])
    model = recorder()
    history = model.fit(
        mt.keras_batches(train, **ORDER),
        validation_data=mt.keras_batches(held_out, drop_remainder=False, **ORDER),
        epochs=3,
        verbose=0,
        shuffle=False,
    )
    assert len(history.history["val_loss"]) == 3
    n_steps = len(mt.Batches(train, **ORDER))
    assert_same(model.trained, batches_of(train, range(3 * n_steps)))
    n_tests = len(mt.Batches(held_out, drop_remainder=False, **ORDER))
    assert_same(model.tested, batches_of(held_out, range(3 * n_tests), drop_remainder=False))
    assert sum(len(x) for x, _ in model.tested) == 3 * held_out.n_rows


def test_one_dataset_for_training_and_validation_gives_complete_passes_to_both(
    dataset: mt.Dataset,
) -> None:
    model, data = recorder(), mt.keras_batches(dataset, **ORDER)
    model.fit(data, validation_data=data, epochs=2, verbose=0, shuffle=False)
    every = batches_of(dataset, range(4 * STEPS))
    assert_same(model.trained, every[:STEPS] + every[2 * STEPS : 3 * STEPS])
    assert_same(model.tested, every[STEPS : 2 * STEPS] + every[3 * STEPS :])


def test_an_incomplete_epoch_starts_again(any_store: mt.Dataset) -> None:
    class StopAt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if len(self.model.trained) == STEPS + 4:
                self.model.stop_training = True

    model, data = recorder(), mt.keras_batches(any_store, **ORDER)
    model.fit(data, epochs=5, verbose=0, shuffle=False, callbacks=[StopAt()])
    assert_same(model.trained, batches_of(any_store, range(STEPS + 4)))
    again = recorder()
    again.fit(data, epochs=2, verbose=0, shuffle=False)
    assert_same(again.trained, batches_of(any_store, range(STEPS, 3 * STEPS)))


def test_early_stopping_between_epochs_loses_nothing(dataset: mt.Dataset) -> None:
    model, data = recorder(), mt.keras_batches(dataset, **ORDER)
    stopping = keras.callbacks.EarlyStopping("loss", patience=1, mode="max", baseline=1e9)
    model.fit(data, epochs=9, verbose=0, shuffle=False, callbacks=[stopping])
    n_done = len(model.trained)
    assert n_done in (STEPS, 2 * STEPS)
    again = recorder()
    again.fit(data, epochs=1, verbose=0, shuffle=False)
    assert_same(again.trained, batches_of(dataset, range(n_done, n_done + STEPS)))


def test_short_epochs_of_keras_continue_through_the_whole_pass(dataset: mt.Dataset) -> None:
    model, data = recorder(), mt.keras_batches(dataset, pool_batches=2, **_without("pool_batches"))
    model(np.zeros((1, 9)))
    with pytest.warns(UserWarning, match="ran out of data"):  # 13 is no multiple of 5
        model.fit(data, steps_per_epoch=5, epochs=4, verbose=0, shuffle=False)
    expected = batches_of(dataset, range(STEPS + 5), pool_batches=2)
    assert_same(model.trained, expected)


def test_steps_per_execution_do_not_change_the_batches(dataset: mt.Dataset) -> None:
    model = Recorder()
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", steps_per_execution=4)
    model.fit(mt.keras_batches(dataset, **ORDER), epochs=2, verbose=0, shuffle=False)
    assert_same(model.trained, batches_of(dataset, range(2 * STEPS)))


def test_class_weights_do_not_move_the_epochs(dataset: mt.Dataset) -> None:
    # With them Keras puts a prefetch of its own behind the dataset.
    model = recorder()
    model(np.zeros((1, 9)))
    seen: list[Pair] = []

    def train_step(data: Any) -> Any:
        tf.numpy_function(_keep_in(seen), list(data[:2]), [])
        return keras.Model.train_step(model, data)

    model.train_step = train_step  # type: ignore[method-assign]
    model.fit(
        mt.keras_batches(dataset, targets=["target"], **ORDER).map(lambda x, y: (x, 0 * y)),
        epochs=3,
        verbose=0,
        shuffle=False,
        class_weight={0: 1.0, 1: 2.0},
    )
    expected = batches_of(dataset, range(3 * STEPS), targets=["target"])
    assert_same(seen, [(x, 0 * y) for x, y in expected])


def test_evaluate_and_predict_accept_keras_batches(dataset: mt.Dataset) -> None:
    model = recorder()
    data = mt.keras_batches(dataset, targets=["target"], drop_remainder=False, **ORDER)
    loss = model.evaluate(data, verbose=0)
    x, y = (np.concatenate(parts) for parts in zip(*model.tested, strict=True))
    assert len(x) == dataset.n_rows
    assert loss == pytest.approx(np.mean((model(x).numpy() - y) ** 2), rel=1e-4)
    predictions = model.predict(data, verbose=0)
    order = batches_of(dataset, range(14, 28), targets=["target"], drop_remainder=False)
    np.testing.assert_allclose(
        predictions, model(np.concatenate([x for x, _ in order])).numpy(), rtol=1e-5
    )


# -- the dataset itself ---------------------------------------------------------------------------


def test_length_and_shapes_are_known(dataset: mt.Dataset) -> None:
    data = mt.keras_batches(dataset, features="small", targets=["target"], **ORDER)
    assert len(data) == int(data.cardinality()) == STEPS
    assert [tuple(spec.shape) for spec in data.element_spec] == [(19, 3), (19, 1)]
    whole = mt.keras_batches(dataset, drop_remainder=False, **ORDER)
    assert len(whole) == STEPS + 1
    assert [tuple(spec.shape) for spec in whole.element_spec] == [(None, 9), (None, 3)]


def test_features_and_targets_are_selected_as_for_batches(dataset: mt.Dataset) -> None:
    chosen: dict[str, Any] = {"features": "small", "targets": ["target_t2_20", "target"]}
    data = mt.keras_batches(dataset, **chosen, **ORDER)
    assert_same(list(pairs(data)), batches_of(dataset, range(STEPS), **chosen))


def test_several_targets_are_reported_by_a_warning(
    dataset: mt.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    """A model of one output would be compared with all of them, in silence."""
    mt.keras_batches(dataset, **ORDER, targets=dataset.target_names[:1])
    assert caplog.messages == []
    mt.keras_batches(dataset, **ORDER)
    (message,) = caplog.messages
    assert message.startswith(f"the batches have {len(dataset.target_names)} targets ('target', ")
    assert "needs as many outputs" in message


def test_parallel_iterators_do_not_disturb_each_other(any_store: mt.Dataset) -> None:
    data = mt.keras_batches(any_store, **ORDER)
    both = list(zip(pairs(data), pairs(data), strict=True))
    expected = batches_of(any_store, range(STEPS))
    assert_same([first for first, _ in both], expected)
    assert_same([second for _, second in both], expected)
    # Two passes were made over epoch 0, and none over epoch 1.
    assert_same(list(pairs(data)), batches_of(any_store, range(STEPS, 2 * STEPS)))


def test_a_late_end_of_a_pass_does_not_turn_back_the_position(dataset: mt.Dataset) -> None:
    data = mt.keras_batches(dataset, **ORDER)
    late = pairs(data)
    first = next(late)
    for epoch in range(2):
        expected = batches_of(dataset, range(epoch * STEPS, (epoch + 1) * STEPS))
        assert_same(list(pairs(data)), expected)
    assert_same([first, *late], batches_of(dataset, range(STEPS)))
    assert_same([next(pairs(data))], batches_of(dataset, [2 * STEPS]))


def test_threads_may_iterate_at_once(dataset: mt.Dataset) -> None:
    data = mt.keras_batches(dataset, **ORDER)
    seen: dict[int, list[Pair]] = {}
    ready = threading.Barrier(4)

    def iterate(number: int) -> None:
        ready.wait()
        seen[number] = list(pairs(data))

    threads = [threading.Thread(target=iterate, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Those that began after another had ended are an epoch further.
    epochs = [batches_of(dataset, range(e * STEPS, (e + 1) * STEPS)) for e in range(4)]
    assert seen.keys() == set(range(4))
    for found in seen.values():
        (expected,) = (e for e in epochs if np.array_equal(e[0][0], found[0][0]))
        assert_same(found, expected)


def test_kept_batches_are_never_overwritten(any_store: mt.Dataset) -> None:
    # 26 batches from pools of 3: buffers would be used again several times over.
    data = mt.keras_batches(any_store, **ORDER)
    kept = [batch for _ in range(2) for batch in data]
    gc.collect()
    assert_same(list(pairs(kept)), batches_of(any_store, range(2 * STEPS)))


def test_aligned_batches_are_not_copied(toys: dict[str, Path]) -> None:
    # 32 rows x 9 features x 4 bytes are a multiple of 64.
    data = mt.keras_batches(mt.open_dataset(toys["float32"]), **(ORDER | {"batch_size": 32}))
    x, _ = next(iter(data))
    again, _ = data.memmap_train_feed.batch(0)
    assert x[3, 5] == again[3, 5]
    again[3, 5] = 77
    assert x[3, 5] == 77


def test_training_does_not_modify_the_buffers(toys: dict[str, Path]) -> None:
    # TensorFlow may compute in place in memory that it owns: this isn't its own.
    options = ORDER | {"batch_size": 32}
    data = mt.keras_batches(mt.open_dataset(toys["float32"]), **options)

    @tf.function(autograph=False)
    def compute(iterator: Any) -> Any:
        x, _ = next(iterator)
        return tf.reduce_sum(tf.nn.relu(x * -3.0) + 1.0)

    iterator = iter(data)
    compute(iterator)
    compute(iterator)
    again = [data.memmap_train_feed.batch(step) for step in range(2)]
    expected = mt.Batches(mt.open_dataset(toys["float32"]), **options)
    assert_same(again, [expected[0], expected[1]])


def test_missing_targets_are_passed_on(toys: dict[str, Path]) -> None:
    dataset = mt.open_dataset(toys["nulls float32"])
    seen = list(pairs(mt.keras_batches(dataset, **ORDER)))
    assert_same(seen, batches_of(dataset, range(STEPS)))
    assert any(np.isnan(y).any() for _, y in seen)


def test_mistakes_are_reported_at_once(dataset: mt.Dataset) -> None:
    with refused(BatchError, "start: expected a whole number, 0 or more, found -1"):
        mt.keras_batches(dataset, start=-1, **ORDER)
    with refused(BatchError, "batch_size 1,000 is larger than the data"):
        mt.keras_batches(dataset, batch_size=1000, seed=0)
    with refused(DatasetError, "no feature set 'smal'", "did you mean 'small'?"):
        mt.keras_batches(dataset, features="smal", **ORDER)


def test_the_next_pass_retries_after_an_error(make_toy: Callable[..., Path]) -> None:
    path = make_toy({"0001": 40, "0002": 40}, n_features=9)
    data = mt.keras_batches(mt.open_dataset(path), **ORDER)
    file = path / "era-0002" / "features.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(tf.errors.UnknownError, match="cut short"):
        list(data)
    file.write_bytes(whole)
    assert_same(list(pairs(data)), batches_of(mt.open_dataset(path), range(4)))


# -- what is held ---------------------------------------------------------------------------------


def test_deleting_the_dataset_frees_its_buffers_and_stops_its_threads(dataset: mt.Dataset) -> None:
    before = set(threading.enumerate())
    data = mt.keras_batches(dataset, **ORDER)
    model = recorder()
    model.fit(data, epochs=1, verbose=0, shuffle=False)
    threads = [t for t in set(threading.enumerate()) - before if t.name.startswith("memmap-train")]
    assert threads
    feed = weakref.ref(data.memmap_train_feed)
    del data, model
    gc.collect()
    assert feed() is None
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_iterators_and_derived_datasets_keep_the_feed_alive(dataset: mt.Dataset) -> None:
    iterator = iter(mt.keras_batches(dataset, **ORDER))
    few = mt.keras_batches(dataset, **ORDER).map(lambda x, y: (x, y)).prefetch(2).take(5)
    gc.collect()
    assert_same(list(pairs(iterator)), batches_of(dataset, range(STEPS)))
    assert_same(list(pairs(few)), batches_of(dataset, range(5)))


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in ORDER.items() if key != name}


def test_batches_that_are_made_already_are_taken(dataset: mt.Dataset) -> None:
    batches = mt.Batches(dataset, **ORDER)
    data = mt.keras_batches(batches, start=2 * STEPS)
    assert len(data) == STEPS
    assert data.element_spec[0].shape == (19, 9)
    seen = [(x.numpy(), y.numpy()) for x, y in data]
    assert_same(seen, [batches[step] for step in range(2 * STEPS, 3 * STEPS)])
    with refused(BatchError, "'batch_size': expected no such arguments beside Batches"):
        mt.keras_batches(batches, batch_size=19)
    with refused(BatchError, "expected Batches, or a dataset and the arguments of Batches"):
        mt.keras_batches("data/shards")  # type: ignore[arg-type]


def test_a_rank_gets_its_part_of_each_batch(any_store: mt.Dataset) -> None:
    data = mt.keras_batches(any_store, **ORDER, rank=1, world_size=2)
    assert data.element_spec[0].shape == (10, 9)
    assert len(data) == STEPS
    alone = batches_of(any_store, range(2 * STEPS))
    expected = [(x[9:], y[9:]) for x, y in alone]
    assert_same([*pairs(data), *pairs(data)], expected)


def test_batches_of_another_sampler_may_have_any_size(dataset: mt.Dataset) -> None:
    sampler = WindowSampler(
        dataset.rows_per_era,
        batch_size=100,
        window_size=3,
        pool_batches=2,
        drop_remainder=False,
        seed=1,
    )

    class Own:
        """A sampler that isn't known to make batches of one size."""

        steps_per_epoch, max_pool_rows = sampler.steps_per_epoch, sampler.max_pool_rows
        locate, pool = sampler.locate, sampler.pool

    data = mt.keras_batches(mt.Batches(dataset, sampler=Own()))
    assert data.element_spec[0].shape[0] is None
    assert [len(x) for x, _ in data] == [100, 100, 58]


@pytest.mark.parametrize("rows_per_era", [10, 0])
def test_batches_of_eras_come_in_their_order(any_store: mt.Dataset, rows_per_era: int) -> None:
    """Their shape is known, and ``fit`` takes them; whole eras are padded."""
    eras = [era for era, n in zip(any_store.eras, any_store.rows_per_era, strict=True) if n > 10]
    options: dict[str, Any] = {"eras_per_batch": 2, "rows_per_era": rows_per_era, "seed": 5}
    batches = mt.Batches(any_store.select(eras), **options)
    data = mt.keras_batches(any_store.select(eras), **options)
    assert data.element_spec[0].shape == (batches.batch_size, 9)
    assert len(data) == len(batches)
    model = recorder()
    model.fit(data, epochs=2, shuffle=False, verbose=0)
    assert_same(model.trained, [batches[step] for step in range(2 * len(batches))])
    if not rows_per_era:
        assert any(np.isnan(y).any() for _, y in model.trained)
        last = mt.keras_batches(any_store.select(eras), drop_remainder=False, **options)
        assert last.element_spec[0].shape[0] is None
