"""Batches for a Keras model of your own: a `tf.data.Dataset` in this package's order.

Why a `tf.data.Dataset`: ``fit`` permutes the batches of a finite `PyDataset`, wants
`steps_per_epoch` for an infinite one, and takes a dataset of known length as it is. But it makes
more iterators than there are epochs: one to look at a first batch (under a distribution strategy),
one at the end of each epoch that it never uses, and early stopping leaves one half used. So the
epoch isn't counted by iterators. An iterator takes its epoch when its first batch is asked for, and
an epoch is over when its last batch was handed out; nothing after that point reads ahead (the
stream before it does).
"""

import logging
import weakref
from typing import Any

import numpy as np
import tensorflow as tf

from ..dataset.dataset import Dataset
from ..errors import listed
from ..loading.batches import Batches, as_batches
from ..loading.gather import Batch
from ..loading.sampler import whole
from ..loading.stream import Stream
from ..system.thread_lock import ThreadLock

_log = logging.getLogger("memmap_train")


def keras_batches(
    data: Batches | Dataset, *, start: int = 0, **arguments: Any
) -> "tf.data.Dataset":
    """Return shuffled batches for ``model.fit``, ``evaluate`` or your own loop.

    The epochs of ``fit`` see exactly ``batches[0]``, ``batches[1]``, … of `Batches` with the same
    arguments, whatever else Keras requests, and the steps per epoch are known.

    Parameters
    ----------
    data : Batches or Dataset
    start : int
        The first step; ``k * len(batches)`` begins with epoch k.
    **arguments
        Those of `Batches`, for a dataset only. Give ``drop_remainder=False`` for validation, to
        have every row.

    Returns
    -------
    tf.data.Dataset
        Pairs ``(x, y)`` of float32, shapes (batch, features) and (batch, targets). Its length, and
        its ``cardinality()``, is the number of steps of an epoch.

    Raises
    ------
    BatchError, DatasetError
        The same errors as `Batches`; a negative start.

    Notes
    -----
    - Each full pass counts as an epoch, and a second ``fit`` continues where the first one ended.
      A pass that was left early (early stopping, an error) starts again. Use one of these for
      training and another one for validation. (In epochs of three steps or fewer, the look that
      Keras takes at the first batches under a distribution strategy is a full pass.)
    - ``fit(..., shuffle=False)`` avoids Keras's warning that it doesn't shuffle; it never does.
    - A model needs as many outputs as there are targets. With a single output Keras's losses don't
      fail: they compare it with every target. ``fit`` doesn't show its model to the data, so this
      can't be an error; where there are several targets, a warning names them.
    - Missing targets arrive as NaN, and one NaN makes the loss NaN: choose labelled eras
      (``dataset.labelled_eras(target)``), or mask them in your loss. Batches of whole eras have
      such rows at the end of each era's block.
    - ``predict`` of a model returns rows in the order of these batches, which are shuffled; use
      `memmap_train.predict` for rows in the dataset's order.

    Examples
    --------
    ::

        ds = mt.open_dataset("data/shards")
        eras = ds.labelled_eras("target")
        common = dict(batch_size=4096, seed=7, targets=["target"])
        train = mt.keras_batches(ds.select(eras[:-100]), **common)
        val = mt.keras_batches(ds.select(eras[-84:]), drop_remainder=False, **common)
        model.fit(train, validation_data=val, epochs=3, shuffle=False)
    """
    batches = as_batches(data, arguments)
    names = batches.target_names
    if len(names) > 1:
        _log.warning(
            "the batches have %d targets (%s): the model needs as many outputs, since Keras's "
            "losses compare a single one with all of them; or choose by targets=[...]",
            len(names),
            listed(names, 3),
        )
    feed = _Feed(batches, start)
    result = _pipeline(feed, batches)
    result.memmap_train_feed = feed
    return result


def _pipeline(feed: "_Feed", batches: Batches) -> "tf.data.Dataset":
    """Return the batches of a feed, which this holds only weakly."""
    # TensorFlow keeps Python functions of a dataset for ever (`_py_funcs_used_in_graph` of the
    # default graph), and with them would keep the stream's buffers. Iterators and derived datasets
    # hold on to the dataset, and only the dataset holds on to the feed.
    feed_of = weakref.ref(feed)
    rows = batches.batch_size if batches.are_even else None
    shapes = ((rows, len(batches.feature_names)), (rows, len(batches.target_names)))

    def begin() -> np.int64:
        return np.int64(_alive(feed_of()).first_step())

    def batch(step: np.int64) -> Batch:
        return _alive(feed_of()).batch(int(step))

    def steps_of_pass(_: Any) -> Any:
        first = tf.ensure_shape(tf.numpy_function(begin, [], tf.int64), ())
        return tf.data.Dataset.range(first, first + len(batches))

    def batch_of_step(step: Any) -> tuple[Any, Any]:
        x, y = tf.numpy_function(batch, [step], (tf.float32, tf.float32))
        return tf.ensure_shape(x, shapes[0]), tf.ensure_shape(y, shapes[1])

    steps = tf.data.Dataset.range(1).flat_map(_untransformed(steps_of_pass))
    data = steps.map(_untransformed(batch_of_step))
    data = data.apply(tf.data.experimental.assert_cardinality(len(batches)))
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return data.with_options(options)


class _Feed:
    """Hands out the batches of passes and knows which pass is next; thread-safe."""

    def __init__(self, batches: Batches, start: int) -> None:
        whole("start", start, least=0)
        self._batches = batches
        self._start = self._next = start
        self._stream: Stream | None = None
        self._lock = ThreadLock()

    def first_step(self) -> int:
        """Return the first step of a pass that begins now."""
        return self._next

    def batch(self, step: int) -> Batch:
        """Return the batch of a step; the last one of a pass ends the pass."""
        with self._lock:
            if self._stream is None:
                self._stream = self._batches.stream(step)
            try:
                batch = self._stream.at(step)
            except BaseException:
                self._stream = None  # it ends with its first error; the next pass tries again
                raise
            # The maximum: of two passes at once, the one that ends last may have begun first.
            if (step + 1 - self._start) % len(self._batches) == 0:
                self._next = max(self._next, step + 1)
        return batch


def _alive(feed: _Feed | None) -> _Feed:
    if feed is None:
        raise ReferenceError("these batches are used after their tf.data.Dataset was deleted")
    return feed


def _untransformed(function: Any) -> Any:
    """Mark a function so that TensorFlow traces it without rewriting its source."""
    return tf.autograph.experimental.do_not_convert(function)
