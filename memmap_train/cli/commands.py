"""The command line: commands, exit codes, what is printed where. Does nothing itself.

stdout is the result, stderr is progress and log. Exit codes: 0 done; 1 an error of ours, as one
line `error: …`; 2 wrong usage; 130 stopped by SIGINT, SIGTERM or SIGHUP. Anything else is a bug and
keeps its traceback.
"""

import argparse
import io
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import (
    ExitStack,
    contextmanager,
    nullcontext,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..conversion.conversion import convert
from ..conversion.report import describe_report, report_text
from ..conversion.schema import ColumnOptions
from ..dataset.dataset import open_dataset
from ..dataset.verify import verify
from ..errors import ConfigError, MemmapTrainError
from ..loading.bench import bench, bench_text
from ..loading.inspect import describe_dataset, describe_era, describe_features
from ..loading.inspect_text import dataset_text, era_text, features_text
from ..loading.page_cache import describe_status, eras_that_fit, read_ahead, status_text
from ..runs.report import folds_text, plan_text, training_text
from ..system.paths import user_path
from ..system.signals import stop, stops
from ..text import in_bytes
from ..training.startup import start_tensorflow
from .parser import make_parser
from .progress import LogHandler, Stages, TrainProgress, WarningsOnly

if TYPE_CHECKING:
    from ..runs.config import TrainConfig
    from ..training.predict import PredictReport

EXIT_ERROR, EXIT_STOPPED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.
    """
    parsed = make_parser().parse_args(arguments)
    before = {number: signal.signal(number, stop) for number in stops()}
    with redirect_stderr(_Unfailing(sys.stderr)), _log_on_stderr():
        return _run(parsed, before)


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Show on stderr what the package warns of."""
    handler = LogHandler()
    log = logging.getLogger("memmap_train")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _run(parsed: argparse.Namespace, before: Mapping[signal.Signals, Any]) -> int:
    """Run a command; restore the handlers of signals that were there `before`; return the code."""
    result, failure = io.StringIO(), None
    try:
        try:
            with redirect_stdout(result):
                code = _COMMANDS[parsed.command](parsed)
        except MemmapTrainError as error:
            failure = str(error)
        for number, handler in before.items():  # nothing is left that would have to end in order
            if signal.getsignal(number) is stop:
                signal.signal(number, handler)
    except KeyboardInterrupt:
        for number in before:  # the end of the process isn't stopped either
            signal.signal(number, signal.SIG_IGN)
        print(f"\nstopped; {parsed.resume_hint} to resume", file=sys.stderr)
        code = EXIT_STOPPED
    if failure is not None:
        code = _fail(failure)
    not_put_out = _put_out(result.getvalue()) if result.getvalue() else 0
    return code or not_put_out


class _Unfailing:
    """stderr as far as it takes what is said: a terminal that is gone ends no work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:  # a name that isn't UTF-8
            encoding = self._stream.encoding
            return self.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._give_up()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _give_up(self) -> None:
        # What is left in the buffer would fail again, and at the end change the exit code.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def _put_out(result: str) -> int:
    """Write the result to stdout; return 1 where that can't be."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a label that the terminal lacks isn't an error
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(result)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # `… | head` has seen enough
            return _fail(f"stdout: the result can't be written: {error.strerror}")
    return 0


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return EXIT_ERROR


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2))  # ASCII: as JSON it is whole in any encoding


