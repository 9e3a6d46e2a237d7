"""The keys of the configuration that make up batches and their loss, checked together.

Takes a `TrainConfig`; pure functions, no TensorFlow.
"""

from ...errors import ConfigError, listed
from .config import TrainConfig
from .object_reference import is_reference

CORRELATIONS = ("pearson", "numerai_corr")
"""Losses that are 1 less a correlation within each era."""
OF_ERAS = frozenset(("eras_per_batch", "rows_per_era"))
"""Keys that decide how many rows a batch of eras has."""
BY_ROWS = "rows"
"""The era weights with which all rows weigh the same."""
ADDED_TERMS = ("corr_weight", "std_weight", "exposure_weight")
"""The weights of terms that are added to the loss."""


def weighs_rows(config: TrainConfig) -> bool:
    """Return True if the loss weighs rows by their eras, as in batches of rows of any eras."""
    return config.era_weights != BY_ROWS and not config.eras_per_batch


def check_batches_and_loss(config: TrainConfig) -> None:
    """Check that keys of batches, of their loss and of targets suit each other.

    Raises
    ------
    ConfigError
        Rows of each era are asked for in batches of rows, or another number of rows than those of a
        batch's eras; there are more or fewer weights than targets; what is computed within eras, or
        over several of them, has none, or one row of each; or a loss of the user's would have to
        weigh rows.
    """
    if config.rows_per_era and not config.eras_per_batch:
        raise ConfigError(
            f"rows_per_era: expected 0 in batches of rows, found {config.rows_per_era}; set "
            "eras_per_batch too, or leave rows_per_era out"
        )
    n_rows = config.eras_per_batch * config.rows_per_era
    if n_rows and config.batch_size not in (n_rows, None):
        raise ConfigError(
            f"batch_size: expected {n_rows:,} with eras_per_batch = {config.eras_per_batch} and "
            f"rows_per_era = {config.rows_per_era}, found {config.batch_size:,}; leave it out, it "
            "follows from them"
        )
    n_weights, n_targets = len(config.target_weights), len(config.targets)
    if n_weights not in (0, n_targets):
        raise ConfigError(
            f"target_weights: expected {n_targets}, one for each of the targets "
            f"{listed(config.targets, most=3)}, found {n_weights}"
        )
    of_eras = [f"{key} above 0" for key in ADDED_TERMS if getattr(config, key)]
    if config.loss in CORRELATIONS:
        of_eras.insert(0, f"loss = {config.loss!r}")
    least = 2 if config.std_weight else 1
    if of_eras and config.eras_per_batch < least:
        raise ConfigError(
            f"eras_per_batch: expected {least} or more with {' and '.join(of_eras)}, which is "
            f"computed within the eras of a batch, found {config.eras_per_batch}"
            f"{'' if config.eras_per_batch else ', batches of rows'}; set eras_per_batch = 8"
        )
    if of_eras and config.rows_per_era == 1:
        raise ConfigError(
            f"rows_per_era: expected 0, or 2 or more, with {' and '.join(of_eras)}, which is "
            "computed from several rows of an era, found 1; set rows_per_era = 512"
        )
    if weighs_rows(config) and is_reference(config.loss):
        raise ConfigError(
            f"era_weights: expected {BY_ROWS!r} with batches of rows and loss = {config.loss!r}, "
            f"which weighs no rows, found {config.era_weights!r}; set eras_per_batch = 8, where "
            "eras come as often as they weigh, or take a built-in loss"
        )
