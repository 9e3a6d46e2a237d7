"""Errors of a training: numbers that diverge, and models that fail while they compute.

Takes a step and the facts known of the run, or an error of TensorFlow; returns an error in one
line that says what to change.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ..errors import ConfigError
from ..runs.checkpoints.checkpoints import newest_step
from ..runs.checkpoints.state import TrainingProgress
from ..runs.configuration.batch_keys import CORRELATIONS
from ..runs.configuration.config import TrainConfig
from ..runs.configuration.object_reference import describe_error, is_reference
from ..runs.run import Run
from ..text import counted
from .models.build import brings_model
from .step import TrainStep


def divergence(step: TrainStep, progress: TrainingProgress) -> str | None:
    """Return the name of the part of the state that is NaN for good, or None."""
    loss_sum, _ = step.sums
    if not math.isfinite(loss_sum):
        return f"the loss is {loss_sum - progress.loss_sum}"
    if any(np.isnan(weight).any() for weight in step.weights() if _is_float(weight)):
        return "there are weights that are no numbers"
    return None


def check_convergence(
    run: Run, config: TrainConfig, step: TrainStep, progress: TrainingProgress
) -> None:
    """Raise a ConfigError if a training has diverged, since later steps would be useless."""
    found = divergence(step, progress)
    if found is None:
        return
    decay = f" or weight_decay (now {config.weight_decay})" if config.weight_decay else ""
    raise ConfigError(
        f"{run.path}: {found} after {counted(step.count, 'step')}, in epoch "
        f"{progress.epochs_done + 1}: lower learning_rate (now {config.learning_rate}){decay}, "
        "and begin a new run; what was saved before is kept"
    )


def check_counted(
    run: Run, config: TrainConfig, step: TrainStep, progress: TrainingProgress
) -> None:
    """Raise a ConfigError if nothing has counted in the loss of the running epoch.

    It has trained nothing then, and later epochs wouldn't either.
    """
    if step.sums[1] > progress.labels:
        return
    expected, found = "labels", "no row of them has any"
    if config.loss in CORRELATIONS:
        expected, found = "labels that differ within an era", "they are all equal in each"
    raise ConfigError(
        f"{run.path}: nothing has counted in the loss of epoch {progress.epochs_done + 1}: "
        f"expected {expected} in its batches, found that {found}; train on other eras or targets, "
        "with another target_transform or more rows_per_era"
    )


def failure_of_model(
    error: "tf.errors.OpError", config: TrainConfig, checkpoint_dir: Path | None
) -> Exception:
    """Return the error in one line for a model that fails while it computes.

    A built-in model with a built-in loss fails only for want of memory; anything else is a bug and
    stays as it is.
    """
    is_short = isinstance(error, tf.errors.ResourceExhaustedError)
    if not (is_short or brings_model(config) or is_reference(config.loss)):
        found: Exception = error
        return found
    advice = f"lower batch_size (now {config.batch_size:,}), or " if is_short else ""
    own = (
        [f"model: {config.model}"] if brings_model(config) or not is_reference(config.loss) else []
    )
    own += [f"loss: {config.loss}"] if is_reference(config.loss) else []
    advice += f"change the {' or the '.join(text.partition(':')[0] for text in own)}"
    if checkpoint_dir is not None and (kept := newest_step(checkpoint_dir)):
        advice += f"; --resume continues after step {kept:,}, the last that was saved"
    return ConfigError(f"{' or '.join(own)} fails: {describe_error(error)}; {advice}")


def _is_float(array: npt.NDArray[Any]) -> bool:
    """Return True if there are NaNs of an array's dtype; for numpy, bfloat16 is of kind "V"."""
    return array.dtype.kind in "fV"
