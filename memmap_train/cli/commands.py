"""The commands: each reads its arguments, calls a function of the package and prints the result.

stdout is the result, stderr is progress and log. Exit codes: 0 done; 1 a `MemmapTrainError`, as one
line `error: …`; 2 wrong usage; 130 stopped by SIGINT, SIGTERM or SIGHUP. Anything else is a bug and
keeps its traceback.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..conversion.conversion import convert
from ..conversion.report import describe_report, report_text
from ..conversion.schema import ColumnOptions
from ..dataset.dataset import open_dataset
from ..dataset.verify import verify
from ..errors import ConfigError, NumeraiError, ShardError
from ..loading.bench import bench, bench_text
from ..loading.inspect import describe_dataset, describe_era, describe_features
from ..loading.inspect_text import dataset_text, era_text, features_text
from ..loading.page_cache import describe_status, eras_that_fit, read_ahead, status_text
from ..progress import ProgressBars
from ..runs.reports.reporter import Reporter
from ..runs.reports.result_text import result_text
from ..runs.reports.training_display import TrainingDisplay
from ..system.paths import user_path
from ..text import counted, in_bytes
from ..training.startup import start_tensorflow
from .dry_runs import dry_run
from .parser import make_parser
from .sweep_commands import dry_run_sweep, train_sweep
from .terminal import print_json, run

if TYPE_CHECKING:
    from ..training.prediction.predictions import PredictReport

_OF_THE_COMMAND_LINE = ("command", "resume_hint", "json")
"""The parsed arguments that aren't the called function's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        The default is the arguments of the process.
    """
    parsed = make_parser().parse_args(arguments)
    return run(lambda: _COMMANDS[parsed.command](parsed), parsed.resume_hint)


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments of the function that a command calls."""
    return {
        name: value for name, value in vars(arguments).items() if name not in _OF_THE_COMMAND_LINE
    }


def _bars(unit: str = "rows") -> ProgressBars:
    return ProgressBars(unit, file=sys.stderr)


def _print_found(
    arguments: argparse.Namespace,
    found: Any,
    text: Callable[[Any], str],
    described: Callable[[Any], Any] = lambda found: found,
) -> None:
    """Print the result of a command as text or as JSON."""
    if arguments.json:
        print_json(described(found))
    else:
        print(text(found))


def _sample(arguments: argparse.Namespace) -> None:
    from ..conversion.sample import write_sample  # needs pyarrow

    with _bars() as bars:
        summary = write_sample(**_options(arguments), progress=bars)
    print(
        f"{arguments.directory}: {counted(summary.n_rows, 'row')}, "
        f"{counted(summary.n_eras, 'era')} and a live one, "
        f"{counted(summary.n_features, 'feature')}; best possible validation score "
        f"{summary.best:.4f}"
    )
    for path in summary.paths:
        print(f"  {path} ({in_bytes(Path(path).stat().st_size)})")


def _plan(arguments: argparse.Namespace) -> None:
    from ..conversion.preview import preview_sources  # needs pyarrow
    from ..conversion.preview_text import describe_preview, preview_text

    with _bars("values") as bars:
        preview = preview_sources(
            arguments.sources,
            features_json=arguments.features_json,
            columns=ColumnOptions(
                era_column=arguments.era_column,
                id_column=arguments.id_column,
                feature_prefix=arguments.feature_prefix,
                target_prefix=arguments.target_prefix,
            ),
            progress=bars,
        )
    _print_found(arguments, preview, preview_text, describe_preview)


def _convert(arguments: argparse.Namespace) -> None:
    with _bars() as bars:
        report = convert(**_options(arguments), progress=bars)
    _print_found(arguments, report, report_text, describe_report)


def _inspect(arguments: argparse.Namespace) -> None:
    dataset = open_dataset(arguments.dataset)
    if arguments.features:
        _print_found(arguments, describe_features(dataset, arguments.era), features_text)
    elif arguments.era is not None:
        _print_found(arguments, describe_era(dataset, arguments.era), era_text)
    else:
        _print_found(arguments, describe_dataset(dataset), dataset_text)


