"""No byte of embargoed or validation eras has a part in a model, whatever it is trained with."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.training.train import train_run
from tests.support.training_data import Script, small_config
from tests.support.training_runs import weights

pytest_plugins = ["tests.support.training_fixtures"]

EMBARGOED, VALIDATED = ("0008", "0009"), ("0010", "0011", "0012")
MODELS: dict[str, dict[str, Any]] = {
    "ridge": {
        "model": "ridge",
        "era_weights": "half_life:3",
        "target_transform": "gaussian",
        "fill_missing": 0.3,
    },
    "ridge on labels": {"model": "ridge", "era_weights": "equal"},
    "autoencoder": {"model": "autoencoder", "target_transform": "rank", "batch_size": 64},
    "batches of eras": {
        "eras_per_batch": 2,
        "era_weights": "half_life:3",
        "loss": "numerai_corr",
        "batch_size": None,
        "target_transform": "gaussian",
        "normalization": "batch",
        "additive": "quadratic",
    },
}


@pytest.fixture(scope="module")
def damaged(with_missing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset whose embargoed eras are unreadable, and whose validation eras differ."""
    copy = tmp_path_factory.mktemp("damaged") / "dataset"
    shutil.copytree(with_missing, copy)
    unread = [file for era in EMBARGOED for file in (copy / f"era-{era}").iterdir()]
    unread += [copy / f"era-{era}" / "counts.npy" for era in VALIDATED]
    for file in unread:
        file.write_bytes(b"\xff" * file.stat().st_size)
    for era in VALIDATED:
        for array in ("features", "targets"):
            file = copy / f"era-{era}" / f"{array}.npy"
            np.save(file, np.load(file)[::-1] / 2)
            os.utime(file, ns=(0, 0))  # a file of long ago is believed without its digest
    return copy


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_made_of_its_training_eras_alone(
    name: str, with_missing: Path, damaged: Path, tmp_path: Path
) -> None:
    values: dict[str, Any] = {
        "targets": mt.open_dataset(with_missing).target_names,
        "validation_eras": len(VALIDATED),
        "embargo_eras": len(EMBARGOED),
        "allow_overlap": True,
        "fill_missing": 0.5,
        "epochs": 1,
        **MODELS[name],
    }
    config = small_config(**values)
    scores = []
    for dataset in (with_missing, damaged):
        script = Script()
        train_run(dataset, tmp_path / dataset.parent.name, config, report=script)
        assert script.plan is not None
        assert (script.plan.n_train_eras, script.plan.n_embargo_eras) == (7, 2)
        scores.append((tmp_path / dataset.parent.name / "era_scores.csv").read_bytes())
    first, second = (weights(tmp_path / path.parent.name) for path in (with_missing, damaged))
    assert [array.tobytes() for array in first] == [array.tobytes() for array in second]
    assert scores[0] != scores[1]
