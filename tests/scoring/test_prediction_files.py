"""Files of predictions are matched to a dataset's rows, however they are laid out."""

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import memmap_train as mt
from memmap_train.conversion.parquet import prediction_reader
from memmap_train.conversion.parquet.prediction_reader import read_predictions
from memmap_train.conversion.sample import write_sample
from memmap_train.errors import SourceError
from memmap_train.progress import ignore
from memmap_train.scoring.model_predictions import predictions_in_file
from tests.benchmarks.measuring import alone
from tests.support.errors import refused
from tests.support.scoring_data import ERAS, predictions_frame

pytest_plugins = ["tests.support.scoring_fixtures"]


def write(frame: pd.DataFrame, path: Path, layout: str) -> None:
    """Write a frame that is indexed by id, in one of many layouts."""
    if layout == "csv":
        frame.to_csv(path)
    elif layout == "csv, unnamed index":
        frame.rename_axis(None).to_csv(path)
    elif layout == "csv, numbered rows":
        frame.reset_index().to_csv(path)
    elif layout == "csv, quoted":
        frame.to_csv(path, quoting=2, lineterminator="\r\n", encoding="utf-8-sig")
    elif layout == "parquet, index":
        frame.to_parquet(path)
    elif layout == "parquet, column":
        frame.reset_index().to_parquet(path, index=False)
    elif layout == "parquet, other index":
        frame.rename_axis("name of a row").to_parquet(path)
    elif layout == "parquet, two indices" and "era" in frame:
        frame.set_index("era", append=True).to_parquet(path)
    elif layout == "parquet, unnamed index":
        frame.rename_axis(None).to_parquet(path)
    else:
        table = pa.Table.from_pandas(frame.reset_index(), preserve_index=False)
        pq.write_table(table, path, row_group_size=50, use_dictionary=False)


LAYOUTS = (
    "csv",
    "csv, unnamed index",
    "csv, numbered rows",
    "csv, quoted",
    "parquet, index",
    "parquet, column",
    "parquet, other index",
    "parquet, two indices",
    "parquet, unnamed index",
    "parquet, small row groups",
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layout=st.sampled_from(LAYOUTS),
    eras=st.sampled_from(["none", "text", "number", "category", "other spelling"]),
    name=st.sampled_from(["prediction", "target_ender_20"]),
    dtype=st.sampled_from(["float64", "float32"]),
    kept=st.sampled_from([1.0, 0.7]),
    n_surplus=st.integers(0, 5),
    block_rows=st.sampled_from([7, 100, 2**16]),
    seed=st.integers(0, 2**16),
)
def test_every_row_gets_its_own_prediction_whatever_the_layout(
    layout: str,
    eras: str,
    name: str,
    dtype: str,
    kept: float,
    n_surplus: int,
    block_rows: int,
    seed: int,
    frame: pd.DataFrame,
    scored_dataset: Path,
    tmp_path: Path,
) -> None:
    whole = predictions_frame(frame).astype({"prediction": dtype})
    written = whole.sample(frac=kept, random_state=seed)
    surplus = pd.DataFrame(
        {"era": "0003", "prediction": np.full(n_surplus, 0.5, dtype)},
        index=pd.Index([f"surplus{number}" for number in range(n_surplus)], name="id"),
    )
    changed = pd.concat([written, surplus]).sample(frac=1, random_state=seed)
    changed = changed.rename(columns={"prediction": name})
    changed["era"] = {
        "number": changed["era"].astype(int),
        "category": changed["era"].astype("category"),
        "other spelling": "era" + changed["era"].str.lstrip("0"),
    }.get(eras, changed["era"])
    if eras == "none":
        changed = changed.drop(columns="era")
    path = tmp_path / "predictions"
    write(changed, path, layout)
    dataset = mt.open_dataset(scored_dataset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prediction_reader, "_ROWS_AT_ONCE", block_rows)
        patch.setattr(prediction_reader, "_BLOCK_BYTES", 64 * block_rows)
        found = predictions_in_file(path, dataset, ERAS, ERAS, ignore)
    for era in ERAS:
        ids = [row_id.decode() for row_id in np.asarray(dataset[era].ids)]
        expected = written["prediction"].reindex(ids).to_numpy(np.float64)
        # CSV holds the shortest text of a number, which gives back its own dtype.
        np.testing.assert_array_equal(
            found.values[era].astype(dtype), expected.astype(dtype), strict=True
        )
    note = f"{n_surplus} row{'s' if n_surplus != 1 else ''} not in the dataset left out"
    assert (note in found.notes) == (n_surplus > 0)
    assert any("have no prediction in 12 eras" in note for note in found.notes) == (kept < 1)


