"""Live rows predicted by `convert` and `predict`, and by a model upload: both must agree."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import memmap_train as mt
from memmap_train.runs.run_folder import begin_run
from tests.support.random_models import make_run
from tests.support.run_records import run_record

TOLERANCE = 1e-6


def with_dataset(path: Path, features: list[str], dataset: Path, **config: Any) -> Path:
    """Write a run with random weights that was trained on a dataset; return its folder."""
    make_run(path, features, **config)
    begin_run(path, run_record(features=features, **{"dataset": str(dataset)} | config))
    return path


def loaded(path: Path) -> Any:
    """Return the function of an upload."""
    return pickle.loads(path.read_bytes())


def assert_parity(
    upload: Path, runs: list[Path], live_file: Path, live: Path, **how: Any
) -> NDArray[np.float32]:
    """Check an upload against `convert` and `predict` of the same rows; return its outputs."""
    return assert_equal_predictions(loaded(upload), runs, pd.read_parquet(live_file), live, **how)


def assert_equal_predictions(
    predict: Any, runs: list[Path], frame: pd.DataFrame, live: Path, **how: Any
) -> NDArray[np.float32]:
    """Check the function of an upload against `predict`; return the models' own outputs."""
    raw: NDArray[np.float32] = predict.raw_outputs(frame)
    for number, run in enumerate(runs):
        expected = mt.predict(run, live, raw=True)
        assert expected.ids.tolist() == frame.index.tolist()
        scale = max(1.0, float(np.abs(expected.values).max()))
        np.testing.assert_allclose(raw[:, number], expected.values, rtol=0, atol=TOLERANCE * scale)
        if raw.shape[1] == 1 and not how:
            found = predict(frame)["prediction"].to_numpy()
            assert_same_order(found, expected.values, 2 * TOLERANCE * scale)
    found = predict(frame)["prediction"].to_numpy()
    ranks = mt.predict(runs, live, **how).values
    # Rows whose outputs differ by less than the tolerance may change places.
    np.testing.assert_allclose(found, ranks, rtol=0, atol=3 / len(frame))
    assert np.count_nonzero(np.abs(found - ranks) > 1e-9) <= len(frame) // 20
    return raw


def assert_same_order(
    ranks: NDArray[np.float64], outputs: NDArray[np.floating[Any]], tolerance: float
) -> None:
    """Check that ranks have the order of outputs, but for rows that are closer than a tolerance."""
    ordered = outputs[np.argsort(ranks, kind="stable")]
    assert (np.maximum.accumulate(ordered) - ordered <= tolerance).all()