def _sample(arguments: argparse.Namespace) -> int:
    from ..conversion.sample import write_sample  # needs pyarrow

    with Stages() as stages:
        summary = write_sample(
            arguments.directory,
            n_eras=arguments.eras,
            rows_per_era=arguments.rows_per_era,
            n_features=arguments.features,
            seed=arguments.seed,
            progress=lambda done, total: stages("writing the sample", done, total),
        )
    print(
        f"{arguments.directory}: {summary.n_rows:,} rows, {summary.n_eras:,} eras and a live one, "
        f"{summary.n_features:,} features; best possible validation score {summary.best:.4f}"
    )
    for path in summary.paths:
        print(f"  {path} ({in_bytes(Path(path).stat().st_size)})")
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from ..conversion.preview import preview_sources  # needs pyarrow
    from ..conversion.preview_text import describe_preview, preview_text

    with Stages("values") as stages:
        preview = preview_sources(
            arguments.sources,
            features_json=arguments.features_json,
            columns=ColumnOptions(
                era_column=arguments.era_column,
                id_column=arguments.id_column,
                feature_prefix=arguments.feature_prefix,
                target_prefix=arguments.target_prefix,
            ),
            progress=lambda done, total: stages("reading eras and targets", done, total),
        )
    if arguments.json:
        _print_json(describe_preview(preview))
    else:
        print(preview_text(preview))
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    with Stages() as stages:
        report = convert(
            arguments.sources,
            arguments.out,
            dtype=arguments.dtype,
            features_json=arguments.features_json,
            feature_set=arguments.feature_set,
            targets=arguments.target,
            era_column=arguments.era_column,
            id_column=arguments.id_column,
            feature_prefix=arguments.feature_prefix,
            target_prefix=arguments.target_prefix,
            missing=arguments.missing,
            memory=arguments.memory,
            workers=arguments.workers,
            overwrite=arguments.overwrite,
            trust_features=arguments.trust_features,
            decoder=arguments.decoder,
            progress=stages,
        )
    if arguments.json:
        _print_json(describe_report(report))
    else:
        print(report_text(report))
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    dataset = open_dataset(arguments.dataset)
    data: Any
    text: Callable[[Any], str]
    if arguments.features:
        data, text = describe_features(dataset, arguments.era), features_text
    elif arguments.era is not None:
        data, text = describe_era(dataset, arguments.era), era_text
    else:
        data, text = describe_dataset(dataset), dataset_text
    if arguments.json:
        _print_json(data)
    else:
        print(text(data))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    with Stages("B") as stages:
        problems = verify(
            arguments.dataset,
            quick=arguments.quick,
            progress=lambda done, total: stages("verifying", done, total),
        )
    for problem in problems:
        print(f"{problem.path}: {problem.what}")
    if problems:
        files = "file is" if len(problems) == 1 else "files are"
        return _fail(f"{arguments.dataset}: {len(problems):,} {files} not what the manifest says")
    checked = "sizes and headers" if arguments.quick else "sizes, headers and digests"
    print(f"{arguments.dataset}: all is well ({checked})")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    dataset = open_dataset(arguments.dataset)
    status = describe_status(dataset)
    if arguments.json:
        _print_json(status)
    else:
        print(status_text(status))
    return 0


def _warm(arguments: argparse.Namespace) -> int:
    dataset = open_dataset(arguments.dataset)
    eras = eras_that_fit(dataset)
    if not eras:
        print(
            f"{dataset.path}: nothing to read ahead: memory is too small to keep any of its "
            f"{len(dataset.eras):,} eras; `memmap-train status {dataset.path}` says what fits"
        )
        return 0
    started = time.perf_counter()
    with Stages("B") as stages:
        n_bytes = read_ahead(
            dataset, eras, lambda done, total: stages("reading ahead", done, total)
        )
    seconds = time.perf_counter() - started
    what = "all" if len(eras) == len(dataset.eras) else "as many as memory holds:"
    print(
        f"{dataset.path}: read {what} {len(eras):,} of {len(dataset.eras):,} eras, "
        f"{in_bytes(n_bytes)} in {seconds:,.1f} s ({in_bytes(n_bytes / seconds)}/s)"
    )
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    dataset = open_dataset(arguments.dataset)
    found = bench(
        dataset,
        batch_size=arguments.batch_size,
        features=arguments.features,
        say=lambda what: print(f"measuring {what}", file=sys.stderr),
    )
    if arguments.json:
        _print_json(found)
    else:
        print(bench_text(found))
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from ..runs.config import TrainConfig  # needs pydantic
    from ..runs.run import find_run

    config = None  # a run that is resumed keeps its own
    if arguments.config is not None or not arguments.resume:
        config = TrainConfig.load(arguments.config, arguments.set)
    elif arguments.set:
        run = find_run(user_path(arguments.run), resume=True)
        config = TrainConfig.load(None, arguments.set, run.train_config() if run else None)
    if arguments.folds is not None:
        return _train_folds(arguments, config)
    if arguments.rolling is not None:
        raise ConfigError("--rolling counts only with folds: add --folds 5 or --folds numerai")
    start_tensorflow(user_path(arguments.run))
    from ..training.train import rehearse, train  # needs TensorFlow

    if arguments.dry_run:
        plan = rehearse(arguments.dataset, arguments.run, config, resume=arguments.resume)
        print(plan_text(plan))
        if plan.already_finished:
            print(f"{arguments.run}: already finished; nothing to do")
            return 0
        checkpoint_bytes = plan.state_bytes + plan.best_bytes
        print(
            f"would write {arguments.run}: config.json, history.csv, era_scores.csv, model.keras, "
            f"a picture, and checkpoints of about {in_bytes(checkpoint_bytes)}; nothing was written"
        )
        return 0
    with ExitStack() as stack:
        report = train(
            arguments.dataset,
            arguments.run,
            config,
            resume=arguments.resume,
            report=WarningsOnly() if arguments.quiet else stack.enter_context(TrainProgress()),
        )
    print(training_text(report))
    return 0


