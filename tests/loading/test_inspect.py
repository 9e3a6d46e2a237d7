"""Tests of what is said about a dataset: counts of features, constant ones, duplicated ids."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.dataset.dataset import Dataset
from memmap_train.errors import DatasetError
from memmap_train.loading import batches as batches_module
from memmap_train.loading.inspect import describe_dataset, describe_era, describe_features
from memmap_train.loading.inspect_text import dataset_text, era_text, features_text
from memmap_train.system.memory_budget import PROCESS_MEMORY
from tests.support.errors import refused
from tests.support.toy_benchmarks import with_benchmarks
from tests.support.toy_datasets import without_counts

CODES: dict[str, list[list[int | None]]] = {
    "0001": [[0, 2, None], [4, 2, None], [None, 2, None], [1, 2, None]],
    "0002": [[3, 2, 1], [3, None, 1]],
    "0003": [[3, 1, 0], [2, 0, 4], [1, 1, 3]],
}
IDS = ["a", "b", "a", "a", "b", "c", "d", "d", "d"]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rows = [row for codes in CODES.values() for row in codes]
    eras = [era for era, codes in CODES.items() for _ in codes]
    columns = zip("abc", zip(*rows, strict=True), strict=True)
    features = {f"feature_{name}": pa.array(column, pa.int8()) for name, column in columns}
    pq.write_table(pa.table({"era": eras, **features, "id": IDS}), tmp_path / "source.parquet")
    return mt.convert(tmp_path / "source.parquet", tmp_path / "out").dataset


def test_features_describe_all_their_rows(dataset: Dataset) -> None:
    described = describe_features(dataset)
    assert [f["feature"] for f in described["features"]] == ["feature_a", "feature_b", "feature_c"]
    assert [f["missing_share"] for f in described["features"]] == [1 / 9, 1 / 9, 4 / 9]
    assert [f["constant_eras"] for f in described["features"]] == [1, 1, 2]
    assert [f["mean_code"] for f in described["features"]] == [17 / 8, 12 / 8, 9 / 5]
    assert "era_counts" not in described["features"][0]
    assert described["duplicated_ids"] == {"0001": 1, "0003": 1}
    text = features_text(described).splitlines()
    assert text[-1] == "ids: 2 stand in more than one row of their era ('0001', '0003')"
    assert text[1].split() == ["0", "feature_a", "11.111%", "1", "2.125"]
    assert json.loads(json.dumps(described)) == described


def test_features_of_some_eras_are_described_by_those_alone(dataset: Dataset) -> None:
    described = describe_features(dataset.select(["0001"]))
    assert [f["missing_share"] for f in described["features"]] == [0.25, 0, 1]
    assert [f["constant_eras"] for f in described["features"]] == [0, 1, 1]
    assert [f["mean_code"] for f in described["features"]] == [round(5 / 3, 6), 2, None]
    assert described["duplicated_ids"] == {"0001": 1}
    assert features_text(described).splitlines()[3].split()[-3:] == ["100.000%", "1", "-"]


def test_features_describe_the_rows_of_an_era(dataset: Dataset) -> None:
    described = describe_features(dataset, "0001")
    assert [list(f["era_counts"].values()) for f in described["features"]] == [
        [1, 1, 0, 0, 1, 1],
        [0, 0, 4, 0, 0, 0],
        [0, 0, 0, 0, 0, 4],
    ]
    assert list(described["features"][0]["era_counts"]) == ["0", "1", "2", "3", "4", "missing"]
    assert described["features"][0]["constant_eras"] == 1  # of all eras still
    text = features_text(described).splitlines()
    assert text[0].split()[-7:] == ["0", "1", "2", "3", "4", "missing", "sets"]
    assert text[2].split()[-6:] == ["0", "0", "4", "0", "0", "0"]
    with refused(DatasetError, "no era '0009'"):
        describe_features(dataset, "0009")


def test_an_era_reports_its_constant_features_and_duplicated_ids(dataset: Dataset) -> None:
    described = {era: describe_era(dataset, era) for era in CODES}
    assert [d["constant_features"] for d in described.values()] == [2, 2, 0]
    assert [d["duplicated_ids"] for d in described.values()] == [1, 0, 1]
    assert described["0001"]["arrays"]["counts"]["shape"] == [3, 6]
    text = era_text(described["0001"])
    assert "constant  2 features" in text
    assert "ids       1 stand in more than one row" in text


def test_a_dataset_reports_the_number_of_eras_in_which_features_are_constant(
    dataset: Dataset,
) -> None:
    assert describe_dataset(dataset)["eras_with_constant_features"] == 2
    assert describe_dataset(dataset.select(["0003"]))["eras_with_constant_features"] == 0
    assert "constant  features in 2 of 3 eras" in dataset_text(describe_dataset(dataset))


def test_values_that_an_earlier_version_did_not_count_are_left_out(dataset: Dataset) -> None:
    older = mt.open_dataset(without_counts(dataset.path, ["0002"]))
    assert describe_dataset(older)["eras_with_constant_features"] is None
    assert "constant" not in dataset_text(describe_dataset(older))
    described = describe_features(older, "0002")
    for key in ("missing_share", "constant_eras", "mean_code", "era_counts"):
        assert [f[key] for f in described["features"]] == [None] * 3
    assert set(features_text(described).splitlines()[1].split()[2:]) == {"-"}
    assert describe_features(older, "0001")["features"][1]["era_counts"]["2"] == 4
    era = describe_era(older, "0002")
    assert era["constant_features"] is None
    assert "counts" not in era["arrays"]
    assert "constant" not in era_text(era)
    assert describe_era(older, "0001")["constant_features"] == 2


def test_a_dataset_says_in_how_many_eras_and_rows_benchmarks_have_values(dataset: Dataset) -> None:
    assert describe_dataset(dataset)["benchmarks"] == {}
    assert "benchmark" not in dataset_text(describe_dataset(dataset))
    rows = dict(zip(dataset.eras, dataset.rows_per_era, strict=True))

    def values(era: str, n_rows: int) -> npt.NDArray[np.float64]:
        found = np.full((n_rows, 3), 0.5)
        found[1:, 1] = np.nan
        found[:, 2] = 0.25 if era == "0002" else np.nan
        return found

    names = ("v53_b", "v53_a", "numerai_meta_model")
    described = describe_dataset(mt.open_dataset(with_benchmarks(dataset.path, names, values)))
    span = {"first_era": "0001", "last_era": "0003"}
    only = {"first_era": "0002", "last_era": "0002"}
    assert described["benchmarks"] == {
        "v53_b": {"eras": 3, **span, "rows": dataset.n_rows},
        "v53_a": {"eras": 3, **span, "rows": 3},
        "numerai_meta_model": {"eras": 1, **only, "rows": rows["0002"]},
    }
    assert described["benchmark_sources"] == ["benchmarks.parquet"]
    text = dataset_text(described)
    assert "benchmarks 3: name, eras and rows with a value" in text
    (line,) = [line for line in text.splitlines() if "numerai_meta_model" in line]
    assert line.split() == ["numerai_meta_model", "1", str(rows["0002"]), "(0002", "to", "0002)"]
    era = describe_era(mt.open_dataset(dataset.path), "0001")
    assert era["arrays"]["benchmarks"]["shape"] == [rows["0001"], 3]
    nulls = {"v53_b": 0, "v53_a": rows["0001"] - 1, "numerai_meta_model": rows["0001"]}
    assert list(era["benchmark_nulls"].items()) == list(nulls.items())
    assert era["benchmark_mean"] == {"v53_b": 0.5, "v53_a": 0.5, "numerai_meta_model": None}
    assert f"values    v53_b {rows['0001']}, v53_a 1, numerai_meta_model 0" in era_text(era)


@pytest.mark.parametrize("store", ["float32", "int8"])
def test_descriptions_of_features_equal_numpys(toys: dict[str, Path], store: str) -> None:
    """Of a store with missing features; those are counted before 0.5 takes their place."""
    dataset = mt.open_dataset(toys[f"nulls {store}"])
    plain = mt.open_dataset(toys[store])
    described = describe_features(dataset)
    codes = np.concatenate([decoded(plain, era) for era in plain.eras]) * 4
    stored = np.concatenate([decoded(dataset, era) for era in dataset.eras]) * 4
    shares = np.array([f["missing_share"] for f in described["features"]])
    assert (shares > 0.1).all()
    assert shares.sum() * dataset.n_rows == pytest.approx(
        sum(entry.missing_features for entry in dataset.manifest.shards)
    )
    assert (shares * dataset.n_rows + 1e-6 >= (stored != codes).sum(axis=0)).all()
    means = np.array([f["mean_code"] for f in described["features"]])
    np.testing.assert_allclose(
        means * (1 - shares) + 2 * shares, stored.mean(axis=0, dtype=np.float64), atol=1e-5
    )


def decoded(dataset: Dataset, era: str) -> npt.NDArray[np.float32]:
    stored = dataset[era].features
    return dataset.decode(stored, np.empty(stored.shape, np.float32))


def test_a_dataset_is_shown_when_memory_is_too_short_to_train_on_it(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = describe_dataset(dataset)
    monkeypatch.setattr(PROCESS_MEMORY, "available", lambda: 10)
    monkeypatch.setattr(batches_module, "MIN_AVAILABLE", 0)
    found = describe_dataset(dataset)
    assert found["batches"].keys() == {"batch_size", "error"}
    assert {**found, "batches": None} == {**before, "batches": None}
    lines = dataset_text(found).splitlines()
    (line,) = [line for line in lines if line.startswith("shuffling ")]
    assert "not possible now: " in line
    assert "10 B at most, the memory available" in line
    n_left_out = 1 + len(before["batches"]["shuffling_details"])
    assert len(lines) == len(dataset_text(before).splitlines()) - n_left_out
