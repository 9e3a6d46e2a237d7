"""The data of the benchmarks, made once per folder.

Functions take a folder and sizes, and return parquet files and datasets.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

import memmap_train as mt
from memmap_train.conversion.parquet.writer import SourceWriter
from memmap_train.conversion.sample import write_sample
from memmap_train.conversion.sample_signal import TARGET_NAMES, Signal

_FIRST_ERA = 575  # of v5.3's validation
_LATE_ERAS = {"_60": 12, "_20": 4, "target": 4}  # weeks until a target is known

WIDE_TARGETS = 41  # of v5.3
WIDE_ERA_ROWS = 5_000
_DISTINCT_FEATURES, _DISTINCT_TARGETS = 64, 8
WIDE_ROW_BYTES = 400
"""Memory that writing a wide file takes per row, measured: mostly its distinct columns and ids."""


@dataclass(frozen=True, slots=True)
class Size:
    """Sizes of the data, and the number of repetitions.

    Parameters
    ----------
    eras, rows_per_era, features : int
        Size of the sample; by default a sixth of the 1,050-feature data set of 2021.
    repeats : int
        Number of runs of each measurement; medians are shown.
    wide_rows, wide_features : int
        Size of the one row group of `geometry`; by default as in v5.3.
    scored_eras : int
        Number of eras of `scoring`.
    learning_seeds, learning_epochs : int
        Number of samples, and epochs of each training, of `learning`.
    learning_sample : tuple of int
        Eras, rows per era and features of these samples; by default those of `sample`.
    learning_only : tuple of str
        The names of variants, and of what they are compared with; empty: all of them.
    machine_data : Path or None
        Folder of the parquet files of `machines`; by default the sample's.
    machine_gigabytes : tuple of float
        Memory of each machine.
    machine_stores : tuple of str
        ``dtype:stored`` or ``dtype:stored/trained``, two names of feature sets.
    """

    eras: int = 96
    rows_per_era: int = 4_200
    features: int = 1_050
    repeats: int = 5
    wide_rows: int = 2**20
    wide_features: int = 3_555
    scored_eras: int = 100
    learning_seeds: int = 5
    learning_epochs: int = 2
    learning_sample: tuple[int, int, int] = (300, 2_000, 64)
    learning_only: tuple[str, ...] = ()
    machine_data: Path | None = None
    machine_gigabytes: tuple[float, ...] = (8, 13)
    machine_stores: tuple[str, ...] = (
        "int8:all",
        "int8:all/medium",
        "int8:medium",
        "int8:small",
        "float32:medium",
        "float32:small",
    )


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


def make_wide(directory: Path, size: Size) -> Path:
    """Write a file of v5.3's geometry: all rows in one row group, thousands of columns.

    Few of the columns are distinct: the file is as large as if all were, and decodes as slowly, but
    is made in a minute and in less than a gigabyte of memory.
    """
    path = directory / f"wide-{size.wide_rows}x{size.wide_features}.parquet"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    n_rows = size.wide_rows
    eras = np.arange(n_rows, dtype=np.int32) // WIDE_ERA_ROWS
    labels = pa.array([f"{1 + era:04d}" for era in range(eras[-1] + 1)])
    features = [
        pa.array(rng.integers(0, 5, n_rows, dtype=np.int8)) for _ in range(_DISTINCT_FEATURES)
    ]
    targets = [_wide_target(rng, eras) for _ in range(_DISTINCT_TARGETS)]
    names = [f"feature_as_long_as_real_ones_{i:06d}" for i in range(size.wide_features)]
    columns = {
        "era": pa.DictionaryArray.from_arrays(eras, labels).cast(pa.string()),
        "data_type": pa.repeat(pa.scalar("train"), n_rows),
        **{name: features[i % len(features)] for i, name in enumerate(names)},
        "target": targets[1],
        **{f"target_{i:02d}_20": targets[i % len(targets)] for i in range(1, WIDE_TARGETS)},
        "id": pa.array([f"n{number:015x}" for number in rng.integers(16**15, size=n_rows)]),
    }
    partial = path.with_name(f".{path.name}.partial")
    in_dictionary_pages = [name for name in columns if name != "id"]
    table = pa.table(columns)
    pq.write_table(table, partial, row_group_size=n_rows, use_dictionary=in_dictionary_pages)
    os.replace(partial, path)
    return path


def _folder(directory: Path, size: Size) -> Path:
    """Return the folder for data of one size."""
    return directory / f"{size.eras}x{size.rows_per_era}x{size.features}"


def _known(targets: npt.NDArray[np.float32], *, age: int) -> npt.NDArray[np.float32]:
    """Return the targets that are known of an era of this age in weeks, NaN for the others."""
    late = [
        next(n for suffix, n in _LATE_ERAS.items() if name.endswith(suffix))
        for name in TARGET_NAMES
    ]
    return np.where(np.array(late) >= age, np.float32(np.nan), targets)


def _wide_target(rng: np.random.Generator, eras: npt.NDArray[np.int32]) -> pa.Array:
    """Return a target in five bins, null in the last twelve eras and in one row of a hundred."""
    shares = [0.05, 0.2, 0.5, 0.2, 0.05]
    values = rng.choice(np.linspace(0, 1, 5, dtype=np.float32), len(eras), p=shares)
    null = (eras > eras[-1] - 12) | (rng.random(len(eras)) < 0.01)
    return pa.array(values, mask=null)
