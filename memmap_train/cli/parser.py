"""The declaration of the command line: commands, their arguments and their help.

The parser returns an `argparse.Namespace`, in which `command` is the name of the command and
`resume_hint` says how to resume it after it was stopped. The help of every command ends with an
example. Of an option that is given twice the last one counts, so that a user can override a script.
Imports nothing of the package but its version and, for `--help-config`, the configuration.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._version import __version__
from .numerai_parser import add_export
from .strict_parser import StrictParser, folds, text_or_empty

_MIN_HELP_WIDTH, _MAX_HELP_WIDTH = 60, 100  # characters of a line


class _HelpConfig(argparse.Action):
    """Print the keys of the configuration and exit, whatever other arguments are missing."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ..runs.config_help import config_help  # needs pydantic

        width = min(shutil.get_terminal_size().columns, _MAX_HELP_WIDTH)
        parser._print_message(config_help(max(width, _MIN_HELP_WIDTH)) + "\n", sys.stdout)
        parser.exit()


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = StrictParser(
        prog="memmap-train",
        description="Train neural networks on all of Numerai's data from memory-mapped shards.",
        epilog="example: memmap-train convert train.parquet validation.parquet --out data/shards",
    )
    parser.add_argument("--version", action="version", version=f"memmap-train {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    commands.type = str  # the parser of each command checks the rest

    sample = _command(
        commands,
        "sample",
        "write a Numerai-shaped data set with a synthetic signal and benchmark models",
        "memmap-train sample data/sample --eras 300 --seed 1",
    )
    sample.add_argument("directory", metavar="DIR", help="where the files go")
    sample.add_argument(
        "--eras", dest="n_eras", type=int, default=300, metavar="N", help="default: 300"
    )
    sample.add_argument("--rows-per-era", type=int, default=2000, metavar="N", help="default: 2000")
    sample.add_argument(
        "--features", dest="n_features", type=int, default=64, metavar="N", help="default: 64"
    )
    sample.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")

    plan = _command(
        commands,
        "plan",
        "say what parquet files hold, what a dataset would take, and what to type next",
        "memmap-train plan data/train.parquet data/validation.parquet "
        "--features-json data/features.json",
    )
    _add_sources(plan, "parquet files, in order")
    plan.add_argument("--json", action="store_true", help="print as JSON")

    conversion = _command(
        commands,
        "convert",
        "convert parquet files into a dataset of memory-mapped shards, or a dataset into a "
        "narrower one",
        "memmap-train convert data/train.parquet data/validation.parquet --out data/shards "
        "--features-json data/features.json --dtype int8",
    )
    _add_sources(
        conversion,
        "parquet files, in order; or one dataset; none, to add benchmarks to a dataset that is "
        "there",
        nargs="*",
    )
    conversion.add_argument("--out", required=True, metavar="DATASET", help="the dataset's folder")
    conversion.add_argument(
        "--dtype",
        choices=("float32", "int8"),
        help="default: float32; where a dataset is narrowed, its own",
    )
    conversion.add_argument(
        "--benchmarks",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="Numerai's *_benchmark_models.parquet and meta_model.parquet, joined by era and id; "
        "given later, they are added to the dataset that is there, and nothing else is written",
    )
    conversion.add_argument("--feature-set", metavar="NAME", help="only the features of this set")
    conversion.add_argument(
        "--target",
        dest="targets",
        action="append",
        metavar="NAME",
        help="only this target; repeatable",
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
        "--overwrite",
        action="store_true",
        help="replace a dataset that is there, once the new one is complete",
    )
    conversion.add_argument(
        "--trust-features",
        action="store_true",
        help="in an update, don't decode and compare the features of old eras",
    )
    conversion.add_argument(
        "--decoder",
        choices=("auto", "arrow"),
        default="auto",
        help="arrow: decode all features by Arrow, slower (default: auto, the same dataset)",
    )
    conversion.add_argument("--json", action="store_true", help="print the report as JSON")
    conversion.one_of = ("sources", "benchmarks")

    inspect = _command(
        commands,
        "inspect",
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
        "compare every file of a dataset with its manifest",
        "memmap-train verify data/shards",
    )
    verification.add_argument("dataset", metavar="DATASET")
    verification.add_argument("--quick", action="store_true", help="sizes and headers only")

    status = _command(
        commands,
        "status",
        "say how much of a dataset is in memory, and how much could be",
        "memmap-train status data/shards",
    )
    status.add_argument("dataset", metavar="DATASET")
    status.add_argument("--json", action="store_true", help="print as JSON")

    warm = _command(
        commands,
        "warm",
        "read a dataset into memory, as much of it as fits",
        "memmap-train warm data/shards",
    )
    warm.add_argument("dataset", metavar="DATASET")

    benchmark = _command(
        commands,
        "bench",
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
        "train a model on a dataset",
        "memmap-train train data/shards --run runs/first --set features=medium --set epochs=20",
    )
    train.add_argument("dataset", metavar="DATASET")
    train.add_argument("--run", required=True, metavar="DIR", help="the run's folder")
    train.add_argument("--config", type=Path, metavar="FILE", help="a flat TOML file")
    train.add_argument(
        "--help-config", action=_HelpConfig, help="show all keys of the configuration and exit"
    )
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of the configuration; repeatable",
    )
    train.add_argument("--resume", action="store_true", help="resume where the run was stopped")
    train.add_argument(
        "--folds",
        type=folds,
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
    train.set_defaults(resume_hint="run the same command with --resume")

    runs = _command(
        commands,
        "runs",
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
        "predict every row of a dataset with a run's model, or with several runs' models together; "
        "with those of a run of folds out of fold",
        "memmap-train predict runs/first runs/second data/live --out predictions.csv",
    )
    predict.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder; of several, the mean is written"
    )
    predict.add_argument("dataset", metavar="DATASET")
    predict.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="FILE.csv or FILE.parquet; a device, a pipe or /dev/stdout gets CSV",
    )
    predict.add_argument(
        "--era", action="store_true", help="write the era as a column between id and prediction"
    )
    predict.add_argument(
        "--raw", action="store_true", help="the model's own output, not ranks per era in (0, 1)"
    )
    predict.add_argument(
        "--neutralize",
        metavar="SET",
        help="subtract what the features of this set explain in each era, and rank the rest again",
    )
    predict.add_argument(
        "--proportion",
        type=float,
        metavar="P",
        help="with --neutralize, the share that is subtracted, from 0 to 1 (default: 1)",
    )
    _add_evaluate(commands)
    _add_report(commands)
    add_export(_command, commands)
    return parser


