"""The interface of a source: parquet files, or the source dataset of a subset.

`parquet_source` and `dataset_source` implement it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..dataset.manifest import SourceEntry
from .benchmarks.stored import StoredBenchmarks
from .journal import FinishedEra, Journal
from .plan import Columns, ConversionPlan, ConvertOptions


class ConversionSource(Protocol):
    """A source that can be converted into a dataset."""

    @property
    def name(self) -> str:
        """The name of the source in messages."""

    @property
    def entries(self) -> tuple[SourceEntry, ...]:
        """The parquet files that the rows of the source come from."""

    def identity(self) -> list[Any]:
        """Return the identity of the source's content, JSON-ready, without times and folders."""

    @property
    def own_dtype(self) -> str:
        """The default store dtype of a dataset that is made from this source."""

    @property
    def own_missing(self) -> str:
        """The default replacement of a missing feature in a dataset made from this source."""

    @property
    def pyarrow_version(self) -> str:
        """Version of the pyarrow that decodes, or has decoded, the parquet files."""

    @property
    def own_benchmarks(self) -> StoredBenchmarks | None:
        """The benchmarks of the source, whose rows are the dataset's; None if it holds none."""

    def choose_columns(self, options: ConvertOptions) -> Columns:
        """Return the columns of the source that the options ask for.

        Raises
        ------
        SchemaError
            A required column is absent.
        """

    def make_plan(
        self,
        columns: Columns,
        options: ConvertOptions,
        progress: Callable[[int, int], None] | None = None,
    ) -> ConversionPlan:
        """Return the plan of the conversion, before anything is written.

        Parameters
        ----------
        columns : Columns
        options : ConvertOptions
        progress : callable(rows done, rows in all), optional

        Raises
        ------
        SourceError
            Rows that such a dataset can't hold.
        """

    def least_budget(self, plan: ConversionPlan) -> int:
        """Return the least bytes of buffers that `write` needs."""

    def write(
        self,
        plan: ConversionPlan,
        journal: Journal,
        budget: int,
        n_workers: int,
        progress: Callable[[float, int], None],
    ) -> dict[str, FinishedEra]:
        """Write all eras that aren't finished in the journal; return all finished eras.

        Parameters
        ----------
        plan : ConversionPlan
        journal : Journal
            Gives folders to write in, and takes finished shards.
        budget : int
            Bytes that buffers may take.
        n_workers : int
            Number of threads; fewer are used if the budget is small.
        progress : callable(rows done now, rows in all)
            A row that is read and not yet written may count in part. Called from several threads.

        Raises
        ------
        SourceError
            Values that such a dataset can't hold; or the source changes while it is read.
        """

    def features(
        self, plan: ConversionPlan, era: str, names: Sequence[str]
    ) -> npt.NDArray[np.generic]:
        """Return some features of an era as the plan stores them: shape (rows, features)."""

    def check_unchanged(self) -> None:
        """Raise a SourceError if the source has changed since it was opened."""

    def close(self) -> None:
        """Close the files of the source."""
