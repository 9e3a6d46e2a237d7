"""The toy datasets of most tests: their eras, and how they are made."""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import memmap_train as mt
from memmap_train.dataset.format import ARRAY_NAMES
from tests.support.toy import Eras, feature_names, write_toy
from tests.support.toy_benchmarks import with_benchmarks

MakeToy = Callable[..., Path]

# Unequal eras: one of a single row, one larger than all windows but the largest, and one without a
# number.
ERAS = {"0001": 40, "0002": 1, "0003": 77, "0005": 30, "0010": 60, "0011": 33, "X": 17}

SMALL = {"0001": 6, "0002": 4, "X": 5}
"""The eras of a small dataset, which a test may damage."""

N_FEATURES, N_TARGETS = 9, 3

FEATURE_SETS = {
    "small": [feature_names(N_FEATURES)[column] for column in (7, 2, 5)],
    "medium": feature_names(N_FEATURES)[2:6],
}


PLAIN_ARRAYS = tuple(name for name in ARRAY_NAMES if name != "benchmarks")
"""The arrays of datasets without benchmarks."""


def convert_toy(
    folder: Path, eras: Eras, *, store: str = "float32", benchmarks: bool = False, **options: Any
) -> Path:
    """Write a toy source into a folder, convert it there, and return the dataset's path."""
    source = folder / "source.parquet"
    write_toy(source, eras, **options)
    features_json = folder / "features.json"
    known = set(feature_names(options.get("n_features", 5)))
    sets = {name: names for name, names in FEATURE_SETS.items() if known.issuperset(names)}
    features_json.write_text(json.dumps({"feature_sets": sets}))
    mt.convert(source, folder / "dataset", dtype=store, features_json=features_json, workers=1)
    dataset = folder / "dataset"
    return with_benchmarks(dataset) if benchmarks else dataset


def without_counts(dataset: Path, eras: Collection[str] | None = None) -> Path:
    """Make a dataset, or some of its eras, what earlier versions wrote; return its path."""
    manifest = json.loads((dataset / "manifest.json").read_bytes())
    for shard in manifest["shards"]:
        if eras is None or shard["era"] in eras:
            del shard["files"]["counts"]
            (dataset / f"era-{shard['era']}" / "counts.npy").unlink()
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    assert mt.verify(dataset) == []
    return dataset
