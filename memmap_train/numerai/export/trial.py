"""A model upload made by one process and tried by another, as Numerai's runner runs it.

Takes plain values and a parquet file of live rows; returns what the trial has shown. Both processes
are isolated: they see none of this package, and the trial has one thread and 4 GB.
"""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DependencyError, ExportError
from ..environment import without_keys
from .mark import write_marked
from .report import MAX_BYTES, MAX_SECONDS

_HERE = Path(__file__).parent
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_TF_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What a trial has shown.

    Attributes
    ----------
    seconds : float
    peak_bytes : int or None
    raw : ndarray of float32, shape (rows, models)
        The models' own outputs.
    ranks : ndarray of float64, shape (rows,)
        The predictions.
    versions : dict of str to str
    """

    seconds: float
    peak_bytes: int | None
    raw: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.float64]
    versions: dict[str, str]


def make_pickle(
    description: dict[str, Any],
    modules: Sequence[str],
    python: str,
    folder: Path,
    *,
    version: str,
) -> Path:
    """Pickle a model upload with an interpreter of the version that is to load it.

    Parameters
    ----------
    description : dict
        What `model_upload.prediction.make_predict` takes.
    modules : sequence of str
        The user's modules that define layers.
    python : str
    folder : Path
        A temporary folder.
    version : str
        The interpreter's minor version, which the upload is marked with.

    Raises
    ------
    DependencyError
        cloudpickle isn't installed.
    ExportError
        The interpreter can't pickle it.
    """
    (folder / "description.pkl").write_bytes(pickle.dumps(description, 4))
    order = {
        "description": str(folder / "description.pkl"),
        "code": str(_HERE),
        "cloudpickle": str(cloudpickle_folder()),
        "path": [os.getcwd(), *(path for path in sys.path if path)] if modules else [],
        "modules": list(modules),
        "out": str(folder / "pickled.pkl"),
    }
    done = _run(python, "pickling", order, folder)
    if done.returncode or not (folder / "pickled.pkl").exists():
        raise ExportError(f"{python}: the models can't be pickled: {_last_line(done)}")
    write_marked(folder / "pickled.pkl", folder / "model.pkl", version)
    (folder / "pickled.pkl").unlink()
    return folder / "model.pkl"


def cloudpickle_folder() -> Path:
    """Return the folder of cloudpickle.

    Raises
    ------
    DependencyError
        It isn't installed.
    """
    try:
        import cloudpickle
    except ImportError:
        raise DependencyError(
            "a model upload needs cloudpickle, which isn't installed; run `pip install "
            "'memmap-train[numerai]'`"
        ) from None
    return Path(cloudpickle.__file__).parent


def try_pickle(path: Path, live: Path, python: str, folder: Path, *, needs_keras: bool) -> Trial:
    """Run a model upload in a process of its own.

    Parameters
    ----------
    path : Path
        The pickle.
    live : Path
        A parquet file, which is read as Numerai's runner does it.
    python : str
        The interpreter.
    folder : Path
        A temporary folder.
    needs_keras : bool
        Whether Keras may be imported.

    Raises
    ------
    ExportError
        It fails, or returns what Numerai wouldn't take, or needs more time or memory.
    """
    names = {name: folder / f"trial.{name}" for name in ("raw.npy", "ranks.npy", "report.json")}
    order = {
        "pickle": str(path),
        "live": str(live),
        "blocked": ["memmap_train", "model_upload"]
        + ([] if needs_keras else ["tensorflow", "keras", "scipy"]),
        "raw": str(names["raw.npy"]),
        "ranks": str(names["ranks.npy"]),
        "report": str(names["report.json"]),
        "memory_bytes": MAX_BYTES,
    }
    try:
        done = _run(python, "trial", order, folder)
    except subprocess.TimeoutExpired:
        raise ExportError(
            f"the upload takes longer than Numerai lets it run ({MAX_SECONDS:.0f} s); choose a "
            "smaller model, or fewer of them"
        ) from None
    if not names["report.json"].exists():
        raise ExportError(f"the upload's process failed: {_last_line(done)}")
    report = json.loads(names["report.json"].read_text("utf-8"))
    if report["fault"] is not None:
        raise ExportError(f"Numerai couldn't use the upload: {report['fault']}")
    return Trial(
        report["seconds"],
        report["peak_bytes"],
        np.load(names["raw.npy"]),
        np.load(names["ranks.npy"]),
        report["versions"],
    )


def _run(
    python: str, name: str, order: dict[str, Any], folder: Path
) -> "subprocess.CompletedProcess[str]":
    """Run one of the programs of `processes`."""
    order_path = folder / f"{name}.json"
    order_path.write_text(json.dumps(order), "utf-8")
    environment = {
        **without_keys(),
        **dict.fromkeys((*_ONE_THREAD, *_TF_THREADS), "1"),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
    }
    command = [python, "-I", "-B", str(_HERE / "processes" / f"{name}.py"), str(order_path)]
    # The trial ends when the other end of its stdin is closed, be it because this process is gone.
    reading, writing = os.pipe()
    try:
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=reading,
            timeout=MAX_SECONDS,
        )
    finally:
        os.close(reading)
        os.close(writing)


def _last_line(done: "subprocess.CompletedProcess[str]") -> str:
    """Return why a process failed."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"it ended with {done.returncode}"
