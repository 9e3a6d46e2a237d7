"""The parser of the command line.

It returns an `argparse.Namespace`, in which `command` is the name of the command and `resume_hint`
says how to resume it after it was stopped. The help of every command ends with an example. If an
option is given twice, the last one counts, so that a user can override a script.
"""

import argparse

from .._version import __version__
from .data_parsers import add_data_commands
from .model_parsers import add_model_commands
from .numerai_parsers import add_numerai_commands
from .strict_parser import StrictParser


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
    add_data_commands(commands)
    add_model_commands(commands)
    add_numerai_commands(commands)
    return parser
