"""A Numerai-shaped data set with a synthetic signal, so that the score of a training can be judged.

Takes sizes and a seed; writes `train.parquet`, `validation.parquet`, `live.parquet` and
`features.json`, and with them the best score that a model can expect on the validation eras: the
text of a number, under the key `memmap_train.best` of each parquet file's metadata. Imports pyarrow
only through `conversion.parquet`, and only when something is written.

An era is a pure function of its number, its rows, the features and the seed. A sample of more eras
begins with the same eras, apart from what changes with time in reality too: where validation
begins, which eras have the data type `test`, and which targets are known.
"""

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConfigError
from ..progress import Progress, ignore
from ..runs.metrics import numerai_corr
from ..system.paths import checked_path
from ..system.resources import available_memory, free_disk
from ..text import in_bytes
from .sample_calendar import LIVE, Calendar
from .sample_folder import check_replaceable, features_json, files_moved_together
from .sample_signal import MAX_FEATURES, MIN_FEATURES, TARGET_NAMES, Float32, Signal, feature_sets
from .schema import BEST_KEY

if TYPE_CHECKING:
    from .parquet.writer import SourceWriter  # needs pyarrow

_MAX_ERAS = 9_999  # labels have four digits


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """The files of a sample, and their best possible score.

    Parameters
    ----------
    paths : tuple of Path
        The files: train, validation, live, features.json.
    n_rows : int
        Rows of the three parquet files together.
    n_eras : int
        Number of eras of train and validation, without the live one.
    n_features : int
    best : float
        Mean per-era `numerai_corr` of `target`, over the validation eras that have labels, for a
        model that knows the persistent signal and predicts it without noise.
    """

    paths: tuple[Path, ...]
    n_rows: int
    n_eras: int
    n_features: int
    best: float


@dataclass(frozen=True, slots=True)
class _Shape:
    """The sizes of a sample."""

    n_eras: int
    rows_per_era: int
    n_features: int

    @property
    def n_rows(self) -> int:
        """Rows of all eras, the live one included."""
        return (self.n_eras + 1) * self.rows_per_era

    @property
    def rows_per_group(self) -> int:
        """Rows of a row group: not a multiple of an era's rows, as in Numerai's files.

        Each row group adds some 130 bytes per column to the footer, so a wide file gets larger
        ones, as far as memory allows: 13.5 eras of 4,200 rows x 1,050 features are 60 MB.
        """
        return (7 + 2 * min(10, self.n_features // 100)) * self.rows_per_era // 2


def write_sample(
    directory: str | PathLike[str],
    *,
    n_eras: int = 300,
    rows_per_era: int = 2_000,
    n_features: int = 64,
    seed: int = 0,
    progress: Progress = ignore,
) -> SampleSummary:
    """Write a sample, holding a few eras in memory at a time.

    Parameters
    ----------
    directory : path
        Made where it doesn't exist. A former sample's files are replaced, when all are written.
    n_eras : int
        Eras beside the live one, 5 or more; the first four fifths are for training, the rest for
        validation.
    rows_per_era : int
        20 or more; the live era has as many.
    n_features : int
        5 to 50,000.
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
    _check("seed", seed, least=0)
    check_replaceable(folder)
    shape = _Shape(n_eras, rows_per_era, n_features)
    try:
        _check_space(folder, shape)
        with files_moved_together(folder) as partial:
            best = _Writer(partial, shape, seed, progress).write()
    except OSError as error:
        raise ConfigError(
            f"can't write a sample into {directory}: expected a folder to write to, with space "
            f"enough; found: {error}; type: memmap-train sample OTHER_DIR"
        ) from error
    names = ("train.parquet", "validation.parquet", "live.parquet", "features.json")
    return SampleSummary(
        paths=tuple(folder / name for name in names),
        n_rows=shape.n_rows,
        n_eras=n_eras,
        n_features=n_features,
        best=best,
    )


class _Writer:
    """Writes the files of a sample.

    Parameters
    ----------
    folder : Path
    shape : _Shape
    seed : int
    progress : callable(what, rows done, rows in all)
    """

    def __init__(
        self,
        folder: Path,
        shape: _Shape,
        seed: int,
        progress: Progress,
    ) -> None:
        self._folder, self._shape, self._progress = folder, shape, progress
        self._signal, self._calendar = Signal(shape.n_features, seed), Calendar(shape.n_eras)
        self._rows_done = 0

    def write(self) -> float:
        """Write all files; return the best score."""
        calendar = self._calendar
        # Validation comes first: its eras give the best score, which every file records.
        with self._open("validation.parquet") as file:
            scores = [numerai_corr(*self._write_era(file, n)) for n in calendar.validation]
            best = float(np.nanmean(scores))
            file.add_metadata(BEST_KEY, repr(best))
        for name, numbers in (("train.parquet", calendar.train), ("live.parquet", [LIVE])):
            with self._open(name) as file:
                file.add_metadata(BEST_KEY, repr(best))
                for number in numbers:
                    self._write_era(file, number)
        content = json.dumps(features_json(self._shape.n_features), indent=2) + "\n"
        (self._folder / "features.json").write_text(content, encoding="utf-8")
        return best

    def _open(self, name: str) -> "SourceWriter":
        # Here and not above: the package is imported without pyarrow.
        from .parquet.writer import SourceWriter

        features = feature_sets(self._shape.n_features)["all"]
        return SourceWriter(
            self._folder / name,
            features,
            TARGET_NAMES,
            rows_per_group=self._shape.rows_per_group,
        )

    def _write_era(self, file: "SourceWriter", number: int) -> tuple[Float32, Float32]:
        """Write an era; return a perfect model's predictions for `target`, and its known values."""
        era = self._signal.era(number, self._shape.rows_per_era)
        targets = self._calendar.known(number, era.targets)
        file.write_era(
            self._calendar.label(number),
            self._calendar.data_type(number),
            features=era.features,
            targets=targets,
            ids=era.ids,
        )
        self._rows_done += self._shape.rows_per_era
        self._progress("writing the sample", self._rows_done, self._shape.n_rows)
        return era.persistent, targets[:, 0]


def _check_space(directory: Path, shape: _Shape) -> None:
    """Raise a ConfigError if eras or files can't fit; both are estimated low."""
    n_eras, rows_per_era, n_features = shape.n_eras, shape.rows_per_era, shape.n_features
    era_bytes = rows_per_era * (n_features + 4 * len(TARGET_NAMES) + 16)
    # The latent values of an era, and the rows of a row group twice: gathered, and put together.
    memory = 6 * era_bytes + 2 * era_bytes * shape.rows_per_group // rows_per_era
    # Codes take 3 bits; ids and targets about 8 bytes once they are compressed.
    disk = shape.n_rows * (3 * n_features // 8 + 8)
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
