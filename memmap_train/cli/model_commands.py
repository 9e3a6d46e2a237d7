"""The commands that train, predict and score models: each calls a function and prints its result.

Takes the parsed arguments, which `model_parsers` declares.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..runs.reports.reporter import Reporter
from ..runs.reports.result_text import result_text
from ..runs.reports.training_display import TrainingDisplay
from ..system.paths import user_path
from ..text import counted
from ..training.startup import start_tensorflow
from .dry_runs import dry_run
from .output import bars, print_found
from .strict_parser import options
from .sweep_commands import dry_run_sweep, train_sweep

if TYPE_CHECKING:
    from ..training.prediction.predictions import PredictReport


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
        print_found(arguments, describe_sweep(folder, by), lambda rows: sweep_text(folder, rows))
    else:
        rows = describe_runs(arguments.directories, by)
        print_found(arguments, rows, lambda rows: runs_text(rows, by))


def _predict(arguments: argparse.Namespace) -> None:
    start_tensorflow(user_path(arguments.out).parent)
    from ..training.prediction.predict import write_predictions  # needs pydantic

    try:
        with bars() as progress:
            report = write_predictions(
                arguments.runs,
                arguments.dataset,
                arguments.out,
                raw=arguments.raw,
                era=arguments.era,
                neutralize=arguments.neutralize,
                proportion=arguments.proportion,
                progress=progress,
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
    from ..scoring.evaluate import evaluate
    from ..scoring.files import check_directory
    from ..scoring.inputs import found_models
    from ..scoring.summary import summarized
    from ..scoring.summary_text import summary_text

    out = None if arguments.out is None else check_directory(arguments.out)
    if any(isinstance(model, Run) for model in found_models(arguments.models).values()):
        start_tensorflow(out or Path())
    chosen = options(arguments)
    del chosen["out"]
    with bars() as progress:
        evaluation = evaluate(**chosen, progress=progress)
    if out is not None:
        evaluation.save(out)
    print_found(arguments, evaluation, summary_text, summarized)


def _report(arguments: argparse.Namespace) -> None:
    from ..scoring.report.write import report, report_path, written_text  # needs pydantic

    start_tensorflow(report_path(arguments.out_path).parent)
    with bars() as progress:
        written = report(**options(arguments), progress=progress)
    print(written_text(written))


MODEL_COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = MappingProxyType(
    {
        "train": _train,
        "runs": _runs,
        "predict": _predict,
        "evaluate": _evaluate,
        "report": _report,
    }
)
