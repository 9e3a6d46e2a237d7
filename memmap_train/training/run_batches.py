"""The batches that a run trains on: rows or eras, shuffled as when the run began.

Takes a configuration, a fold and the run to resume, if there is one; returns `Batches`, and what
`config.json` records of their order.
"""

from typing import Any

from ..dataset.dataset import Dataset
from ..errors import ConfigError
from ..loading.batches import Batches
from ..loading.era_sampler import ERA_ORDER_VERSION
from ..loading.era_weights import FROM_FILE, era_weights
from ..loading.window_sampler import ORDER_VERSION
from ..runs.configuration.config import TrainConfig
from ..runs.configuration.defaults import suited_batch_size
from ..runs.configuration.ridge_keys import RIDGE
from ..runs.configuration.target_transforms import TargetTransform
from ..runs.folds.fold import Fold
from ..runs.run import Run
from ..runs.transform_benchmarks import eras_without
from ..system.checksum import Checksum


def batches_of_run(dataset: Dataset, run: Run | None, config: TrainConfig, fold: Fold) -> Batches:
    """Return the batches of a fold's eras to train on; a run keeps how it shuffles.

    The choice of window and pool may depend on the memory that is free: it is made once in a run.
    Eras that have no label once targets are transformed are left out.
    """
    record = run.record if run else None
    train = dataset.select(fold.train)
    without = eras_without(train, TargetTransform.parse(config.target_transform))
    train = train.select([era for era in train.eras if era not in without])
    batch_size = config.batch_size or (record.batch_size if record else None)
    batch_size = batch_size or suited_batch_size(train.n_rows)
    if config.model == RIDGE:  # whose rows come in no batches
        batch_size = min(batch_size, train.n_rows)
    batches = Batches(
        train,
        batch_size=None if config.eras_per_batch else batch_size,
        eras_per_batch=config.eras_per_batch or None,
        rows_per_era=config.rows_per_era if config.eras_per_batch else None,
        era_weights=config.era_weights,
        seed=config.seed,
        features=config.features,
        targets=config.targets,
        window_size=config.window_size or (record.window_size if record else None),
        pool_batches=config.pool_batches or (record.pool_batches if record else None),
        memory=config.memory,
    )
    if record and config.memory is not None and config.memory != record.memory:
        _check_memory(config.memory, 2 * batches.pool_bytes)
    return batches


def order_record(config: TrainConfig, fold: Fold, batches: Batches) -> dict[str, Any]:
    """Return what is recorded of the order of rows, besides the configuration.

    Returns
    -------
    dict of str to int, str or list of str
        The version of the sampler; training eras that are left out, if residuals are taken; and
        a checksum of the eras' weights, if a file has them.
    """
    found: dict[str, Any] = {"order_version": ORDER_VERSION}
    if config.eras_per_batch:
        found["order_version"] = ERA_ORDER_VERSION
    train = batches.dataset
    if TargetTransform.parse(config.target_transform).benchmarks:
        found["eras_without_benchmark"] = [era for era in fold.train if era not in train]
    if config.era_weights.startswith(FROM_FILE):
        eras = dict(zip(train.eras, train.rows_per_era, strict=True))
        known = [shard.era for shard in train.manifest.shards]
        weights = era_weights(config.era_weights, eras, known)
        found["era_weights_digest"] = Checksum(weights.tobytes()).text
    return found


def _check_memory(memory: int, buffer_bytes: int) -> None:
    """Refuse less memory than a run's buffers take: the pools that it shuffles stay as they are."""
    if buffer_bytes > memory * 1_000_000:
        raise ConfigError(
            f"memory: expected {-(-buffer_bytes // 1_000_000):,} MB or more, which the run's "
            f"buffers take, found {memory:,}; how a run shuffles can't change: leave memory out, "
            "or begin a new run with another --run"
        )