def write_by_id(path: Path, ids: Sequence[str], eras: Sequence[str] | None = None) -> None:
    values = np.arange(len(ids)) / 8
    columns = {"id": list(ids), "prediction": values} | ({"era": eras} if eras is not None else {})
    pd.DataFrame(columns).to_csv(path, index=False)


def convert_ids(folder: Path, ids: Sequence[str], eras: Sequence[str]) -> Path:
    """Convert a source with these ids and eras; return the dataset's path."""
    codes = np.arange(len(ids)) % 5
    table = pd.DataFrame({"era": eras, "feature_a": codes.astype("int8"), "target": codes / 4})
    table.assign(id=list(ids)).to_parquet(folder / "source.parquet", index=False)
    return mt.convert(folder / "source.parquet", folder / "dataset", workers=1).dataset.path


def test_ids_that_repeat_in_other_eras_need_the_era(tmp_path: Path) -> None:
    tickers, days = list("abcdef"), ["2024-01-05"] * 6 + ["2024-01-12"] * 6
    dataset = convert_ids(tmp_path, tickers * 2, days)
    path = tmp_path / "predictions.csv"
    write_by_id(path, tickers * 2, [day.replace("-", "") for day in days])
    (model,) = mt.evaluate(path, dataset).models
    assert model.eras == ("2024-01-05", "2024-01-12")
    turnover = model.exposures.turnover
    assert np.isnan(turnover[0])
    assert turnover[1] == pytest.approx(0, abs=1e-12)
    write_by_id(path, tickers)
    with refused(SourceError, "the id 'a' is in several eras", "'2024-01-05' and '2024-01-12'"):
        mt.evaluate(path, dataset)
    write_by_id(path, tickers * 2)
    with refused(SourceError, "6 rows with the id of another row", "write the eras too"):
        mt.evaluate(path, dataset)


def test_turnover_counts_from_an_era_without_labels(tmp_path: Path) -> None:
    """The era before the second labelled one has no labels, and the same ids."""
    tickers = list("abcdef")
    days = ["2024-01-05"] * 6 + ["2024-01-12"] * 6 + ["2024-01-19"] * 6
    codes = np.arange(18) % 5
    table = pd.DataFrame({"era": days, "id": tickers * 3, "feature_a": codes.astype("int8")})
    table["target"] = np.where(table["era"] == "2024-01-12", np.nan, codes / 4)
    table.to_parquet(tmp_path / "source.parquet", index=False)
    report = mt.convert(tmp_path / "source.parquet", tmp_path / "dataset", workers=1)
    dataset = report.dataset
    forward, backward = np.arange(6) / 8, np.arange(6)[::-1] / 8
    values = np.concatenate([forward, forward, backward])
    predictions = table[["era", "id"]].assign(prediction=values)
    predictions.to_csv(tmp_path / "all.csv", index=False)
    (model,) = mt.evaluate(tmp_path / "all.csv", dataset).models
    assert model.eras == ("2024-01-05", "2024-01-19")
    np.testing.assert_allclose(model.exposures.turnover, [np.nan, 2.0])
    assert any("1 era without labels left out" in note for note in model.notes)
    labelled = predictions[predictions["era"] != "2024-01-12"]
    labelled.to_csv(tmp_path / "labelled.csv", index=False)
    (model,) = mt.evaluate(tmp_path / "labelled.csv", dataset).models
    assert np.isnan(model.exposures.turnover).all()


