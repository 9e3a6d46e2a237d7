"""What a dataset is made from: parquet sources, or a dataset that holds more.

In here are only the verbs that a conversion asks of either; `sources` and `narrowing` have them.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..dataset.manifest import SourceEntry
from .journal import FinishedEra, Journal
from .plan import Columns, ConversionPlan, ConvertOptions


class ConversionSource(Protocol):
    """What a dataset is made from."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def entries(self) -> tuple[SourceEntry, ...]:
        """The parquet files that all of it comes from."""

    def identity(self) -> list[Any]:
        """Return what tells its content from any other, JSON-ready; no times and no folders."""

    @property
    def own_dtype(self) -> str:
        """The store dtype of what is made from it, where none is asked for."""

    @property
    def own_missing(self) -> str:
        """What stands for a missing feature in what is made from it, where nothing is asked for."""

    @property
    def pyarrow_version(self) -> str:
        """Of the pyarrow that decodes, or has decoded, the parquet files."""

    def choose_columns(self, options: ConvertOptions) -> Columns:
        """Choose the columns that are there and that the options ask for.

        Raises
        ------
        SchemaError
            A column that is needed is absent.
        """

    def make_plan(
        self,
        columns: Columns,
        options: ConvertOptions,
        progress: Callable[[int, int], None] | None = None,
    ) -> ConversionPlan:
        """Find out what will be written, before anything is.

        Parameters
        ----------
        columns : Columns
        options : ConvertOptions
        progress : callable(rows done, rows in all), optional

        Raises
        ------
        SourceError
            Rows that can't be in such a dataset.
        """

    def least_budget(self, plan: ConversionPlan) -> int:
        """Return the least bytes of buffers with which `write` does."""

    def write(
        self,
        plan: ConversionPlan,
        journal: Journal,
        budget: int,
        n_workers: int,
        progress: Callable[[float, int], None],
    ) -> dict[str, FinishedEra]:
        """Write all eras that the journal doesn't know as finished; return every era's entry.

        Parameters
        ----------
        plan : ConversionPlan
        journal : Journal
            Gives folders to write in, and takes finished shards.
        budget : int
            Bytes that buffers may take.
        n_workers : int
            Threads; fewer where the budget is small.
        progress : callable(rows done now, rows in all)
            A row that is read and not yet written may count in part.
            Called from several threads.

        Raises
        ------
        SourceError
            Values that such a dataset can't hold; or it changes while it is read.
        """

    def features(
        self, plan: ConversionPlan, era: str, names: Sequence[str]
    ) -> npt.NDArray[np.generic]:
        """Return some features of an era as the plan stores them: shape (rows, features)."""

    def check_unchanged(self) -> None:
        """Raise a SourceError if it isn't what it was when it was opened."""

    def close(self) -> None:
        """Close its files."""
