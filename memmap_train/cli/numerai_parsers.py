"""The declaration of the commands that speak to Numerai, and of their help.

Takes the commands of a parser; adds to them. Imports nothing of the package but its parser's parts.
"""

from typing import Any

from .model_parsers import add_neutralization
from .strict_parser import add_command


def add_numerai_commands(commands: Any) -> None:
    """Add the commands that deal with Numerai."""
    _add_download(commands)
    _add_export(commands)
    _add_submit(commands)
    _add_week(commands)


def _add_download(commands: Any) -> None:
    """Add the command `download`."""
    download = add_command(
        commands,
        "download",
        "download Numerai's files: only what changed, each whole or not at all; no key is needed",
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
        "--version", required=True, metavar="VERSION", help="the version of the data, such as v5.3"
    )
    download.add_argument("--out", required=True, metavar="DIR", help="the folder for the files")
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


def _add_export(commands: Any) -> None:
    """Add the command `export`."""
    export = add_command(
        commands,
        "export",
        "write a model upload for Numerai, which runs without this package, and try it",
        "memmap-train export runs/first --out model.pkl --python 3.12",
    )
    export.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a run's folder; of several, the mean of their ranks is predicted",
    )
    export.add_argument(
        "--out",
        dest="out_path",
        required=True,
        metavar="FILE",
        help="the upload; its name ends in .pkl",
    )
    add_neutralization(export)
    export.add_argument(
        "--live", metavar="FILE", help="try it on this live.parquet (default: on made rows)"
    )
    export.add_argument(
        "--python",
        metavar="VERSION",
        help="the Python of the image that runs it, such as 3.12 (default: the one that "
        "runs this command)",
    )
    export.add_argument(
        "--image",
        action="store_true",
        help="try it with the numpy and pandas of that image, which are installed for a moment",
    )
    export.add_argument("--json", action="store_true", help="print as JSON")


def _add_submit(commands: Any) -> None:
    """Add the command `submit`."""
    submit = add_command(
        commands,
        "submit",
        "check predictions or a model upload, and send them to Numerai; the keys come from the "
        "environment, NUMERAI_PUBLIC_ID and NUMERAI_SECRET_KEY",
        "memmap-train submit predictions predictions.csv --model my_model --wait",
    )
    submit.add_argument(
        "kind",
        choices=("predictions", "diagnostics", "model"),
        metavar="KIND",
        help="predictions (of this round's live rows), diagnostics (predictions of validation "
        "rows, which Numerai scores) or model (an upload, which Numerai runs every day)",
    )
    submit.add_argument("file", metavar="FILE", help="a file as predict or export writes it")
    submit.add_argument(
        "--model", required=True, metavar="NAME", help="the model's name at Numerai"
    )
    submit.add_argument(
        "--live",
        metavar="FILE",
        help="with predictions, the live.parquet that was predicted (default: that of the newest "
        "version is downloaded)",
    )
    submit.add_argument(
        "--data-version",
        metavar="VERSION",
        help="with a model, the data that Numerai runs it with, such as v5.3 (default: the newest)",
    )
    submit.add_argument(
        "--wait",
        action="store_true",
        help="wait until Numerai has decided on it, for an hour at most",
    )
    submit.add_argument("--dry-run", action="store_true", help="check everything, and send nothing")
    submit.add_argument("--json", action="store_true", help="print as JSON")
    submit.set_defaults(
        resume_hint="if nothing above says that it has arrived, run the same command again"
    )


def _add_week(commands: Any) -> None:
    """Add the command `week`."""
    week = add_command(
        commands,
        "week",
        "do Numerai's week unattended: download, predict, submit; it is safe to repeat",
        "memmap-train week week.toml --dry-run",
    )
    week.add_argument(
        "config", metavar="CONFIG", help="a TOML file that names data, models and runs"
    )
    week.add_argument(
        "--dry-run", action="store_true", help="say what would be done; write and send nothing"
    )
    week.add_argument("--json", action="store_true", help="print as JSON")
