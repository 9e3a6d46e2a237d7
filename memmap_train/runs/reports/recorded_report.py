"""The report of a finished run, as its folder has recorded it.

Takes a `Run`; returns a `TrainReport`, a `FoldsReport` of a run of folds, or a `SeedsReport` of one
of seeds. Nothing is written. Imports no TensorFlow.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...errors import RunError
from ..run import Run, read_run
from ..scores.score_files import era_score_columns
from ..scores.summary import Summary, summary
from .report import FoldsReport, TrainReport
from .seeds_report import SeedsReport


def recorded_result(run: Run) -> TrainReport | FoldsReport | SeedsReport:
    """Return the report of a finished run of any kind.

    Raises
    ------
    RunError
        See `recorded_report`.
    """
    if run.seeds:
        return recorded_seeds_report(run)
    return recorded_folds_report(run) if run.folds else recorded_report(run)


def recorded_report(run: Run) -> TrainReport:
    """Return the report of a finished run.

    Raises
    ------
    RunError
        The run isn't finished, or `state.json` lacks some of it.
    """
    result = _result_of(run)
    with _complete(run):
        return TrainReport(
            n_epochs=result["n_epochs"],
            n_steps=result["n_steps"],
            stopped_early=result["stopped_early"],
            best_epoch=result["best_epoch"],
            strengths=result.get("strengths", {}),
            **_common(run, result),
        )


def recorded_folds_report(run: Run) -> FoldsReport:
    """Return the report of a finished run of folds.

    Raises
    ------
    RunError
        The run or one of its folds isn't finished, or a `state.json` lacks some of it.
    """
    result = _result_of(run)
    folds = tuple(recorded_report(read_run(path)) for path in run.part_paths)
    with _complete(run):
        return FoldsReport(n_eras=result["n_eras"], folds=folds, **_common(run, result))


def recorded_seeds_report(run: Run) -> SeedsReport:
    """Return the report of a finished run of seeds.

    Raises
    ------
    RunError
        The run or one of its seeds isn't finished, or a `state.json` lacks some of it.
    """
    result = _result_of(run)
    seeds: dict[int, TrainReport | FoldsReport] = {}
    for seed, path in zip(run.seeds, run.part_paths, strict=True):
        part = read_run(path)
        seeds[seed] = recorded_folds_report(part) if run.folds else recorded_report(part)
    with _complete(run):
        return SeedsReport(n_eras=result["n_eras"], seeds=seeds, **_common(run, result))


def _common(run: Run, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the reports of all kinds of runs have."""
    corr, pearson, further = recorded_summaries(run)
    return {
        "run_dir": str(run.path),
        "corr": corr,
        "pearson": pearson,
        "further": further,
        "best_possible": result["best_possible"],
        "chart_path": _chart_of(run),
        "baseline": baseline_scores(run),
        "already_finished": True,
        "report_path": str(run.report_path) if run.report_path.exists() else None,
    }


def recorded_summaries(run: Run) -> tuple[Summary, Summary, dict[str, Summary]]:
    """Return the summaries of the main target's scores, from a run's `era_scores.csv`.

    They are those of `numerai_corr` and of the plain correlation, and by name the one of the
    further score if there is one.
    """
    rows = [row[2:] for row in run.read_era_scores() if row[1] == run.record.main_target]
    corr, pearson, *further = (
        summary([row[column] for row in rows])
        for column in range(len(era_score_columns(run.record.monitor)) - 2)
    )
    names = era_score_columns(run.record.monitor)[4:]
    return corr, pearson, dict(zip(names, further, strict=True))


def finished_baseline(run: Run) -> Run | None:
    """Return the baseline of a run, or None if there is none or it isn't finished."""
    try:
        found = read_run(run.baseline_path)
        return found if found.read_result() and found.has_results() else None
    except RunError:
        return None


def baseline_scores(run: Run) -> Summary | None:
    """Return the summary of `numerai_corr` of a run's baseline, or None if it has none."""
    found = finished_baseline(run)
    try:
        return None if found is None else recorded_summaries(found)[0]
    except RunError:  # its file of scores is damaged
        return None


def _result_of(run: Run) -> Mapping[str, Any]:
    result = run.read_result()
    if result is None:
        raise RunError(
            f"{run.path}: the run isn't finished; run `{run.resume_command}`, or train with "
            "resume=True"
        )
    return result


def _chart_of(run: Run) -> str | None:
    return str(run.chart_path) if run.chart_path.exists() else None


@contextmanager
def _complete(run: Run) -> Iterator[None]:
    """Raise a RunError if the result lacks something that the block reads."""
    try:
        yield
    except KeyError as error:
        raise RunError(
            f"{run.path}: its state.json is damaged: {error} is missing; remove it"
        ) from None
