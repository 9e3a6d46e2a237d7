"""Other ways to shuffled batches, compared with ours on the same rows in the page cache.

None needs more than numpy, pyarrow, pandas and TensorFlow. Each way is a function that returns an
endless iterator of batches (x, y), with a word that rates its shuffling.
"""

import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

import memmap_train as mt
from memmap_train.system.resources import n_cores
from memmap_train.training.startup import start_tensorflow

from . import article
from .measuring import Job, Spent, in_turn, print_table, timed
from .sources import Size, make_dataset, make_sources

_WARM_EPOCHS = 2
BATCH_SIZE = 4096
SHUFFLE_BUFFER = 16 * 4096
"""Rows: 16 batches, somewhat more than a pool of ours."""
_PATIENCE_SECONDS = 0.1
_RAW, _SPLIT = "peers-rows.bin", "peers-split"

Batch = tuple[Any, Any]
Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Data:
    """One data set in the forms that the ways need; each row of `rows` ends with its target."""

    directory: Path
    size: Size

    def dataset(self, dtype: str) -> mt.Dataset:
        """Return the converted dataset."""
        return make_dataset(self.directory, self.size, dtype)

    @property
    def sources(self) -> list[Path]:
        """Return the parquet files."""
        return make_sources(self.directory, self.size)

    @property
    def raw(self) -> Path:
        """Return the file of all rows as float32, target last."""
        return self.directory / _RAW

    @property
    def split(self) -> Path:
        """Return the folder of 16 parquet files of float32."""
        return self.directory / _SPLIT

    def rows(self) -> Rows:
        """Return a memory map of all rows."""
        width = self.size.features + 1
        return np.memmap(self.raw, np.float32, "r").reshape(-1, width)


def run(directory: Path, size: Size) -> None:
    """Print the table."""
    data = Data(directory, size)
    n_rows = _make_rows(data)
    data.split.mkdir(exist_ok=True)
    article.split("", data.sources, data.split)
    n_batches = n_rows // BATCH_SIZE
    jobs = [Job(measure, (name, data, n_batches)) for name in WAYS]
    try:
        found = in_turn(jobs, size.repeats)
    finally:
        data.raw.unlink()
        for file in data.split.iterdir():
            file.unlink()
        data.split.rmdir()
    ours = found[_OURS].seconds
    print_table(
        f"Ways to shuffled batches of {BATCH_SIZE:,} x {size.features:,}, warm: an epoch of "
        f"{n_batches:,} batches after two others, medians of {size.repeats} runs in turn",
        [
            "way",
            "shuffles",
            "rows/s",
            "times ours",
            "CPU s per million rows",
            "peak anonymous MB",
        ],
        [
            [
                name,
                WAYS[name][1],
                f"{n_batches * BATCH_SIZE / spent.seconds:,.0f}",
                f"{ours / spent.seconds:.3f}",
                f"{spent.cpu_seconds / (n_batches * BATCH_SIZE) * 1e6:.2f}",
                f"{spent.peak_bytes / 1e6:,.0f}",
            ]
            for name, spent in found.items()
        ],
    )


def measure(name: str, data: Data, n_batches: int) -> dict[str, Spent]:
    """Take an epoch of batches after two for warming up; to be run by `alone`.

    The second of two buffers may be an epoch long, and its memory is new in the second epoch.
    """
    if "tf.data" in name:
        start_tensorflow(Path.cwd())
    batches = WAYS[name][0](data)

    def take(n: int) -> None:
        for x, y in itertools.islice(batches, n):
            assert len(x) == len(y)

    for _ in range(_WARM_EPOCHS):
        take(n_batches)
    return {name: timed(lambda: take(n_batches))}


def _make_rows(data: Data) -> int:
    """Write all rows to one file; return their number."""
    dataset = data.dataset("float32")
    column = dataset.target_names.index("target")
    with open(data.raw, "wb") as file:
        for era in dataset.eras:
            shard = dataset[era]
            rows = np.column_stack([shard.features, shard.targets[:, column]])
            rows.tofile(file)
    return dataset.n_rows


def _ours(data: Data, dtype: str, window_size: int | None) -> Iterator[Batch]:
    return mt.Batches(
        data.dataset(dtype),
        batch_size=BATCH_SIZE,
        seed=1,
        targets=["target"],
        window_size=window_size,
    ).stream()


def _take(data: Data, n_threads: int) -> Iterator[Batch]:
    """Gather globally random rows from one map, into the same array each time."""
    rows = data.rows()
    batch = np.empty((BATCH_SIZE, rows.shape[1]), np.float32)
    edges = np.linspace(0, BATCH_SIZE, n_threads + 1).astype(int).tolist()
    parts = [slice(low, high) for low, high in itertools.pairwise(edges)]
    rng = np.random.default_rng(0)
    with ThreadPoolExecutor(n_threads) as threads:
        while True:
            order = rng.permutation(len(rows))
            for first in range(0, len(rows) - BATCH_SIZE + 1, BATCH_SIZE):
                chosen = order[first : first + BATCH_SIZE]

                def gather(part: slice, chosen: npt.NDArray[np.int64] = chosen) -> None:
                    rows.take(chosen[part], axis=0, out=batch[part], mode="clip")

                list(threads.map(gather, parts))
                yield batch[:, :-1], batch[:, -1:]


