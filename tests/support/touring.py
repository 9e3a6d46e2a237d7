"""A tour of all file operations of the package, for systems that lack some of them."""

import hashlib
import json
import os
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

import memmap_train as mt
from memmap_train.cli.commands import main
from tests.support.toy import write_toy

ERAS = {f"{number:04}": 40 for number in range(1, 36)}
N_FEATURES, N_TARGETS = 9, 2


def command(*arguments: object) -> None:
    """Run one command, which must succeed; its output is discarded."""
    with redirect_stdout(StringIO()):
        code = main([str(argument) for argument in arguments])
    assert code == 0, arguments


def tour(folder: Path) -> dict[str, str]:
    """Convert, update, subset, verify and read; return digests of the files and batches."""
    source, whole, subset = folder / "source.parquet", folder / "whole", folder / "subset"
    sizes: dict[str, Any] = {"n_features": N_FEATURES, "n_targets": N_TARGETS}
    write_toy(source, ERAS, nulls=True, **sizes)
    command("convert", source, "--out", whole, "--dtype", "int8")
    write_toy(source, ERAS | {"0036": 30}, nulls=True, **sizes)
    command("convert", source, "--out", whole, "--dtype", "int8")
    command("convert", whole, "--out", subset, "--dtype", "float32")
    found = {}
    for path in (whole, subset):
        for name in ("verify", "inspect", "status", "warm"):
            command(name, path)
        dataset = mt.open_dataset(path)
        found[f"manifest of {path.name}"] = dataset.manifest.digest
        for columns in (None, dataset.feature_names[2:5], dataset.feature_names[::-2]):
            batches = mt.Batches(dataset, batch_size=64, seed=1, features=columns)
            digest = hashlib.sha256()
            for x, y in batches:
                digest.update(x.tobytes() + y.tobytes())
            found[f"batches of {path.name}, {columns}"] = digest.hexdigest()
        shard = dataset["0007"]
        arrays = (shard.features, shard.targets, shard.ids, shard.counts)
        content = b"".join(np.asarray(array).tobytes() for array in arrays)
        found[f"arrays of {path.name}"] = hashlib.sha256(content).hexdigest()
        names = {name for name in os.listdir(path) if not name.startswith("era-")}
        assert names == {"manifest.json"}
    return found


def tour_of_training(folder: Path) -> None:
    """Train on the datasets of `tour`, list the run, and predict."""
    run, table = folder / "run", folder / "predictions.csv"
    settings = ["--set", "epochs=1", "--set", "batch_size=128", "--set", "hidden=[4]"]
    command("train", folder / "whole", "--run", run, *settings)
    command("runs", folder)
    assert json.loads((run / "state.json").read_bytes())["best_epoch"] == 1
    assert not (run / ".lock").exists()
    command("predict", run, folder / "whole", "--out", table)
    assert len(table.read_text().splitlines()) == 1 + sum(ERAS.values()) + 30
