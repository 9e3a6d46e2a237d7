"""What a training costs, by a probe: some real steps, and the scoring of some eras.

Takes a resolved configuration and the compiled model; returns a `TrainCost`. Nothing is written,
and the model, which the steps have changed, isn't used any further.
"""

import time
from dataclasses import dataclass
from math import ceil
from typing import Any

import tensorflow as tf

from ..arrays import Float32
from ..dataset.dataset import Dataset
from ..loading.page_cache import resident_bytes
from ..loading.placement import is_past_cache, placement_of
from ..loading.rates import read_bytes
from ..runs.configuration.batch_keys import weighs_rows
from ..runs.configuration.target_transforms import TargetTransform
from ..runs.reports.cost import FIRST_STEP, TRANSFORM, TrainCost, seconds_per_pool
from ..runs.reports.plan import TrainPlan
from ..system.resources import anonymous_memory
from .compiled import compile_model
from .failures import failure_of_model
from .prediction.predictor import BLOCK_ROWS, Predictor
from .resolve import Setup
from .step import TrainStep
from .transformed_targets import transformed_eras
from .validation.further_scores import further_scorer
from .validation.validation import mapped_labels, score_eras

_STEP_SECONDS = 4.0  # of steps, of which a few are done in any case
_SCORING_SECONDS = 1.5
_MIN_STEPS = 3
_SYNC_SECONDS = 0.1  # a GPU computes later than it is asked to: how often to wait for it
_READ_SHARE = 0.05  # of features outside of memory, from which on steps are measured again


def probed(setup: Setup, plan: TrainPlan) -> TrainCost:
    """Compile a model, and measure what its training costs; see `probe`."""
    began = time.perf_counter()
    step, predictor = compile_model(setup)
    return probe(setup, step, predictor, plan, time.perf_counter() - began)


def probe(
    setup: Setup, step: TrainStep, predictor: Predictor, plan: TrainPlan, compile_seconds: float
) -> TrainCost:
    """Measure what a training costs.

    Parameters
    ----------
    setup : Setup
    step : TrainStep
        Its model is trained by the probe.
    predictor : Predictor
        The forward pass of the same model.
    plan : TrainPlan
    compile_seconds : float
        How long it took to make the step and the forward pass.

    Raises
    ------
    ConfigError, ShardError
        The same errors as in training: the model doesn't fit into memory, a file is damaged.
    """
    try:
        return _probe(setup, step, predictor, plan, compile_seconds)
    except tf.errors.OpError as error:
        raise failure_of_model(error, setup.config, None) from error
    finally:
        setup.batches.reader.release()


def _probe(
    setup: Setup, step: TrainStep, predictor: Predictor, plan: TrainPlan, compile_seconds: float
) -> TrainCost:
    batches = setup.batches
    validation = setup.dataset.select(setup.fold.validation)
    used = setup.dataset.select([*batches.dataset.eras, *setup.fold.validation])
    unread, fits = _unread_bytes(used), placement_of(used).fits
    steps = _measured_steps(setup, step)
    read_rate = steps.read_bytes / steps.first_seconds if steps.read_bytes else None
    if fits and (unread is None or unread > _READ_SHARE * used.feature_bytes):
        # Now from memory, where later epochs find them.
        steps = _measured_steps(setup, step, n_most=steps.n_steps)
    anonymous = anonymous_memory()
    n_eras, scoring_seconds = _measured_scoring(setup, predictor, validation)
    n_steps, n_rows = len(batches), len(batches) * batches.batch_size
    training_seconds = steps.pool_seconds * n_steps / steps.pool_steps
    once = {FIRST_STEP: compile_seconds + steps.warm_up_seconds}
    if setup.config.target_transform != "none":
        once[TRANSFORM] = _transform_seconds(setup)
    checkpoint_bytes = plan.state_bytes + plan.best_bytes
    return TrainCost(
        n_steps=steps.n_steps,
        n_eras=n_eras,
        training_seconds=training_seconds,
        scoring_seconds=scoring_seconds,
        rows_per_second=n_rows / training_seconds,
        data_wait=steps.data_wait,
        epochs=plan.epochs - plan.epochs_done,
        once=once,
        feature_bytes=used.feature_bytes,
        unread_bytes=unread,
        fits=fits,
        disk_bytes_per_second=read_rate,
        peak_bytes=None if anonymous is None else anonymous + checkpoint_bytes,
        checkpoint_bytes=checkpoint_bytes,
    )


