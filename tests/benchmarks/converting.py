"""Conversion compared with its limits, its digests, counts and checks, and the method of 2021."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from memmap_train.conversion.conversion import convert
from memmap_train.system.resources import n_cores

from . import article, limits
from .measuring import Job, Measured, Spent, in_turn, print_table, timed
from .sources import Size, make_sources
from .turning import turn_and_encode

_DTYPES = ("float32", "int8")
_MAX_TIMES_LIMIT = 1.3
_MAX_SHARE = 0.05
_MIN_TIMES_FASTER = {"float32": 6, "int8": 10}
_WRITTEN_AT_ONCE = 4_000_000  # bytes, about what a conversion encodes, digests and writes at once

_DECODE, _DECODE_ARROW = "decode all features", "decode all features with Arrow"
_CROSS_CHECK = "cross-check of decoded features"
_ARTICLE = "pandas into 16 float32 files"


def run(directory: Path, size: Size) -> None:
    """Print the tables."""
    paths = make_sources(directory, size)
    out, plain, split = (directory / name for name in ("converted", "plain", "split"))
    n_bytes = {}
    for dtype in _DTYPES:  # also takes the sources into the page cache
        _remove(out)
        report = convert(paths, out, dtype=dtype)
        n_bytes[dtype] = report.n_bytes
    jobs = [
        Job(limits.decode, (_DECODE, paths)),
        Job(limits.decode_with_arrow, (_DECODE_ARROW, paths)),
        Job(limits.cross_check, (_CROSS_CHECK, paths)),
    ]
    for dtype in _DTYPES:
        jobs += [
            Job(turn_and_encode, (_encoding(dtype), paths, dtype, True)),
            Job(turn_and_encode, (_encoding(dtype, counted=False), paths, dtype, False)),
            Job(limits.write, (_bytes(dtype), plain, n_bytes[dtype])),
            Job(limits.digest, (_digest(dtype), n_bytes[dtype], _WRITTEN_AT_ONCE)),
            Job(convert_alone, (_convert(dtype), paths, out, dtype), partial(_remove, out)),
        ]
    jobs.append(Job(article.split, (_ARTICLE, paths, split), partial(_remove, split)))
    found = in_turn(jobs, size.repeats)
    whole = {_ARTICLE, *map(_convert, _DTYPES)}  # the others' memory is the benchmark's own
    for folder in (out, split):
        _remove(folder)

    print(
        f"\n{report.n_rows:,} rows x {size.features:,} features on {n_cores()} cores, everything "
        f"alone in a fresh process, medians of {size.repeats} runs in turn."
    )
    print_table(
        "What a conversion is made of, and the conversion",
        ["what", "seconds", "CPU seconds", "rows/s", "peak anonymous MB"],
        [
            [
                name,
                f"{part.seconds:.2f}",
                f"{part.cpu_seconds:.2f}",
                f"{report.n_rows / part.seconds:,.0f}",
                f"{part.peak_bytes / 1e6:,.0f}" if name in whole else "",
            ]
            for name, part in found.items()
        ],
    )
    _print_limits(found)
    _print_parts(found)
    _print_shares(found)
    _print_beside_pandas(found)


def _print_beside_pandas(found: dict[str, Measured]) -> None:
    print_table(
        "Beside the way of 2021, whose files aren't made durable",
        ["store", "convert: seconds", "pandas: seconds", "times as fast", "goal"],
        [
            [
                dtype,
                f"{found[_convert(dtype)].seconds:.2f}",
                f"{found[_ARTICLE].seconds:.2f}",
                f"{found[_ARTICLE].seconds / found[_convert(dtype)].seconds:.1f}",
                f"{_MIN_TIMES_FASTER[dtype]} or more",
            ]
            for dtype in _DTYPES
        ],
    )


def convert_alone(
    name: str, paths: Sequence[Path], out: Path, dtype: str, trust_features: bool = False
) -> dict[str, Spent]:
    """Convert; to be run by `measuring.alone`."""
    return {name: timed(lambda: convert(paths, out, dtype=dtype, trust_features=trust_features))}


def _print_limits(found: dict[str, Measured]) -> None:
    rows = []
    for dtype in _DTYPES:
        conversion = found[_convert(dtype)]
        disk = found[f"write {_bytes(dtype)}"].seconds + found[f"fsync {_bytes(dtype)}"].seconds
        cores = conversion.cpu_seconds / n_cores()
        limit = max(disk, cores)
        rows.append(
            [
                dtype,
                f"{disk:.2f}",
                f"{cores:.2f}",
                f"{limit:.2f}",
                f"{conversion.seconds:.2f}",
                f"{conversion.seconds / limit:.2f}",
                f"{_MAX_TIMES_LIMIT} or less",
            ]
        )
    print_table(
        "Conversion beside its limit: the disk or the cores, whichever takes longer",
        ["store", "write + fsync", "CPU s / cores", "limit", "convert", "times the limit", "goal"],
        rows,
    )


def _print_parts(found: dict[str, Measured]) -> None:
    rows = []
    for dtype in _DTYPES:
        written = _bytes(dtype)
        parts = (
            found[_DECODE].cpu_seconds,
            found[_encoding(dtype)].cpu_seconds,
            found[f"write {written}"].cpu_seconds + found[f"fsync {written}"].cpu_seconds,
            found[_digest(dtype)].cpu_seconds,
        )
        conversion = found[_convert(dtype)].cpu_seconds
        seconds = (*parts, sum(parts), conversion, conversion / sum(parts))
        rows.append([dtype, *(f"{number:.2f}" for number in seconds)])
    print_table(
        "CPU seconds of a conversion beside those of its parts alone",
        ["store", "decode", "turn, encode", "write, fsync", "digest", "sum", "convert", "times"],
        rows,
    )


def _print_shares(found: dict[str, Measured]) -> None:
    rows = []
    for dtype in _DTYPES:
        counted, plain = found[_encoding(dtype)], found[_encoding(dtype, counted=False)]
        for what, cpu_seconds in (
            ("digests", found[_digest(dtype)].cpu_seconds),
            ("counts", counted.cpu_seconds - plain.cpu_seconds),
            ("cross-check", found[_CROSS_CHECK].cpu_seconds),
        ):
            share = cpu_seconds / found[_convert(dtype)].cpu_seconds
            goal = f"{_MAX_SHARE:.0%} or less"
            rows.append([dtype, what, f"{cpu_seconds:.3f}", f"{share:.1%}", goal])
    print_table(
        "What digests, counts and the cross-check cost",
        ["store", "what", "CPU seconds", "of the conversion's", "goal"],
        rows,
    )


def _encoding(dtype: str, *, counted: bool = True) -> str:
    return f"turn and encode as {dtype}" + ("" if counted else ", without counts")


def _bytes(dtype: str) -> str:
    return f"the {dtype} bytes"


def _digest(dtype: str) -> str:
    return f"digest {_bytes(dtype)}"


def _convert(dtype: str) -> str:
    return f"convert to {dtype}"


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
