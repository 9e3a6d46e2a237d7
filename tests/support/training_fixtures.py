"""Fixtures with small samples to train on, for test modules that list it in `pytest_plugins`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.conversion.sample import write_sample
from memmap_train.runs.reports.report import TrainReport
from tests.support.toy import write_toy
from tests.support.training_data import N_ERAS, N_FEATURES, ROWS_PER_ERA, small_config


@pytest.fixture(scope="session")
def sample_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the parquet files of a small sample."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, n_eras=N_ERAS, rows_per_era=ROWS_PER_ERA, n_features=N_FEATURES)
    return folder


@pytest.fixture(scope="session")
def convert_sample(
    sample_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Return a function that converts files of the small sample into a new dataset."""

    def convert(*names: str, **options: Any) -> Path:
        path = tmp_path_factory.mktemp("converted") / "dataset"
        names = names or ("train.parquet", "validation.parquet")
        sources = [sample_files / name for name in names]
        mt.convert(
            sources, path, workers=1, features_json=sample_files / "features.json", **options
        )
        return path

    return convert


@pytest.fixture(scope="session")
def sample(convert_sample: Callable[..., Path]) -> Path:
    """Return the float32 dataset of a small sample, which tests only read."""
    return convert_sample(dtype="float32")


@pytest.fixture(scope="session")
def live(convert_sample: Callable[..., Path]) -> Path:
    """Return the dataset of a small sample's live era, which has no labels."""
    return convert_sample("live.parquet", dtype="int8")


@pytest.fixture(scope="session")
def with_missing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a toy dataset that keeps missing features as NaN, which tests only read."""
    folder = tmp_path_factory.mktemp("missing")
    eras = {f"{number:04}": 40 for number in range(1, 13)}
    write_toy(folder / "source.parquet", eras, n_features=5, n_targets=2, nulls=True)
    mt.convert(folder / "source.parquet", folder / "dataset", missing="nan", workers=1)
    return folder / "dataset"


@pytest.fixture
def growing(sample_files: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return the function of `growing_in` for one test."""
    return growing_in(tmp_path, sample_files)


def growing_in(folder: Path, sample_files: Path) -> Callable[..., Path]:
    """Return a function that makes or updates a dataset of the sample's first `n_eras` eras.

    `changed` and `lost` list columns whose cell in the first row of era `era` is changed or null.
    """
    names = ("train.parquet", "validation.parquet")
    whole = pa.concat_tables([pq.read_table(sample_files / name) for name in names])

    def grow(
        n_eras: int,
        *,
        changed: tuple[str, ...] = (),
        lost: tuple[str, ...] = (),
        era: str = "0001",
    ) -> Path:
        table = whole.filter(pc.less_equal(pc.cast(whole["era"], "int32"), n_eras))
        row = table["era"].to_pylist().index(era)
        for name in (*changed, *lost):
            cells = table[name].to_pylist()
            cells[row] = None if name in lost else 0 if cells[row] else 1
            column = pa.array(cells, table.schema.field(name).type)
            table = table.set_column(table.column_names.index(name), name, column)
        source = folder / "growing.parquet"
        pq.write_table(table, source)
        again = any(name.startswith("feature") for name in changed)
        return mt.convert(source, folder / "growing", workers=1, overwrite=again).dataset.path

    return grow


_OPENED: list[str] = []


def _note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and str(arguments[0]).endswith(".npy"):
        _OPENED.append(str(arguments[0]))


@pytest.fixture(scope="session")
def _watched() -> None:
    sys.addaudithook(_note_opened)  # it can't be removed


@pytest.fixture
def opened(_watched: None) -> list[str]:
    """Return the list of the array files that this process opens from now on."""
    _OPENED.clear()
    return _OPENED


@pytest.fixture(scope="module")
def finished(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainReport]:
    """Return a run of two epochs that nothing interrupted, and its report."""
    from memmap_train.training.train import train_run  # needs TensorFlow

    path = tmp_path_factory.mktemp("finished") / "run"
    return path, train_run(sample, path, small_config())
