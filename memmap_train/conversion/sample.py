"""A Numerai-shaped data set with a synthetic signal, so that the score of a training can be judged.

Takes sizes and a seed; writes `train.parquet`, `validation.parquet`, `live.parquet` and
`features.json`, and with them the best score that a model can expect on the validation eras: the
text of a number, under the key `memmap_train.best` of each parquet file's metadata. Beside them it
writes predictions of models that know a part of the signal: a `*_benchmark_models.parquet` for each
of the three (columns `era`, the benchmark models, `id`) and `meta_model.parquet` (`era`,
`data_type`, `numerai_meta_model`, `id`; the last eras). Imports pyarrow only through
`conversion.parquet`, and only when something is written.

An era is a pure function of its number, its rows, the features, the signal and the seed. A sample
of more eras begins with the same eras, apart from what changes with time in reality too: where
validation begins (and with it, in a market-like sample, the harm of a factor), which eras have the
data type `test`, which targets are known, and which eras have predictions of the benchmark models
and of the meta model.
"""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from ..errors import ConfigError
from ..progress import Progress, ignore
from ..system.paths import checked_path
from ..system.resources import available_memory, free_disk
from ..text import in_bytes
from .sample_features import MAX_FEATURES, MIN_FEATURES
from .sample_folder import (
    BENCHMARK_FILE_NAMES,
    SOURCE_NAMES,
    check_replaceable,
    files_moved_together,
)
from .sample_signal import TARGET_NAMES
from .sample_writer import PLAIN, SIGNAL_NAMES, SampleShape, SampleWriter

_MAX_ERAS = 9_999  # labels have four digits


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """The files of a sample, and their best possible score.

    Parameters
    ----------
    paths : tuple of Path
        The files: train, validation, live, features.json; then the benchmark files of the first
        three, and that of the meta model.
    n_rows : int
        Rows of train, validation and live together.
    n_eras : int
        Number of eras of train and validation, without the live one.
    n_features : int
    best : float
        Mean per-era `numerai_corr` of `target`, over the validation eras that have labels, for a
        model that predicts the persistent signal without noise; with the signal "market", that of
        all terms whose payment is known beforehand, with the weights of the moment.
    """

    paths: tuple[Path, ...]
    n_rows: int
    n_eras: int
    n_features: int
    best: float


def write_sample(
    directory: str | PathLike[str],
    *,
    n_eras: int = 300,
    rows_per_era: int = 2_000,
    n_features: int = 64,
    signal: str = PLAIN,
    seed: int = 0,
    progress: Progress = ignore,
) -> SampleSummary:
    """Write a sample, holding a few eras in memory at a time.

    Parameters
    ----------
    directory : path
        The folder, which is made where it doesn't exist. A former sample's files are replaced,
        when all are written.
    n_eras : int
        Eras beside the live one, 5 or more; the first four fifths are for training, the rest for
        validation.
    rows_per_era : int
        20 or more; the live era has as many.
    n_features : int
        5 to 50,000.
    signal : str
        "plain", which lasts, or "market": see `sample_signal` and `sample_market`.
    seed : int
        0 or more.
    progress : callable(what, rows done, rows in all), optional
        Called after every era.

    Returns
    -------
    SampleSummary

    Raises
    ------
    ConfigError
        If a number is out of range, an era doesn't fit into memory, the sample doesn't fit onto the
        disk, or the directory can't be written to, lies in a dataset, or holds files of these names
        that aren't a sample's.
    """
    folder = checked_path(directory, ConfigError)
    _check("eras", n_eras, least=5, most=_MAX_ERAS)
    _check("rows-per-era", rows_per_era, least=20)
    _check("features", n_features, least=MIN_FEATURES, most=MAX_FEATURES)
    if signal not in SIGNAL_NAMES:
        raise ConfigError(
            f"sample: --signal: expected {' or '.join(SIGNAL_NAMES)}, found {signal!r}; "
            f"type: memmap-train sample DIR --signal {SIGNAL_NAMES[-1]}"
        )
    _check("seed", seed, least=0)
    check_replaceable(folder)
    shape = SampleShape(n_eras, rows_per_era, n_features)
    try:
        _check_space(folder, shape)
        with files_moved_together(folder) as partial:
            best = SampleWriter(partial, shape, signal, seed, progress).write()
    except OSError as error:
        raise ConfigError(
            f"can't write a sample into {directory}: expected a folder to write to, with space "
            f"enough; found: {error}; type: memmap-train sample OTHER_DIR"
        ) from error
    return SampleSummary(
        paths=tuple(folder / name for name in (*SOURCE_NAMES, *BENCHMARK_FILE_NAMES)),
        n_rows=shape.n_rows,
        n_eras=n_eras,
        n_features=n_features,
        best=best,
    )


def _check_space(directory: Path, shape: SampleShape) -> None:
    """Raise a ConfigError if eras or files can't fit; both are estimated low."""
    n_eras, rows_per_era, n_features = shape.n_eras, shape.rows_per_era, shape.n_features
    era_bytes = rows_per_era * (n_features + 4 * len(TARGET_NAMES) + 16)
    # The latent values of an era, and the rows of a row group twice: gathered, and put together.
    memory = 6 * era_bytes + 2 * era_bytes * shape.rows_per_group // rows_per_era
    # Codes take 3 bits; ids and targets about 8 bytes once they are compressed, the ids and numbers
    # of the benchmark files at least 10.
    disk = shape.n_rows * (3 * n_features // 8 + 18)
    for needed, free, what, fewer in (
        (memory, available_memory(), "memory", "--rows-per-era or --features"),
        (disk, free_disk(directory), "disk", "--eras, --rows-per-era or --features"),
    ):
        if needed > free:
            raise ConfigError(
                f"sample: {n_eras:,} eras of {rows_per_era:,} rows x {n_features:,} features take "
                f"at least {in_bytes(needed)} of {what}; expected {in_bytes(free)} at most, which "
                f"is what is free: take fewer {fewer}"
            )


def _check(option: str, value: int, *, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        expected = f"{least:,} or more" if most is None else f"{least:,} to {most:,}"
        raise ConfigError(
            f"sample: --{option}: expected {expected}, found {value:,}; "
            f"type: memmap-train sample DIR --{option} {max(least, min(value, most or value))}"
        )
