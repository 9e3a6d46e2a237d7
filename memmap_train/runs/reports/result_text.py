"""What a training says at its end: the scores of a run, of folds or of seeds, as lines of text.

Takes the report of a training, or the plans of several; returns text. Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from ...text import counted
from ..scores.summary import Summary
from .baseline_text import baseline_lines, strengths_text
from .plan import TrainPlan, plan_text
from .report import FoldsReport, TrainReport
from .seeds_report import SeedsReport

HOW_TO_GET_PICTURES = "for a picture and a report of the scores: pip install 'memmap-train[report]'"

AnyReport = TrainReport | FoldsReport | SeedsReport
"""The report of a run of any kind."""


def result_text(report: AnyReport) -> str:
    """Return the result of a training as lines of text."""
    if isinstance(report, SeedsReport):
        return seeds_text(report)
    return training_text(report) if isinstance(report, TrainReport) else folds_text(report)


def training_text(report: TrainReport) -> str:
    """Return the result of training one model as lines of text."""
    stopped = ", stopped early" if report.stopped_early else ""
    lines = [
        *_first_lines(report),
        f"{report.run_dir}: best epoch {report.best_epoch} of {report.n_epochs}{stopped}"
        if not report.strengths
        else f"{report.run_dir}: a ridge regression of strength {strengths_text(report.strengths)}",
        f"validation  {_scores_text(report)}",
        *_further_lines(report),
        *baseline_lines(report.baseline, report.corr),
    ]
    return "\n".join(
        [*lines, *_possible_lines(report), _chart_line(report), *_report_lines(report)]
    )


def folds_text(report: FoldsReport) -> str:
    """Return the result of training folds as lines of text."""
    lines = [
        *_first_lines(report),
        f"{report.run_dir}: {counted(report.n_eras, 'era')} predicted out of fold by "
        f"{counted(len(report.folds), 'model')}, the last epoch's of each fold",
    ]
    for number, fold in enumerate(report.folds, start=1):
        lines.append(
            f"{f'fold {number}':<11} numerai_corr {fold.corr.mean:.4f} on average, "
            f"Sharpe {fold.corr.sharpe:.2f}"
        )
    lines += [f"out of fold {_scores_text(report)}", *_further_lines(report)]
    lines += baseline_lines(report.baseline, report.corr)
    if report.best_possible is not None:
        lines.append(f"possible    numerai_corr {report.best_possible:.4f}")
    return "\n".join([*lines, _chart_line(report), *_report_lines(report)])


def seeds_text(report: SeedsReport) -> str:
    """Return the result of training several seeds as lines of text."""
    has_folds = any(isinstance(each, FoldsReport) for each in report.seeds.values())
    out_of_fold = " out of fold" if has_folds else ""
    lines = [
        *_first_lines(report),
        f"{report.run_dir}: {counted(report.n_eras, 'era')} predicted{out_of_fold} by "
        f"{counted(len(report.seeds), 'seed')} together, by the mean of their ranks",
    ]
    lines += [
        f"{f'seed {seed}':<11} numerai_corr {each.corr.mean:.4f} on average, "
        f"Sharpe {each.corr.sharpe:.2f}"
        for seed, each in report.seeds.items()
    ]
    lines += [
        f"their mean  numerai_corr {report.seed_mean:.4f} ± {report.standard_error:.4f} (standard "
        "error over the seeds)",
        f"together    {_scores_text(report)}",
        *_further_lines(report),
        *baseline_lines(report.baseline, report.corr),
    ]
    return "\n".join(
        [*lines, *_possible_lines(report), _chart_line(report), *_report_lines(report)]
    )


def _possible_lines(report: TrainReport | SeedsReport) -> list[str]:
    if report.best_possible is None:
        return []
    return [
        f"possible    numerai_corr {report.best_possible:.4f}"
        f"{_reached(report.corr.mean, report.best_possible)}"
    ]


def seed_plans_text(plans: Mapping[int, Sequence[TrainPlan]]) -> str:
    """Return the plans of seeds: in full that of the first seed, since the others equal it.

    Parameters
    ----------
    plans : mapping of int to sequence of TrainPlan
        The plan of each seed, or those of its folds.
    """
    lines = []
    for number, (seed, of_seed) in enumerate(plans.items(), start=1):
        n_steps = sum(plan.first_step for plan in of_seed)
        state = f", resumed after {counted(n_steps, 'step')}" if n_steps else ""
        state = ", already finished" if all(plan.already_finished for plan in of_seed) else state
        like = "" if number == 1 else ": like the first"
        lines.append(f"seed {number} of {len(plans)}: seed = {seed}{state}{like}")
        if number == 1:
            for fold, plan in enumerate(of_seed, start=1):
                lines += [f"fold {fold} of {len(of_seed)}"] if len(of_seed) > 1 else []
                lines.append(plan_text(plan))
    return "\n".join(lines)


def _reached(mean: float, best_possible: float) -> str:
    """Return a phrase with a run's share of the best possible score; empty if it is undefined."""
    if best_possible <= 0:  # of a tiny sample
        return ""
    if not mean > 0:  # NaN, too
        return ": the run found no signal"
    return f": the run reached {mean / best_possible:.0%} of what any model can"


def _first_lines(report: AnyReport) -> list[str]:
    return [f"{report.run_dir}: already finished; nothing to do"] if report.already_finished else []


def _scores_text(report: AnyReport) -> str:
    return f"numerai_corr {_summary_text(report.corr)}, Pearson {report.pearson.mean:.4f}"


def _further_lines(report: AnyReport) -> list[str]:
    return [
        f"{name.upper():<11} {_summary_text(scores)} in {counted(scores.n_eras, 'era')}"
        for name, scores in report.further.items()
    ]


def _summary_text(scores: Summary) -> str:
    return (
        f"{scores.mean:.4f} on average (std {scores.std:.4f}, Sharpe {scores.sharpe:.2f}, "
        f"max drawdown {scores.max_drawdown:.4f}, {scores.positive:.0%} of eras positive)"
    )


def _chart_line(report: AnyReport) -> str:
    missing = "not drawn, see the warning" if find_spec("matplotlib") else HOW_TO_GET_PICTURES
    return f"chart       {report.chart_path or missing}"


def _report_lines(report: AnyReport) -> list[str]:
    return [f"report      {report.report_path}"] if report.report_path else []