def _verify(arguments: argparse.Namespace) -> None:
    with _bars("B") as bars:
        problems = verify(arguments.dataset, quick=arguments.quick, progress=bars)
    for problem in problems:
        print(f"{problem.path}: {problem.what}")
    if problems:
        files = "file is" if len(problems) == 1 else "files are"
        raise ShardError(
            f"{arguments.dataset}: {len(problems):,} {files} not what the manifest says"
        )
    checked = "sizes and headers" if arguments.quick else "sizes, headers and digests"
    print(f"{arguments.dataset}: all is well ({checked})")


def _status(arguments: argparse.Namespace) -> None:
    _print_found(arguments, describe_status(open_dataset(arguments.dataset)), status_text)


def _warm(arguments: argparse.Namespace) -> None:
    dataset = open_dataset(arguments.dataset)
    eras = eras_that_fit(dataset)
    if not eras:
        print(
            f"{dataset.path}: nothing to read ahead: memory is too small to keep any of its "
            f"{len(dataset.eras):,} eras; `memmap-train status {dataset.path}` says what fits"
        )
        return
    started = time.perf_counter()
    with _bars("B") as bars:
        n_bytes = read_ahead(dataset, eras, bars)
    seconds = time.perf_counter() - started
    what = "all" if len(eras) == len(dataset.eras) else "as many as memory holds:"
    print(
        f"{dataset.path}: read {what} {len(eras):,} of {counted(len(dataset.eras), 'era')}, "
        f"{in_bytes(n_bytes)} in {seconds:,.1f} s ({in_bytes(n_bytes / seconds)}/s)"
    )


def _bench(arguments: argparse.Namespace) -> None:
    found = bench(
        open_dataset(arguments.dataset),
        batch_size=arguments.batch_size,
        features=arguments.features,
        progress=lambda what, done, total: print(f"measuring {what}", file=sys.stderr),
    )
    _print_found(arguments, found, bench_text)


def _train(arguments: argparse.Namespace) -> None:
    from ..runs.request import read_request  # needs pydantic

    request = read_request(
        user_path(arguments.run),
        arguments.config,
        arguments.set,
        arguments.sweep,
        resume=arguments.resume,
    )
    config = request.config
    if arguments.folds is None and arguments.rolling is not None:
        raise ConfigError("--rolling counts only with folds: add --folds 5 or --folds numerai")
    start_tensorflow(user_path(arguments.run))
    if request.swept is not None:
        (dry_run_sweep if arguments.dry_run else train_sweep)(arguments, request)
        return
    if arguments.dry_run:
        dry_run(arguments, config)
        return
    from ..training.trained_run import train

    with nullcontext(Reporter()) if arguments.quiet else TrainingDisplay(sys.stderr) as reporter:
        run = train(
            arguments.dataset,
            arguments.run,
            config,
            seeds=arguments.seeds,
            folds=arguments.folds,
            rolling_eras=arguments.rolling,
            resume=arguments.resume,
            progress=reporter,
        )
    print(result_text(run.result))


def _runs(arguments: argparse.Namespace) -> None:
    from ..runs.sweeps.record import is_sweep  # needs pydantic
    from ..runs.sweeps.table import describe_sweep, sweep_text
    from ..runs.table import describe_runs, runs_text

    folder, by = user_path(arguments.directories[0]), arguments.by
    if len(arguments.directories) == 1 and is_sweep(folder):
        _print_found(arguments, describe_sweep(folder, by), lambda rows: sweep_text(folder, rows))
    else:
        rows = describe_runs(arguments.directories, by)
        _print_found(arguments, rows, lambda rows: runs_text(rows, by))


