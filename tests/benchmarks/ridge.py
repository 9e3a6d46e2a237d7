"""The sums of a ridge regression, compared with the same product of one block that stays in memory.

The product is what the machine's linear algebra does at best: features x features of a block, again
and again, nothing read and nothing added up. Both are measured in turn, in processes of their own.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

import memmap_train as mt
from memmap_train.loading.page_cache import read_ahead

from .measuring import Job, Spent, in_turn, print_table, timed
from .sources import Size, make_dataset

_WIDE_ERAS, _MIN_ERAS = 12, 5
_SUMS, _PRODUCT = "sums", "product"


def run(directory: Path, size: Size) -> None:
    """Print the table."""
    rows = []
    for features, eras in (
        (size.features, max(_MIN_ERAS, size.eras // 4)),
        (size.wide_features, _WIDE_ERAS),
    ):
        shape = replace(size, features=features, eras=eras)
        for dtype in ("int8", "float32"):
            dataset = make_dataset(directory, shape, dtype)
            read_ahead(dataset, dataset.eras)
            jobs = [Job(_measured, (work, dataset.path)) for work in (_SUMS, _PRODUCT)]
            found = in_turn(jobs, size.repeats)
            sums, product = found[_SUMS], found[_PRODUCT]
            operations = dataset.n_rows * features**2
            rows.append(
                [
                    f"{features:,}",
                    dtype,
                    f"{dataset.n_rows / sums.seconds:,.0f}",
                    f"{operations / sums.seconds / 1e9:,.0f}",
                    f"{operations / product.seconds / 1e9:,.0f}",
                    f"{product.seconds / sums.seconds:.2f}",
                    f"{product.cpu_seconds / sums.cpu_seconds:.2f}",
                    f"{sums.peak_bytes / 1e6:,.0f}",
                ]
            )
    print_table(
        f"Sums of a ridge regression, from the page cache; medians of {size.repeats} runs in turn",
        [
            "features",
            "store",
            "rows/s",
            "GFLOP/s",
            "of a product",
            "share",
            "share of CPU time",
            "MB at most",
        ],
        rows,
    )


def _measured(work: str, path: Path) -> Mapping[str, Spent]:
    """Return the time of all rows of a dataset, after a first block."""
    from memmap_train.training.ridge.labels import label_plan
    from memmap_train.training.ridge.parts import blocks_of
    from memmap_train.training.ridge.rows import BlockReader
    from memmap_train.training.ridge.sums import Sums, block_rows

    dataset = mt.open_dataset(path)
    n_features = len(dataset.feature_names)
    most_rows = block_rows(n_features)
    if work == _PRODUCT:
        block = np.random.default_rng(0).integers(0, 5, (most_rows, n_features)) / np.float32(4)
        block, out = block.astype(np.float32), np.empty((n_features, n_features), np.float32)
        multiply = partial(np.matmul, block.T, block, out=out)
        multiply()
        spent = timed(multiply)
        times = dataset.n_rows / most_rows
        return {work: Spent(spent.seconds * times, spent.cpu_seconds * times)}
    column = dataset.target_names.index("target")

    def labels(era: str) -> np.ndarray:
        return np.asarray(dataset[era].targets[:, [column]])

    sums = Sums(n_features, label_plan(map(labels, dataset.eras), 1), are_codes=True)
    blocks = blocks_of(dataset.rows_per_era, np.ones(len(dataset.eras)), most_rows, by_era=False)
    reader = BlockReader(dataset, None, n_features, most_rows, past_cache=False, fill_missing=None)

    def add_all() -> None:
        for block, features, targets in reader.read(blocks, labels):
            sums.add(features, targets, block.weight)

    return {work: timed(add_all)}