@dataclass(frozen=True, slots=True)
class _Steps:
    """Measured steps.

    Attributes
    ----------
    n_steps : int
        How many were measured, apart from the first.
    pool_seconds : float
        How long the steps of a pool take.
    pool_steps : int
    data_wait : float
        The share of the measured time that was spent waiting for rows.
    first_seconds : float
        How long the rows of the first pool took.
    read_bytes : int
        What was read from the disk meanwhile.
    warm_up_seconds : float
        By how much the first step was slower than the others.
    """

    n_steps: int
    pool_seconds: float
    pool_steps: int
    data_wait: float
    first_seconds: float
    read_bytes: int
    warm_up_seconds: float


def _measured_steps(setup: Setup, step: TrainStep, n_most: int | None = None) -> _Steps:
    """Do steps, for some seconds or `n_most` of them, and measure them.

    The stream is the one of a training, which goes on to the next epoch.
    """
    batches, is_weighed = setup.batches, weighs_rows(setup.config)
    n_most = n_most or max(_MIN_STEPS, len(batches))
    seconds: list[float] = []
    reading: list[bool] = []

    with batches.stream(0) as stream:

        def do(number: int) -> None:
            batch: tuple[Float32, ...] = next(stream)
            if is_weighed:
                batch = (*batch, batches.row_weights(number))
            step(*batch)

        before, began = read_bytes(), time.perf_counter()
        stream.at(0)
        first_seconds = time.perf_counter() - began
        n_read = (read_bytes() or 0) - (before or 0)
        began = time.perf_counter()
        do(0)
        _wait_for(step)
        warm_up = time.perf_counter() - began
        synced = began = time.perf_counter()
        waited = stream.wait_seconds
        for number in range(1, n_most + 1):
            done = began + sum(seconds)
            do(number)
            now = time.perf_counter()
            if now - synced > _SYNC_SECONDS or number == n_most:
                _wait_for(step)
                now = synced = time.perf_counter()
            seconds.append(now - done)
            reading.append(stream.is_reading)
            if number >= _MIN_STEPS and now - began >= _STEP_SECONDS:
                break
        _wait_for(step)
        total = time.perf_counter() - began
        waited = stream.wait_seconds - waited
    pool_steps = batches.sampler.locate(0).next_pool_step
    pool_seconds = seconds_per_pool(seconds, reading, pool_steps)
    return _Steps(
        n_steps=len(seconds),
        pool_seconds=pool_seconds,
        pool_steps=pool_steps,
        data_wait=waited / total,
        first_seconds=first_seconds,
        read_bytes=n_read,
        warm_up_seconds=max(0.0, warm_up - pool_seconds / pool_steps),
    )


def _wait_for(step: TrainStep) -> None:
    """Wait until all steps are done that the device was asked for."""
    _ = step.sums


def _measured_scoring(setup: Setup, predictor: Predictor, validation: Dataset) -> tuple[int, float]:
    """Return how many validation eras were scored, and how long all of them take."""
    together = setup.dataset.select([*setup.fold.train, *setup.fold.validation])
    past_cache = is_past_cache(together)

    def score(part: Dataset) -> float:
        began = time.perf_counter()
        score_eras(
            predictor,
            part,
            setup.batches.feature_names,
            mapped_labels(part, setup.config.targets),
            past_cache=past_cache,
            further=further_scorer(setup.record, part),
        )
        return time.perf_counter() - began

    eras = validation.eras
    seconds = score(validation.select(eras[:1]))  # slower than the others
    n_eras = max(1, min(len(eras), int(_SCORING_SECONDS / max(seconds, 1e-9))))
    # From the end, so that they aren't in the processor's caches.
    measured = validation.select(eras[len(eras) - n_eras :])
    seconds = score(measured)
    return n_eras, seconds / _n_blocks(measured) * _n_blocks(validation)


def _n_blocks(dataset: Dataset) -> int:
    return ceil(dataset.n_rows / BLOCK_ROWS)


def _transform_seconds(setup: Setup) -> float:
    """Return how long the targets of all training eras take to be transformed."""
    dataset, config = setup.batches.dataset, setup.config
    part = dataset.select(dataset.eras[:2])
    began = time.perf_counter()
    for _ in transformed_eras(part, config.targets, TargetTransform.parse(config.target_transform)):
        pass
    return (time.perf_counter() - began) / part.n_rows * dataset.n_rows


def _unread_bytes(dataset: Dataset) -> int | None:
    """Return the bytes of features that aren't in memory; None if that can't be found out."""
    cached: list[int | None] = [
        resident_bytes(dataset[era].file("features")) for era in dataset.eras
    ]
    known: list[Any] = [n_bytes for n_bytes in cached if n_bytes is not None]
    return None if len(known) < len(cached) else max(0, dataset.feature_bytes - sum(known))
