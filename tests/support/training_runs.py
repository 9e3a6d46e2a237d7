"""Interrupted trainings and their results."""

import csv
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import h5py
import keras
import numpy as np
import numpy.typing as npt

from memmap_train.runs.configuration.config import TrainConfig
from tests.support.training_data import PLAIN_INSTALL, newest_checkpoint

TIMES = ("seconds", "rows_per_second", "data_wait")


def weights(run_dir: Path) -> list[npt.NDArray[np.float32]]:
    found: list[npt.NDArray[np.float32]] = keras.models.load_model(
        run_dir / "model.keras", compile=False
    ).get_weights()
    return found


def stored_weights(model: Path) -> dict[str, bytes]:
    """Return the bytes of each array in a file of Keras; Keras would build the model for them."""
    found = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes()

    with ZipFile(model) as archive, archive.open("model.weights.h5") as file:
        h5py.File(file).visititems(note)
    assert found
    return found


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def results(run_dir: Path) -> dict[str, Any]:
    """Return all results that equal runs share to the last bit."""
    newest = newest_checkpoint(run_dir)
    assert newest is not None
    history = [
        {name: value for name, value in row.items() if name not in TIMES}
        for row in read_csv(run_dir / "history.csv")
    ]
    step_scores = run_dir / "step_scores.csv"
    return {
        "history": history,
        "step scores": step_scores.read_bytes() if step_scores.exists() else b"",
        "era scores": (run_dir / "era_scores.csv").read_bytes(),
        "model": stored_weights(run_dir / "model.keras"),
        "state": {name: array.tobytes() for name, array in newest.arrays.items()},
        "step": newest.step,
    }


def interrupt() -> None:
    raise KeyboardInterrupt


def train_killed(dataset: Path, run_dir: Path, config: TrainConfig, call: str) -> None:
    """Train in a process of its own, which is killed at a call of its reporter; see `Script`."""
    code = f"""
{PLAIN_INSTALL}
import os, signal
sys.modules["matplotlib"] = None
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.training.train import train_run
from tests.support.training_data import Script
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
config = TrainConfig(**{config.to_dict()!r})
train_run({str(dataset)!r}, {str(run_dir)!r}, config, report=Script({call!r}, die))
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (run_dir / "state.json").exists()
