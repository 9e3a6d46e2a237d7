"""A model upload on one thread, compared with Keras, which predicts the same rows on all cores.

The upload is run as its trial runs it, from reading the parquet file to the predictions. Keras gets
the rows in memory.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import numpy as np

import memmap_train as mt
from memmap_train.numerai.export import live_rows
from memmap_train.runs.run import read_run
from memmap_train.runs.run_folder import begin_run
from memmap_train.training.startup import start_tensorflow
from tests.support.run_records import run_record

from .measuring import Job, Spent, in_turn, print_table, timed
from .sources import Size

ROWS, FEATURES, HIDDEN = 7_000, 3_555, (1_024, 512)


def run(directory: Path, size: Size) -> None:
    """Print a table of both."""
    start_tensorflow(directory)
    folder = directory / "exporting"
    shutil.rmtree(folder, ignore_errors=True)
    features = [f"feature_{number}" for number in range(FEATURES)]
    _make_run(folder / "run", features)
    with patch.object(live_rows, "MADE_ROWS", ROWS):
        report = mt.export(folder / "run", folder / "model.pkl", progress=False)
    found = in_turn([Job(_predict, (folder / "run", ROWS))], repeats=size.repeats)["Keras"]
    print_table(
        f"A model upload of {ROWS:,} rows x {FEATURES:,} features, hidden {HIDDEN}",
        ["what", "s", "peak"],
        [
            ["upload", f"{report.seconds:.2f}", f"{(report.peak_bytes or 0) / 1e6:.0f} MB"],
            ["Keras", f"{found.seconds:.2f}", f"{found.peak_bytes / 1e6:.0f} MB"],
        ],
    )


def _make_run(path: Path, features: list[str]) -> None:
    from memmap_train.training.models.build import build
    from tests.support.training_data import small_config

    made = begin_run(path, run_record(features=features, dataset="none"))
    build(len(features), 1, small_config(hidden=HIDDEN)).save(made.model_path)


def _predict(path: Path, n_rows: int) -> Mapping[str, Spent]:
    start_tensorflow(path)
    from memmap_train.training.prediction.last_model import last_models, outputs_of

    (last,) = last_models(read_run(path))
    codes = np.random.default_rng([0]).integers(0, 5, (n_rows, len(last.features)))
    rows = codes.astype(np.float32) / np.float32(4)
    outputs_of(last, rows)  # compiled
    return {"Keras": timed(lambda: outputs_of(last, rows))}
