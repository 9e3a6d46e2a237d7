"""The data that benchmarks work on, each made once per folder.

In comes a folder and how large things shall be, out come parquet files and datasets.
"""

from dataclasses import dataclass
from pathlib import Path

import memmap_train as mt
from memmap_train.sample import write_sample


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


def _folder(directory: Path, size: Size) -> Path:
    """Return the folder for data of one size."""
    return directory / f"{size.eras}x{size.rows_per_era}x{size.features}"
