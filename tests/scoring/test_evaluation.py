"""Tests of whole evaluations, held to numerai-tools on pandas frames."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from numerai_tools.scoring import (
    correlation_contribution,
    feature_neutral_corr,
    max_feature_correlation,
    neutralize,
    numerai_corr,
)

import memmap_train as mt
from memmap_train.errors import ArgumentError, DatasetError, FoldError, RunError
from memmap_train.scoring.scored_on import PROPORTIONS
from memmap_train.types import Evaluation
from tests.support.errors import refused
from tests.support.scoring_data import (
    BENCHMARKS,
    ERAS,
    FEATURES,
    N_FNC,
    TARGETS,
    make_scoring_dataset,
    predictions_frame,
    write_csv,
)
from tests.support.toy_benchmarks import with_benchmarks

META, BENCHMARK = BENCHMARKS[2], BENCHMARKS[0]
FNC = list(FEATURES[:N_FNC])


pytest_plugins = ["tests.support.scoring_fixtures"]


@pytest.fixture(scope="module")
def evaluation(prediction_files: list[Path], scored_dataset: Path) -> Evaluation:
    return mt.evaluate(prediction_files, scored_dataset, targets=TARGETS, details=True)


def reference(
    frame: pd.DataFrame, predictions: pd.Series, target: str, score: Callable[..., float]
) -> dict[str, float]:
    """Return a score of each era by its label, of the rows that have a prediction and a label."""
    joined = frame.assign(prediction=predictions).dropna(subset=["prediction", target])
    return {str(era): score(rows) for era, rows in joined.groupby("era")}


def check(
    found: npt.NDArray[np.float64],
    eras: Sequence[str],
    expected: dict[str, float],
    tolerance: float,
) -> None:
    """Compare the scores of eras with a reference; an era that it lacks has no score."""
    wanted = [expected.get(era, math.nan) for era in eras]
    assert np.isfinite(wanted).any()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("number", [0, 1])
def test_an_evaluation_equals_numerai_tools(
    evaluation: Evaluation, frame: pd.DataFrame, number: int, target: str
) -> None:
    predictions = predictions_frame(frame, number)["prediction"]
    if number:
        predictions = predictions.sample(frac=0.9, random_state=1)
    model = evaluation.models[number]
    scores = model.by_target[target]

    def contribution(other: str) -> dict[str, float]:
        def score(rows: pd.DataFrame) -> float:
            rows = rows.dropna(subset=[other]).sort_index()
            if rows.empty:
                return math.nan
            columns = rows[["prediction"]], rows[other], rows[target]
            return float(correlation_contribution(*columns).iloc[0])

        return reference(frame, predictions, target, score)

    def corr(against: str) -> dict[str, float]:
        def score(rows: pd.DataFrame) -> float:
            rows = rows.dropna(subset=[against])
            if rows.empty:
                return math.nan
            return float(numerai_corr(rows[["prediction"]], rows[against]).iloc[0])

        return reference(frame, predictions, target, score)

    def fnc(rows: pd.DataFrame) -> float:
        return float(feature_neutral_corr(rows[["prediction"]], rows[FNC], rows[target]).iloc[0])

    assert model.eras == (ERAS if target != "target" else evaluation.models[number].eras)
    check(scores.corr, model.eras, corr(target), 1e-9)
    check(scores.mmc, model.eras, contribution(META), 1e-9)
    check(scores.bmc, model.eras, contribution(BENCHMARK), 1e-9)
    check(scores.all_bmc[BENCHMARKS[1]], model.eras, contribution(BENCHMARKS[1]), 1e-9)
    check(scores.benchmark_corr, model.eras, corr(BENCHMARK), 1e-9)
    check(scores.meta_model_corr, model.eras, corr(META), 1e-9)
    check(scores.fnc, model.eras, reference(frame, predictions, target, fnc), 1e-6)
    n_rows = reference(frame, predictions, target, len)
    assert scores.n_rows.tolist() == [n_rows.get(era, 0) for era in model.eras]


def test_exposures_equal_numerai_tools(evaluation: Evaluation, frame: pd.DataFrame) -> None:
    predictions = predictions_frame(frame)["prediction"]
    exposures = evaluation.models[0].exposures
    sums = dict.fromkeys(FNC, 0.0)
    for place, (_, rows) in enumerate(frame.groupby("era")):
        own = predictions[rows.index]
        varying = [name for name in FNC if rows[name].nunique() > 1]
        name, value = max_feature_correlation(own, rows[varying])
        assert exposures.max_exposure_feature[place] == name
        assert exposures.max_exposure[place] == pytest.approx(value, abs=1e-9)
        each = rows[varying].corrwith(own)
        assert exposures.rms_exposure[place] == pytest.approx(np.sqrt((each**2).mean()), abs=1e-9)
        for feature in varying:
            sums[feature] += each[feature] / len(ERAS)
    assert exposures.feature_names == tuple(FNC)
    constant = FNC.index(FEATURES[3])
    assert np.isnan(exposures.mean_exposure[constant])
    others = [place for place in range(N_FNC) if place != constant]
    expected = [sums[FNC[place]] for place in others]
    np.testing.assert_allclose(exposures.mean_exposure[others], expected, atol=1e-9)
    assert exposures.largest(1)[0][0] == max(sums, key=lambda feature: abs(sums[feature]))


def test_corr_by_proportion_equals_neutralised_ranks(
    evaluation: Evaluation, frame: pd.DataFrame
) -> None:
    predictions = predictions_frame(frame)["prediction"]
    scores = evaluation.models[0].by_target["target"]
    assert scores.neutralized_corr is not None
    for column, proportion in enumerate(PROPORTIONS):

        def score(rows: pd.DataFrame, proportion: float = proportion) -> float:
            ranks = (rows[["prediction"]].rank() - 0.5) / len(rows)
            neutral = neutralize(ranks, rows[FNC], proportion=proportion)
            return float(numerai_corr(neutral, rows["target"]).iloc[0])

        expected = reference(frame, predictions, "target", score)
        check(scores.neutralized_corr[:, column], evaluation.models[0].eras, expected, 1e-6)
    np.testing.assert_allclose(scores.neutralized_corr[:-1, 0], scores.corr[:-1], atol=1e-9)


def test_either_store_gives_the_same_scores(
    evaluation: Evaluation, prediction_files: list[Path], tmp_path: Path
) -> None:
    other = mt.evaluate(
        prediction_files,
        make_scoring_dataset(tmp_path, store="float32"),
        targets=TARGETS,
        details=True,
    )
    for name in ("corr", "mmc", "bmc", "fnc", "max_exposure", "rms_exposure"):
        np.testing.assert_allclose(other.era_scores[name], evaluation.era_scores[name], atol=1e-9)


def test_the_benchmark_is_scored_as_the_models_are(
    evaluation: Evaluation, frame: pd.DataFrame
) -> None:
    benchmark = evaluation.benchmark_scores
    assert benchmark is not None
    assert benchmark.name == BENCHMARK
    assert benchmark.eras == ERAS[2:]

    def score(rows: pd.DataFrame) -> float:
        return float(numerai_corr(rows[["prediction"]], rows["target"]).iloc[0])

    expected = reference(frame, frame[BENCHMARK], "target", score)
    scores = benchmark.by_target["target"]
    check(scores.corr, benchmark.eras, expected, 1e-9)
    assert np.isnan(scores.bmc).all()
    assert np.isnan(scores.benchmark_corr).all()
    assert np.isfinite(scores.mmc).any()


def test_all_features_are_used_if_asked_for(
    prediction_files: list[Path], scored_dataset: Path
) -> None:
    found = mt.evaluate(prediction_files[0], scored_dataset, neutral_to="all")
    assert found.models[0].exposures.feature_names == FEATURES
    assert found.neutral_to == "all"
    assert mt.evaluate(prediction_files[0], scored_dataset).neutral_to == "fncv3_features"


def test_another_benchmark_and_meta_model_are_taken_by_name(
    evaluation: Evaluation, prediction_files: list[Path], scored_dataset: Path
) -> None:
    found = mt.evaluate(
        prediction_files, scored_dataset, benchmark=BENCHMARKS[1], meta_model=BENCHMARKS[0]
    )
    own = found.models[0].by_target["target"]
    before = evaluation.models[0].by_target["target"]
    eras = [evaluation.models[0].eras.index(era) for era in found.models[0].eras]
    np.testing.assert_array_equal(own.bmc, before.all_bmc[BENCHMARKS[1]][eras])
    np.testing.assert_array_equal(own.mmc, before.bmc[eras])
    assert found.benchmark_scores is not None
    assert found.benchmark_scores.name == BENCHMARKS[1]
    assert list(own.all_bmc) == list(BENCHMARKS[1:])


def test_a_dataset_without_benchmarks_has_no_mmc_and_says_so(
    prediction_files: list[Path], scored_dataset: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    mt.convert(scored_dataset.parent / "source.parquet", plain, dtype="int8", workers=1)
    found = mt.evaluate(prediction_files[0], plain)
    assert found.benchmark is None
    assert found.meta_model is None
    assert found.benchmark_scores is None
    assert np.isnan(found.era_scores["mmc"]).all()
    assert np.isnan(found.era_scores["bmc"]).all()
    assert found.neutral_to == "all"
    (note,) = found.notes
    assert "the dataset has no benchmarks" in note
    assert "convert --benchmarks" in note


def test_eras_can_be_named(prediction_files: list[Path], scored_dataset: Path) -> None:
    found = mt.evaluate(prediction_files[0], scored_dataset, eras=["0002-0004", "0007"])
    assert found.models[0].eras == ("0002", "0003", "0004", "0007")
    assert mt.evaluate(prediction_files[0], scored_dataset, eras="all").models[0].eras == ERAS[:-1]
    with pytest.raises(FoldError, match=r"eras has eras that aren't in the dataset: '0099'"):
        mt.evaluate(prediction_files[0], scored_dataset, eras="0099")
    with pytest.raises(FoldError, match=r"'target' has no labels: '0012'"):
        mt.evaluate(prediction_files[0], scored_dataset, eras="0012")


def test_a_selection_restricts_the_scores(
    prediction_files: list[Path], scored_dataset: Path
) -> None:
    selection = mt.open_dataset(scored_dataset).select(ERAS[4:8])
    assert mt.evaluate(prediction_files[0], selection).models[0].eras == ERAS[4:8]


def test_what_is_not_covered_is_said(prediction_files: list[Path], scored_dataset: Path) -> None:
    whole, part = mt.evaluate(prediction_files, scored_dataset).models
    assert whole.notes[0].startswith("it is unknown which eras")
    assert "1 era without labels left out" in whole.notes
    assert any(note.startswith("MMC in 4 of 11 eras only") for note in whole.notes)
    assert any("rows have no prediction in 11 eras" in note for note in part.notes)


def test_equal_predictions_have_no_score_and_it_is_said(
    frame: pd.DataFrame, scored_dataset: Path, tmp_path: Path
) -> None:
    predictions = predictions_frame(frame)
    predictions.loc[predictions["era"] == "0002", "prediction"] = 0.5
    write_csv(predictions, tmp_path / "constant.csv")
    (model,) = mt.evaluate(tmp_path / "constant.csv", scored_dataset).models
    scores, place = model.by_target["target"], model.eras.index("0002")
    assert np.flatnonzero(np.isnan(scores.corr)).tolist() == [place]
    assert np.isnan(scores.fnc[place])
    assert np.isnan(model.exposures.max_exposure[place])
    assert model.exposures.max_exposure_feature[place] == ""
    assert "no CORR in 1 of 11 eras: predictions that are all equal" in model.notes
    assert scores.statistics("corr").n_eras == 10


def test_differences_are_of_eras_that_both_models_have(
    evaluation: Evaluation, prediction_files: list[Path], scored_dataset: Path
) -> None:
    first, second = (model.by_target["target"].corr for model in evaluation.models)
    difference = evaluation.difference("part", "whole")
    assert difference.mean == pytest.approx(float(np.nanmean(second - first)))
    assert difference.n_eras == 11
    assert evaluation.difference("whole", BENCHMARK).n_eras == 9
    with pytest.raises(DatasetError, match="did you mean 'whole'"):
        evaluation.difference("whale", "part")
    with pytest.raises(DatasetError, match="no score 3; expected one of"):
        evaluation.models[0].by_target["target"].scores(cast(Any, 3))
    with pytest.raises(DatasetError, match="no score 'cor'"):
        evaluation.difference("whole", "part", "cor")
    with pytest.raises(DatasetError, match="no target 'tarjet'"):
        evaluation.difference("whole", "part", target="tarjet")


def test_models_are_named_by_their_paths_or_by_a_mapping(
    prediction_files: list[Path], scored_dataset: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "whole.csv"
    copy.write_bytes(prediction_files[0].read_bytes())
    names = [
        model.name
        for model in mt.evaluate(
            [prediction_files[0], copy, prediction_files[1]], scored_dataset
        ).models
    ]
    assert names == [f"{prediction_files[0].parent.name}/whole", f"{tmp_path.name}/whole", "part"]
    assert [m.name for m in mt.evaluate([copy, copy], scored_dataset).models] == [
        "whole",
        "whole (2)",
    ]
    assert [m.name for m in mt.evaluate({"a": copy}, scored_dataset).models] == ["a"]


def test_progress_is_reported_until_all_eras_are_scored(
    prediction_files: list[Path], scored_dataset: Path
) -> None:
    calls: list[tuple[str, int, int]] = []
    mt.evaluate(prediction_files[0], scored_dataset, progress=lambda *call: calls.append(call))
    stages = list(dict.fromkeys(what for what, *_ in calls))
    assert stages == [f"matching {prediction_files[0]}", "scoring"]
    n_rows = sum(mt.open_dataset(scored_dataset).rows_per_era[:-1])
    assert calls[-1] == ("scoring", n_rows, n_rows)
    assert sum(what == "scoring" for what, *_ in calls) == 12


def test_a_model_may_have_the_name_of_the_benchmark(
    prediction_files: list[Path], scored_dataset: Path
) -> None:
    found = mt.evaluate({BENCHMARK: prediction_files[0]}, scored_dataset)
    assert [model.name for model in found.all_models] == [BENCHMARK, f"{BENCHMARK} (benchmark)"]
    assert found.difference(BENCHMARK, f"{BENCHMARK} (benchmark)").mean < -0.5


@pytest.mark.parametrize(
    ("models", "options", "said"),
    [
        (5, {}, "the models are 5, expected a run"),
        ([5], {}, "a model is 5, expected a run"),
        ({1: "a"}, {}, "a model's name is 1, expected text"),
        (None, {"details": "no"}, "details: expected True or False, found 'no'"),
        (None, {"benchmark": 5}, "benchmark: expected text, found 5"),
        (None, {"neutral_to": ["feature_01"]}, "neutral_to: expected text"),
    ],
)
def test_arguments_of_other_types_are_refused(
    models: Any,
    options: dict[str, Any],
    said: str,
    prediction_files: list[Path],
    scored_dataset: Path,
) -> None:
    with refused(ArgumentError, said):
        mt.evaluate(models or prediction_files, scored_dataset, **options)


def test_no_model_is_refused(scored_dataset: Path) -> None:
    none: tuple[Any, ...] = ([], {})
    for models in none:
        with refused(RunError, "no model is named"):
            mt.evaluate(models, scored_dataset)


def test_contributions_do_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    """The mean of float32 targets does, in the eighth digit; numerai-tools sorts rows by id."""
    random = np.random.default_rng(1)
    n_rows = 40
    frame = pd.DataFrame(
        {
            "era": "0001",
            "feature_a": random.integers(0, 5, n_rows).astype(np.int8),
            "target": random.random(n_rows).astype(np.float32),
            "id": [f"n{number:03}" for number in random.permutation(n_rows)],
        }
    )
    frame.to_parquet(tmp_path / "source.parquet", index=False)
    mt.convert(tmp_path / "source.parquet", tmp_path / "ds", dtype="int8", workers=1)
    other = random.random((n_rows, 1)).astype(np.float32)
    dataset = with_benchmarks(tmp_path / "ds", ("other",), lambda era, rows: other)
    frame["prediction"] = (random.random(n_rows) ** 4).round(1)  # unevenly tied
    write_csv(frame[["id", "prediction"]].set_index("id"), tmp_path / "predictions.csv")
    (model,) = mt.evaluate(tmp_path / "predictions.csv", dataset).models
    by_id = frame.assign(other=other).set_index("id").sort_index()
    assert by_id["target"].mean() != frame["target"].mean()
    expected = correlation_contribution(by_id[["prediction"]], by_id["other"], by_id["target"])
    assert model.by_target["target"].bmc[0] == pytest.approx(expected["prediction"], abs=1e-12)
