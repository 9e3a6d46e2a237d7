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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ._version import __version__
from .config import TrainConfig
from .dataset import open_dataset, verify
from .errors import MemmapTrainError, listed
from .inspection import (
    dataset_text,
    describe_dataset,
    describe_era,
    describe_features,
    era_text,
    features_text,
    in_bytes,
)
from .progress import Stages, TrainProgress
from .schema import ColumnOptions
from .training.startup import start_tensorflow

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
    for stop in _STOPS:  # once is enough: what has begun to end is left to end in order
        signal.signal(stop, signal.SIG_IGN)
    raise KeyboardInterrupt


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
    from .conversion import convert  # needs pyarrow

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


def _train(arguments: argparse.Namespace) -> int:
    config = None  # a run that is carried on keeps its own
    if arguments.config is not None or arguments.set or not arguments.resume:
        config = TrainConfig.load(arguments.config, arguments.set)
    start_tensorflow()
    from .chart import HOW_TO_GET_PICTURES  # needs scipy
    from .training.loop import train  # needs TensorFlow

    with TrainProgress() as progress:
        report = train(
            arguments.dataset, arguments.run, config, resume=arguments.resume, report=progress
        )
    if report.already_finished:
        print(f"{report.run_dir}: already finished; nothing to do")
    stopped = ", stopped early" if report.stopped_early else ""
    print(
        f"{report.run_dir}: best epoch {report.best_epoch} of {report.n_epochs}{stopped}\n"
        f"validation  numerai_corr {report.corr_mean:.4f} on average (std {report.corr_std:.4f}, "
        f"Sharpe {report.corr_sharpe:.2f}, max drawdown {report.max_drawdown:.4f}), "
        f"Pearson {report.pearson_mean:.4f}"
    )
    if report.best_possible is not None:
        print(
            f"possible    numerai_corr {report.best_possible:.4f}: the run reached "
            f"{report.corr_mean / report.best_possible:.0%} of what any model can"
        )
    print(f"chart       {report.chart_path or HOW_TO_GET_PICTURES}")
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    start_tensorflow()
    from .training.predict import predict  # needs TensorFlow

    with Stages() as stages:
        n_rows = predict(
            arguments.run,
            arguments.dataset,
            arguments.out,
            raw=arguments.raw,
            progress=lambda done, total: stages("predicting", done, total),
        )
    print(f"{arguments.out}: {n_rows:,} predictions")
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
    _add_sources(plan)
    plan.add_argument("--json", action="store_true", help="print as JSON")

    convert = _command(
        commands,
        "convert",
        _convert,
        "convert parquet files into a dataset of memory-mapped shards",
        "memmap-train convert data/train.parquet data/validation.parquet --out data/shards "
        "--features-json data/features.json --dtype int8",
    )
    _add_sources(convert)
    convert.add_argument("--out", required=True, metavar="DATASET", help="the dataset's folder")
    convert.add_argument(
        "--dtype", choices=("float32", "int8"), default="float32", help="default: float32"
    )
    convert.add_argument("--feature-set", metavar="NAME", help="only the features of this set")
    convert.add_argument(
        "--target", action="append", metavar="NAME", help="only this target; repeatable"
    )
    convert.add_argument(
        "--missing",
        choices=("0.5", "nan"),
        default="0.5",
        help="what stands for a missing feature (default: 0.5)",
    )
    convert.add_argument(
        "--memory", type=int, metavar="MB", help="default: a quarter of what is available, <= 2000"
    )
    convert.add_argument("--workers", type=int, metavar="N", help="threads (default: one per core)")
    convert.add_argument("--overwrite", action="store_true", help="replace a dataset that is there")
    convert.add_argument(
        "--trust-features",
        action="store_true",
        help="in an update, don't decode and compare the features of old eras",
    )
    convert.add_argument("--json", action="store_true", help="print the report as JSON")

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
    train.set_defaults(to_carry_on="run the same command with --resume")

    predict = _command(
        commands,
        "predict",
        _predict,
        "predict every row of a dataset with a run's model",
        "memmap-train predict runs/first data/live --out predictions.csv",
    )
    predict.add_argument("run", metavar="RUN", help="the run's folder")
    predict.add_argument("dataset", metavar="DATASET")
    predict.add_argument("--out", required=True, metavar="FILE.csv")
    predict.add_argument(
        "--raw", action="store_true", help="the model's own output, not ranks per era in (0, 1)"
    )
    return parser


def _add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the parquet files, and how to tell their columns apart."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="parquet files, in order")
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
