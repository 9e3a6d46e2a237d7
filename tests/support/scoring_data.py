"""A small dataset to score, and predictions of it as frames and as files.

Its eras are hard: ties, labels that are missing in some rows or in all, a constant feature,
benchmarks that begin late and lack rows. Ids don't repeat, as Numerai's.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import memmap_train as mt
from tests.support.toy_benchmarks import with_benchmarks

N_ERAS, N_FEATURES, N_FNC = 12, 14, 6
ERAS = tuple(f"{number:04}" for number in range(1, N_ERAS + 1))
TARGETS = ("target", "target_other_60")
BENCHMARKS = ("v53_lgbm_ender20", "v53_lgbm_ct_blend", "numerai_meta_model")
FEATURES = tuple(f"feature_{number:02}" for number in range(N_FEATURES))
FIRST_BENCHMARK_ERA, FIRST_META_ERA = 3, 8


def scoring_frame() -> pd.DataFrame:
    """Return all rows of the dataset, indexed by id, with features, targets and benchmarks."""
    frames = []
    for number, era in enumerate(ERAS, start=1):
        random = np.random.default_rng([11, number])
        n_rows = 60 + 7 * number
        features = random.integers(0, 5, (n_rows, N_FEATURES)).astype(np.int8)
        features[:, 3] = 2  # constant
        features[:, 4] = features[:, 5]  # collinear
        signal = features @ random.normal(size=N_FEATURES) + random.normal(size=n_rows) * 3
        bins = np.searchsorted(np.quantile(signal, [0.05, 0.25, 0.75, 0.95]), signal) / 4
        targets = {name: bins[random.permutation(n_rows)] for name in TARGETS}
        targets["target"] = bins.copy()
        targets["target"][random.random(n_rows) < 0.1] = np.nan
        if number == N_ERAS:
            targets["target"][:] = np.nan  # not resolved yet
        columns: dict[str, Any] = {
            name: features[:, column] for column, name in enumerate(FEATURES)
        }
        columns |= {name: values.astype(np.float32) for name, values in targets.items()}
        first_eras = (FIRST_BENCHMARK_ERA, FIRST_BENCHMARK_ERA, FIRST_META_ERA)
        for name, first in zip(BENCHMARKS, first_eras, strict=True):
            values = (signal + random.normal(size=n_rows) * 4).astype(np.float32)
            values[random.random(n_rows) < (1 if number < first else 0.05)] = np.nan
            columns[name] = values
        ids = [f"n{number:03}{row:04x}" for row in range(n_rows)]
        frames.append(pd.DataFrame({"era": era, **columns}, index=pd.Index(ids, name="id")))
    return pd.concat(frames)


def make_scoring_dataset(folder: Path, *, store: str = "int8") -> Path:
    """Convert the rows in a folder; return the dataset's path."""
    frame = scoring_frame()
    source = frame.drop(columns=list(BENCHMARKS)).reset_index()
    pq.write_table(pa.Table.from_pandas(source, preserve_index=False), folder / "source.parquet")
    sets = {"fncv3_features": list(FEATURES[:N_FNC]), "small": list(FEATURES[:2])}
    (folder / "features.json").write_text(json.dumps({"feature_sets": sets}))
    by_era = {era: rows[list(BENCHMARKS)].to_numpy() for era, rows in frame.groupby("era")}
    mt.convert(
        folder / "source.parquet",
        folder / "dataset",
        dtype=store,
        features_json=folder / "features.json",
        workers=1,
    )
    return with_benchmarks(folder / "dataset", BENCHMARKS, lambda era, n_rows: by_era[era])


def predictions_frame(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return predictions of all rows, indexed by id: era and prediction, some of them tied."""
    random = np.random.default_rng([13, seed])
    values = frame[FEATURES[seed]].to_numpy() + random.normal(size=len(frame)).round(1)
    return pd.DataFrame({"era": frame["era"], "prediction": values / 10}, index=frame.index)


WriteFile = Callable[[pd.DataFrame, Path], None]


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as CSV, its index as the first column."""
    frame.to_csv(path)


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as parquet, its index declared as pandas does."""
    frame.to_parquet(path)
