"""Predictions: every row once, in the dataset's order, whatever blocks the rows pass in."""

import csv
import os
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.conversion.parquet import predictions
from memmap_train.errors import ConfigError, DatasetError, ModelError, RunError
from memmap_train.loading.sequential import SequentialReader
from memmap_train.runs.scores.metrics import uniform_ranks
from memmap_train.system.direct_io import can_read_directly
from memmap_train.system.memory_budget import PROCESS_MEMORY
from memmap_train.training.prediction import ensemble
from memmap_train.training.prediction import predictor as predicting
from memmap_train.training.prediction.predict import write_predictions
from memmap_train.training.prediction.predictions import PredictReport
from memmap_train.training.prediction.predictor import regroup
from tests.support.errors import refused
from tests.support.random_models import make_run
from tests.support.toy import toy_table
from tests.support.training_data import N_ERAS, N_FEATURES, ROWS_PER_ERA, all_rows

pytest_plugins = ["tests.support.training_fixtures"]


def read(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


def file_of(dataset: mt.Dataset, values: list[Any]) -> list[list[str]]:
    """Return what a file of these predictions must hold."""
    names = [name.decode() for era in dataset.eras for name in np.asarray(dataset[era].ids)]
    lines = [[name, str(value)] for name, value in zip(names, values, strict=True)]
    return [["id", "prediction"], *lines]


@pytest.fixture(params=[16, 100, 4096])
def any_block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(predicting, "BLOCK_ROWS", request.param)
    return int(request.param)


def test_raw_predictions_are_the_models_own(sample: Path, tmp_path: Path, any_block: int) -> None:
    dataset = mt.open_dataset(sample)
    model = make_run(tmp_path / "run", list(dataset.feature_names))
    report = write_predictions(tmp_path / "run", sample, tmp_path / "out.csv", raw=True)
    expected = model.predict(all_rows(dataset)[0], verbose=0)[:, 0]
    n_outside = int(np.count_nonzero((expected < 0) | (expected > 1)))
    assert report == PredictReport(
        n_rows=dataset.n_rows,
        n_folds=0,
        left_out=(),
        n_repeated=0,
        n_outside=n_outside,
        is_constant=False,
        is_in_stdout=False,
        objections=(
            f"{n_outside:,} predictions lie outside 0 to 1, which Numerai doesn't take; without "
            "--raw they are ranks between 0 and 1",
        ),
    )
    assert report.n_outside
    written = read(tmp_path / "out.csv")
    assert written == file_of(dataset, [value[1] for value in written[1:]])
    found = np.array([value[1] for value in written[1:]], np.float32)
    assert found.tobytes() == expected.tobytes()
    assert len(set(found.tolist())) > dataset.n_rows / 2


def test_predictions_are_ranks_within_their_era(sample: Path, tmp_path: Path) -> None:
    dataset = mt.open_dataset(sample)
    model = make_run(tmp_path / "run", list(dataset.feature_names))
    write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")
    expected: list[float] = []
    for era in dataset.eras:
        raw = model.predict(all_rows(dataset.select([era]))[0], verbose=0)[:, 0]
        expected += ((rankdata(raw) - 0.5) / ROWS_PER_ERA).tolist()
    assert read(tmp_path / "out.csv") == file_of(dataset, expected)
    assert 0 < min(expected) < max(expected) < 1


def test_the_same_rows_get_the_same_predictions_in_any_dataset(
    sample: Path, live: Path, convert_sample: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = mt.open_dataset(sample)
    make_run(tmp_path / "run", list(dataset.feature_names))
    write_predictions(tmp_path / "run", sample, tmp_path / "float32.csv", raw=True)
    int8 = convert_sample(dtype="int8")
    write_predictions(tmp_path / "run", int8, tmp_path / "int8.csv", raw=True)
    assert (tmp_path / "int8.csv").read_bytes() == (tmp_path / "float32.csv").read_bytes()
    validation = convert_sample("validation.parquet", dtype="int8")
    write_predictions(tmp_path / "run", validation, tmp_path / "validation.csv", raw=True)
    n_rows = mt.open_dataset(validation).n_rows
    assert read(tmp_path / "validation.csv")[1:] == read(tmp_path / "int8.csv")[-n_rows:]
    write_predictions(tmp_path / "run", live, tmp_path / "live.csv", era=True)
    assert [line[1] for line in read(tmp_path / "live.csv")] == ["era", *["X"] * ROWS_PER_ERA]


def test_what_doesnt_fit_into_memory_is_predicted_alike(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    found = []
    for available in (10**12, 0):
        monkeypatch.setattr(PROCESS_MEMORY, "available", lambda given=available: given)
        with mock.patch.object(
            predicting, "SequentialReader", side_effect=SequentialReader
        ) as blocks:
            write_predictions(tmp_path / "run", sample, tmp_path / "out.csv", raw=True)
        found.append((tmp_path / "out.csv").read_bytes())
        assert blocks.call_args.kwargs == {
            "past_cache": not available and can_read_directly(sample / "manifest.json")
        }
    assert found[0] == found[1]


def test_features_are_found_by_name(sample: Path, tmp_path: Path) -> None:
    dataset = mt.open_dataset(sample)
    names = [dataset.feature_names[column] for column in (6, 1, 3)]
    model = make_run(tmp_path / "run", names)
    write_predictions(tmp_path / "run", sample, tmp_path / "out.csv", raw=True)
    x = np.ascontiguousarray(all_rows(dataset)[0][:, [6, 1, 3]])
    expected = model.predict(x, verbose=0)[:, 0]
    found = np.array([line[1] for line in read(tmp_path / "out.csv")[1:]], np.float32)
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
        write_predictions(run, sample, tmp_path / "alone.csv", raw=raw)
        alone.append([float(line[1]) for line in read(tmp_path / "alone.csv")[1:]])
    seen: list[tuple[int, int]] = []
    n_rows = write_predictions(
        two_runs, sample, tmp_path / "out.csv", raw=raw, progress=lambda _, *now: seen.append(now)
    ).n_rows
    together = read(tmp_path / "out.csv")
    found = [float(line[1]) for line in together[1:]]
    np.testing.assert_allclose(found, np.mean(alone, axis=0), rtol=1e-6, atol=1e-6)
    assert together == file_of(mt.open_dataset(sample), [line[1] for line in together[1:]])
    assert not np.allclose(alone[0], alone[1])
    assert seen[-1] == (2 * n_rows, 2 * n_rows)
    assert seen == sorted(seen)


def test_of_several_runs_the_one_that_doesnt_fit_is_named(
    two_runs: tuple[Path, Path], sample: Path, tmp_path: Path
) -> None:
    make_run(tmp_path / "third", ["feature_new"])
    with refused(DatasetError, "third", "'feature_new'"):
        write_predictions([*two_runs, tmp_path / "third"], sample, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_features_that_are_lacking_are_named(sample: Path, tmp_path: Path) -> None:
    names = [*mt.open_dataset(sample).feature_names, "feature_new_1", "feature_new_2"]
    make_run(tmp_path / "run", names)
    with refused(DatasetError, "'feature_new_1', 'feature_new_2'"):
        write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")
    assert os.listdir(tmp_path) == ["run"]


def test_a_dataset_without_ids_is_refused(make_toy: Callable[..., Path], tmp_path: Path) -> None:
    dataset = mt.open_dataset(make_toy({"0001": 30}, ids=False))
    make_run(tmp_path / "run", list(dataset.feature_names))
    with refused(DatasetError, "'0001'", "no ids", "--id-column"):
        write_predictions(tmp_path / "run", dataset.path, tmp_path / "out.csv")


def test_missing_features_are_filled_or_refused(with_missing: Path, tmp_path: Path) -> None:
    dataset = mt.open_dataset(with_missing)
    make_run(tmp_path / "run", list(dataset.feature_names))
    with refused(ConfigError, "'0001'", "fill_missing"):
        write_predictions(tmp_path / "run", dataset.path, tmp_path / "out.csv")
    model = make_run(tmp_path / "filling", list(dataset.feature_names), fill_missing=0.25)
    write_predictions(tmp_path / "filling", dataset.path, tmp_path / "out.csv", raw=True)
    x, _ = all_rows(dataset)
    assert np.isnan(x).any()
    filled = np.where(np.isnan(x), np.float32(0.25), x)
    expected = model.predict(filled, verbose=0)[:, 0]
    found = np.array([line[1] for line in read(tmp_path / "out.csv")[1:]], np.float32)
    assert found.tobytes() == expected.tobytes()


def test_what_isnt_a_run_or_has_no_model_is_refused(sample: Path, tmp_path: Path) -> None:
    with refused(RunError, "not a run"):
        write_predictions(tmp_path / "none", sample, tmp_path / "out.csv")
    make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    (tmp_path / "run" / "model.keras").unlink()
    with refused(RunError, "no model.keras", "--resume"):
        write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")


def test_a_damaged_model_is_refused(sample: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    file = tmp_path / "run" / "model.keras"
    for damaged in (b"", file.read_bytes()[:500], b"x" * 500):
        file.write_bytes(damaged)
        with refused(RunError, "model.keras", "damaged"):
            write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")


def test_a_file_that_cant_be_written_is_refused_before_anything_is_predicted(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    monkeypatch.setattr(ensemble, "predict_rows", None)
    for out, said in (
        (tmp_path / "none" / "out.csv", "no folder"),
        (tmp_path, "name a file"),
        (Path("/"), "name a file"),
        (Path(), "name a file"),
        (sample / "manifest.json" / "out.csv", "no folder"),
        (tmp_path / "out.csv.gz", "ends in .csv or .parquet"),
        (tmp_path / "out", "ends in .csv or .parquet"),
        (Path("/proc/out.csv"), ""),
        (Path("/dev/fd/999"), "Bad file descriptor"),
    ):
        with refused(RunError, str(out), "can't be written", said):
            write_predictions(tmp_path / "run", sample, out)
    with refused(RunError, "xxx…: too long for a name"):
        write_predictions(tmp_path / "run", sample, tmp_path / ("x" * 300 + ".csv"))


def dataset_with_ids(folder: Path, ids: list[str], name: str = "id") -> mt.Dataset:
    """Return a toy dataset of two eras of ten rows with these ids."""
    table = (
        toy_table({"0001": 10, "0002": 10}).drop_columns("id").append_column(name, pa.array(ids))
    )
    pq.write_table(table, folder / "toy.parquet")
    return mt.convert(folder / "toy.parquet", folder / "toy", id_column=name).dataset


def test_ids_that_stand_twice_are_counted_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [f"n{number:02}" for number in range(20)]
    ids[3], ids[7], ids[12] = ids[2], ids[2], ids[0]  # the last one is of another era
    dataset = dataset_with_ids(tmp_path, ids)
    make_run(tmp_path / "run", list(dataset.feature_names))
    assert write_predictions(tmp_path / "run", dataset.path, tmp_path / "out.csv").n_repeated == 3
    assert (
        write_predictions(tmp_path / "run", dataset.path, tmp_path / "o.csv", era=True).n_repeated
        == 2
    )
    command = [
        "predict",
        str(tmp_path / "run"),
        str(dataset.path),
        "--out",
        str(tmp_path / "o.csv"),
    ]
    assert main(command) == 0
    assert "3 rows have the id of another row;" in capsys.readouterr().out
    assert main([*command, "--era"]) == 0
    assert "2 rows have the id of another row of their era" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "written"),
    [("numerai_ticker", "numerai_ticker"), ("__index_level_0__", "id"), ("id", "id")],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_ids_keep_their_name_but_for_that_of_an_index_without_one(
    source: str, written: str, suffix: str, tmp_path: Path
) -> None:
    ids = [f"A, {number}" for number in range(20)]
    dataset = dataset_with_ids(tmp_path, ids, source)
    make_run(tmp_path / "run", list(dataset.feature_names))
    out = tmp_path / f"out{suffix}"
    write_predictions(tmp_path / "run", dataset.path, out, era=True)
    if suffix == ".csv":
        names, *lines = read(out)
    else:
        table = pq.read_table(out)
        names, lines = table.column_names, [list(row.values()) for row in table.to_pylist()]
    assert names == [written, "era", "prediction"]
    assert [line[:2] for line in lines] == [
        [name, era] for name, era in zip(ids, ["0001"] * 10 + ["0002"] * 10, strict=True)
    ]


@pytest.mark.parametrize("raw", [False, True])
def test_parquet_holds_the_numbers_of_the_csv_file(
    raw: bool, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "_ROWS_PER_GROUP", 3 * ROWS_PER_ERA)
    make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    for name in ("out.csv", "out.parquet"):
        write_predictions(tmp_path / "run", sample, tmp_path / name, raw=raw)
    table = pq.read_table(tmp_path / "out.parquet")
    _, *lines = read(tmp_path / "out.csv")
    assert table.column_names == ["id", "prediction"]
    assert table["id"].to_pylist() == [line[0] for line in lines]
    dtype = np.float32 if raw else np.float64
    assert table["prediction"].to_numpy().dtype == dtype
    assert table["prediction"].to_pylist() == [float(dtype(line[1])) for line in lines]
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == N_ERAS / 3
    assert table.schema.metadata is None  # pandas reads `id` as a column


def test_numerai_accepts_what_is_written(sample: Path, live: Path, tmp_path: Path) -> None:
    submissions = pytest.importorskip("numerai_tools.submissions")
    pandas = pytest.importorskip("pandas")
    make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    universe = pandas.Series(np.char.decode(np.array(mt.open_dataset(live)["X"].ids)), name="id")
    for name, reading in (("out.csv", pandas.read_csv), ("out.parquet", pandas.read_parquet)):
        write_predictions(tmp_path / "run", live, tmp_path / name)
        *columns, _, invalid = submissions.validate_submission_numerai(
            universe, reading(tmp_path / name)
        )
        assert (columns, len(invalid)) == (["id", "prediction"], 0)


def test_what_numerai_wouldnt_take_is_said(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    out = str(tmp_path / "out.csv")
    command = ["predict", str(tmp_path / "run"), str(sample), "--out", out]
    assert main(command) == 0
    assert "Numerai" not in capsys.readouterr().out
    assert main([*command, "--raw"]) == 0
    assert "predictions lie outside 0 to 1" in capsys.readouterr().out
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    model.save(tmp_path / "run" / "model.keras")
    assert main(command) == 0
    assert "all predictions are equal" in capsys.readouterr().out


def test_no_run_is_refused(sample: Path, tmp_path: Path) -> None:
    with refused(RunError, "no run is named"):
        write_predictions([], sample, tmp_path / "out.csv")


def test_predictions_that_arent_numbers_are_refused(sample: Path, tmp_path: Path) -> None:
    model = make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    broken = model.get_weights()
    broken[-1][:] = np.nan
    model.set_weights(broken)
    model.save(tmp_path / "run" / "model.keras")
    (tmp_path / "out.csv").write_text("id,prediction\n")
    with refused(ModelError, "aren't numbers", "'0001'"):
        write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "id,prediction\n"
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "run"]


def test_progress_counts_rows(sample: Path, tmp_path: Path, any_block: int) -> None:
    dataset = mt.open_dataset(sample)
    make_run(tmp_path / "run", list(dataset.feature_names))
    seen: list[tuple[int, int]] = []
    write_predictions(
        tmp_path / "run", sample, tmp_path / "out.csv", progress=lambda _, *now: seen.append(now)
    )
    ends = list(range(any_block, dataset.n_rows, any_block))
    assert seen == [(end, dataset.n_rows) for end in [*ends, dataset.n_rows]]


@given(rows=st.lists(st.integers(1, 40), min_size=1, max_size=12), block=st.integers(1, 50))
def test_eras_are_put_together_whatever_their_sizes(rows: list[int], block: int) -> None:
    numbers = np.arange(2 * sum(rows), dtype=np.float32).reshape(-1, 2)
    taken: list[int] = []

    def blocks() -> Iterator[Any]:
        for low in range(0, len(numbers), block):
            taken.append(min(low + block, len(numbers)))
            yield numbers[low : low + block]

    found = []
    for end, era in zip(accumulate(rows), regroup(blocks(), rows), strict=True):
        assert taken[-1] - end < block  # no more was read than the era needs
        found.append(era.copy())
        era[:] = -1  # a copy of the caller's own
    assert [len(era) for era in found] == rows
    np.testing.assert_array_equal(np.concatenate(found), numbers)


def test_equal_predictions_share_a_rank() -> None:
    found = uniform_ranks(np.zeros(N_FEATURES, np.float32))
    assert found.tolist() == [0.5] * N_FEATURES
