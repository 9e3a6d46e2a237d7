"""Tests of the Python examples in all READMEs: they run, and do what is said of them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.conversion.sample import write_sample
from memmap_train.runs.configuration.config import TrainConfig
from tests.support.readmes import (
    DATASET,
    DOCUMENTS,
    LOADING,
    LOSSES,
    MODELS,
    SCORING,
    SWEEPS,
    TOP,
    TRAINING,
    blocks,
)


@pytest.fixture
def sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_sample(tmp_path, n_eras=60, rows_per_era=300, n_features=12)
    labels = pq.read_table(tmp_path / "validation.parquet", columns=["target"])["target"]
    assert labels.slice(len(labels) - 300).null_count == 300  # as in Numerai's validation.parquet
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_python_example_is_tested() -> None:
    examples = {name: len(blocks("python", text)) for name, text in DOCUMENTS.items()}
    assert {name: n for name, n in examples.items() if n} == {
        TOP: 3,
        DATASET: 2,
        LOADING: 5,
        SCORING: 1,
        TRAINING: 2,
        LOSSES: 1,
        MODELS: 1,
        SWEEPS: 1,
    }


@pytest.fixture
def downloaded(sampled: Path) -> Path:
    """Move the sample's files to where the README has the user put Numerai's."""
    (sampled / "data").mkdir()
    for file in [path for path in sampled.iterdir() if path.is_file()]:
        file.rename(sampled / "data" / file.name)
    return sampled / "data"


def top_examples() -> dict[str, str]:
    _, *examples = blocks("python", DOCUMENTS[TOP])  # test_week_page.py runs the first
    return dict(zip(("numpy", "keras"), examples, strict=True))


def convert_downloaded(data: Path) -> None:
    sources = [data / "train.parquet", data / "validation.parquet"]
    mt.convert(sources, data / "shards", features_json=data / "features.json")


def test_the_numpy_example_at_the_top_reads_arrays(downloaded: Path) -> None:
    convert_downloaded(downloaded)
    names: dict[str, Any] = {}
    exec(top_examples()["numpy"], names)
    assert names["codes"].shape == (300, 12)
    assert names["x"].dtype == names["y"].dtype == np.float32
    assert (len(names["x"]), len(names["ids"]), names["y"].shape) == (600, 600, (600, 1))


def test_the_keras_example_at_the_top_validates_on_every_row(downloaded: Path) -> None:
    pytest.importorskip("keras")
    convert_downloaded(downloaded)
    names: dict[str, Any] = {}
    exec(top_examples()["keras"].replace("epochs=3", "epochs=2, verbose=0"), names)
    losses = names["model"].history.history
    assert np.isfinite([losses["loss"], losses["val_loss"]]).all()
    assert len(names["validation"]) == 2
    assert sum(len(y) for _, y in names["validation"]) == 20 * 300


def test_the_torch_example_validates_on_every_row(downloaded: Path) -> None:
    torch = pytest.importorskip("torch")
    convert_downloaded(downloaded)
    names: dict[str, Any] = {}
    exec(blocks("python", DOCUMENTS[LOADING])[3].replace("range(3)", "range(2)"), names)
    assert torch.isfinite(names["errors"]).all()
    assert names["errors"].shape == (20 * 300, 1)


def test_the_example_of_several_torch_processes_trains_the_same_model(downloaded: Path) -> None:
    torch = pytest.importorskip("torch")
    convert_downloaded(downloaded)
    Path("train_ddp.py").write_text(blocks("python", DOCUMENTS[LOADING])[4].replace("4096", "999"))
    found = []
    for n_processes in (1, 2):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(n_processes), "train_ddp.py"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        found.append(torch.load("model.pt"))
    alone_weights = found[0]["0.weight"]
    for name, alone in found[0].items():
        torch.testing.assert_close(found[1][name], alone, rtol=1e-4, atol=1e-6)
    torch.manual_seed(7)
    first_weights = torch.nn.Linear(12, 128).weight
    assert (first_weights - alone_weights).abs().max() > 1e-3


def test_the_examples_of_a_dataset_run(sampled: Path) -> None:
    opening, numpy_example = blocks("python", DOCUMENTS[DATASET])
    names: dict[str, Any] = {}
    exec(opening, names)
    assert isinstance(names["ds"], mt.Dataset)
    assert len(names["train"]) == 60 - len(unlabelled()) - 20
    assert mt.verify("data/shards") == mt.verify("data/small") == []
    exec(numpy_example, names)
    assert names["x"].shape == (300, 12)


def unlabelled() -> set[str]:
    ds = mt.open_dataset("data/shards")
    return set(ds) - set(ds.labelled_eras("target"))


def test_the_example_of_batches_runs(sampled: Path) -> None:
    sources = [sampled / "train.parquet", sampled / "validation.parquet"]
    mt.convert(sources, "data/shards", features_json="features.json")
    assert unlabelled()
    of_rows, of_eras, of_ranks, *_ = blocks("python", DOCUMENTS[LOADING])
    names: dict[str, Any] = {}
    exec(of_rows, names)
    x, y = names["x"], names["y"]
    assert (x.shape, y.shape) == ((4096, 6), (4096, 1))
    assert not np.isnan(y).any()
    exec(of_eras.replace("512", "64"), names)
    assert names["x"].shape == (4 * 300, 12)
    assert names["by_era"][123][0].shape == (8 * 64, 12)
    assert len(set(names["by_era"].eras_of(123))) == 8
    assert len(names["recent"]) == len(names["by_era"])
    exec(of_ranks, names)
    alone = mt.Batches(names["train"], batch_size=4096, seed=7, window_size=64)
    np.testing.assert_array_equal(names["x"], alone[123][0][1024:2048])


def test_the_example_of_a_users_loss_can_be_trained_with(
    downloaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("keras")
    convert_downloaded(downloaded)
    (own_loss,) = blocks("python", DOCUMENTS[LOSSES])
    (downloaded / "my_losses.py").write_text(own_loss)
    monkeypatch.syspath_prepend(downloaded)
    config = TrainConfig(loss="my_losses:trimmed", epochs=1, batch_size=256)
    run = mt.train("data/shards", "runs/own", config)
    assert 0 < run.history["loss"][0] < 0.1


def test_the_example_of_a_user_model_can_be_built() -> None:
    pytest.importorskip("keras")
    (own_model,) = blocks("python", DOCUMENTS[MODELS])
    names: dict[str, Any] = {}
    exec(own_model, names)
    assert names["build"](4, 2)(np.zeros((3, 4))).shape == (3, 2)


def test_the_example_of_a_callback_ends_a_training() -> None:
    keras = pytest.importorskip("keras")
    example, _ = blocks("python", DOCUMENTS[TRAINING])
    names: dict[str, Any] = {}
    exec(example, names)
    callback = names["GoodEnough"]()
    callback.set_model(keras.Sequential())
    ends = []
    for logs in ({"loss": 0.05}, {"val_corr_mean": 0.02}, {"val_corr_mean": 0.04}):
        callback.on_epoch_end(0, logs)
        ends.append(getattr(callback.model, "stop_training", False))
    assert ends == [False, False, True]


def test_the_example_of_training_in_python_runs(downloaded: Path) -> None:
    pytest.importorskip("keras")
    convert_downloaded(downloaded)
    _, example = blocks("python", DOCUMENTS[TRAINING])
    (of_a_sweep,) = blocks("python", DOCUMENTS[SWEEPS])
    names: dict[str, Any] = {}
    exec(example.replace("epochs=20", "epochs=1, batch_size=256"), names)
    of_a_sweep = of_a_sweep.replace("epochs=4", "epochs=1, batch_size=256")
    exec(of_a_sweep.replace("[0, 1, 2]", "[0]"), names)
    assert [len(row["trials"]) for row in names["found"].table()] == [1, 1]
    assert len(names["run"].folds) == 3
    assert np.isfinite(names["scores"]["numerai_corr"]).all()
    written = pq.read_table("out-of-fold.parquet")
    assert set(written["era"].to_pylist()) >= set(names["scores"]["era"].tolist())


def test_the_example_of_an_evaluation_runs(downloaded: Path) -> None:
    pytest.importorskip("keras")
    convert_downloaded(downloaded)
    run = mt.train("data/shards", "runs/first", TrainConfig(epochs=1, batch_size=256))
    mt.predict(run, "data/shards").to_csv("predictions.csv")
    (example,) = blocks("python", DOCUMENTS[SCORING])
    names: dict[str, Any] = {}
    exec(example, names)
    scores = names["evaluation"].models[0].by_target["target"]
    assert scores.statistics("corr").mean == pytest.approx(run.result.corr.mean)
    assert names["evaluation"].difference("predictions", "first").mean == pytest.approx(0)
    assert len(Path("scores/era_scores.csv").read_text().splitlines()) > len(scores.corr)
