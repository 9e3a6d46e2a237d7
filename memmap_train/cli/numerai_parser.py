"""The declaration of the commands that deal with Numerai."""

import argparse
from collections.abc import Callable
from typing import Any

Command = Callable[[Any, str, str, str], argparse.ArgumentParser]
"""Adds a command of some name, with its description and an example."""


def add_export(command: Command, commands: Any) -> None:
    """Add the command `export`."""
    export = command(
        commands,
        "export",
        "write a model upload for Numerai, which runs without this package, and try it",
        "memmap-train export runs/first --out model.pkl --python 3.12",
    )
    export.add_argument(
        "runs", nargs="+", metavar="RUN", help="several are the mean of their ranks"
    )
    export.add_argument("--out", dest="out_path", required=True, metavar="FILE", help="FILE.pkl")
    export.add_argument(
        "--neutralize",
        metavar="SET",
        help="subtract what the features of this set explain in each era, and rank the rest again",
    )
    export.add_argument(
        "--proportion",
        type=float,
        metavar="P",
        help="with --neutralize, the share that is subtracted, from 0 to 1 (default: 1)",
    )
    export.add_argument(
        "--live", metavar="FILE", help="try it on this live.parquet (default: on made rows)"
    )
    export.add_argument(
        "--python",
        metavar="VERSION",
        help="the Python of the image that runs it, such as 3.12 (default: this one)",
    )
    export.add_argument(
        "--image", action="store_true", help="try it with the image's numpy and pandas"
    )
