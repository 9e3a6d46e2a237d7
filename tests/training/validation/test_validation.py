"""Tests of a validation: the score of each era by itself, and why an era has none."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest

import memmap_train as mt
from memmap_train.loading.sequential import SequentialReader
from memmap_train.runs.reports.reporter import Reporter
from memmap_train.runs.scores.metrics import numerai_corr, pearson, why_undefined
from memmap_train.runs.scores.summary import summary
from memmap_train.system.direct_io import can_read_directly
from memmap_train.system.memory_budget import PROCESS_MEMORY
from memmap_train.training.models.build import build
from memmap_train.training.prediction import predictor as predicting
from memmap_train.training.prediction.predictor import Predictor
from memmap_train.training.train import train_run
from memmap_train.training.validation.validation import mapped_labels, score_eras
from tests.support.training_data import ROWS_PER_ERA, all_rows, small_config

pytest_plugins = ["tests.support.training_fixtures"]


def test_scores_are_those_of_each_era_by_itself(sample: Path) -> None:
    dataset = mt.open_dataset(sample)
    dataset = dataset.select(dataset.eras[3:9])
    targets = ["target_beta_20", "target"]
    names = list(reversed(dataset.feature_names))
    model = build(len(names), 2, small_config())
    seen: list[tuple[int, int]] = []
    scores = score_eras(
        Predictor(model, None),
        dataset,
        names,
        mapped_labels(dataset, targets),
        progress=lambda *now: seen.append(now),
    )
    assert scores.corr.shape == scores.pearson.shape == (6, 2)
    for position, era in enumerate(dataset.eras):
        one = dataset.select([era])
        predictions = model(all_rows(one)[0][:, ::-1]).numpy()
        for column, target in enumerate(targets):
            labels = all_rows(one, target)[1]
            assert scores.corr[position, column] == numerai_corr(predictions[:, column], labels)
            assert scores.pearson[position, column] == pearson(predictions[:, column], labels)
    assert scores.corr_summary() == summary(scores.corr[:, 0])
    assert scores.pearson_summary() == summary(scores.pearson[:, 0])
    assert seen[-1] == (6 * ROWS_PER_ERA, 6 * ROWS_PER_ERA)


def test_validation_is_read_past_the_cache_where_all_eras_dont_fit_into_memory(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(epochs=1, window_size=1, pool_batches=1)
    found = []
    for available in (10**12, 0):
        monkeypatch.setattr(PROCESS_MEMORY, "available", lambda given=available: given)
        with mock.patch.object(
            predicting, "SequentialReader", side_effect=SequentialReader
        ) as blocks:
            train_run(sample, tmp_path / str(available), config)
        assert blocks.call_args.kwargs == {
            "past_cache": not available and can_read_directly(sample / "manifest.json")
        }
        found.append((tmp_path / str(available) / "era_scores.csv").read_bytes())
    assert found[0] == found[1]


def test_eras_that_have_no_score_are_told_of_with_the_reason(sample: Path, tmp_path: Path) -> None:
    said: list[str] = []

    class Listener(Reporter):
        def warning(self, text: str) -> None:
            said.append(text)

    report = train_run(
        sample, tmp_path / "run", small_config(learning_rate=1e-30), report=Listener()
    )
    assert not said
    assert math.isfinite(report.corr.mean)
    with mock.patch.object(Predictor, "predict", constant_predictions):
        report = train_run(sample, tmp_path / "equal", small_config(), report=Listener())
    assert math.isnan(report.corr.mean)
    (text,) = said  # though there were two epochs
    assert "eras have no score: predictions that are all equal; try another learning_rate" in text


def constant_predictions(
    predictor: Predictor, dataset: mt.Dataset, *_: Any, **__: Any
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    for era in dataset.eras:
        yield era, np.full((dataset[era].n_rows, 1), 0.5, np.float32)


@pytest.mark.parametrize(
    ("predictions", "target", "reason"),
    [
        ([0.1, 0.2], [0.5, math.nan], "fewer than two labelled rows"),
        ([], [], "fewer than two labelled rows"),
        ([0.1, math.nan], [0.5, 0.25], "predictions that are no numbers"),
        ([0.1, 0.2, math.nan], [0.5, 0.5, math.nan], "a constant target"),
        ([0.1, 0.1], [0.5, 0.25], "predictions that are all equal"),
    ],
)
def test_why_an_era_has_no_score(
    predictions: list[float], target: list[float], reason: str
) -> None:
    arrays = np.array(predictions), np.array(target)
    assert math.isnan(numerai_corr(*arrays))
    assert why_undefined(*arrays) == reason
