"""`python -m tests.benchmarks [NAME…] [--dir FOLDER] [--rows N] [--eras N] …`."""

import argparse
import tempfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from .learning_variants import variants
from .sources import Size

BY_DEFAULT = (
    "converting",
    "updating",
    "subsetting",
    "verifying",
    "reading",
    "eras",
    "scaling",
    "peers",
    "cold",
    "training",
)
NAMES = (
    *BY_DEFAULT,
    "exporting",
    "ridge",
    "shuffling",
    "joining",
    "scoring",
    "geometry",
    "machines",
    "learning",
)
"""The last seven take minutes, `learning` more than an hour; `geometry` takes 25 GB of disk,
`machines` what its stores take."""


def main() -> None:
    """Run the named benchmarks, or all short ones."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help=", ".join(NAMES))
    parser.add_argument("--dir", type=Path, help="keep the data sets here for the next time")
    parser.add_argument(
        "--rows", type=int, default=Size().wide_rows, help="of geometry (default: %(default)s)"
    )
    parser.add_argument(
        "--eras", type=int, default=Size().scored_eras, help="of scoring (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=Size().learning_seeds,
        help="of learning (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        default=Size().learning_epochs,
        help="of learning (default: %(default)s)",
    )
    parser.add_argument(
        "--sample",
        type=int,
        nargs=3,
        default=Size().learning_sample,
        metavar=("ERAS", "ROWS", "FEATURES"),
        help="of learning (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=(),
        choices=[variant.name for variant in variants(1)],
        metavar="VARIANT",
        help="of learning: names of its table's rows (default: all)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="Numerai's parquet files for machines"
    )
    parser.add_argument(
        "--gigabytes",
        type=float,
        nargs="+",
        default=Size().machine_gigabytes,
        help="memory of machines (default: %(default)s)",
    )
    parser.add_argument(
        "--stores",
        nargs="+",
        default=Size().machine_stores,
        metavar="DTYPE:STORED[/TRAINED]",
        help="stores of machines, by their feature sets (default: %(default)s)",
    )
    arguments = parser.parse_args()
    size = replace(
        Size(),
        wide_rows=arguments.rows,
        scored_eras=arguments.eras,
        learning_seeds=arguments.seeds,
        learning_epochs=arguments.epochs,
        learning_sample=tuple(arguments.sample),
        learning_only=tuple(arguments.only),
        machine_data=arguments.data,
        machine_gigabytes=tuple(arguments.gigabytes),
        machine_stores=tuple(arguments.stores),
    )
    with tempfile.TemporaryDirectory() as temporary:
        # A folder of our own: what is in the way of a measurement is removed.
        directory = (arguments.dir or Path(temporary)) / "memmap-train-benchmarks"
        directory.mkdir(parents=True, exist_ok=True)
        for name in arguments.names or BY_DEFAULT:
            import_module(f".{name}", __package__).run(directory, size)


if __name__ == "__main__":
    main()
