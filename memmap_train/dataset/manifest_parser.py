"""A manifest's JSON, checked and turned into records: it is untrusted input."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

from ..errors import ManifestError, listed
from .eras import era_folder
from .format import (
    ARRAY_NAMES,
    FILE_NAME,
    FORMAT,
    FORMAT_VERSION,
    HEADER_BYTES,
    MAX_FOLDER_BYTES,
    MAX_HEADER_BYTES,
    MAX_ID_BYTES,
    MISSING_CHOICES,
    STORE_DTYPES,
)
from .manifest import FileEntry, Manifest, Scale, ShardEntry, SourceEntry

_MAX_ROWS = 2**40  # and bytes of a file
_MAX_NUMBER = 1e30  # of a scale; far below float32's largest


def parse_manifest(content: bytes, directory: Path, name: str = FILE_NAME) -> Manifest:
    """Return the manifest that `read_manifest_bytes` has read in a folder, checked.

    Raises
    ------
    ManifestError
    """
    path = directory / name
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path}: not valid JSON: {error}") from None
    with _reading(path):
        return _parse(data, path)


def parse_shard_entry(data: Any) -> ShardEntry:
    """Return the shard entry that `ShardEntry.to_json` made, checked; ManifestError if it isn't."""
    rows = _integer(data["rows"], "rows", least=1)
    files = {}
    for name, entry in _mapping(data["files"], "files").items():
        if name in ARRAY_NAMES:  # other arrays are a later version's additions: ignored
            size = _integer(entry["bytes"], "bytes", least=HEADER_BYTES)
            files[name] = FileEntry(size, _text(entry["digest"], "digest"))
    if not {"features", "targets"} <= files.keys():
        raise ManifestError("files: expected features and targets")
    nulls = _mapping(data["target_nulls"], "target_nulls")
    benchmark_nulls = _mapping(data.get("benchmark_nulls", {}), "benchmark_nulls")
    era = _text(data["era"], "era")
    if len(era_folder(era)) > MAX_FOLDER_BYTES:
        raise ManifestError(f"era: {era!r:.40}… is too long for the name of a folder")
    if "ids" in files:
        width, rest = divmod(files["ids"].bytes - HEADER_BYTES, rows)
        if rest or not 1 <= width <= MAX_ID_BYTES:
            raise ManifestError(f"ids: {files['ids'].bytes:,} bytes don't hold {rows:,} ids")
    return ShardEntry(
        era=era,
        rows=rows,
        data_type={k: _integer(v, k) for k, v in _mapping(data["data_type"], "data_type").items()},
        missing_features=_integer(data["missing_features"], "missing_features"),
        target_nulls={k: _integer(v, "target_nulls", most=rows) for k, v in nulls.items()},
        files=files,
        benchmark_nulls={
            k: _integer(v, "benchmark_nulls", most=rows) for k, v in benchmark_nulls.items()
        },
    )


def _parse(data: Any, path: Path) -> Manifest:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ManifestError(f"not a {FORMAT} manifest (no `format` of that name)")
    version = data.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise ManifestError(
            f"format_version {version!r} isn't known here (expected {FORMAT_VERSION}); "
            "upgrade with `pip install --upgrade memmap-train`"
        )
    dtype = _choice(data["dtype"], "dtype", STORE_DTYPES)
    scale = None
    if dtype == "int8":
        scale = Scale(
            _number(data["scale"]["multiply"], "multiply"), _number(data["scale"]["add"], "add")
        )
    features = _names(data["features"], "features")
    targets = _names(data["targets"], "targets")
    if not features:
        raise ManifestError("features: expected at least one")
    benchmarks = _names(data.get("benchmarks", []), "benchmarks")
    shards = _shards(data["shards"], len(features), targets)
    _check_benchmarks(shards, benchmarks)
    aliases = {k: _text(v, k) for k, v in _mapping(data["aliases"], "aliases").items()}
    if not set(targets).issuperset(aliases.keys() | set(aliases.values())):
        raise ManifestError("aliases: holds a target that the dataset lacks")
    feature_sets = _feature_sets(data["feature_sets"], features)
    planted = data.get("planted")
    manifest = Manifest(
        dtype=dtype,
        scale=scale,
        missing=_choice(data["missing"], "missing", MISSING_CHOICES),
        features=features,
        targets=targets,
        aliases=aliases,
        feature_sets=feature_sets,
        columns={
            name: None if column is None else _text(column, f"columns.{name}")
            for name, column in _mapping(data.get("columns", {}), "columns").items()
        },
        sources=_sources(data["sources"]),
        history=tuple(_sources(past) for past in data.get("history", [])),
        benchmarks=benchmarks,
        benchmark_sources=_sources(data.get("benchmark_sources", [])),
        shards=shards,
        created_by={
            name: _text(version, f"created_by.{name}")
            for name, version in _mapping(data["created_by"], "created_by").items()
        },
        planted=None if planted is None else _number(planted, "planted"),
    )
    if _integer(data["n_rows"], "n_rows", most=_MAX_ROWS * len(shards)) != manifest.n_rows:
        raise ManifestError(
            f"n_rows: {data['n_rows']:,}, but the shards' rows add up to {manifest.n_rows:,}"
        )
    _check_sizes(manifest)
    return manifest


