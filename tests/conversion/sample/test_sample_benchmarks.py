"""Tests of a sample's benchmark files and meta model, as pandas reads them from the files."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.sample import write_sample
from memmap_train.conversion.sample_benchmarks import (
    BENCHMARK_NAMES,
    META_MODEL_NAME,
    BenchmarkModels,
)
from memmap_train.conversion.sample_calendar import LIVE, Calendar
from memmap_train.conversion.sample_signal import TARGET_NAMES, Signal
from memmap_train.runs.scores.metrics import numerai_corr

PARTS = ("train", "validation", "live")
ROWS, FEATURES, ERAS, SEED = 53, 12, 60, 7
KNOWN = Signal.benchmark_correlations
FIRST = 1 + 60 * 157 // 1_232  # Numerai's benchmark models begin with era 0158 of 1,232


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, n_eras=ERAS, rows_per_era=ROWS, n_features=FEATURES, seed=SEED)
    return directory


def frame(folder: Path, name: str) -> Any:
    return pytest.importorskip("pandas").read_parquet(folder / f"{name}.parquet")


def test_columns_are_numerais_with_id_as_the_index(sample: Path) -> None:
    for name, columns in (
        *((f"{part}_benchmark_models", ["era", *BENCHMARK_NAMES]) for part in PARTS),
        ("meta_model", ["era", "data_type", META_MODEL_NAME]),
    ):
        found = frame(sample, name)
        assert found.columns.tolist() == columns
        assert found.index.name == "id"
        schema = pq.read_schema(sample / f"{name}.parquet")
        assert schema.names == [*columns, "id"]
        n_labels = sum(column in ("era", "data_type") for column in columns)
        kinds = ["string"] * n_labels + ["float"] * (len(columns) - n_labels) + ["string"]
        assert [str(kind) for kind in schema.types] == kinds


def test_benchmark_models_predict_every_row_from_a_first_era_on(sample: Path) -> None:
    assert FIRST == 8
    for part in PARTS:
        source, found = frame(sample, part), frame(sample, f"{part}_benchmark_models")
        if part == "train":
            assert set(source["era"]) - set(found["era"]) == {f"{n:04d}" for n in range(1, FIRST)}
            source = source[source["era"] >= f"{FIRST:04d}"]
        assert found.index.tolist() == source.index.tolist()
        assert found["era"].tolist() == source["era"].tolist()


def test_the_meta_model_predicts_the_last_half_of_the_validation_eras(sample: Path) -> None:
    source, found = frame(sample, "validation"), frame(sample, "meta_model")
    assert sorted(set(found["era"])) == [f"{n:04d}" for n in range(55, 61)]
    last = source[source["era"] >= "0055"]
    assert found.index.tolist() == last.index.tolist()
    assert found["data_type"].tolist() == last["data_type"].tolist()


def test_predictions_are_the_ranks_of_an_era_between_0_and_1(sample: Path) -> None:
    ranks = ((np.arange(ROWS) + 0.5) / ROWS).astype(np.float32)
    assert ranks.min() > 0
    assert ranks.max() < 1
    for name in (*(f"{part}_benchmark_models" for part in PARTS), "meta_model"):
        for _, rows in frame(sample, name).groupby("era"):
            for column in {*BENCHMARK_NAMES, META_MODEL_NAME}.intersection(rows.columns):
                assert np.array_equal(np.sort(rows[column].to_numpy()), ranks)


def test_predictions_of_an_era_do_not_depend_on_other_eras_or_their_number() -> None:
    signal, models = Signal(FEATURES, SEED), BenchmarkModels(FEATURES, SEED, KNOWN)
    for number in (LIVE, 3):
        models.predictions(number, signal.era(number, 40))
    era = signal.era(2, 40)
    again = models.predictions(2, era)
    fresh = BenchmarkModels(FEATURES, SEED, KNOWN).predictions(2, era)
    other = BenchmarkModels(FEATURES, SEED + 1, KNOWN).predictions(2, era)
    assert all(map(np.array_equal, again, fresh))
    assert not any(map(np.array_equal, again, other))


def test_the_first_eras_of_a_longer_sample_have_the_same_predictions(tmp_path: Path) -> None:
    for n_eras in (20, 25):
        write_sample(tmp_path / str(n_eras), n_eras=n_eras, rows_per_era=40, n_features=9)
    shorter, longer = (frame(tmp_path / name, "train_benchmark_models") for name in ("20", "25"))
    common = shorter.index.intersection(longer.index)
    assert len(common) == 13 * 40  # from the fourth of 25 eras to the last of 16 training eras
    assert shorter.loc[common].equals(longer.loc[common])


@pytest.mark.parametrize("n_eras", [5, 6, 9, 300, 1_232, 9_999])
def test_a_sample_of_any_length_has_benchmarks_and_a_meta_model(n_eras: int) -> None:
    calendar = Calendar(n_eras)
    assert calendar.benchmarks.start <= calendar.train.stop // 6 + 1
    assert calendar.benchmarks[-1] == calendar.meta_model[-1] == n_eras
    assert calendar.meta_model[0] in calendar.validation
    assert Calendar(1_232).benchmarks[0] == 158


def test_every_file_of_the_smallest_sample_has_rows(tmp_path: Path) -> None:
    summary = write_sample(tmp_path, n_eras=5, rows_per_era=20, n_features=5)
    names = [path.name for path in summary.paths if "model" in path.name]
    rows = {name: pq.read_metadata(tmp_path / name).num_rows for name in names}
    assert rows == {
        "train_benchmark_models.parquet": 80,
        "validation_benchmark_models.parquet": 20,
        "live_benchmark_models.parquet": 20,
        "meta_model.parquet": 20,
    }


def test_benchmarks_reach_about_two_thirds_of_the_best_score_and_the_meta_model_more() -> None:
    """The default sample of 64 features: the scores of 150 eras, whose number is not the point."""
    signal, models = Signal(64, 0), BenchmarkModels(64, 0, KNOWN)
    scores, correlations = [], []
    for number in range(1, 151):
        era = signal.era(number, 2_000)
        benchmarks, meta_model = models.predictions(number, era)
        predictions = np.column_stack([era.best, benchmarks, meta_model]).T
        scores.append([numerai_corr(line, era.targets[:, 0]) for line in predictions])
        correlations.append(np.corrcoef(predictions))
    best, alpha_20, alpha_60, beta_20, meta_model_score = np.mean(scores, axis=0)
    assert 0.55 < alpha_20 / best < 0.75
    assert 0.5 < alpha_60 / best < alpha_20 / best
    assert 0.3 < beta_20 / best < alpha_20 / best  # it predicts other targets
    assert alpha_20 < meta_model_score < 0.85 * best
    assert 0.7 < np.mean(correlations, axis=0)[1, 4] < 0.9
    assert np.std(scores, axis=0).min() > 0.015  # eras differ


def test_a_good_model_adds_to_the_benchmark_and_to_the_meta_model(tmp_path: Path) -> None:
    scoring = pytest.importorskip("numerai_tools.scoring")
    write_sample(tmp_path, n_eras=100, rows_per_era=1_000, n_features=64)
    rows = frame(tmp_path, "validation").join(
        frame(tmp_path, "validation_benchmark_models").drop(columns="era")
    )
    rows = rows.join(frame(tmp_path, "meta_model")[META_MODEL_NAME])
    features = [name for name in rows if name.startswith("feature_")]
    train = frame(tmp_path, "train")
    codes = train[features].to_numpy(float) - 2
    weights = np.linalg.solve(codes.T @ codes, codes.T @ (train["target"].to_numpy() - 0.5))
    rows["prediction"] = (rows[features].to_numpy(float) - 2) @ weights
    for other, n_eras in ((BENCHMARK_NAMES[0], 18), (META_MODEL_NAME, 8)):
        scores = [
            scoring.correlation_contribution(era[["prediction"]], era[other], era["target"]).iloc[0]
            for _, era in rows[rows["target"].notna() & rows[other].notna()].groupby("era")
        ]
        assert len(scores) == n_eras
        assert np.mean(scores) > 0


def test_features_and_targets_are_those_of_samples_without_benchmark_files() -> None:
    """Golden values: older samples, and datasets made from them, stay what they are."""
    era = Signal(FEATURES, SEED).era(3, 53)
    digest = hashlib.sha256()
    for array in (era.features, era.targets, era.ids):
        digest.update(np.ascontiguousarray(array).tobytes())
    assert era.targets.shape == (53, len(TARGET_NAMES))
    assert digest.hexdigest()[:16] == "5dd4d28eb0b4aa0a"
