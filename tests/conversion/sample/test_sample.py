"""Tests of the sample: what it promises of values, read back from the files."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.parquet.writer import SourceWriter
from memmap_train.conversion.sample import write_sample
from memmap_train.conversion.sample_features import rank_bins
from memmap_train.conversion.sample_signal import TARGET_NAMES, Signal
from memmap_train.conversion.sample_terms import standardised_sums
from memmap_train.conversion.schema import BEST_KEY
from memmap_train.runs.scores.metrics import numerai_corr
from tests.support.samples import (
    BENCHMARKS,
    ERAS,
    FEATURES,
    FILES,
    ROWS,
    SEED,
    SOURCES,
    range_names,
)


def eras_of(path: Path) -> dict[str, pa.Table]:
    """Return the rows of each era, checking that an era's rows lie together."""
    table = pq.read_table(path)
    labels = np.array(table["era"].to_pylist())
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    assert len(starts) == len(np.unique(labels))
    stops = [*starts[1:], len(labels)]
    return {
        str(labels[start]): table.slice(start, stop - start)
        for start, stop in zip(starts, stops, strict=True)
    }


def columns(rows: pa.Table, prefix: str) -> npt.NDArray[np.float64]:
    """Return the columns with this prefix as one array, null as NaN."""
    names = [name for name in rows.column_names if name.startswith(prefix)]
    return np.column_stack([rows[name].to_numpy() for name in names]).astype(float)


@pytest.mark.parametrize("name", SOURCES)
def test_every_feature_has_five_equal_bins_in_every_era(sample: Path, name: str) -> None:
    for rows in eras_of(sample / name).values():
        codes = columns(rows, "feature_")
        sizes = np.array([(codes == code).sum(axis=0) for code in range(5)])
        assert sizes.sum(axis=0).tolist() == [ROWS] * FEATURES
        assert sizes.min() == ROWS // 5
        assert sizes.max() == ROWS // 5 + 1


def test_target_bins_hold_their_shares_in_every_era(sample: Path) -> None:
    shares = np.array([0.05, 0.20, 0.50, 0.20, 0.05])
    for rows in eras_of(sample / "train.parquet").values():
        targets = columns(rows, "target")
        sizes = np.array([(targets == value).sum(axis=0) for value in (0, 0.25, 0.5, 0.75, 1)])
        assert sizes.sum(axis=0).tolist() == [ROWS] * len(TARGET_NAMES)
        assert np.abs(sizes - ROWS * shares[:, np.newaxis]).max() <= 1


def test_equal_values_are_still_cut_into_equal_bins() -> None:
    values = np.random.default_rng([0, 0]).integers(0, 4, size=(50, 101)).astype(np.float32)
    bins = rank_bins(values, (0.2, 0.4, 0.6, 0.8))
    for line, ranked in zip(values, bins, strict=True):
        assert np.abs(np.bincount(ranked, minlength=5) - 101 / 5).max() < 1
        assert (np.diff(ranked[np.argsort(line, kind="stable")]) >= 0).all()


def test_target_is_the_alias_of_alpha_and_of_nothing_else(sample: Path) -> None:
    for name in SOURCES:
        table = pq.read_table(sample / name)
        assert table["target"].equals(table["target_alpha_20"])
    targets = columns(pq.read_table(sample / "train.parquet"), "target")
    correlations = np.array([np.corrcoef(targets[:, 0], each)[0, 1] for each in targets.T])
    assert dict(zip(TARGET_NAMES, correlations > 0.99, strict=True)) == {
        "target": True,
        "target_alpha_20": True,
        "target_alpha_60": False,
        "target_beta_20": False,
        "target_beta_60": False,
    }
    assert (correlations > 0.3).all()


def test_targets_of_the_last_4_eras_and_60_day_targets_of_the_last_12_are_null(
    sample: Path,
) -> None:
    train = pq.read_table(sample / "train.parquet")
    assert [train[name].null_count for name in TARGET_NAMES] == [0, 0, 0, 0, 0]
    for label, rows in eras_of(sample / "validation.parquet").items():
        in_20_days = ROWS if int(label) > ERAS - 4 else 0
        in_60_days = ROWS if int(label) > ERAS - 12 else 0
        assert [rows[name].null_count for name in TARGET_NAMES] == [
            in_60_days if name.endswith("_60") else in_20_days for name in TARGET_NAMES
        ]
    live = pq.read_table(sample / "live.parquet")
    assert [live[name].null_count for name in TARGET_NAMES] == [ROWS] * 5


def test_the_smallest_sample_has_every_part(tmp_path: Path) -> None:
    summary = write_sample(tmp_path, n_eras=5, rows_per_era=20, n_features=5)
    assert [len(eras_of(tmp_path / name)) for name in SOURCES] == [4, 1, 1]
    validation = pq.read_table(tmp_path / "validation.parquet")
    assert [validation[name].null_count for name in TARGET_NAMES] == [0, 0, 20, 0, 20]
    assert np.isfinite(summary.best)


