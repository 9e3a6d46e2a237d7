"""The declaration of the commands that make, check and read datasets, and of their help.

Takes the commands of a parser; adds to them. Imports nothing else of the package.
"""

import argparse
from typing import Any

from .strict_parser import add_command, text_or_empty


def add_data_commands(commands: Any) -> None:
    """Add the commands, in the order in which data go through them."""
    for add in (
        _add_sample,
        _add_plan,
        _add_convert,
        _add_inspect,
        _add_verify,
        _add_status,
        _add_warm,
        _add_bench,
    ):
        add(commands)


def _add_sample(commands: Any) -> None:
    parser = add_command(
        commands,
        "sample",
        "write a Numerai-shaped data set with a synthetic signal and benchmark models",
        "memmap-train sample data/sample --eras 300 --seed 1",
    )
    parser.add_argument("directory", metavar="DIR", help="where the files go")
    parser.add_argument(
        "--eras", dest="n_eras", type=int, default=300, metavar="N", help="default: 300"
    )
    parser.add_argument("--rows-per-era", type=int, default=2000, metavar="N", help="default: 2000")
    parser.add_argument(
        "--features", dest="n_features", type=int, default=64, metavar="N", help="default: 64"
    )
    parser.add_argument(
        "--signal",
        choices=("plain", "market"),
        default="plain",
        help="plain, which lasts; or as in markets: known to the benchmark models in part, "
        "drifting, with a factor that pays in training and then harms",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")


def _add_plan(commands: Any) -> None:
    parser = add_command(
        commands,
        "plan",
        "say what parquet files hold, what a dataset would take, and what to type next",
        "memmap-train plan data/train.parquet data/validation.parquet "
        "--features-json data/features.json",
    )
    _add_sources(parser, "parquet files, in order")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _add_convert(commands: Any) -> None:
    parser = add_command(
        commands,
        "convert",
        "convert parquet files into a dataset of memory-mapped shards, or a dataset into a "
        "narrower one",
        "memmap-train convert data/train.parquet data/validation.parquet --out data/shards "
        "--features-json data/features.json --dtype int8",
    )
    _add_sources(
        parser,
        "parquet files, in order; or one dataset; none, to add benchmarks to a dataset that is "
        "there",
        nargs="*",
    )
    parser.add_argument("--out", required=True, metavar="DATASET", help="the dataset's folder")
    parser.add_argument(
        "--dtype",
        choices=("float32", "int8"),
        help="default: float32; where a dataset is narrowed, its own",
    )
    parser.add_argument(
        "--benchmarks",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="Numerai's *_benchmark_models.parquet and meta_model.parquet, joined by era and id; "
        "given later, they are added to the dataset that is there, and nothing else is written",
    )
    parser.add_argument("--feature-set", metavar="NAME", help="only the features of this set")
    parser.add_argument(
        "--target",
        dest="targets",
        action="append",
        metavar="NAME",
        help="only this target; repeatable",
    )
    parser.add_argument(
        "--missing",
        choices=("0.5", "nan"),
        help="what stands for a missing feature (default: 0.5; where a dataset is narrowed, as "
        "there)",
    )
    parser.add_argument(
        "--memory", type=int, metavar="MB", help="default: a quarter of what is available, <= 2000"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="threads (default: one per core)")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a dataset that is there, once the new one is complete",
    )
    parser.add_argument(
        "--trust-features",
        action="store_true",
        help="in an update, don't decode and compare the features of old eras",
    )
    parser.add_argument(
        "--decoder",
        choices=("auto", "arrow"),
        default="auto",
        help="arrow: decode all features by Arrow, slower (default: auto, the same dataset)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.one_of = ("sources", "benchmarks")


def _add_inspect(commands: Any) -> None:
    parser = add_command(
        commands,
        "inspect",
        "show what is in a dataset, or in one of its eras",
        "memmap-train inspect data/shards --era 0001",
    )
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("--era", metavar="E", help="one era: shapes, dtypes, how to open it")
    parser.add_argument(
        "--features",
        action="store_true",
        help="all features and what their rows hold (with --era, in that era too)",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _add_verify(commands: Any) -> None:
    parser = add_command(
        commands,
        "verify",
        "compare every file of a dataset with its manifest",
        "memmap-train verify data/shards",
    )
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("--quick", action="store_true", help="sizes and headers only")


def _add_status(commands: Any) -> None:
    parser = add_command(
        commands,
        "status",
        "say how much of a dataset is in memory, and how much could be",
        "memmap-train status data/shards",
    )
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _add_warm(commands: Any) -> None:
    parser = add_command(
        commands,
        "warm",
        "read a dataset into memory, as much of it as fits",
        "memmap-train warm data/shards",
    )
    parser.add_argument("dataset", metavar="DATASET")


def _add_bench(commands: Any) -> None:
    parser = add_command(
        commands,
        "bench",
        "measure how fast a dataset can be read here, what limits it, and what would help",
        "memmap-train bench data/shards --features medium",
    )
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("--features", metavar="NAME", help="a feature set (default: all)")
    parser.add_argument(
        "--batch-size", type=int, default=4096, metavar="N", help="rows (default: 4096)"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")


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
