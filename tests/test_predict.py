"""Predictions: every row once, in the dataset's order, whatever blocks the rows pass in."""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusal import refused
from scipy.stats import rankdata
from toy import toy_table
from training_data import N_FEATURES, ROWS_PER_ERA, all_rows, small_config

import memmap_train as mt
from memmap_train import storage
from memmap_train.cli import main
from memmap_train.direct import can_read_directly
from memmap_train.errors import ConfigError, DatasetError, RunError
from memmap_train.runs import begin_run
from memmap_train.training import predict as room
from memmap_train.training.model import build
from memmap_train.training.predict import Predictor, PredictReport, per_era_rank, predict

pytest_plugins = ["training_fixtures"]


def make_run(path: Path, features: list[str], **config: Any) -> Any:
    """Write a run with a model of random weights; return the model."""
    run = begin_run(path, {"features": features, "fill_missing": None, "dataset": "D"} | config)
    model = build(len(features), 2, small_config(hidden=(16,)))
    model.set_weights(
        [
            np.random.default_rng([number]).standard_normal(weight.shape).astype(np.float32)
            for number, weight in enumerate(model.get_weights())
        ]
    )
    model.save(run.model_path)
    return model


def read(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


def file_of(dataset: mt.Dataset, values: list[Any]) -> list[list[str]]:
    """Return what a file of these predictions must hold."""
    labels = [[name.decode(), era] for era in dataset.eras for name in np.asarray(dataset[era].ids)]
    lines = [[*label, str(value)] for label, value in zip(labels, values, strict=True)]
    return [["id", "era", "prediction"], *lines]


@pytest.fixture(params=[16, 100, 4096])
def any_block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(room, "BLOCK_ROWS", request.param)
    return request.param


def test_raw_predictions_are_the_models_own(sample: Path, tmp_path: Path, any_block: int) -> None:
    dataset = mt.open_dataset(sample)
    model = make_run(tmp_path / "run", list(dataset.feature_names))
    report = predict(tmp_path / "run", sample, tmp_path / "out.csv", raw=True)
    assert report == PredictReport(n_rows=dataset.n_rows, n_folds=0, left_out=(), n_repeated=0)
    expected = model(all_rows(dataset)[0]).numpy()[:, 0]
    written = read(tmp_path / "out.csv")
    assert written == file_of(dataset, [value[2] for value in written[1:]])
    found = np.array([value[2] for value in written[1:]], np.float32)
    assert found.tobytes() == expected.tobytes()
    assert len(set(found.tolist())) > dataset.n_rows / 2


def test_predictions_are_ranks_within_their_era(sample: Path, tmp_path: Path) -> None:
    dataset = mt.open_dataset(sample)
    model = make_run(tmp_path / "run", list(dataset.feature_names))
    predict(tmp_path / "run", sample, tmp_path / "out.csv")
    expected: list[float] = []
    for era in dataset.eras:
        raw = model(all_rows(dataset.select([era]))[0]).numpy()[:, 0]
        expected += ((rankdata(raw) - 0.5) / ROWS_PER_ERA).tolist()
    assert read(tmp_path / "out.csv") == file_of(dataset, expected)
    assert 0 < min(expected) < max(expected) < 1


def test_the_same_rows_get_the_same_predictions_in_any_dataset(
    sample: Path, live: Path, convert_sample: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = mt.open_dataset(sample)
    make_run(tmp_path / "run", list(dataset.feature_names))
    predict(tmp_path / "run", sample, tmp_path / "float32.csv", raw=True)
    int8 = convert_sample(dtype="int8")
    predict(tmp_path / "run", int8, tmp_path / "int8.csv", raw=True)
    assert (tmp_path / "int8.csv").read_bytes() == (tmp_path / "float32.csv").read_bytes()
    validation = convert_sample("validation.parquet", dtype="int8")
    predict(tmp_path / "run", validation, tmp_path / "validation.csv", raw=True)
    n_rows = mt.open_dataset(validation).n_rows
    assert read(tmp_path / "validation.csv")[1:] == read(tmp_path / "int8.csv")[-n_rows:]
    assert predict(tmp_path / "run", live, tmp_path / "live.csv").n_rows == ROWS_PER_ERA
    assert {line[1] for line in read(tmp_path / "live.csv")[1:]} == {"X"}


def test_what_doesnt_fit_into_memory_is_predicted_alike(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    found = []
    for available in (10**12, 0):
        monkeypatch.setattr(storage, "available_memory", lambda given=available: given)
        with mock.patch.object(room, "RowBlocks", side_effect=room.RowBlocks) as blocks:
            predict(tmp_path / "run", sample, tmp_path / "out.csv", raw=True)
        found.append((tmp_path / "out.csv").read_bytes())
        assert blocks.call_args.kwargs == {
            "past_cache": not available and can_read_directly(sample / "manifest.json")
        }
    assert found[0] == found[1]


def test_features_are_found_by_name(sample: Path, tmp_path: Path) -> None:
    dataset = mt.open_dataset(sample)
    names = [dataset.feature_names[column] for column in (6, 1, 3)]
    model = make_run(tmp_path / "run", names)
    predict(tmp_path / "run", sample, tmp_path / "out.csv", raw=True)
    expected = model(np.ascontiguousarray(all_rows(dataset)[0][:, [6, 1, 3]])).numpy()[:, 0]
    found = np.array([line[2] for line in read(tmp_path / "out.csv")[1:]], np.float32)
    assert found.tobytes() == expected.tobytes()


@pytest.fixture
def two_runs(sample: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return two runs with different models of different features."""
    names = list(mt.open_dataset(sample).feature_names)
    make_run(tmp_path / "first", names)
    model = make_run(tmp_path / "second", [names[5], names[2]])
    model.set_weights([weight[::-1] for weight in model.get_weights()])
    model.save(tmp_path / "second" / "model.keras")
    return tmp_path / "first", tmp_path / "second"


@pytest.mark.parametrize("raw", [False, True])
def test_several_runs_predict_the_mean_of_what_each_does(
    raw: bool, two_runs: tuple[Path, Path], sample: Path, tmp_path: Path
) -> None:
    alone = []
    for run in two_runs:
        predict(run, sample, tmp_path / "alone.csv", raw=raw)
        alone.append([float(line[2]) for line in read(tmp_path / "alone.csv")[1:]])
    seen: list[tuple[int, int]] = []
    n_rows = predict(
        two_runs, sample, tmp_path / "out.csv", raw=raw, progress=lambda *now: seen.append(now)
    ).n_rows
    together = read(tmp_path / "out.csv")
    found = [float(line[2]) for line in together[1:]]
    np.testing.assert_allclose(found, np.mean(alone, axis=0), rtol=1e-6, atol=1e-6)
    assert together == file_of(mt.open_dataset(sample), [line[2] for line in together[1:]])
    assert not np.allclose(alone[0], alone[1])
    assert seen[-1] == (2 * n_rows, 2 * n_rows)
    assert seen == sorted(seen)


def test_of_several_runs_the_one_that_doesnt_fit_is_named(
    two_runs: tuple[Path, Path], sample: Path, tmp_path: Path
) -> None:
    make_run(tmp_path / "third", ["feature_new"])
    with refused(DatasetError, "third", "'feature_new'"):
        predict([*two_runs, tmp_path / "third"], sample, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_features_that_are_lacking_are_named(sample: Path, tmp_path: Path) -> None:
    names = [*mt.open_dataset(sample).feature_names, "feature_new_1", "feature_new_2"]
    make_run(tmp_path / "run", names)
    with refused(DatasetError, "'feature_new_1', 'feature_new_2'"):
        predict(tmp_path / "run", sample, tmp_path / "out.csv")
    assert os.listdir(tmp_path) == ["run"]


def test_a_dataset_without_ids_is_refused(make_toy: Callable[..., Path], tmp_path: Path) -> None:
    dataset = mt.open_dataset(make_toy({"0001": 30}, ids=False))
    make_run(tmp_path / "run", list(dataset.feature_names))
    with refused(DatasetError, "'0001'", "no ids", "--id-column"):
        predict(tmp_path / "run", dataset.path, tmp_path / "out.csv")


def test_missing_features_are_filled_or_refused(with_missing: Path, tmp_path: Path) -> None:
    dataset = mt.open_dataset(with_missing)
    make_run(tmp_path / "run", list(dataset.feature_names))
    with refused(ConfigError, "'0001'", "fill_missing"):
        predict(tmp_path / "run", dataset.path, tmp_path / "out.csv")
    model = make_run(tmp_path / "filling", list(dataset.feature_names), fill_missing=0.25)
    predict(tmp_path / "filling", dataset.path, tmp_path / "out.csv", raw=True)
    x, _ = all_rows(dataset)
    assert np.isnan(x).any()
    expected = model(np.where(np.isnan(x), np.float32(0.25), x)).numpy()[:, 0]
    found = np.array([line[2] for line in read(tmp_path / "out.csv")[1:]], np.float32)
    assert found.tobytes() == expected.tobytes()


def test_what_isnt_a_run_or_has_no_model_is_refused(sample: Path, tmp_path: Path) -> None:
    with refused(RunError, "not a run"):
        predict(tmp_path / "none", sample, tmp_path / "out.csv")
    make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    (tmp_path / "run" / "model.keras").unlink()
    with refused(RunError, "no model.keras", "--resume"):
        predict(tmp_path / "run", sample, tmp_path / "out.csv")


def test_a_damaged_model_is_refused(sample: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    file = tmp_path / "run" / "model.keras"
    for damaged in (b"", file.read_bytes()[:500], b"x" * 500):
        file.write_bytes(damaged)
        with refused(RunError, "model.keras", "damaged"):
            predict(tmp_path / "run", sample, tmp_path / "out.csv")


def test_a_file_that_cant_be_written_is_refused_before_anything_is_predicted(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    monkeypatch.setattr(room, "_predicted", None)
    for out, said in (
        (tmp_path / "none" / "out.csv", "no folder"),
        (tmp_path, "name a file"),
        (Path("/"), "name a file"),
        (Path(), "name a file"),
        (sample / "manifest.json" / "out.csv", "no folder"),
    ):
        with refused(RunError, str(out), "can't be written", said):
            predict(tmp_path / "run", sample, out)


def test_ids_that_stand_twice_are_counted_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = toy_table({"0001": 10, "0002": 10})
    ids = table["id"].to_pylist()
    ids[3], ids[7], ids[12] = ids[2], ids[2], ids[0]  # the last one is of another era
    table = table.set_column(table.column_names.index("id"), "id", pa.array(ids))
    pq.write_table(table, tmp_path / "toy.parquet")
    dataset = mt.convert(tmp_path / "toy.parquet", tmp_path / "toy").dataset
    make_run(tmp_path / "run", list(dataset.feature_names))
    assert predict(tmp_path / "run", dataset.path, tmp_path / "out.csv").n_repeated == 2
    command = ["predict", str(tmp_path / "run"), str(dataset.path), "--out", str(tmp_path / "o")]
    assert main(command) == 0
    assert "2 rows have the id of another row of their era" in capsys.readouterr().out


def test_predictions_that_arent_numbers_are_refused(sample: Path, tmp_path: Path) -> None:
    model = make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    broken = model.get_weights()
    broken[-1][:] = np.nan
    model.set_weights(broken)
    model.save(tmp_path / "run" / "model.keras")
    (tmp_path / "out.csv").write_text("old")
    with refused(RunError, "aren't numbers", "'0001'"):
        predict(tmp_path / "run", sample, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "run"]


def test_progress_counts_rows(sample: Path, tmp_path: Path, any_block: int) -> None:
    dataset = mt.open_dataset(sample)
    make_run(tmp_path / "run", list(dataset.feature_names))
    seen: list[tuple[int, int]] = []
    predict(tmp_path / "run", sample, tmp_path / "out.csv", progress=lambda *now: seen.append(now))
    ends = list(range(any_block, dataset.n_rows, any_block))
    assert seen == [(end, dataset.n_rows) for end in [*ends, dataset.n_rows]]


@given(rows=st.lists(st.integers(1, 40), min_size=1, max_size=12), block=st.integers(1, 50))
def test_eras_are_put_together_whatever_their_sizes(rows: list[int], block: int) -> None:
    class Numbers:
        """Eras that are no files: the features of a row are its number in the dataset."""

        eras = tuple(str(number) for number in range(len(rows)))
        rows_per_era = tuple(rows)
        n_rows = sum(rows)

        def feature_columns(self, names: list[str]) -> None:
            assert names == ["a", "b"]

    class NumberedRows:
        def __init__(self, *arguments: Any, past_cache: bool) -> None:
            pass

        def fill(self, block: Any, low: int) -> None:
            there = block[: sum(rows) - low]
            there[:] = np.arange(low, low + len(there))[:, None]

        def close(self) -> None:
            pass

    predictor = Predictor.__new__(Predictor)
    predictor._blocks = [np.zeros((block, 2), np.float32) for _ in range(2)]
    predictor.run = lambda x: x + 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "BLOCK_ROWS", block)
        patch.setattr(room, "RowBlocks", NumberedRows)
        found = list(predictor.predict(Numbers(), ["a", "b"]))  # type: ignore[arg-type]
    assert [era for era, _ in found] == list(Numbers.eras)
    assert [len(values) for _, values in found] == rows
    together = np.concatenate([values for _, values in found])
    np.testing.assert_array_equal(together[:, 0], np.arange(sum(rows)))


def test_equal_predictions_share_a_rank() -> None:
    found = per_era_rank(np.zeros(N_FEATURES, np.float32))
    assert found.tolist() == [0.5] * N_FEATURES
