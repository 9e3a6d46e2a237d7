"""The data that benchmarks work on, each made once per folder.

In comes a folder and how large things shall be, out come parquet files and datasets.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import memmap_train as mt
from memmap_train.parquet.writing import SourceWriter
from memmap_train.sample import TARGET_NAMES, Signal, write_sample

_FIRST_ERA = 575  # of v5.3's validation
_LATE_ERAS = {"_60": 12, "_20": 4, "target": 4}  # weeks until a target is known


@dataclass(frozen=True, slots=True)
class Size:
    """How large the data are and how often things are measured.

    Parameters
    ----------
    eras, rows_per_era, features : int
        By default a tenth of the 1,050-feature data set of 2021.
    repeats : int
        Runs of everything that is measured; medians are shown.
    """

    eras: int = 60
    rows_per_era: int = 4_200
    features: int = 1_050
    repeats: int = 5


def make_sources(directory: Path, size: Size) -> list[Path]:
    """Write a sample; return its two files of labelled eras."""
    folder = _folder(directory, size)
    paths = [folder / "train.parquet", folder / "validation.parquet"]
    if not all(path.exists() for path in paths):
        write_sample(
            folder,
            n_eras=size.eras,
            rows_per_era=size.rows_per_era,
            n_features=size.features,
        )
    return paths


def make_dataset(directory: Path, size: Size, dtype: str) -> mt.Dataset:
    """Convert the sample."""
    out = _folder(directory, size) / f"shards-{dtype}"
    return mt.convert(make_sources(directory, size), out, dtype=dtype).dataset


def make_weeks(directory: Path, size: Size) -> tuple[Path, Path]:
    """Write a validation file as it is in one week and in the next.

    The second has one more era, and targets of two earlier ones that weren't known before.
    """
    folder = _folder(directory, size)
    weeks = (folder / "week-1" / "validation.parquet", folder / "week-2" / "validation.parquet")
    if all(path.exists() for path in weeks):
        return weeks
    signal = Signal(size.features, seed=0)
    names = [f"feature_{number:04d}" for number in range(size.features)]
    rows_per_group = 20 * size.rows_per_era
    for path in weeks:
        path.parent.mkdir(parents=True, exist_ok=True)
    with (
        SourceWriter(weeks[0], names, TARGET_NAMES, rows_per_group=rows_per_group) as first,
        SourceWriter(weeks[1], names, TARGET_NAMES, rows_per_group=rows_per_group) as second,
    ):
        for number in range(size.eras + 1):
            era = signal.era(1 + number, size.rows_per_era)
            for writer, n_eras in ((first, size.eras), (second, size.eras + 1)):
                if number < n_eras:
                    writer.write_era(
                        f"{_FIRST_ERA + number:04d}",
                        "validation",
                        features=era.features,
                        targets=_known(era.targets, age=n_eras - number),
                        ids=era.ids,
                    )
    return weeks


def _folder(directory: Path, size: Size) -> Path:
    """Return the folder for data of one size."""
    return directory / f"{size.eras}x{size.rows_per_era}x{size.features}"


def _known(targets: npt.NDArray[np.float32], *, age: int) -> npt.NDArray[np.float32]:
    """Return the targets of an era that is so many weeks old, NaN where it is too young."""
    late = [
        next(n for suffix, n in _LATE_ERAS.items() if name.endswith(suffix))
        for name in TARGET_NAMES
    ]
    return np.where(np.array(late) >= age, np.float32(np.nan), targets)