def _train_folds(arguments: argparse.Namespace, config: "TrainConfig | None") -> int:
    start_tensorflow(user_path(arguments.run))
    from ..training.fold_loop import rehearse_folds, train_folds  # needs TensorFlow

    if arguments.dry_run:
        plans, is_finished = rehearse_folds(
            arguments.dataset,
            arguments.run,
            config,
            folds=arguments.folds,
            rolling_eras=arguments.rolling,
            resume=arguments.resume,
        )
        for number, plan in enumerate(plans, start=1):
            done = ": already finished" if plan.already_finished else ""
            print(f"fold {number} of {len(plans)}{done}\n{plan_text(plan)}")
        if is_finished:
            print(f"{arguments.run}: already finished; nothing to do")
            return 0
        print(f"would write {arguments.run}: a run for each fold; nothing was written")
        return 0
    with ExitStack() as stack:
        report = train_folds(
            arguments.dataset,
            arguments.run,
            config,
            folds=arguments.folds,
            rolling_eras=arguments.rolling,
            resume=arguments.resume,
            report=WarningsOnly() if arguments.quiet else stack.enter_context(TrainProgress()),
        )
    print(folds_text(report))
    return 0


def _runs(arguments: argparse.Namespace) -> int:
    from ..runs.table import describe_runs, runs_text  # needs pydantic

    rows = describe_runs(arguments.directories)
    if arguments.json:
        _print_json(rows)
    else:
        print(runs_text(rows))
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    start_tensorflow(user_path(arguments.out).parent)
    from ..training.predict import predict  # needs TensorFlow

    try:
        with Stages() as stages:
            report = predict(
                arguments.runs,
                arguments.dataset,
                arguments.out,
                raw=arguments.raw,
                era=arguments.era,
                progress=lambda done, total: stages("predicting", done, total),
            )
    except BrokenPipeError:  # `--out /dev/stdout | head` has seen enough
        return 0
    # Nothing may be mixed into the predictions.
    with redirect_stdout(sys.stderr) if report.is_in_stdout else nullcontext():
        print(_predictions_text(arguments, report))
    return 0


def _predictions_text(arguments: argparse.Namespace, report: "PredictReport") -> str:
    """Return what came of predicting, as text."""
    by = f" by the models of {report.n_folds} folds" if report.n_folds else ""
    lines = [f"{arguments.out}: {report.n_rows:,} predictions{by}"]
    if report.left_out:
        lines.append(
            f"left out: {len(report.left_out):,} eras ({report.left_out[0]} to "
            f"{report.left_out[-1]}) from before the first fold's: no fold predicts them"
        )
    if report.n_repeated:
        where = " of their era" if arguments.era else ""
        lines.append(
            f"{report.n_repeated:,} rows have the id of another row{where}; Numerai takes "
            f"every id once (`memmap-train inspect {arguments.dataset} --features` names the eras "
            "that have an id twice)"
        )
    if report.n_outside:
        lines.append(
            f"{report.n_outside:,} predictions lie outside 0 to 1, which Numerai doesn't take; "
            "without --raw they are ranks between 0 and 1"
        )
    if report.is_constant:
        lines.append("all predictions are equal, which Numerai doesn't take")
    return "\n  ".join(lines)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
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
}