def test_an_id_that_the_dataset_has_twice_cannot_be_matched(tmp_path: Path) -> None:
    dataset = convert_ids(tmp_path, list("abcdee"), ["0001"] * 6)
    write_by_id(tmp_path / "predictions.csv", list("abcde"))
    with refused(SourceError, "era '0001' has the id 'e' more than once"):
        mt.evaluate(tmp_path / "predictions.csv", dataset)


def test_whole_eras_that_the_dataset_lacks_are_counted(
    frame: pd.DataFrame, scored_dataset: Path, tmp_path: Path
) -> None:
    predictions = predictions_frame(frame)
    part = mt.open_dataset(scored_dataset).select(ERAS[:10])
    predictions.to_csv(tmp_path / "all.csv")
    (model,) = mt.evaluate(tmp_path / "all.csv", part).models
    n_rows = int((predictions["era"] > ERAS[9]).sum())
    assert f"{n_rows} rows not in the dataset left out, 2 whole eras among them" in model.notes


def read_much(path: str) -> tuple[float, int]:
    """Read a large file by blocks; return the sum of the predictions and Arrow's peak bytes."""
    rows = read_predictions(Path(path), id_names=["id"], era_names=["era"])
    total = sum(float(some.values.sum()) for some in rows)
    return total, int(pa.default_memory_pool().max_memory())


def evaluate_much(predictions: str, dataset: str, eras: list[str]) -> tuple[int, int]:
    """Score a file on all features; return the number of scored eras, and the peak bytes."""
    tracemalloc.start()
    n_eras = len(mt.evaluate(predictions, dataset, eras=eras, details=True).models[0].eras)
    of_numpy = tracemalloc.get_traced_memory()[1]
    return n_eras, of_numpy + int(pa.default_memory_pool().max_memory())


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_is_read_in_blocks(suffix: str, tmp_path: Path) -> None:
    peaks = []
    for n_rows in (300_000, 900_000):
        path = tmp_path / f"{n_rows}{suffix}"
        ids = pa.array(np.arange(10**15, 10**15 + n_rows)).cast(pa.string())
        values = np.random.default_rng(0).random(n_rows)
        eras = pa.array(["0001", "0002"]).take(pa.array(np.arange(n_rows) % 2))
        table = pa.table({"id": ids, "prediction": values, "era": eras})
        if suffix == ".csv":
            pa.csv.write_csv(table, path)
        else:
            pq.write_table(table, path, row_group_size=100_000)
        (total, peak), _ = alone(read_much, str(path))
        assert total == pytest.approx(values.sum())
        peaks.append(peak)
    # The rows that are more take 33 MB as text, and 10 MB compressed.
    assert peaks[1] - peaks[0] < (5_000_000 if suffix == ".parquet" else 20_000_000)


def test_one_era_is_in_memory_at_a_time(tmp_path: Path) -> None:
    write_sample(tmp_path, n_eras=40, rows_per_era=1000, n_features=300)
    sources = [tmp_path / "train.parquet", tmp_path / "validation.parquet"]
    mt.convert(sources, tmp_path / "shards", dtype="float32")
    dataset = mt.open_dataset(tmp_path / "shards")
    ids = np.concatenate([np.asarray(shard.ids) for shard in dataset.values()]).astype(str)
    table = pa.table({"id": ids, "prediction": np.random.default_rng(0).random(len(ids))})
    pa.csv.write_csv(table, tmp_path / "predictions.csv")
    peaks = []
    for n_eras in (2, 32):
        arguments = (
            str(tmp_path / "predictions.csv"),
            str(dataset.path),
            list(dataset.eras[:n_eras]),
        )
        (found, peak), _ = alone(evaluate_much, *arguments)
        assert found == n_eras
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 10_000_000  # thirty eras of features take 36 MB
