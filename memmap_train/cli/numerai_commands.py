"""The declaration of the commands that speak to Numerai, and of their help.

Takes the commands of a parser; adds to them. Imports nothing else of the package.
"""

from typing import Any

from .strict_parser import add_command


def add_numerai_commands(commands: Any) -> None:
    """Add the commands that speak to Numerai."""
    _add_download(commands)


def _add_download(commands: Any) -> None:
    """Add the command `download`."""
    download = add_command(
        commands,
        "download",
        "download Numerai's files, whole or not at all, and only what changed; no key is needed",
        "memmap-train download --version v5.3 --out data",
    )
    download.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="such as train.parquet (default: features.json, train, validation, live, meta_model "
        "and the benchmark models)",
    )
    download.add_argument(
        "--version", required=True, metavar="VERSION", help="of the data, such as v5.3"
    )
    download.add_argument("--out", required=True, metavar="DIR", help="where the files go")
    download.add_argument(
        "--round",
        dest="round_number",
        type=int,
        metavar="N",
        help="the files of this round (default: the current one)",
    )
    download.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be fetched, and which versions there are, and write nothing",
    )
    download.add_argument("--json", action="store_true", help="print as JSON")
