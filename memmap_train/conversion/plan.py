"""The plan of a conversion: its options, its columns, its eras and rows, and the bytes it takes.

A `ConversionSource` makes the plan before anything is written. Only records are here; reads and
writes nothing.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ..arguments import instance
from ..dataset.format import MISSING_CHOICES, N_COUNTS, STORE_DTYPES
from ..dataset.manifest import SourceEntry
from ..errors import SchemaError, listed
from .schema import ColumnOptions, Schema

DECODERS = ("auto", "arrow")
"""How features are decoded: from their dictionary pages where that is possible, or all by Arrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """The options of a conversion.

    Attributes
    ----------
    dtype : {"float32", "int8"}
        The store dtype.
    missing : {"0.5", "nan"}
        The value that stands for a missing feature.
    features_json : path or None
        Numerai's `features.json`, for its feature sets.
    feature_set : str or None
        The set of features to convert; None for all features.
    targets : tuple of str or None
        The targets to convert; None for all.
    columns : ColumnOptions
    decoder : {"auto", "arrow"}
        Whether features may be decoded without Arrow; the dataset is the same.
    """

    dtype: str = "float32"
    missing: str = "0.5"
    features_json: str | os.PathLike[str] | None = None
    feature_set: str | None = None
    targets: tuple[str, ...] | None = None
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    decoder: str = "auto"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("dtype", self.dtype, STORE_DTYPES),
            ("missing", self.missing, MISSING_CHOICES),
            ("decoder", self.decoder, DECODERS),
        ):
            if value not in choices:
                raise SchemaError(f"{name}: expected one of {listed(choices)}, found {value!r}")
        if self.feature_set is not None:
            instance("feature_set", self.feature_set, str, SchemaError)
        if self.missing == "nan" and self.dtype == "int8":
            raise SchemaError(
                "missing='nan' needs the float32 store: an int8 code can't say that a feature is "
                "missing; use --dtype float32, or --missing 0.5"
            )


def store_dtype_name(dtype: npt.DTypeLike) -> str:
    """Return the name of a dtype: ``numpy.int8`` and ``numpy.dtype("int8")`` are "int8" too."""
    try:
        return np.dtype(dtype).name
    except (TypeError, ValueError):  # an error will say what is expected
        return str(dtype)


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group of a parquet file.

    Attributes
    ----------
    source : int
        The position of its file among the sources.
    index : int
        Its position in the file.
    rows : int
    eras : dict of str to int
        The rows of each of its eras, in order of appearance.
    """

    source: int
    index: int
    rows: int
    eras: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a dataset, and its feature sets.

    Attributes
    ----------
    schema : Schema
    feature_sets : dict of str to tuple of str
    best_possible : float or None
        The best possible score of a sample with a synthetic signal.
    alias : str
        The target that may equal a named one; empty if none can.
    """

    schema: Schema
    feature_sets: dict[str, tuple[str, ...]]
    best_possible: float | None
    alias: str


@dataclass(frozen=True, slots=True)
class StoreSize:
    """The size of a dataset in one store dtype.

    Attributes
    ----------
    bytes : int
        The finished dataset: all arrays and the manifest.
    disk_bytes : int
        The most that its conversion takes at once: more, where row groups are too large to be
        transposed in memory.
    """

    bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionPlan:
    """The columns, eras and rows that a conversion will write.

    Attributes
    ----------
    columns : Columns
    options : ConvertOptions
    sources : tuple of SourceEntry
        The parquet files that the dataset comes from.
    groups : tuple of RowGroup
        The row groups of these files; none for a subset of a dataset.
    rows_per_era : dict of str to int
        Rows of each era; the keys are in the dataset's order.
    data_types : dict of str to dict of str to int
        The number of rows of each data type, by era.
    id_width : int
        Bytes of the longest id; 0 if there are no ids.
    """

    columns: Columns
    options: ConvertOptions
    sources: tuple[SourceEntry, ...]
    groups: tuple[RowGroup, ...]
    rows_per_era: dict[str, int]
    data_types: dict[str, dict[str, int]]
    id_width: int

    @property
    def n_rows(self) -> int:
        """Rows of all eras."""
        return sum(self.rows_per_era.values())

    @property
    def row_bytes(self) -> int:
        """Bytes of a row on disk, in all arrays."""
        schema = self.columns.schema
        item = np.dtype(self.options.dtype).itemsize
        return item * len(schema.features) + 4 * len(schema.targets) + self.id_width

    @property
    def staged_row_bytes(self) -> int:
        """Bytes of a row between decoding and encoding: features as codes, or as float32."""
        schema = self.columns.schema
        item = 1 if schema.integer_features else 4
        return item * len(schema.features) + 4 * len(schema.targets) + self.id_width

    @property
    def n_bytes(self) -> int:
        """Bytes of the whole dataset: the arrays, their headers, and the manifest."""
        n_features = len(self.columns.schema.features)
        counts = 4 * N_COUNTS * n_features
        per_shard = counts + 4 * 4096 + 1500  # blocks that files end in, and a manifest's entry
        names = 100 * (n_features + 1)
        return self.n_rows * self.row_bytes + len(self.rows_per_era) * per_shard + names

    def disk_bytes(self, budget: int) -> int:
        """Return the most bytes of disk that are taken at once, with buffers of `budget` bytes."""
        rows = max((group.rows for group in self.groups), default=0)
        staged = rows * self.staged_row_bytes
        return self.n_bytes + (staged if staged > budget // 2 else 0)  # it is staged in a file

    def size_of(self, features: Sequence[str], dtype: str, budget: int) -> StoreSize:
        """Return the size of a dataset of some of the features in a store dtype.

        Parameters
        ----------
        features : sequence of str
        dtype : {"float32", "int8"}
        budget : int
            Bytes of buffers of the conversion.
        """
        plan = replace(
            self,
            columns=replace(
                self.columns, schema=replace(self.columns.schema, features=tuple(features))
            ),
            options=replace(self.options, dtype=dtype, missing="0.5"),  # which int8 needs
        )
        return StoreSize(plan.n_bytes, plan.disk_bytes(budget))