def _generator(data: Data) -> Iterator[Batch]:
    """Gather random rows from the maps of all eras row by row, the obvious way."""
    dataset = data.dataset("float32")
    column = dataset.target_names.index("target")
    folders = [dataset[era].file("features").parent for era in dataset.eras]
    features = [np.load(folder / "features.npy", mmap_mode="r") for folder in folders]
    targets = [np.load(folder / "targets.npy", mmap_mode="r") for folder in folders]
    places = [(era, row) for era, array in enumerate(features) for row in range(len(array))]
    rng = np.random.default_rng(0)
    while True:
        order = rng.permutation(len(places))
        for first in range(0, len(places) - BATCH_SIZE + 1, BATCH_SIZE):
            chosen = [places[i] for i in order[first : first + BATCH_SIZE]]
            x = np.stack([features[era][row] for era, row in chosen])
            y = np.stack([targets[era][row, [column]] for era, row in chosen])
            yield x, y


def _arrow(data: Data) -> Iterator[Batch]:
    """Decode parquet batch by batch, and shuffle each batch by itself."""
    rng = np.random.default_rng(0)
    while True:
        for path in data.sources:
            with pq.ParquetFile(path) as file:
                names = [name for name in file.schema_arrow.names if name.startswith("feature")]
                for part in file.iter_batches(BATCH_SIZE, columns=[*names, "target"]):
                    if len(part) < BATCH_SIZE:
                        continue
                    columns = [part.column(i).to_numpy() for i in range(len(names))]
                    order = rng.permutation(len(part))
                    x = np.stack(columns, axis=1).astype(np.float32)
                    x *= np.float32(0.25)
                    yield x[order], part.column("target").to_numpy(zero_copy_only=False)[order]


def _tf_generator(data: Data) -> Iterator[Batch]:
    import tensorflow as tf

    n_features = data.size.features
    batches = tf.data.Dataset.from_generator(
        partial(_ours, data, "float32", None),
        output_signature=(
            tf.TensorSpec((None, n_features), tf.float32),
            tf.TensorSpec((None, 1), tf.float32),
        ),
    )
    return iter(batches.prefetch(2))


def _tf_records(data: Data) -> Iterator[Batch]:
    """Read records of fixed length from a raw file through a shuffle buffer."""
    import tensorflow as tf

    width = data.size.features + 1
    records = tf.data.FixedLengthRecordDataset(str(data.raw), 4 * width)

    def decode(batch: Any) -> Batch:
        rows = tf.reshape(tf.io.decode_raw(batch, tf.float32), (BATCH_SIZE, width))
        return rows[:, :-1], rows[:, -1:]

    batches = records.shuffle(SHUFFLE_BUFFER).repeat().batch(BATCH_SIZE, drop_remainder=True)
    return iter(batches.map(decode, num_parallel_calls=n_cores()).prefetch(2))


def _queued(data: Data) -> Iterator[Batch]:
    """Yield the batches that the method of 2021 puts into its queue."""
    batches: queue.Queue[Batch] = queue.Queue(4)
    done = threading.Event()

    def fill() -> None:
        for batch in article.batches(data.split, BATCH_SIZE):
            while not done.is_set():
                with suppress(queue.Full):
                    batches.put(batch, timeout=_PATIENCE_SECONDS)
                    break
            if done.is_set():
                return

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        while True:
            yield batches.get()
    finally:
        done.set()
        thread.join()


_OURS = "ours, float32"
WAYS: dict[str, tuple[Callable[[Data], Iterator[Batch]], str]] = {
    _OURS: (partial(_ours, dtype="float32", window_size=None), "global but for windows"),
    "ours, float32, window_size=1": (partial(_ours, dtype="float32", window_size=1), "global"),
    "ours, int8": (partial(_ours, dtype="int8", window_size=None), "global but for windows"),
    "numpy take from one map, 1 thread": (partial(_take, n_threads=1), "global"),
    "numpy take from one map, 2 threads": (partial(_take, n_threads=2), "global"),
    "generator over maps, random rows": (_generator, "global"),
    "tf.data from_generator over ours": (_tf_generator, "global but for windows"),
    "tf.data fixed-length records, shuffle of 16 batches": (_tf_records, "within the buffer"),
    "pyarrow iter_batches, shuffled each": (_arrow, "within a batch"),
    "pandas from 16 parquet files, queue (2021)": (_queued, "within a sixteenth"),
}
