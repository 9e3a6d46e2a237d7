"""The dataset in the target folder before a conversion: absent, up to date, or outdated.

Takes the sources' entries, the chosen columns and the options; returns one of the three states.
A dataset that was made with other options is an error that names them. Reads the manifest and
writes nothing.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..dataset.format import FILE_NAME
from ..dataset.manifest import Manifest, SourceEntry
from ..dataset.manifest_file import read_manifest
from ..errors import ConversionError, listed
from .plan import Columns, ConvertOptions


@dataclass(frozen=True, slots=True)
class Absent:
    """No dataset, or one that is to be replaced; perhaps an unfinished conversion."""


@dataclass(frozen=True, slots=True)
class UpToDate:
    """A dataset that was made from the same sources with the same options."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """A dataset that was made from other sources, or from other versions of the same ones."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class OutdatedBenchmarks:
    """A dataset that was made from the same sources, but lacks benchmarks that are requested."""

    manifest: Manifest


Target = Absent | UpToDate | Outdated | OutdatedBenchmarks


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The dataset that a conversion is to make.

    Attributes
    ----------
    directory : Path
        Its folder.
    sources : tuple of SourceEntry
        The parquet files that it is made from.
    columns : Columns
    options : ConvertOptions
    overwrite : bool
        Whether it replaces a dataset made with other options.
    benchmarks : tuple of str
        The benchmarks of the given files, and of the source dataset.
    benchmark_sources : tuple of SourceEntry
        The files that these benchmarks come from.
    """

    directory: Path
    sources: tuple[SourceEntry, ...]
    columns: Columns
    options: ConvertOptions
    overwrite: bool = False
    benchmarks: tuple[str, ...] = ()
    benchmark_sources: tuple[SourceEntry, ...] = ()


def inspect_target(request: Request, *, was_just_committed: bool = False) -> Target:
    """Return the state of the dataset in the target folder.

    Parameters
    ----------
    request : Request
    was_just_committed : bool
        Whether the dataset was completed a moment ago by finishing an interrupted commit. If it is
        the requested one, `overwrite` doesn't replace it by itself.

    Raises
    ------
    ConversionError
        The dataset was made from the same sources with other options.
    ManifestError
        Its manifest is damaged.
    """
    if request.overwrite:
        with suppress(ConversionError):  # it was made with other options
            current = _current(request.directory) if was_just_committed else None
            if current is not None and _is_up_to_date(current, request):
                return UpToDate()
        return Absent()
    manifest = _current(request.directory)
    if manifest is None:
        return Absent()
    if not _has_sources(manifest, request):
        return Outdated(manifest)
    return UpToDate() if has_benchmarks(manifest, request) else OutdatedBenchmarks(manifest)


def check_updatable(old: Manifest, request: Request) -> None:
    """Raise a ConversionError if a dataset has other source names or options, or linked eras."""
    names = [source.name for source in request.sources]
    wanted = {**_options_of(request.columns, request.options), "sources": names}
    _check_same(old, wanted, request.directory)
    check_no_links(old, request.directory)


def check_no_links(old: Manifest, directory: Path) -> None:
    """Raise a ConversionError if the folder of an era is a link."""
    linked = [shard.era for shard in old.shards if (directory / shard.folder).is_symlink()]
    if linked:
        raise ConversionError(
            f"{directory}: the folder of era {listed(linked, 3)} is a link; an update "
            "renames files, which it can't across disks; put the folder itself into the dataset"
        )


def _current(directory: Path) -> Manifest | None:
    return read_manifest(directory) if (directory / FILE_NAME).exists() else None


def _is_up_to_date(old: Manifest, request: Request) -> bool:
    return _has_sources(old, request) and has_benchmarks(old, request)


def has_benchmarks(old: Manifest, request: Request) -> bool:
    """Return True if a dataset has the requested benchmarks, from the same versions of files."""
    return set(old.benchmarks).issuperset(request.benchmarks) and set(
        old.benchmark_sources
    ).issuperset(request.benchmark_sources)


def _has_sources(old: Manifest, request: Request) -> bool:
    """Return True if a dataset was made from the same sources; raise if options differ."""
    if old.sources != request.sources:
        return False
    columns = request.columns
    schema = columns.schema
    if old.history:  # additional columns were left out by an update
        known = {*old.features, *old.targets}
        schema = replace(
            schema,
            features=tuple(name for name in schema.features if name in known),
            targets=tuple(name for name in schema.targets if name in known),
        )
        columns = replace(columns, feature_sets=dict(old.feature_sets))
    wanted = {
        **_options_of(columns, request.options),
        "features": set(schema.features),
        "targets": set(schema.targets),
        "feature sets": columns.feature_sets,
    }
    _check_same(old, wanted, request.directory)
    return True


def _options_of(columns: Columns, options: ConvertOptions) -> dict[str, Any]:
    return {
        "dtype": options.dtype,
        "missing": options.missing,
        "era column": columns.schema.era,
        "id column": columns.schema.id,
    }


def _check_same(manifest: Manifest, wanted: dict[str, Any], directory: Path) -> None:
    """Raise a ConversionError that names the properties of a dataset that aren't as wanted."""
    found = {
        "sources": [source.name for source in manifest.sources],
        "dtype": manifest.dtype,
        "missing": manifest.missing,
        "features": set(manifest.features),
        "targets": set(manifest.targets),
        "feature sets": dict(manifest.feature_sets),
        "era column": manifest.columns.get("era"),
        "id column": manifest.columns.get("id"),
    }
    differing = [name for name in wanted if found[name] != wanted[name]]
    if differing:
        raise ConversionError(
            f"{directory}: holds a dataset made with other {', '.join(differing)}; choose another "
            "--out, or replace it with --overwrite"
        )
