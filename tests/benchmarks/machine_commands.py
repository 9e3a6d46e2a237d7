"""The machines and stores that are measured, and the commands that are run for each.

Takes a folder of Numerai's parquet files; returns arguments of `memmap-train`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

_SOURCES = ("train.parquet", "validation.parquet")
_BENCHMARKS = (
    "train_benchmark_models.parquet",
    "validation_benchmark_models.parquet",
    "meta_model.parquet",
)
_SET_SIZES = {"small": 42, "medium": 780, "fncv3_features": 400}
"""Features of v5.3's sets; a sample's own sets are other shares of its features."""


@dataclass(frozen=True, slots=True)
class Data:
    """A folder of Numerai's parquet files, and the feature sets of a `features.json`."""

    folder: Path
    features_json: Path
    sets: Mapping[str, Sequence[str]]
    n_rows: int
    n_targets: int

    @property
    def sources(self) -> list[Path]:
        return [self.folder / name for name in _SOURCES]

    @property
    def benchmarks(self) -> list[Path]:
        paths = (self.folder / name for name in _BENCHMARKS)
        return [path for path in paths if path.exists()]


@dataclass(frozen=True, slots=True)
class Case:
    """A machine, a store in it, and the features that are trained on.

    Parameters
    ----------
    gigabytes : float
        The machine's memory.
    dtype, stored, trained : str
        The store's dtype and its feature set; the feature set of the training.
    """

    gigabytes: float
    dtype: str
    stored: str
    trained: str

    @classmethod
    def parse(cls, gigabytes: float, text: str) -> "Case":
        """Return a case of ``dtype:stored`` or ``dtype:stored/trained``."""
        dtype, _, sets = text.partition(":")
        stored, _, trained = sets.partition("/")
        return cls(gigabytes, dtype, stored, trained or stored)

    @property
    def store(self) -> tuple[float, str, str]:
        return self.gigabytes, self.dtype, self.stored

    @property
    def name(self) -> str:
        return f"{self.gigabytes:g} GB, {self.dtype} {self.stored}, {self.trained}"


def commands_of(case: Case, data: Data, folder: Path) -> dict[str, list[object]]:
    """Return the arguments of all commands by a name, in order."""
    dataset, run_dir, live = folder / "dataset", folder / "run", data.folder / "live.parquet"
    features = "all" if case.trained == case.stored else case.trained
    convert = ["convert", *data.sources, "--out", dataset, "--dtype", case.dtype, "--json"]
    convert += ["--features-json", data.features_json, "--benchmarks", *data.benchmarks]
    convert += [] if case.stored == "all" else ["--feature-set", case.stored]
    train = ["train", dataset, "--run", run_dir, "--set", f"features={features}"]
    convert_live = ["convert", live, "--out", folder / "live"]
    return {
        "convert": convert,
        "bench": ["bench", dataset, "--features", features, "--json"],
        "train": [*train, "--set", "epochs=1"],
        "convert live": [*convert_live, "--dtype", "int8", "--overwrite"],
        "predict": ["predict", run_dir, folder / "live", "--out", folder / "predictions.csv"],
        "evaluate": ["evaluate", run_dir, dataset, "--json"],
        "export": ["export", run_dir, "--out", folder / "model.pkl", "--live", live],
    }


def open_data(folder: Path, out: Path) -> Data:
    """Return the data of a folder; write feature sets as large as v5.3's if it has others."""
    path = folder / "features.json"
    known = json.loads(path.read_text())
    sets = known["feature_sets"]
    if "fncv3_features" not in sets:
        every = sets["all"]
        for name, n_features in _SET_SIZES.items():
            places = np.linspace(0, len(every) - 1, min(n_features, len(every))).astype(int)
            sets[name] = [every[place] for place in places]
        path = out / "features.json"
        path.write_text(json.dumps(known))
    metadata = [pq.read_metadata(folder / name) for name in _SOURCES]
    return Data(
        folder=folder,
        features_json=path,
        sets=sets,
        n_rows=sum(file.num_rows for file in metadata),
        n_targets=sum(name.startswith("target") for name in metadata[0].schema.names),
    )


def stored_bytes(case: Case, data: Data) -> int:
    """Return about how many bytes a dataset takes."""
    n_features = len(data.sets[case.stored])
    return data.n_rows * (np.dtype(case.dtype).itemsize * n_features + 4 * data.n_targets + 32)
