"""The charts of a report by section: which of them there are follows from the scores.

Takes a `Subject`; returns `Section`s. A score that no model has makes no chart, and the section
says so where a reader would look for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...dataset.eras import weekly_era_number
from ...dataset.selection import ALL
from ...runs.scores.monitor import FURTHER_SCORES, further_score
from .chart import Chart
from .chart_cells import (
    corr_by_proportion,
    corr_by_target,
    history_by_epoch,
    largest_exposures,
)
from .era_charts import ROLLING_ERAS, below_top, era_bars, era_lines, plain, rolling, summed
from .other_charts import lines_over, points_by_name, timeline
from .provenance import folds_of
from .subject import SCORES, Subject, stretches

_MAX_BAR_CHARTS = 6  # of one model each


@dataclass(frozen=True, slots=True)
class Section:
    """Charts below one heading.

    Attributes
    ----------
    name : str
        Unique in a page.
    title : str
    charts : sequence of Chart
    remarks : sequence of str
        Sentences about charts that there aren't.
    is_grid : bool
        Whether charts stand side by side where the page is wide.
    """

    name: str
    title: str
    charts: Sequence[Chart]
    remarks: Sequence[str] = ()
    is_grid: bool = True


def sections(subject: Subject) -> list[Section]:
    """Return the sections of charts, in the order of the page."""
    found = [
        Section("cumulative", "Cumulative scores", list(_cumulative(subject)), _missing(subject)),
        Section("eras", "Era by era", list(_by_era(subject)), is_grid=False),
        Section("rolling", f"Rolling {ROLLING_ERAS} eras", *_rolling(subject)),
        Section("exposure", "Exposure to features", list(_exposure(subject))),
        Section("correlation", "Correlation with others", list(_correlation(subject))),
        Section("targets", "Targets", list(_targets(subject))),
        Section("learning", "Learning curves", list(_learning(subject))),
    ]
    return [section for section in found if section.charts or section.remarks]


def main_charts(subject: Subject) -> list[Chart]:
    """Return the charts that are worth a picture of their own."""
    names = {"sum-corr", "sum-mmc", "sum-bmc", "sum-difference", "drawdown", "rolling-mean"}
    names |= {"exposure", "largest-exposures", "proportions"}
    every = [chart for section in sections(subject) for chart in section.charts]
    return [chart for chart in every if chart.name in names]


def eras_chart(subject: Subject) -> Chart | None:
    """Return which eras each run was trained on, left out and is scored on; None without runs."""
    every = subject.evaluation.dataset_eras
    first = weekly_era_number(every[0]) or 0
    position = {era: i for i, era in enumerate(every, start=first)}
    names, spans = [], []
    for model in subject.models:
        for name, fold in folds_of(model):
            names.append(name)
            parts = (
                ("trained on", fold.train),
                ("embargo", fold.embargo),
                ("scored", fold.validation),
            )
            for part, eras in parts:
                places = sorted(position[era] for era in eras if era in position)
                spans += [
                    {"name": name, "part": part, "low": low, "high": high}
                    for low, high in stretches(places)
                ]
    return timeline(names, spans, every, first) if names else None


# -- charts of eras -------------------------------------------------------------------------------


def _cumulative(subject: Subject) -> Iterator[Chart]:
    notes = {
        "corr": "The sum over all eras so far.",
        "mmc": "Contribution to the meta model.",
        "bmc": f"Contribution to {subject.evaluation.benchmark}.",
        "fnc": f"CORR of predictions that are neutralised to {subject.evaluation.neutral_to}.",
    }
    if subject.frame.borders:
        notes["corr"] += " Dotted lines are the first eras of folds."
    if subject.frame.embargoes:
        notes["corr"] += " Grey eras are embargoes."
    for field, note in notes.items():
        if subject.has(field):
            yield era_lines(
                subject.frame,
                f"sum-{field}",
                f"Cumulative {SCORES[field]}",
                summed(field),
                axis=f"sum of {SCORES[field]}",
                note=note,
                height=330 if field == "corr" else 220,
            )
    if subject.has("difference"):
        yield era_lines(
            subject.frame,
            "sum-difference",
            "Difference to the benchmark",
            summed("difference"),
            axis="sum of CORR above the benchmark's",
            note=f"Above 0 a model has earned more CORR than {subject.evaluation.benchmark}.",
        )


def _missing(subject: Subject) -> list[str]:
    remarks = []
    if not subject.has("mmc"):
        remarks.append(
            "There is no MMC: the dataset has no column of the meta model for these eras "
            "(memmap-train convert ... --benchmarks meta_model.parquet adds it)."
        )
    if not subject.has("bmc"):
        remarks.append(
            "There is no BMC, and no difference to a benchmark: the dataset has no benchmark model "
            "for these eras (memmap-train convert ... --benchmarks "
            "validation_benchmark_models.parquet adds them)."
        )
    return remarks


def _by_era(subject: Subject) -> Iterator[Chart]:
    shown = [m for m, scores in enumerate(subject.scores) if "corr" in scores][:_MAX_BAR_CHARTS]
    for m in shown:
        name = subject.models[m].name
        yield era_bars(
            subject.frame, m, "corr", name=f"bars-{m}", title=f"CORR of {name}", axis="CORR"
        )
    if shown:
        yield era_lines(
            subject.frame,
            "drawdown",
            "Drawdown",
            below_top("corr"),
            axis="below the highest sum so far",
            note="How far the sum of CORR is below its highest value so far.",
            is_filled=True,
        )


def _rolling(subject: Subject) -> tuple[list[Chart], list[str]]:
    longest = max((np.isfinite(s["corr"]).sum() for s in subject.scores if "corr" in s), default=0)
    if longest < ROLLING_ERAS:
        return [], [f"Fewer than {ROLLING_ERAS} eras are scored: there is nothing to roll over."]
    mean = era_lines(
        subject.frame,
        "rolling-mean",
        f"Mean CORR of the last {ROLLING_ERAS} eras",
        rolling("corr", "mean"),
        axis="mean CORR",
    )
    sharpe = era_lines(
        subject.frame,
        "rolling-sharpe",
        f"Sharpe ratio of the last {ROLLING_ERAS} eras",
        rolling("corr", "sharpe"),
        axis="mean / std",
        digits=2,
    )
    return [mean, sharpe], []


def _correlation(subject: Subject) -> Iterator[Chart]:
    others = {
        "benchmark_corr": ("benchmark", subject.evaluation.benchmark),
        "meta_model_corr": ("meta model", subject.evaluation.meta_model),
    }
    for field, (what, column) in others.items():
        if subject.has(field):
            yield era_lines(
                subject.frame,
                field.replace("_", "-"),
                f"Correlation with the {what}",
                plain(field),
                axis="correlation of predictions",
                note=f"With {column}.",
                has_zero=False,
            )
    if subject.has("turnover"):
        yield era_lines(
            subject.frame,
            "turnover",
            "Turnover",
            plain("turnover"),
            axis="1 - rank correlation",
            note="Against the predictions for the same ids in the era before.",
        )


# -- other charts ---------------------------------------------------------------------------------


def _exposure(subject: Subject) -> Iterator[Chart]:
    to = subject.evaluation.neutral_to
    of_set = "to all features" if to == ALL else f"to the features of {to}"
    for field, name in (("max_exposure", "exposure"), ("rms_exposure", "rms-exposure")):
        if subject.has(field):
            yield era_lines(
                subject.frame,
                name,
                "Maximal exposure" if field == "max_exposure" else "Root mean square exposure",
                plain(field),
                axis="correlation with a feature",
                note=f"{of_set[0].upper()}{of_set[1:]}.",
            )
    if (cells := largest_exposures(subject)) is not None:
        yield points_by_name(
            subject.frame,
            cells,
            name="largest-exposures",
            title=f"The {len(cells.rows)} largest exposures",
            axis="mean exposure over the eras",
            note=f"Mean exposure over the eras, {of_set}.",
        )
    if (cells := corr_by_proportion(subject)) is not None:
        yield lines_over(
            subject.frame,
            cells,
            name="proportions",
            title="CORR against the proportion of neutralisation",
            axes=("proportion", "mean CORR"),
            note=f"Predictions neutralised {of_set}, in part or as a whole.",
            x_format=".0%",
        )


def _targets(subject: Subject) -> Iterator[Chart]:
    if (cells := corr_by_target(subject)) is not None:
        yield points_by_name(
            subject.frame, cells, name="by-target", title="CORR by target", axis="mean CORR"
        )


def _learning(subject: Subject) -> Iterator[Chart]:
    monitored = [
        str(model.provenance.config.get("monitor"))
        for model in subject.models
        if model.provenance is not None
    ]
    further = [f"val_{score}_mean" for score in FURTHER_SCORES]
    further += [column for column in monitored if further_score(column) is not None]
    for column, title, axis, digits in (
        ("loss", "Loss of training", "loss", 5),
        ("val_corr_mean", "Validation score by epoch", "mean numerai_corr", 4),
        *(_further_curve(column) for column in dict.fromkeys(further)),
    ):
        cells = history_by_epoch(subject, column)
        if cells is not None:
            yield lines_over(
                subject.frame,
                cells,
                name=f"learning-{column.replace('_', '-')}",
                title=title,
                axes=("epoch", axis),
                digits=digits,
            )


def _further_curve(column: str) -> tuple[str, str, str, int]:
    """Return the title, the axis and the digits of a column such as val_bmc_mean, after it.

    >>> _further_curve("val_bmc_max_drawdown")
    ('val_bmc_max_drawdown', 'Validation BMC by epoch: max drawdown', 'max drawdown of BMC', 4)
    """
    _, score, statistic = column.split("_", 2)
    name, statistic = score.upper(), statistic.replace("_", " ")
    return column, f"Validation {name} by epoch: {statistic}", f"{statistic} of {name}", 4