def test_eras_and_data_types_are_labelled_as_numerai_does(sample: Path) -> None:
    found = {
        name: {
            label: rows["data_type"].unique().to_pylist()
            for label, rows in eras_of(sample / name).items()
        }
        for name in SOURCES
    }
    assert found["train.parquet"] == {f"{n:04d}": ["train"] for n in range(1, 145)}
    assert found["validation.parquet"] == {
        f"{n:04d}": ["test" if n > 172 else "validation"] for n in range(145, 181)
    }
    assert list(found["validation.parquet"]) == sorted(found["validation.parquet"])
    assert found["live.parquet"] == {"X": ["live"]}


@pytest.mark.parametrize("name", SOURCES)
def test_columns_have_numerais_order_and_types(sample: Path, name: str) -> None:
    schema = pq.read_schema(sample / name)
    features = json.loads((sample / "features.json").read_text())["feature_sets"]["all"]
    assert schema.names == ["era", "data_type", *features, *TARGET_NAMES, "id"]
    assert len(features) == FEATURES
    types = [str(kind) for kind in schema.types]
    assert types == ["string"] * 2 + ["int8"] * FEATURES + ["float"] * 5 + ["string"]


def test_pandas_shows_id_as_the_index(sample: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(sample / "validation.parquet")
    table = pq.read_table(sample / "validation.parquet")
    assert frame.index.name == "id"
    assert frame.index.tolist() == table["id"].to_pylist()
    assert frame.columns.tolist() == table.column_names[:-1]
    assert frame["target_beta_60"].isna().sum() == 12 * ROWS
    assert frame.dtypes.iloc[2] == np.int8
    assert frame["target"].dtype == np.float32


def test_ids_are_unique_and_sorted_inside_an_era(sample: Path) -> None:
    ids = []
    for name in SOURCES:
        for label, rows in eras_of(sample / name).items():
            of_era = rows["id"].to_pylist()
            assert of_era == sorted(of_era)
            # What makes ids unique over eras too, by design and not by luck.
            assert {int(text[-4:], 16) for text in of_era} == {0 if label == "X" else int(label)}
            ids += of_era
    assert len(set(ids)) == len(ids) == (ERAS + 1) * ROWS
    assert {(len(text), text[0]) for text in ids} == {(16, "n")}
    assert {digit for text in ids for digit in text[1:]} == set("0123456789abcdef")


def test_eras_straddle_row_groups(sample: Path) -> None:
    source = pq.ParquetFile(sample / "train.parquet")
    sizes = [source.metadata.row_group(i).num_rows for i in range(source.num_row_groups)]
    assert sizes[:-1] == [int(3.5 * ROWS)] * (len(sizes) - 1)
    eras = [set(source.read_row_group(i, ["era"])["era"].to_pylist()) for i in range(len(sizes))]
    straddling = [before & after for before, after in pairwise(eras)]
    assert sum(map(bool, straddling)) > len(sizes) // 2


def test_feature_sets_nest_and_overlap(sample: Path) -> None:
    content = json.loads((sample / "features.json").read_text())
    sets = {name: set(features) for name, features in content["feature_sets"].items()}
    assert sets["small"] < sets["medium"] < sets["all"]
    groups = [name for name in sets if name not in ("small", "medium", "all")]
    assert all(sets[name] and sets[name] < sets["all"] for name in groups)
    assert sets["sunshine"] & sets["rain"]
    assert not sets["intelligence"] & sets["charisma"]
    assert content["targets"] == list(TARGET_NAMES)


def test_features_of_a_family_are_mildly_correlated(sample: Path) -> None:
    sets = json.loads((sample / "features.json").read_text())["feature_sets"]
    table = pq.read_table(sample / "train.parquet", columns=sets["all"])
    correlations = np.abs(np.corrcoef(columns(table, "feature_"), rowvar=False))
    np.fill_diagonal(correlations, 0)
    assert 0.1 < correlations.max() < 0.6
    width = len(sets["intelligence"])
    assert correlations[:width, width:].max() < 0.05


def test_the_recorded_best_score_is_that_of_the_files(sample: Path) -> None:
    signal = Signal(FEATURES, SEED)
    scores = []
    for label, rows in eras_of(sample / "validation.parquet").items():
        if int(label) <= ERAS - 4:
            features = columns(rows, "feature_").astype(np.int8)
            (linear,) = standardised_sums([signal.alpha_weights], features.T)
            perfect = signal.products.added(linear, features.T)
            scores.append(numerai_corr(perfect, rows["target"].to_numpy()))
    recorded = {
        pq.read_metadata(sample / name).metadata[BEST_KEY.encode()]
        for name in (*SOURCES, *BENCHMARKS)
    }
    assert recorded == {repr(float(np.mean(scores))).encode()}


def test_a_linear_model_of_the_default_sample_comes_near_the_best(tmp_path: Path) -> None:
    summary = write_sample(tmp_path)
    train = pq.read_table(tmp_path / "train.parquet")
    features, target = columns(train, "feature_"), columns(train, "target")[:, 0]
    features -= 2
    weights = np.linalg.solve(features.T @ features, features.T @ (target - 0.5))
    validation = eras_of(tmp_path / "validation.parquet")
    scores = [
        numerai_corr(columns(rows, "feature_") @ weights, rows["target"].to_numpy())
        for rows in validation.values()
        if not rows["target"].null_count
    ]
    assert len(scores) == 56
    assert min(rows.num_rows for rows in validation.values()) >= 1_500
    assert 0.04 < summary.best < 0.05
    assert 0.8 * summary.best < np.mean(scores) < summary.best
    assert np.std(scores) > 0.02  # eras differ, as in reality


def test_the_signal_of_single_eras_does_not_generalize() -> None:
    signal = Signal(FEATURES, SEED)
    first, second = signal.era(1, 100_000), signal.era(2, 100_000)
    weights = np.linalg.lstsq(first.features - 2.0, first.targets[:, 0] - 0.5)[0]
    explained = [
        np.corrcoef((era.features - 2.0) @ weights, era.targets[:, 0])[0, 1]
        for era in (first, second)
    ]
    # One era's fit finds its own weights, 0.15 / 0.053 times as strong as the persistent ones.
    assert explained[0] > 0.1
    assert explained[1] < explained[0] / 2


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    contents = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_sample(tmp_path / name, n_eras=10, rows_per_era=40, n_features=9, seed=seed)
        contents.append([(tmp_path / name / file).read_bytes() for file in FILES])
    assert contents[0] == contents[1]
    tables = [pq.read_table(tmp_path / name / "train.parquet") for name in ("a", "c")]
    for column in ("id", "target", tables[0].column_names[2]):
        assert not tables[0][column].equals(tables[1][column])


def test_an_era_does_not_depend_on_those_made_before() -> None:
    signal = Signal(FEATURES, SEED)
    for number in (1, 2, 9):
        signal.era(number, 40)
    again, fresh = signal.era(2, 40), Signal(FEATURES, SEED).era(2, 40)
    assert np.array_equal(again.features, fresh.features)
    assert np.array_equal(again.targets, fresh.targets)
    assert np.array_equal(again.ids, fresh.ids)
    assert not np.array_equal(again.features, signal.era(3, 40).features)


def test_more_eras_do_not_change_earlier_ones(tmp_path: Path) -> None:
    tables = []
    for n_eras in (10, 15):
        directory = tmp_path / str(n_eras)
        write_sample(directory, n_eras=n_eras, rows_per_era=40, n_features=9)
        sources = [pq.read_table(directory / name) for name in SOURCES[:2]]
        tables.append(pa.concat_tables(sources).slice(0, 10 * 40))
    changing = ["data_type", "target_alpha_60", "target_beta_60"]
    assert tables[0].drop_columns(changing).equals(tables[1].drop_columns(changing))
    assert tables[0]["target_alpha_60"].null_count > tables[1]["target_alpha_60"].null_count == 0


def test_each_cell_is_read_back_from_its_coordinates(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    n_rows, n_columns = 7, 3
    with SourceWriter(path, range_names(n_columns), ["target"], rows_per_group=10) as source:
        for era in range(1, 6):
            rows = np.arange(n_rows)
            source.write_era(
                f"{era:04d}",
                "train",
                # C-ordered, unlike the sample's: both layouts are taken.
                features=(rows[:, np.newaxis] * 10 + np.arange(n_columns)).astype(np.int8) + era,
                targets=np.where(rows == era, np.nan, era + rows / 8)[:, np.newaxis].astype("f4"),
                ids=np.array([f"n{era}{row:014d}".encode() for row in rows], "S16"),
            )
    assert pq.ParquetFile(path).num_row_groups == 4
    for era, rows_of_era in enumerate(eras_of(path).values(), start=1):
        for row, cells in enumerate(rows_of_era.to_pylist()):
            assert cells == {
                "era": f"{era:04d}",
                "data_type": "train",
                **{f"feature_{k}": row * 10 + k + era for k in range(n_columns)},
                "target": None if row == era else era + row / 8,
                "id": f"n{era}{row:014d}",
            }


def test_importing_the_sample_module_loads_no_pyarrow() -> None:
    script = "import sys, memmap_train.conversion.sample; print('pyarrow' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout == "False\n"
