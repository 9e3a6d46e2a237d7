"""The whole way on a small sample, by commands: from parquet files to scores and a page.

The scores are held to numerai-tools on frames that pandas reads from the sample's parquet files.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memmap_train.cli.commands import main

pd = pytest.importorskip("pandas")
pytest.importorskip("keras")
scoring = pytest.importorskip("numerai_tools.scoring")

SOURCES = ("train.parquet", "validation.parquet")
BENCHMARKS = ("train_benchmark_models", "validation_benchmark_models", "meta_model")
RUN, DATASET = "runs/first", "data/shards"
BENCHMARK, META_MODEL = "v0_lgbm_alpha20", "numerai_meta_model"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which each command has done its work."""
    folder = tmp_path_factory.mktemp("whole")
    benchmarks = " ".join(f"sample/{name}.parquet" for name in BENCHMARKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in (
            "sample sample --eras 60 --rows-per-era 200 --features 12",
            f"convert sample/train.parquet sample/validation.parquet --out {DATASET} "
            f"--features-json sample/features.json --dtype int8 --benchmarks {benchmarks}",
            f"verify {DATASET}",
            f"train {DATASET} --run {RUN} --set epochs=2",
            f"evaluate {RUN} {DATASET} --out scores",
            f"predict {RUN} {DATASET} --out predictions.parquet",
        ):
            assert main(command.split()) == 0, command
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> Any:
    """Return a frame of all rows with their benchmarks and predictions, joined by pandas."""
    frame = pd.concat([pd.read_parquet(folder / "sample" / name) for name in SOURCES])
    of_benchmarks = pd.concat(
        [pd.read_parquet(folder / "sample" / f"{name}.parquet") for name in BENCHMARKS[:2]]
    )
    frame = frame.join(of_benchmarks[BENCHMARK])
    frame = frame.join(pd.read_parquet(folder / "sample/meta_model.parquet")[META_MODEL])
    predictions = pd.read_parquet(folder / "predictions.parquet")
    frame = frame.join(predictions.set_index("id")["prediction"], validate="one_to_one")
    # numerai-tools computes with the types that it is given. Targets and benchmarks stay as the
    # files have them, as in `evaluate`; all else would lose half of its digits.
    narrow = [name for name in frame if frame[name].dtype == "float32"]
    return frame.astype(dict.fromkeys({*narrow} - {"target", BENCHMARK, META_MODEL}, float))


def test_the_scores_of_a_run_are_those_of_numerai_tools(folder: Path, rows: Any) -> None:
    scores = pd.read_csv(folder / "scores/era_scores.csv", dtype={"era": str})
    scores = scores[scores["model"] == "first"].set_index("era")
    # 48 eras train, less the 20 % that validate and an embargo; the last era has no label yet.
    validation = json.loads((folder / RUN / "config.json").read_text())["validation_eras"]
    assert scores.index.tolist()[: len(validation)] == validation
    assert scores.index[-1] < "0060"

    def of_era(era: Any) -> dict[str, float]:
        own, target = era[["prediction"]], era["target"]
        features = era[[name for name in era if name.startswith("feature_")]]

        def against(other: str, score: Callable[..., Any], *more: object) -> float:
            there = era[other].notna().all()
            return float(score(own, era[other], *more).iloc[0]) if there else math.nan

        name, exposure = scoring.max_feature_correlation(era["prediction"], features)
        return {
            "n_rows": len(era),
            "corr": float(scoring.numerai_corr(own, target).iloc[0]),
            "mmc": against(META_MODEL, scoring.correlation_contribution, target),
            "bmc": against(BENCHMARK, scoring.correlation_contribution, target),
            "benchmark_corr": against(BENCHMARK, scoring.numerai_corr),
            "fnc": float(scoring.feature_neutral_corr(own, features, target).iloc[0]),
            "max_exposure": exposure,
            "max_exposure_feature": name,
            "rms_exposure": math.sqrt((features.corrwith(era["prediction"]) ** 2).mean()),
        }

    expected = pd.DataFrame(
        [of_era(rows[rows["era"] == era].sort_index()) for era in scores.index], index=scores.index
    )
    assert expected["mmc"].notna().sum() > 3
    assert expected["mmc"].isna().any()
    for column, tolerance in (
        *((name, 1e-9) for name in ("n_rows", "corr", "mmc", "bmc", "benchmark_corr")),
        *((name, 1e-6) for name in ("fnc", "max_exposure", "rms_exposure")),
    ):
        found, wanted = scores[column].astype(float), expected[column].astype(float)
        pd.testing.assert_series_equal(found, wanted, rtol=0, atol=tolerance)
    assert scores["max_exposure_feature"].tolist() == expected["max_exposure_feature"].tolist()


def test_the_scores_of_a_file_of_predictions_are_those_of_its_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    run = pd.read_csv("scores/era_scores.csv", dtype={"era": str})
    run = run[run["model"] == "first"].set_index("era")
    command = f"evaluate predictions.parquet {DATASET} --out of-file"
    assert main(command.split()) == 0
    found = pd.read_csv("of-file/era_scores.csv", dtype={"era": str}).set_index("era")
    found = found[found["model"] == "predictions"]
    assert len(found) == 59  # all eras with labels: nothing is known of what it trained on
    for column in ("corr", "mmc", "bmc", "fnc"):
        pd.testing.assert_series_equal(found.loc[run.index, column], run[column], atol=1e-6)


def test_the_page_of_a_run_is_written_where_it_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vl_convert")
    monkeypatch.chdir(folder)
    written = Path(RUN, "report.html")
    assert main(f"report {RUN} {DATASET} --out {written}".split()) == 0
    page = written.read_text()
    assert len(page) <= 1.5e6
    for name in (BENCHMARK, META_MODEL, "target_alpha_20"):
        assert name in page
    assert str(written) in capsys.readouterr().out
