"""Shared fixtures: toy datasets whose cells know their place (see `toy`)."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import memmap_train as mt
from memmap_train.system.buffers import Recycler
from tests.support.toy import Eras, feature_names, write_toy

# A deadline would be a timed assertion.
settings.register_profile("memmap-train", deadline=None)
settings.load_profile("memmap-train")

MakeToy = Callable[..., Path]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def signals_are_as_before() -> Iterator[None]:
    """Undo what the command line does with signals: its process ends, that of tests goes on."""
    # A shell has what it starts in the background ignore Ctrl-C, `nohup` the end of the terminal;
    # tests send such signals themselves, to processes of their own as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def no_buffers_are_planned() -> None:
    """Forget the batches that another test's report may still hold: memory is planned without."""
    Recycler._instances.clear()


# Unequal eras, one of a single row, one larger than all windows but the largest; in the middle one
# that no number sorts.
ERAS = {"0001": 40, "0002": 1, "0003": 77, "0005": 30, "0010": 60, "0011": 33, "X": 17}
N_FEATURES, N_TARGETS = 9, 3
FEATURE_SETS = {
    "small": [feature_names(N_FEATURES)[column] for column in (7, 2, 5)],
    "medium": feature_names(N_FEATURES)[2:6],
}


def convert_toy(folder: Path, eras: Eras, *, store: str = "float32", **options: Any) -> Path:
    """Write a toy source into a folder, convert it there, and return the dataset's path."""
    source = folder / "source.parquet"
    write_toy(source, eras, **options)
    features_json = folder / "features.json"
    known = set(feature_names(options.get("n_features", 5)))
    sets = {name: names for name, names in FEATURE_SETS.items() if known.issuperset(names)}
    features_json.write_text(json.dumps({"feature_sets": sets}))
    with pytest.MonkeyPatch.context() as patch:  # it needn't outlive a power cut
        patch.setattr(os, "fsync", lambda descriptor: None)
        mt.convert(source, folder / "dataset", dtype=store, features_json=features_json, workers=1)
    return folder / "dataset"


@pytest.fixture
def make_toy(tmp_path: Path) -> MakeToy:
    """Return a function that makes a dataset of this test's own, to be damaged at will."""

    def make(eras: Eras = ERAS, **options: Any) -> Path:
        return convert_toy(tmp_path, eras, **options)

    return make


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return datasets of the same eras, to be read only.

    `float32` and `int8`: two stores of one source of codes. `coordinates`: of a source of floats.
    `nulls float32` and `nulls int8`: with missing features and targets.
    """
    wanted: dict[str, dict[str, Any]] = {
        "float32": {"store": "float32", "dtype": "int8"},
        "int8": {"store": "int8", "dtype": "int8"},
        "coordinates": {"store": "float32", "dtype": "float32"},
        "nulls float32": {"store": "float32", "dtype": "int8", "nulls": True},
        "nulls int8": {"store": "int8", "dtype": "int8", "nulls": True},
    }
    return {
        name: convert_toy(
            tmp_path_factory.mktemp(name.replace(" ", "-")),
            ERAS,
            n_features=N_FEATURES,
            n_targets=N_TARGETS,
            row_group_rows=64,
            **options,
        )
        for name, options in wanted.items()
    }


@pytest.fixture(scope="session")
def many_eras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of 1,300 eras of 3 rows, as many as Numerai will have: to be read only."""
    return convert_toy(
        tmp_path_factory.mktemp("many"),
        {f"{era:04}": 3 for era in range(1, 1301)},
        n_features=3,
        n_targets=1,
        dtype="float32",
    )
