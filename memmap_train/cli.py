"""The command line: commands, exit codes, what is printed where. Does nothing itself.

stdout is the result, stderr is progress and log. Exit codes: 0 done; 1 an error of ours, as one
line `error: …`; 2 wrong usage; 130 stopped by SIGINT or SIGTERM. Anything else is a bug and keeps
its traceback.
"""

import argparse
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from ._version import __version__
from .bench import bench, bench_text
from .comparison import describe_runs, runs_text
from .config import TrainConfig
from .conversion import convert
from .dataset import open_dataset, verify
from .errors import ConfigError, MemmapTrainError, listed
from .inspection import (
    dataset_text,
    describe_dataset,
    describe_era,
    describe_features,
    era_text,
    features_text,
)
from .progress import Stages, TrainProgress, WarningsOnly
from .residency import describe_status, eras_that_fit, read_ahead, status_text
from .schema import ColumnOptions
from .training.reporting import plan_text
from .training.startup import start_tensorflow
from .units import in_bytes

EXIT_ERROR, EXIT_STOPPED = 1, 130
_STOPS = (signal.SIGINT, signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.
    """
    parsed = _parser().parse_args(arguments)
    for signal_number in _STOPS:
        signal.signal(signal_number, _stop)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a label that the terminal lacks isn't an error
        sys.stdout.reconfigure(errors="backslashreplace")
    command: Callable[[argparse.Namespace], int] = parsed.run_command
    try:
        code = command(parsed)
        sys.stdout.flush()
    except MemmapTrainError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print(f"\nstopped; {parsed.to_carry_on} to carry on", file=sys.stderr)
        return EXIT_STOPPED
    except BrokenPipeError:  # `… | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _stop(signal_number: int, frame: object) -> NoReturn:
    sys.unraisablehook = _report_unless_late
    for stop in _STOPS:  # once is enough: what has begun to end is left to end in order
        signal.signal(stop, signal.SIG_IGN)
    raise KeyboardInterrupt


def _report_unless_late(unraisable: "sys.UnraisableHookArgs") -> None:
    # A second signal may arrive just before the system ignores it. Python then finds no handler to
    # call and reports "Signal 2 ignored due to race condition", which is what was wanted.
    if not (
        isinstance(unraisable.exc_value, OSError)
        and "ignored due to race condition" in str(unraisable.exc_value)
    ):
        sys.__unraisablehook__(unraisable)


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return EXIT_ERROR


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2, ensure_ascii=False))


# -- commands -------------------------------------------------------------------------------------


def _sample(arguments: argparse.Namespace) -> int:
    from .sample import write_sample  # needs pyarrow

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
    from .survey import describe_survey, survey_sources, survey_text  # needs pyarrow

    with Stages("values") as stages:
        survey = survey_sources(
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
        _print_json(describe_survey(survey))
    else:
        print(survey_text(survey))
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
            progress=stages,
        )
    dataset = report.dataset
    if arguments.json:
        _print_json(
            {
                "dataset": str(dataset.path),
                "status": report.status,
                "n_rows": report.n_rows,
                "n_eras": report.n_eras,
                "n_eras_kept": report.n_eras_kept,
                "n_eras_new": report.n_eras_new,
                "n_eras_changed": report.n_eras_changed,
                "left_out": list(report.left_out),
                "n_features": len(dataset.feature_names),
                "n_targets": len(dataset.target_names),
                "dtype": dataset.manifest.dtype,
                "bytes": report.n_bytes,
                "seconds": round(report.seconds, 3),
                "digest": dataset.manifest.digest,
            }
        )
        return 0
    what = (
        f"{report.n_rows:,} rows, {report.n_eras:,} eras, {len(dataset.feature_names):,} features, "
        f"{dataset.manifest.dtype}, {in_bytes(report.n_bytes)}"
    )
    if report.status == "up to date":
        print(f"{dataset.path}: up to date ({what})")
        return 0
    rate = report.n_rows / report.seconds
    print(f"{dataset.path}: {report.status} {what} in {report.seconds:,.1f} s ({rate:,.0f} rows/s)")
    if report.status == "updated":
        print(
            f"  {report.n_eras_new:,} new eras; new targets in {report.n_eras_changed:,} old ones"
        )
    if report.left_out:
        print(
            f"  left out: {len(report.left_out):,} columns that the dataset doesn't have "
            f"({listed(report.left_out, 3)})"
        )
    if report.n_eras_kept:
        print(f"  {report.n_eras_kept:,} eras were kept from an interrupted run")
    for target, named in dataset.manifest.aliases.items():
        print(f"  {target} equals {named} in every row")
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
        problems = list(
            verify(
                arguments.dataset,
                quick=arguments.quick,
                progress=lambda done, total: stages("verifying", done, total),
            )
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
    config = None  # a run that is carried on keeps its own
    if arguments.config is not None or arguments.set or not arguments.resume:
        config = TrainConfig.load(arguments.config, arguments.set)
    if arguments.folds is not None:
        return _train_folds(arguments, config)
    if arguments.rolling is not None:
        raise ConfigError("--rolling counts only with folds: add --folds 5 or --folds numerai")
    start_tensorflow()
    from .chart import HOW_TO_GET_PICTURES  # needs scipy
    from .training.loop import rehearse, train  # needs TensorFlow

    if arguments.dry_run:
        plan = rehearse(arguments.dataset, arguments.run, config, resume=arguments.resume)
        print(plan_text(plan))
        if plan.first_step:
            print(f"resumed     after {plan.first_step:,} steps")
        print(
            f"would write {arguments.run}: config.json, history.csv, era_scores.csv, model.keras, "
            f"a picture, and checkpoints of about {in_bytes(plan.state_bytes * 4 / 3)}; nothing "
            "was written"
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
    if report.already_finished:
        print(f"{report.run_dir}: already finished; nothing to do")
    stopped = ", stopped early" if report.stopped_early else ""
    print(
        f"{report.run_dir}: best epoch {report.best_epoch} of {report.n_epochs}{stopped}\n"
        f"validation  numerai_corr {report.corr_mean:.4f} on average (std {report.corr_std:.4f}, "
        f"Sharpe {report.corr_sharpe:.2f}, max drawdown {report.max_drawdown:.4f}, "
        f"{report.corr_positive:.0%} of eras positive), "
        f"Pearson {report.pearson_mean:.4f}"
    )
    if report.best_possible is not None:
        print(
            f"possible    numerai_corr {report.best_possible:.4f}: the run reached "
            f"{report.corr_mean / report.best_possible:.0%} of what any model can"
        )
    print(f"chart       {report.chart_path or HOW_TO_GET_PICTURES}")
    return 0


def _train_folds(arguments: argparse.Namespace, config: TrainConfig | None) -> int:
    start_tensorflow()
    from .chart import HOW_TO_GET_PICTURES  # needs scipy
    from .training.walk_forward import rehearse_folds, train_folds  # needs TensorFlow

    if arguments.dry_run:
        plans = rehearse_folds(
            arguments.dataset,
            arguments.run,
            config,
            folds=arguments.folds,
            rolling_eras=arguments.rolling,
            resume=arguments.resume,
        )
        for number, plan in enumerate(plans, start=1):
            print(f"fold {number} of {len(plans)}\n{plan_text(plan)}")
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
    if report.already_finished:
        print(f"{report.run_dir}: already finished; nothing to do")
    print(
        f"{report.run_dir}: {report.n_eras:,} eras predicted out of fold by {len(report.folds)} "
        "models, the last epoch's of each fold"
    )
    for number, fold in enumerate(report.folds, start=1):
        print(
            f"{f'fold {number}':<11} numerai_corr {fold.corr_mean:.4f} on average, "
            f"Sharpe {fold.corr_sharpe:.2f}"
        )
    print(
        f"out of fold numerai_corr {report.corr_mean:.4f} on average (std {report.corr_std:.4f}, "
        f"Sharpe {report.corr_sharpe:.2f}, max drawdown {report.max_drawdown:.4f}, "
        f"{report.corr_positive:.0%} of eras positive), Pearson {report.pearson_mean:.4f}"
    )
    if report.best_possible is not None:
        print(f"possible    numerai_corr {report.best_possible:.4f}")
    print(f"chart       {report.chart_path or HOW_TO_GET_PICTURES}")
    return 0


def _runs(arguments: argparse.Namespace) -> int:
    rows = describe_runs(arguments.directories)
    if arguments.json:
        _print_json(rows)
    else:
        print(runs_text(rows))
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    start_tensorflow()
    from .training.predict import predict  # needs TensorFlow

    with Stages() as stages:
        report = predict(
            arguments.runs,
            arguments.dataset,
            arguments.out,
            raw=arguments.raw,
            progress=lambda done, total: stages("predicting", done, total),
        )
    by = f" by the models of {report.n_folds} folds" if report.n_folds else ""
    print(f"{arguments.out}: {report.n_rows:,} predictions{by}")
    if report.left_out:
        print(
            f"  left out: {len(report.left_out):,} eras ({report.left_out[0]} to "
            f"{report.left_out[-1]}) from before the first fold's: no fold predicts them"
        )
    return 0


# -- parser ---------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="memmap-train",
        description="Train neural networks on all of Numerai's data from memory-mapped shards.",
        epilog="example: memmap-train convert train.parquet validation.parquet --out data/shards",
    )
    parser.add_argument("--version", action="version", version=f"memmap-train {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    sample = _command(
        commands,
        "sample",
        _sample,
        "write a Numerai-shaped data set with a planted signal",
        "memmap-train sample data/sample --eras 300 --seed 1",
    )
    sample.add_argument("directory", metavar="DIR", help="where the files go")
    sample.add_argument("--eras", type=int, default=300, metavar="N", help="default: 300")
    sample.add_argument("--rows-per-era", type=int, default=2000, metavar="N", help="default: 2000")
    sample.add_argument("--features", type=int, default=64, metavar="N", help="default: 64")
    sample.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")

    plan = _command(
        commands,
        "plan",
        _plan,
        "say what parquet files hold, what a dataset would take, and what to type next",
        "memmap-train plan data/train.parquet data/validation.parquet "
        "--features-json data/features.json",
    )
    _add_sources(plan, "parquet files, in order")
    plan.add_argument("--json", action="store_true", help="print as JSON")

    conversion = _command(
        commands,
        "convert",
        _convert,
        "convert parquet files into a dataset of memory-mapped shards, or a dataset into a "
        "narrower one",
        "memmap-train convert data/train.parquet data/validation.parquet --out data/shards "
        "--features-json data/features.json --dtype int8",
    )
    _add_sources(conversion, "parquet files, in order; or one dataset")
    conversion.add_argument("--out", required=True, metavar="DATASET", help="the dataset's folder")
    conversion.add_argument(
        "--dtype",
        choices=("float32", "int8"),
        help="default: float32; where a dataset is narrowed, its own",
    )
    conversion.add_argument("--feature-set", metavar="NAME", help="only the features of this set")
    conversion.add_argument(
        "--target", action="append", metavar="NAME", help="only this target; repeatable"
    )
    conversion.add_argument(
        "--missing",
        choices=("0.5", "nan"),
        help="what stands for a missing feature (default: 0.5; where a dataset is narrowed, as "
        "there)",
    )
    conversion.add_argument(
        "--memory", type=int, metavar="MB", help="default: a quarter of what is available, <= 2000"
    )
    conversion.add_argument(
        "--workers", type=int, metavar="N", help="threads (default: one per core)"
    )
    conversion.add_argument(
        "--overwrite", action="store_true", help="replace a dataset that is there"
    )
    conversion.add_argument(
        "--trust-features",
        action="store_true",
        help="in an update, don't decode and compare the features of old eras",
    )
    conversion.add_argument("--json", action="store_true", help="print the report as JSON")

    inspect = _command(
        commands,
        "inspect",
        _inspect,
        "show what is in a dataset, or in one of its eras",
        "memmap-train inspect data/shards --era 0001",
    )
    inspect.add_argument("dataset", metavar="DATASET")
    inspect.add_argument("--era", metavar="E", help="one era: shapes, dtypes, how to open it")
    inspect.add_argument(
        "--features",
        action="store_true",
        help="all features and what their rows hold (with --era, in that era too)",
    )
    inspect.add_argument("--json", action="store_true", help="print as JSON")

    verification = _command(
        commands,
        "verify",
        _verify,
        "compare every file of a dataset with its manifest",
        "memmap-train verify data/shards",
    )
    verification.add_argument("dataset", metavar="DATASET")
    verification.add_argument("--quick", action="store_true", help="sizes and headers only")

    status = _command(
        commands,
        "status",
        _status,
        "say how much of a dataset is in memory, and how much could be",
        "memmap-train status data/shards",
    )
    status.add_argument("dataset", metavar="DATASET")
    status.add_argument("--json", action="store_true", help="print as JSON")

    warm = _command(
        commands,
        "warm",
        _warm,
        "read a dataset into memory, as much of it as fits",
        "memmap-train warm data/shards",
    )
    warm.add_argument("dataset", metavar="DATASET")

    benchmark = _command(
        commands,
        "bench",
        _bench,
        "measure how fast a dataset can be read here, what limits it, and what would help",
        "memmap-train bench data/shards --features medium",
    )
    benchmark.add_argument("dataset", metavar="DATASET")
    benchmark.add_argument("--features", metavar="NAME", help="a feature set (default: all)")
    benchmark.add_argument(
        "--batch-size", type=int, default=4096, metavar="N", help="rows (default: 4096)"
    )
    benchmark.add_argument("--json", action="store_true", help="print as JSON")

    train = _command(
        commands,
        "train",
        _train,
        "train a model on a dataset",
        "memmap-train train data/shards --run runs/first --set features=medium --set epochs=20",
    )
    train.add_argument("dataset", metavar="DATASET")
    train.add_argument("--run", required=True, metavar="DIR", help="the run's folder")
    train.add_argument("--config", type=Path, metavar="FILE", help="a flat TOML file")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of the configuration; repeatable",
    )
    train.add_argument("--resume", action="store_true", help="carry on where the run was stopped")
    train.add_argument(
        "--folds",
        type=_folds,
        metavar="N|numerai",
        help="train so many folds that walk forward in time, or one for each of Numerai's windows "
        "of 156 eras, and score them together; each fold's last epoch predicts",
    )
    train.add_argument(
        "--rolling",
        type=int,
        metavar="ERAS",
        help="with --folds, train only on the last so many eras before each fold's embargo",
    )
    train.add_argument(
        "--dry-run", action="store_true", help="say what would be trained, and write nothing"
    )
    train.add_argument("--quiet", action="store_true", help="no progress: for batch jobs")
    train.set_defaults(to_carry_on="run the same command with --resume")

    runs = _command(
        commands,
        "runs",
        _runs,
        "list and compare runs, the best first",
        "memmap-train runs runs/",
    )
    runs.add_argument(
        "directories", nargs="+", type=Path, metavar="DIR", help="a run, or a folder of runs"
    )
    runs.add_argument("--json", action="store_true", help="print as JSON")

    predict = _command(
        commands,
        "predict",
        _predict,
        "predict every row of a dataset with a run's model, or with several runs' models together; "
        "with those of a run of folds out of fold",
        "memmap-train predict runs/first runs/second data/live --out predictions.csv",
    )
    predict.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder; of several, the mean is written"
    )
    predict.add_argument("dataset", metavar="DATASET")
    predict.add_argument("--out", required=True, metavar="FILE.csv")
    predict.add_argument(
        "--raw", action="store_true", help="the model's own output, not ranks per era in (0, 1)"
    )
    return parser


def _folds(text: str) -> int | str:
    """Return what --folds says."""
    if text == "numerai":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number or 'numerai', found {text!r}"
        ) from None


def _add_sources(parser: argparse.ArgumentParser, what: str) -> None:
    """Add what is read, and how to tell the columns of parquet files apart."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help=what)
    parser.add_argument("--features-json", metavar="FILE", help="Numerai's features.json")
    parser.add_argument("--era-column", default="era", metavar="NAME", help="default: era")
    parser.add_argument(
        "--id-column", metavar="NAME", help="default: id, else __index_level_0__, else none"
    )
    parser.add_argument("--feature-prefix", default="feature", metavar="TEXT")
    parser.add_argument("--target-prefix", default="target", metavar="TEXT")


def _command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    description: str,
    example: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=description,
        description=f"{description[0].upper()}{description[1:]}.",
        epilog=f"example: {example}",
    )
    parser.set_defaults(run_command=run, to_carry_on="run the same command again")
    return parser