def _predict(arguments: argparse.Namespace) -> None:
    start_tensorflow(user_path(arguments.out).parent)
    from ..training.prediction.predict import write_predictions  # needs pydantic

    try:
        with _bars() as bars:
            report = write_predictions(
                arguments.runs,
                arguments.dataset,
                arguments.out,
                raw=arguments.raw,
                era=arguments.era,
                neutralize=arguments.neutralize,
                proportion=arguments.proportion,
                progress=bars,
            )
    except BrokenPipeError:  # `--out /dev/stdout | head` has read enough
        return
    # Nothing may be mixed into the predictions.
    with redirect_stdout(sys.stderr) if report.is_in_stdout else nullcontext():
        print("\n  ".join([_predicted_text(arguments.out, report), *report.objections]))


def _predicted_text(out: str, report: "PredictReport") -> str:
    """Return the report of a prediction as text."""
    models = [counted(report.n_folds, "fold")] if report.n_folds else []
    models += [counted(report.n_seeds, "seed")] if report.n_seeds else []
    by = f" by the models of {' and '.join(models)}" if models else ""
    text = f"{out}: {counted(report.n_rows, 'prediction')}{by}"
    if not report.left_out:
        return text
    return (
        f"{text}\n  left out: {counted(len(report.left_out), 'era')} ({report.left_out[0]} to "
        f"{report.left_out[-1]}) from before the first fold's: no fold predicts them"
    )


def _evaluate(arguments: argparse.Namespace) -> None:
    from ..runs.run import Run  # needs pydantic
    from ..scoring.evaluation import evaluate
    from ..scoring.files import check_directory
    from ..scoring.inputs import found_models
    from ..scoring.summary import summarized
    from ..scoring.summary_text import summary_text

    out = None if arguments.out is None else check_directory(arguments.out)
    if any(isinstance(model, Run) for model in found_models(arguments.models).values()):
        start_tensorflow(out or Path())
    options = _options(arguments)
    del options["out"]
    with _bars() as bars:
        evaluation = evaluate(**options, progress=bars)
    if out is not None:
        evaluation.save(out)
    _print_found(arguments, evaluation, summary_text, summarized)


def _report(arguments: argparse.Namespace) -> None:
    from ..scoring.report.write import report, report_path, written_text  # needs pydantic

    start_tensorflow(report_path(arguments.out_path).parent)
    with _bars() as bars:
        written = report(**_options(arguments), progress=bars)
    print(written_text(written))


def _download(arguments: argparse.Namespace) -> None:
    from ..numerai.download.download import download
    from ..numerai.download.text import describe_download, download_text

    with _bars("B") as bars:
        report = download(**_options(arguments), progress=bars)
    _print_found(arguments, report, download_text, describe_download)


def _export(arguments: argparse.Namespace) -> None:
    from ..numerai.export.export import export  # needs pydantic and pyarrow
    from ..numerai.export.text import describe_export, export_text

    start_tensorflow(user_path(arguments.out_path).parent)
    with _bars("steps") as bars:
        report = export(**_options(arguments), progress=bars)
    _print_found(arguments, report, export_text, describe_export)


def _submit(arguments: argparse.Namespace) -> None:
    from ..numerai.submission.submit import submit
    from ..numerai.submission.text import describe_submission, submission_text

    report = submit(**_options(arguments), progress=True)
    _print_found(arguments, report, submission_text, describe_submission)
    if report.problem is not None:
        raise NumeraiError(f"{report.path}: it was sent, and {report.problem}")


def _week(arguments: argparse.Namespace) -> None:
    from ..numerai.week.text import describe_week, failures_text, week_text
    from ..numerai.week.week import week  # needs pydantic and pyarrow

    report = week(**_options(arguments), progress=True)
    _print_found(arguments, report, week_text, describe_week)
    if report.failures:
        raise NumeraiError(failures_text(report))


_COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "sample": _sample,
    "plan": _plan,
    "convert": _convert,
    "inspect": _inspect,
    "verify": _verify,
    "status": _status,
    "warm": _warm,
    "bench": _bench,
    "train": _train,
    "runs": _runs,
    "predict": _predict,
    "evaluate": _evaluate,
    "report": _report,
    "download": _download,
    "export": _export,
    "submit": _submit,
    "week": _week,
}
