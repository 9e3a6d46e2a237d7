"""The keys of the configuration that make up the loss, checked together.

Takes a `TrainConfig`; pure functions, no TensorFlow.
"""

from typing import TYPE_CHECKING

from ..errors import ConfigError, listed

if TYPE_CHECKING:
    from .config import TrainConfig

CORRELATIONS = ("pearson", "numerai_corr")
"""Losses that are 1 less a correlation within each era."""
_ADDED = ("corr_weight", "std_weight", "exposure_weight")


def check_loss(config: "TrainConfig", eras_per_batch: int) -> None:
    """Check that the loss suits the targets and the batches.

    Parameters
    ----------
    config : TrainConfig
    eras_per_batch : int
        The number of eras in a batch; 0 for batches of rows.

    Raises
    ------
    ConfigError
        There are more or fewer weights than targets, or what is computed within eras, or over
        several of them, has none.
    """
    n_weights, n_targets = len(config.target_weights), len(config.targets)
    if n_weights not in (0, n_targets):
        raise ConfigError(
            f"target_weights: expected {n_targets}, one for each of the targets "
            f"{listed(config.targets, most=3)}, found {n_weights}"
        )
    of_eras = [f"{key} above 0" for key in _ADDED if getattr(config, key)]
    if config.loss in CORRELATIONS:
        of_eras.insert(0, f"loss = {config.loss!r}")
    least = 2 if config.std_weight else 1
    if of_eras and eras_per_batch < least:
        raise ConfigError(
            f"eras_per_batch: expected {least} or more with {' and '.join(of_eras)}, which is "
            f"computed within the eras of a batch, found {eras_per_batch}"
            f"{'' if eras_per_batch else ', batches of rows'}; set eras_per_batch = 8"
        )
