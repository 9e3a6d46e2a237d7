"""The declaration of commands about Numerai, and their help."""

from typing import Any

from .strict_parser import add_command


def add_numerai_commands(commands: Any) -> None:
    """Add the commands that deal with Numerai."""
    _add_export(commands)


def _add_export(commands: Any) -> None:
    """Add the command `export`."""
    export = add_command(
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
