"""The commands that speak to Numerai: each calls a function and prints its result.

Takes the parsed arguments, which `numerai_parsers` declares.
"""

import argparse
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ..errors import NumeraiError
from ..system.paths import user_path
from ..training.startup import start_tensorflow
from .output import bars, print_found
from .strict_parser import options


def _download(arguments: argparse.Namespace) -> None:
    from ..numerai.download.download import download
    from ..numerai.download.text import describe_download, download_text

    with bars("B") as progress:
        report = download(**options(arguments), progress=progress)
    print_found(arguments, report, download_text, describe_download)


def _export(arguments: argparse.Namespace) -> None:
    from ..numerai.export.export import export  # needs pydantic and pyarrow
    from ..numerai.export.text import describe_export, export_text

    start_tensorflow(user_path(arguments.out_path).parent)
    with bars("steps") as progress:
        report = export(**options(arguments), progress=progress)
    print_found(arguments, report, export_text, describe_export)


def _submit(arguments: argparse.Namespace) -> None:
    from ..numerai.submission.submit import submit
    from ..numerai.submission.text import describe_submission, submission_text

    report = submit(**options(arguments), progress=True)
    print_found(arguments, report, submission_text, describe_submission)
    if report.problem is not None:
        raise NumeraiError(f"{report.path}: it was sent, and {report.problem}")


def _week(arguments: argparse.Namespace) -> None:
    from ..numerai.week.text import describe_week, failures_text, week_text
    from ..numerai.week.week import week  # needs pydantic and pyarrow

    report = week(**options(arguments), progress=True)
    print_found(arguments, report, week_text, describe_week)
    if report.failures:
        raise NumeraiError(failures_text(report))


NUMERAI_COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = MappingProxyType(
    {
        "download": _download,
        "export": _export,
        "submit": _submit,
        "week": _week,
    }
)
