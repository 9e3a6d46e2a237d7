"""Predictions that are made neutral to features: as numerai-tools does it, era after era."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numerai_tools import submissions
from numpy.typing import NDArray
from scipy.stats import rankdata

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.errors import ConfigError, DatasetError
from memmap_train.training.prediction.neutralization import (
    Neutralization,
    neutralization,
    neutralized,
)
from tests.support.errors import refused
from tests.support.official_scores import official_residual
from tests.support.random_models import make_run
from tests.support.training_data import ROWS_PER_ERA, all_rows

pytest_plugins = ["tests.support.training_fixtures"]

Floats = NDArray[np.floating[Any]]


def official_ranks(dataset: mt.Dataset, ranks: Floats, features: Any, proportion: float) -> Floats:
    """Return the ranks of each era after numerai-tools' `neutralize`."""
    columns = dataset.feature_columns(features)
    found = []
    for era, low in zip(dataset.eras, dataset.row_offsets, strict=False):
        x, _ = all_rows(dataset.select([era]))
        chosen = x if columns is None else x[:, columns]
        of_era = ranks[low : low + len(x), None]
        rest = official_residual(of_era, chosen, proportion)[:, 0]
        found.append((rankdata(rest.round(10)) - 0.5) / len(x))
    return np.concatenate(found)


@pytest.fixture
def run(sample: Path, tmp_path: Path) -> Path:
    make_run(tmp_path / "run", list(mt.open_dataset(sample).feature_names))
    return tmp_path / "run"


@pytest.mark.parametrize("features", ["small", "all"])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_ranks_of_each_era_are_neutralized_and_ranked_again(
    features: str, dtype: str, run: Path, convert_sample: Callable[..., Path]
) -> None:
    dataset = mt.open_dataset(convert_sample(dtype=dtype))
    plain = mt.predict(run, dataset)
    for proportion in (1.0, 0.4):
        found = mt.predict(run, dataset, neutralize=features, proportion=proportion)
        expected = official_ranks(dataset, plain.values, features, proportion)
        np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-9)
        assert found.values.min() > 0
        assert found.values.max() < 1
        assert not np.allclose(found.values, plain.values, atol=0.05)


def test_by_default_all_of_it_is_subtracted_and_a_proportion_of_0_changes_nothing(
    run: Path, live: Path
) -> None:
    found = mt.predict(run, live, neutralize="all").values
    assert found.tolist() == mt.predict(run, live, neutralize="all", proportion=1).values.tolist()
    nothing = mt.predict(run, live, neutralize="all", proportion=0).values
    assert nothing.tolist() == mt.predict(run, live).values.tolist()


def test_features_can_be_named(run: Path, live: Path) -> None:
    dataset = mt.open_dataset(live)
    names = [dataset.feature_names[3], dataset.feature_names[1]]
    found = mt.predict(run, dataset, neutralize=names)
    expected = official_ranks(dataset, mt.predict(run, dataset).values, names, 1.0)
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-9)


def test_of_several_runs_the_mean_is_neutralized(run: Path, live: Path, tmp_path: Path) -> None:
    dataset = mt.open_dataset(live)
    make_run(tmp_path / "second", list(dataset.feature_names[2:5]))
    runs = [run, tmp_path / "second"]
    found = mt.predict(runs, dataset, neutralize="small", proportion=0.5)
    expected = official_ranks(dataset, mt.predict(runs, dataset).values, "small", 0.5)
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-9)


def test_the_progress_of_both_parts_is_told(run: Path, sample: Path) -> None:
    seen: list[tuple[Any, ...]] = []
    found = mt.predict(run, sample, neutralize="all", progress=lambda *now: seen.append(now))
    told = [now for now in seen if now[0] == "neutralising"]
    assert told[0] == ("neutralising", ROWS_PER_ERA, len(found))
    assert told[-1] == ("neutralising", len(found), len(found))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_file_is_one_that_numerai_accepts(
    suffix: str, run: Path, live: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"predictions.{suffix}"
    command = ["predict", str(run), str(live), "--out", str(out)]
    assert main([*command, "--neutralize", "small", "--proportion", "0.5"]) == 0
    assert "80 predictions" in capsys.readouterr().out
    written = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    ids = pd.Series([name.decode() for name in np.asarray(mt.open_dataset(live)["X"].ids)])
    id_column, column, filtered, surplus = submissions.validate_submission_numerai(ids, written)
    assert (id_column, column, list(surplus)) == ("id", "prediction", [])
    assert len(filtered) == ROWS_PER_ERA
    expected = mt.predict(run, live, neutralize="small", proportion=0.5).values
    assert written["prediction"].tolist() == expected.tolist()


def test_the_era_can_be_written_too(run: Path, sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    command = ["predict", str(run), str(sample), "--out", str(out), "--neutralize", "all", "--era"]
    assert main(command) == 0
    with open(out, newline="") as file:
        assert next(csv.reader(file)) == ["id", "era", "prediction"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--neutralize", "smal"], ["'smal'", "'small'"]),
        (["--neutralize", "small", "--proportion", "1.5"], ["1.5", "from 0 to 1"]),
        (["--neutralize", "small", "--proportion", "-0.1"], ["-0.1", "from 0 to 1"]),
        (["--neutralize", "small", "--proportion", "nan"], ["nan", "from 0 to 1"]),
        (["--proportion", "0.5"], ["0.5", "--neutralize SET"]),
        (["--neutralize", "small", "--raw"], ["--raw"]),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_predicted(
    options: list[str],
    said: list[str],
    run: Path,
    live: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "predictions.csv"
    assert main(["predict", str(run), str(live), "--out", str(out), *options]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert all(text in captured.err for text in said)
    assert not out.exists()


@pytest.mark.parametrize("proportion", [True, "1", math.inf, None])
def test_python_refuses_other_proportions(proportion: Any) -> None:
    if proportion is None:
        assert neutralization("small", None, raw=False) == Neutralization("small", 1.0)
        assert neutralization(None, None, raw=True) is None
    else:
        with refused(ConfigError, "from 0 to 1"):
            neutralization("small", proportion, raw=False)


def test_missing_features_are_refused_by_their_eras(with_missing: Path, tmp_path: Path) -> None:
    dataset = mt.open_dataset(with_missing)
    make_run(tmp_path / "run", list(dataset.feature_names), fill_missing=0.5)
    with refused(DatasetError, "missing (NaN)", "'0001'", "--missing nan"):
        mt.predict(tmp_path / "run", dataset, neutralize="all")
    ranks = np.random.default_rng([1]).random(dataset.n_rows)
    with refused(DatasetError, "missing (NaN)", "'0001'"):  # counts are read first, if there
        neutralized(dataset, ranks, Neutralization("all", 1.0), progress=lambda *_: None)


def test_predictions_that_features_explain_completely_are_refused(live: Path) -> None:
    dataset = mt.open_dataset(live)
    explained = dataset["X"].features[:, 2] / 4.0
    with refused(DatasetError, "'X'", "completely", "80 rows"):
        neutralized(dataset, explained, Neutralization("all", 1.0), progress=lambda *_: None)
    found = neutralized(dataset, explained, Neutralization("all", 0.5), progress=lambda *_: None)
    assert found.tolist() == ((rankdata(explained) - 0.5) / len(explained)).tolist()


def test_an_era_of_equal_predictions_stays_as_it_is(live: Path) -> None:
    dataset = mt.open_dataset(live)
    equal = np.full(dataset.n_rows, 0.5)
    found = neutralized(dataset, equal, Neutralization("all", 1.0), progress=lambda *_: None)
    assert found.tolist() == equal.tolist()
