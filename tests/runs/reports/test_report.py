"""Tests of the text that is printed when a training is done."""

import logging
import math
from dataclasses import replace

import pytest

from memmap_train.runs.reports.report import FoldsReport, TrainReport
from memmap_train.runs.reports.reporter import Reporter
from memmap_train.runs.reports.result_text import folds_text, result_text, training_text
from memmap_train.runs.reports.seeds_report import SeedsReport
from memmap_train.runs.scores.summary import Summary

CORR = Summary(mean=0.03, std=0.025, sharpe=1.2, max_drawdown=0.01, positive=0.92, n_eras=40)
REPORT = TrainReport(
    run_dir="runs/a",
    n_epochs=7,
    n_steps=70,
    stopped_early=True,
    best_epoch=4,
    corr=CORR,
    pearson=replace(CORR, mean=0.0402),
    best_possible=0.04,
    chart_path="runs/a/validation.png",
)
SCORES = (
    "numerai_corr 0.0300 on average (std 0.0250, Sharpe 1.20, max drawdown 0.0100, "
    "92% of eras positive), Pearson 0.0402"
)


def test_the_report_shows_the_scores_and_the_path_of_the_picture() -> None:
    assert training_text(REPORT).splitlines() == [
        "runs/a: best epoch 4 of 7, stopped early",
        f"validation  {SCORES}",
        "possible    numerai_corr 0.0400: the run reached 75% of what any model can",
        "chart       runs/a/validation.png",
    ]


def test_unknown_values_are_left_out_of_the_report() -> None:
    report = replace(REPORT, stopped_early=False, best_possible=None, already_finished=True)
    assert training_text(report).splitlines() == [
        "runs/a: already finished; nothing to do",
        "runs/a: best epoch 4 of 7",
        f"validation  {SCORES}",
        "chart       runs/a/validation.png",
    ]


@pytest.mark.parametrize(
    ("mean", "possible", "ending"),
    [
        (0.044, 0.04, "0.0400: the run reached 110% of what any model can"),
        (-0.018, 0.04, "0.0400: the run found no signal"),
        (float("nan"), 0.04, "0.0400: the run found no signal"),
        (0.01, -0.002, "-0.0020"),
    ],
)
def test_a_share_of_the_possible_score_is_shown_only_if_it_makes_sense(
    mean: float, possible: float, ending: str
) -> None:
    report = replace(REPORT, corr=replace(CORR, mean=mean), best_possible=possible)
    line = training_text(report).splitlines()[-2]
    assert line == f"possible    numerai_corr {ending}"


@pytest.mark.parametrize(
    ("is_installed", "said"), [(False, "memmap-train[report]"), (True, "see the warning")]
)
def test_without_a_picture_the_report_says_how_to_get_one(
    is_installed: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "memmap_train.runs.reports.result_text.find_spec"
    monkeypatch.setattr(name, lambda module: module if is_installed else None)
    last = training_text(replace(REPORT, chart_path=None)).splitlines()[-1]
    assert last.startswith("chart ")
    assert said in last


def test_the_report_shows_scores_per_fold_and_overall() -> None:
    report = FoldsReport(
        run_dir="runs/f",
        n_eras=40,
        corr=CORR,
        pearson=replace(CORR, mean=0.0402),
        best_possible=0.04,
        chart_path="runs/f/validation.png",
        folds=(REPORT, replace(REPORT, corr=replace(CORR, mean=0.02))),
    )
    assert folds_text(report).splitlines() == [
        "runs/f: 40 eras predicted out of fold by 2 models, the last epoch's of each fold",
        "fold 1      numerai_corr 0.0300 on average, Sharpe 1.20",
        "fold 2      numerai_corr 0.0200 on average, Sharpe 1.20",
        f"out of fold {SCORES}",
        "possible    numerai_corr 0.0400",
        "chart       runs/f/validation.png",
    ]


def test_a_report_has_the_keys_of_state_json() -> None:
    scores = {
        "corr_mean": 0.03,
        "corr_std": 0.025,
        "corr_sharpe": 1.2,
        "max_drawdown": 0.01,
        "corr_positive": 0.92,
        "pearson_mean": 0.0402,
        "best_possible": 0.04,
    }
    assert REPORT.to_json() == scores | {
        "run_dir": "runs/a",
        "n_epochs": 7,
        "n_steps": 70,
        "stopped_early": True,
        "best_epoch": 4,
        "chart_path": "runs/a/validation.png",
        "already_finished": False,
    }
    folds = FoldsReport(
        run_dir="runs/f",
        n_eras=40,
        corr=CORR,
        pearson=replace(CORR, mean=0.0402),
        best_possible=0.04,
        chart_path=None,
        folds=(REPORT,),
    )
    assert folds.to_json() == scores | {"run_dir": "runs/f", "n_eras": 40, "chart_path": None}


def test_the_default_reporter_logs_warnings(caplog: pytest.LogCaptureFixture) -> None:
    Reporter().warning("runs/a: 100% of it")
    assert caplog.record_tuples == [("memmap_train", logging.WARNING, "runs/a: 100% of it")]


def test_the_report_of_seeds_shows_each_their_mean_and_all_together() -> None:
    nothing = Summary(math.nan, math.nan, math.nan, math.nan, math.nan, 0)
    report = SeedsReport(
        run_dir="runs/s",
        n_eras=40,
        corr=CORR,
        pearson=replace(CORR, mean=0.0402),
        best_possible=0.04,
        chart_path="runs/s/validation.png",
        seeds={3: replace(REPORT, corr=replace(CORR, mean=0.02)), 4: REPORT},
    )
    assert result_text(report).splitlines() == [
        "runs/s: 40 eras predicted by 2 seeds together, by the mean of their ranks",
        "seed 3      numerai_corr 0.0200 on average, Sharpe 1.20",
        "seed 4      numerai_corr 0.0300 on average, Sharpe 1.20",
        "their mean  numerai_corr 0.0250 ± 0.0050 (standard error over the seeds)",
        f"together    {SCORES}",
        "possible    numerai_corr 0.0400: the run reached 75% of what any model can",
        "chart       runs/s/validation.png",
    ]
    without = replace(report, seeds={3: replace(REPORT, corr=nothing), 4: REPORT}).to_json()
    assert without["seeds"][0] | {"pearson_mean": None} == {
        "seed": 3,
        "corr_mean": None,
        "corr_std": None,
        "corr_sharpe": None,
        "max_drawdown": None,
        "corr_positive": None,
        "pearson_mean": None,
    }
    assert without["seeds"][1]["corr_mean"] == 0.03
