"""The manifest: one JSON file that says what a dataset is.  Format version 1.

A dataset is a folder::

    DATASET/
      manifest.json            written last: without it there is no dataset
      era-0001/
        features.npy           (rows, features)  float32, or int8 codes; C order; little endian
        targets.npy            (rows, targets)   float32, NaN where unlabelled
        ids.npy                (rows,)           fixed-width bytes; absent if the source has no id
        counts.npy             (features, 6)     int32; absent in datasets of earlier versions

Row *i* of an era's features, targets and ids is the same row; rows keep the order of the source.
Eras are sorted as numbers where their label holds one, dates as dates after them, then others. The
label is the source's text; a whole number in decimal, a date, or a timestamp at midnight, as
`2024-01-05`, another timestamp as `2024-01-05T12:30:00`. The folder is `era-` + the label,
percent-encoded where a byte isn't one of ``A-Z a-z 0-9 _ - .``.

`counts` says of each feature in how many rows of the era the source has code 0, 1, 2, 3, 4 (columns
0 to 4) and in how many it is missing (column 5), before anything takes the place of a missing one.
Of a source of floats, the value of a code is 0, 0.25, 0.5, 0.75 or 1, as float32; other values are
counted in no column, so the six add up to fewer than the era's rows where there are any.

`manifest.json` is UTF-8 JSON with sorted keys. A reader ignores keys that it doesn't know and
refuses a `format_version` that it doesn't know.

=================  =================================================================================
key                value
=================  =================================================================================
format             "memmap-train"
format_version     1
created_by         {package, numpy, pyarrow: version}
dtype              "float32" or "int8": the store dtype of the features
scale              {multiply, add}: float32 = code * multiply + add; null for float32
missing            "0.5" or "nan": what stands in place of a missing feature
features           names in column order
targets            names in column order
aliases            {target: the named target that equals it in every row}
feature_sets       {name: features}, only sets of which no feature is missing
n_rows             rows of all eras
columns            {era, id: the sources' column names}
planted            the best possible score of a sample's validation eras; absent elsewhere
sources            [{name, bytes, modified (UTC, ISO 8601), footer_digest}]
history            the sources before each update, oldest first; absent before the first one
shards             [{era, rows, data_type {value: rows}, missing_features, target_nulls {name: n},
                   files {array: {bytes, digest}}}]
=================  =================================================================================

Capabilities: any era can be opened with ``numpy.load(path, mmap_mode="r")`` and nothing else.
Limitations: no compression (the page cache holds exactly what training reads), one store dtype for
all features. A manifest is untrusted input: names become paths only through `era_folder`, and sizes
are compared with the files before anything is mapped.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ManifestError, listed
from ..system.durable import sync_directory, sync_file
from .array_file import ARRAY_NAMES, HEADER_BYTES, MAX_HEADER_BYTES, N_COUNTS
from .eras import era_folder

FILE_NAME = "manifest.json"
WORKPLACE = ".convert"  # the folder, inside the dataset's, of a conversion under way
FORMAT = "memmap-train"
FORMAT_VERSION = 1
STORE_DTYPES = ("float32", "int8")
MISSING_CHOICES = ("0.5", "nan")
MAX_ID_BYTES = 4096
MAX_FOLDER_BYTES = 255  # of a name, in the file systems that people use
_MAX_ROWS = 2**40  # and bytes of a file
_MAX_NUMBER = 1e30  # of a scale; far below float32's largest


@dataclass(frozen=True, slots=True)
class Scale:
    """How int8 codes become float32: `code * multiply + add`."""

    multiply: float
    add: float


CODE_SCALE = Scale(multiply=0.25, add=0.0)
"""Of Numerai's codes 0 to 4."""


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """A parquet file that a dataset was converted from."""

    name: str
    bytes: int
    modified: str
    footer_digest: str

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON-ready data."""
        return {
            "name": self.name,
            "bytes": self.bytes,
            "modified": self.modified,
            "footer_digest": self.footer_digest,
        }


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Size and digest of one array's file."""

    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """What the manifest says of one era."""

    era: str
    rows: int
    data_type: Mapping[str, int]
    missing_features: int
    target_nulls: Mapping[str, int]
    files: Mapping[str, FileEntry]

    @property
    def folder(self) -> str:
        """The name of the era's folder."""
        return era_folder(self.era)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON-ready data."""
        return {
            "era": self.era,
            "rows": self.rows,
            "data_type": dict(self.data_type),
            "missing_features": self.missing_features,
            "target_nulls": dict(self.target_nulls),
            "files": {
                name: {"bytes": entry.bytes, "digest": entry.digest}
                for name, entry in self.files.items()
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The contents of `manifest.json`; the module's docstring is the specification."""

    dtype: str
    scale: Scale | None
    missing: str
    features: tuple[str, ...]
    targets: tuple[str, ...]
    aliases: Mapping[str, str]
    feature_sets: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, str | None]
    sources: tuple[SourceEntry, ...]
    shards: tuple[ShardEntry, ...]
    created_by: Mapping[str, str]
    planted: float | None = None
    history: tuple[tuple[SourceEntry, ...], ...] = ()
    _by_era: Mapping[str, ShardEntry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_era", {shard.era: shard for shard in self.shards})

    @property
    def n_rows(self) -> int:
        """Rows of all eras."""
        return sum(shard.rows for shard in self.shards)

    @property
    def store_dtype(self) -> np.dtype[np.generic]:
        """The features' dtype on disk."""
        return np.dtype("<f4") if self.dtype == "float32" else np.dtype("i1")

    @property
    def digest(self) -> str:
        """One digest over features, targets, eras, rows and the arrays' digests."""
        content = [
            list(self.features),
            list(self.targets),
            [
                [shard.era, shard.rows, {name: f.digest for name, f in shard.files.items()}]
                for shard in self.shards
            ],
        ]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def shard(self, era: str) -> ShardEntry:
        """Return the entry of one era; KeyError if there is none."""
        return self._by_era[era]

    def layout(self, shard: ShardEntry) -> dict[str, tuple[np.dtype[np.generic], tuple[int, ...]]]:
        """Return {array name: (dtype, shape)} of a shard's files, as promised here."""
        arrays: dict[str, tuple[np.dtype[np.generic], tuple[int, ...]]] = {
            "features": (self.store_dtype, (shard.rows, len(self.features))),
            "targets": (np.dtype("<f4"), (shard.rows, len(self.targets))),
        }
        if "ids" in shard.files:
            arrays["ids"] = (np.dtype(f"S{id_width(shard)}"), (shard.rows,))
        if "counts" in shard.files:
            arrays["counts"] = (np.dtype("<i4"), (len(self.features), N_COUNTS))
        return arrays

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON-ready data."""
        data: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "created_by": dict(self.created_by),
            "dtype": self.dtype,
            "scale": None
            if self.scale is None
            else {"multiply": self.scale.multiply, "add": self.scale.add},
            "missing": self.missing,
            "features": list(self.features),
            "targets": list(self.targets),
            "aliases": dict(self.aliases),
            "feature_sets": {name: list(names) for name, names in self.feature_sets.items()},
            "n_rows": self.n_rows,
            "columns": dict(self.columns),
            "sources": [source.to_json() for source in self.sources],
            "shards": [shard.to_json() for shard in self.shards],
        }
        if self.history:
            data["history"] = [[source.to_json() for source in past] for past in self.history]
        if self.planted is not None:
            data["planted"] = self.planted
        return data


def id_width(shard: ShardEntry) -> int:
    """Return the bytes per id of a shard, which its file's size gives."""
    return (shard.files["ids"].bytes - HEADER_BYTES) // shard.rows


def write_manifest(manifest: Manifest, directory: Path) -> None:
    """Write `manifest.json` so that it is there whole or not at all, and survives a power cut."""
    temporary = directory / f".{FILE_NAME}.partial"
    text = json.dumps(manifest.to_json(), sort_keys=True, ensure_ascii=False, indent=1)
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.write(text + "\n")
            file.flush()
            sync_file(file.fileno())
        sync_directory(directory)
        os.replace(temporary, directory / FILE_NAME)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(directory)


def has_manifest(directory: Path) -> bool:
    """Tell whether a folder's `manifest.json` is one of ours, damaged or not.

    Raises
    ------
    OSError
        It can't be read.
    """
    if not (directory / FILE_NAME).is_file():  # opening a pipe may wait for ever
        return False
    try:
        data = json.loads((directory / FILE_NAME).read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and data.get("format") == FORMAT


def enclosing_dataset(path: Path) -> Path | None:
    """Return the dataset that a path is, or lies in; None if there is none that can be read.

    A dataset's folder holds nothing else: with another file in it, it isn't updated any more.
    """
    real = Path(os.path.realpath(path))  # also of links that lead in a circle
    for folder in (real, *real.parents):
        with suppress(OSError):
            if has_manifest(folder):
                return folder
    return None


def read_manifest(directory: Path, name: str = FILE_NAME) -> Manifest:
    """Read and check `directory/manifest.json`, or a manifest that has another name there.

    Raises
    ------
    ManifestError
        There is none, it isn't JSON, it is from another format version, or a value is of another
        kind than the format says.
    """
    return parse_manifest(read_manifest_bytes(directory, name), directory, name)


def read_manifest_bytes(directory: Path, name: str = FILE_NAME) -> bytes:
    """Return what `directory/manifest.json` holds, unchecked; or the manifest of another name.

    Raises
    ------
    ManifestError
        There is none, or it can't be read.
    """
    path = directory / name
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):  # opening it may wait for ever
            raise ManifestError(f"{path}: a pipe; expected a file")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if not directory.exists():
            found = "there is no such folder"
        elif not directory.is_dir():
            found = "it is a file"
        elif (directory / WORKPLACE).is_dir():
            found = (
                "its conversion, or an update, hasn't finished: wait for it, or run the same "
                "`memmap-train convert` again"
            )
        else:
            found = f"the folder has no {FILE_NAME}"
        raise ManifestError(
            f"{directory}: not a dataset: {found} (a dataset is made by `memmap-train convert "
            "SOURCE… --out DATASET`)"
        ) from None
    except OSError as error:
        raise ManifestError(f"{path}: can't be read: {error.strerror}") from error


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
    shards = tuple(parse_shard_entry(entry) for entry in data["shards"])
    if not shards:
        raise ManifestError("shards: expected at least one")
    if len({shard.era for shard in shards}) < len(shards):
        raise ManifestError("shards: an era stands there twice")
    for shard in shards:
        if set(shard.target_nulls) != set(targets):
            raise ManifestError(f"target_nulls: era {shard.era!r}: expected the dataset's targets")
        if sum(shard.data_type.values()) > shard.rows:
            raise ManifestError(f"data_type: era {shard.era!r}: more rows than the era has")
        if shard.missing_features > shard.rows * len(features):
            raise ManifestError(f"missing_features: era {shard.era!r}: more than it has cells")
    aliases = {k: _text(v, k) for k, v in _mapping(data["aliases"], "aliases").items()}
    if not set(targets).issuperset(aliases.keys() | set(aliases.values())):
        raise ManifestError("aliases: holds a target that the dataset lacks")
    known = set(features)
    feature_sets = {
        name: _names(names, f"feature_sets.{name}")
        for name, names in _mapping(data["feature_sets"], "feature_sets").items()
    }
    for name, names in feature_sets.items():
        if not known.issuperset(names):
            raise ManifestError(f"feature_sets.{name}: holds a feature that the dataset lacks")
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


def _check_sizes(manifest: Manifest) -> None:
    """Refuse rows that the bytes of an era's files don't hold: readers allocate by them."""
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
    """Turn whatever a malformed manifest runs into, into one line that names the file."""
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