def _shards(data: Any, n_features: int, targets: tuple[str, ...]) -> tuple[ShardEntry, ...]:
    shards = tuple(parse_shard_entry(entry) for entry in data)
    if not shards:
        raise ManifestError("shards: expected at least one")
    if len({shard.era for shard in shards}) < len(shards):
        raise ManifestError("shards: an era stands there twice")
    for shard in shards:
        if set(shard.target_nulls) != set(targets):
            raise ManifestError(f"target_nulls: era {shard.era!r}: expected the dataset's targets")
        if sum(shard.data_type.values()) > shard.rows:
            raise ManifestError(f"data_type: era {shard.era!r}: more rows than the era has")
        if shard.missing_features > shard.rows * n_features:
            raise ManifestError(f"missing_features: era {shard.era!r}: more than it has cells")
    return shards


def _check_benchmarks(shards: tuple[ShardEntry, ...], benchmarks: tuple[str, ...]) -> None:
    """Raise an error unless every era has the dataset's benchmarks, or none has any."""
    for shard in shards:
        if ("benchmarks" in shard.files) != bool(benchmarks):
            expected = "a file of them" if benchmarks else "none, as the manifest lists none"
            raise ManifestError(f"benchmarks: era {shard.era!r}: expected {expected}")
        if set(shard.benchmark_nulls) != set(benchmarks):
            raise ManifestError(
                f"benchmark_nulls: era {shard.era!r}: expected the dataset's benchmarks"
            )
        if benchmarks and "ids" not in shard.files:
            raise ManifestError(f"benchmarks: era {shard.era!r}: expected ids, which join them")


def _feature_sets(data: Any, features: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    known = set(features)
    feature_sets = {
        name: _names(names, f"feature_sets.{name}")
        for name, names in _mapping(data, "feature_sets").items()
    }
    for name, names in feature_sets.items():
        if not known.issuperset(names):
            raise ManifestError(f"feature_sets.{name}: holds a feature that the dataset lacks")
    return feature_sets


def _check_sizes(manifest: Manifest) -> None:
    """Raise an error if rows don't match the sizes of files: readers allocate memory by them."""
    for shard in manifest.shards:
        for array, (dtype, shape) in manifest.layout(shard).items():
            header = shard.files[array].bytes - dtype.itemsize * prod(shape)
            if not HEADER_BYTES <= header <= MAX_HEADER_BYTES:
                raise ManifestError(
                    f"{array}: era {shard.era!r}: {shard.files[array].bytes:,} bytes don't hold "
                    f"{shard.rows:,} rows"
                )


def _sources(data: Any) -> tuple[SourceEntry, ...]:
    return tuple(
        SourceEntry(
            _text(source["name"], "name"),
            _integer(source["bytes"], "bytes"),
            _text(source["modified"], "modified"),
            _text(source["footer_digest"], "footer_digest"),
        )
        for source in data
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Convert any error from a malformed manifest into one line that names the file."""
    try:
        yield
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from None
    except KeyError as error:
        raise ManifestError(f"{path}: the key {error} is missing") from None
    except (TypeError, AttributeError, IndexError) as error:
        raise ManifestError(f"{path}: a value is of the wrong kind: {error}") from None


def _integer(value: Any, what: str, *, least: int = 0, most: int = _MAX_ROWS) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ManifestError(
            f"{what}: expected a whole number from {least} to {most:,}, found {value!r:.40}"
        )
    return value


def _choice(value: Any, what: str, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ManifestError(f"{what}: expected one of {listed(choices)}, found {value!r:.40}")
    return value


def _number(value: Any, what: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER:
        return float(value)
    raise ManifestError(f"{what}: expected a number, found {value!r:.40}")


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ManifestError(f"{what}: expected text, found {value!r:.40}")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ManifestError(f"{what}: expected text, found half a character in {value!r:.40}")
    return value


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ManifestError(f"{what}: expected an object, found {value!r:.80}")
    for name in value:
        _text(name, what)
    return value


def _names(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ManifestError(f"{what}: expected a list of names")
    names = tuple(_text(name, what) for name in value)
    if len(set(names)) < len(names):
        raise ManifestError(f"{what}: a name stands there twice")
    return names