def _add_evaluate(commands: Any) -> None:
    """Add the command `evaluate`."""
    evaluate = _command(
        commands,
        "evaluate",
        "score runs, or files of predictions, on the eras that they weren't trained on: CORR, MMC, "
        "BMC, FNC and exposures",
        "memmap-train evaluate runs/first predictions.csv data/shards --out scores",
    )
    evaluate.add_argument(
        "models",
        nargs="+",
        metavar="RUN|PREDICTIONS",
        help="a run's folder, or a CSV or parquet file with ids and predictions; others are "
        "compared with the first one",
    )
    evaluate.add_argument("dataset", metavar="DATASET")
    _add_score_options(evaluate)
    evaluate.add_argument(
        "--out", metavar="DIR", help="write era_scores.csv and summary.json into this folder"
    )
    evaluate.add_argument("--json", action="store_true", help="print as JSON")


def _add_report(commands: Any) -> None:
    """Add the command `report`."""
    report = _command(
        commands,
        "report",
        "write one HTML page of the scores of runs, or of files of predictions, with charts, "
        "tables and what was trained on what",
        "memmap-train report runs/first runs/second data/shards --out report.html",
    )
    report.add_argument(
        "names",
        nargs="+",
        metavar="RUN|PREDICTIONS",
        help="a run's folder, or a CSV or parquet file with ids and predictions; the last name may "
        "be the dataset (default: the one that the runs were trained on)",
    )
    _add_score_options(report)
    report.add_argument(
        "--out", dest="out_path", required=True, metavar="FILE", help="the page: FILE.html"
    )
    report.add_argument(
        "--png", action="store_true", help="write pictures of the main charts beside the page"
    )


def _add_score_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is scored, and against what."""
    parser.add_argument(
        "--target",
        dest="targets",
        action="append",
        metavar="NAME",
        help="repeatable (default: the runs' main targets; without a run the dataset's first)",
    )
    parser.add_argument(
        "--benchmark",
        metavar="NAME",
        help="what BMC is against (default: the dataset's first that isn't the meta model)",
    )
    parser.add_argument(
        "--meta-model",
        metavar="NAME",
        help="what MMC is against (default: numerai_meta_model, if the dataset has it)",
    )
    parser.add_argument(
        "--neutral-to",
        metavar="SET",
        help="the feature set of FNC and of exposures, or all (default: fncv3_features, if the "
        "dataset has it, else all)",
    )
    parser.add_argument(
        "--eras",
        action="append",
        metavar="ERAS",
        help="score these: a label, a range such as 0575-0800, or all; repeatable (default: all "
        "that a file covers; of a run its validation eras and later ones beyond the embargo)",
    )


def _add_sources(parser: argparse.ArgumentParser, what: str, nargs: str = "+") -> None:
    """Add the sources, and the options that name the columns of parquet files."""
    parser.add_argument("sources", nargs=nargs, metavar="SOURCE", help=what)
    parser.add_argument("--features-json", metavar="FILE", help="Numerai's features.json")
    parser.add_argument("--era-column", default="era", metavar="NAME", help="default: era")
    parser.add_argument(
        "--id-column",
        type=text_or_empty,
        metavar="NAME",
        help='default: id, else __index_level_0__, else none; --id-column "" takes none',
    )
    parser.add_argument("--feature-prefix", default="feature", metavar="TEXT")
    parser.add_argument("--target-prefix", default="target", metavar="TEXT")


def _command(
    commands: Any,
    name: str,
    description: str,
    example: str,
) -> StrictParser:
    parser: StrictParser = commands.add_parser(
        name,
        help=description,
        description=f"{description[0].upper()}{description[1:]}.",
        epilog=f"example: {example}",
    )
    parser.set_defaults(command=name, resume_hint="run the same command again")
    return parser
