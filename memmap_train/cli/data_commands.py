"""The commands that make, check and read datasets: each calls a function and prints its result.

Takes the parsed arguments, which `data_parsers` declares.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from ..conversion.conversion import convert
from ..conversion.report import describe_report, report_text
from ..conversion.schema import ColumnOptions
from ..dataset.opening import open_dataset
from ..dataset.verify import verify
from ..errors import ShardError
from ..loading.bench import bench, bench_text
from ..loading.inspect import describe_dataset, describe_era, describe_features
from ..loading.inspect_text import dataset_text, era_text, features_text
from ..loading.page_cache import describe_status, eras_that_fit, read_ahead, status_text
from ..text import counted, in_bytes
from .output import bars, print_found
from .strict_parser import options


def _sample(arguments: argparse.Namespace) -> None:
    from ..conversion.sample import write_sample  # needs pyarrow

    with bars() as progress:
        summary = write_sample(**options(arguments), progress=progress)
    print(
        f"{arguments.directory}: {counted(summary.n_rows, 'row')}, "
        f"{counted(summary.n_eras, 'era')} and a live one, "
        f"{counted(summary.n_features, 'feature')}; best possible validation score "
        f"{summary.best:.4f}"
    )
    for path in summary.paths:
        print(f"  {path} ({in_bytes(Path(path).stat().st_size)})")


def _plan(arguments: argparse.Namespace) -> None:
    from ..conversion.preview import preview_sources  # needs pyarrow
    from ..conversion.preview_text import describe_preview, preview_text

    with bars("values") as progress:
        preview = preview_sources(
            arguments.sources,
            features_json=arguments.features_json,
            columns=ColumnOptions(
                era_column=arguments.era_column,
                id_column=arguments.id_column,
                feature_prefix=arguments.feature_prefix,
                target_prefix=arguments.target_prefix,
            ),
            progress=progress,
        )
    print_found(arguments, preview, preview_text, describe_preview)


def _convert(arguments: argparse.Namespace) -> None:
    with bars() as progress:
        report = convert(**options(arguments), progress=progress)
    print_found(arguments, report, report_text, describe_report)


def _inspect(arguments: argparse.Namespace) -> None:
    dataset = open_dataset(arguments.dataset)
    if arguments.features:
        print_found(arguments, describe_features(dataset, arguments.era), features_text)
    elif arguments.era is not None:
        print_found(arguments, describe_era(dataset, arguments.era), era_text)
    else:
        print_found(arguments, describe_dataset(dataset), dataset_text)


def _verify(arguments: argparse.Namespace) -> None:
    with bars("B") as progress:
        problems = verify(arguments.dataset, quick=arguments.quick, progress=progress)
    for problem in problems:
        print(f"{problem.path}: {problem.what}")
    if problems:
        files = "file is" if len(problems) == 1 else "files are"
        raise ShardError(
            f"{arguments.dataset}: {len(problems):,} {files} not what the manifest says"
        )
    checked = "sizes and headers" if arguments.quick else "sizes, headers and digests"
    print(f"{arguments.dataset}: all is well ({checked})")


def _status(arguments: argparse.Namespace) -> None:
    print_found(arguments, describe_status(open_dataset(arguments.dataset)), status_text)


def _warm(arguments: argparse.Namespace) -> None:
    dataset = open_dataset(arguments.dataset)
    eras = eras_that_fit(dataset)
    if not eras:
        print(
            f"{dataset.path}: nothing to read ahead: memory is too small to keep any of its "
            f"{len(dataset.eras):,} eras; `memmap-train status {dataset.path}` says what fits"
        )
        return
    started = time.perf_counter()
    with bars("B") as progress:
        n_bytes = read_ahead(dataset, eras, progress)
    seconds = time.perf_counter() - started
    what = "all" if len(eras) == len(dataset.eras) else "as many as memory holds:"
    print(
        f"{dataset.path}: read {what} {len(eras):,} of {counted(len(dataset.eras), 'era')}, "
        f"{in_bytes(n_bytes)} in {seconds:,.1f} s ({in_bytes(n_bytes / seconds)}/s)"
    )


def _bench(arguments: argparse.Namespace) -> None:
    found = bench(
        open_dataset(arguments.dataset),
        batch_size=arguments.batch_size,
        features=arguments.features,
        progress=lambda what, done, total: print(f"measuring {what}", file=sys.stderr),
    )
    print_found(arguments, found, bench_text)


DATA_COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = MappingProxyType(
    {
        "sample": _sample,
        "plan": _plan,
        "convert": _convert,
        "inspect": _inspect,
        "verify": _verify,
        "status": _status,
        "warm": _warm,
        "bench": _bench,
    }
)
