"""The report of an exported model upload, and Numerai's limits."""

from dataclasses import dataclass

MAX_SECONDS = 600.0
"""How long Numerai lets an upload run."""
MAX_BYTES = 4 * 10**9
"""The memory that Numerai gives an upload. Source: https://docs.numer.ai, model uploads."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """A model upload that was written, and what its trial has shown.

    Attributes
    ----------
    path : str
    n_bytes : int
        Size of the file.
    python : str
        The version of Python that can load it, such as "3.12".
    n_models : int
    keras_layers : tuple of str
        Layers that have no numpy operation, because of which the image needs Keras; empty: it
        needs numpy and pandas alone.
    live : str or None
        The file of rows that it was tried on; None: made rows.
    n_rows, n_features : int
        Rows of the trial, and features that the models read.
    seconds : float
        How long it took, on one thread, with reading the rows.
    peak_bytes : int or None
        The most memory that its process had, with libraries; None where the system doesn't tell.
    largest_difference : float
        The largest difference of a model's own outputs from the run's, relative to the largest
        output if that is above 1. Both are computed in float32.
    mixed_precision : tuple of str
        What layers of the runs compute in, such as "bfloat16", where the upload computes in
        float32; empty for runs that do so too.
    rank_correlation : float or None
        The least correlation of the upload's ranks with those of such a run; None without any.
    versions : dict of str to str
        Versions of numpy and pandas that it was tried with, and of Keras if it needs that.
    """

    path: str
    n_bytes: int
    python: str
    n_models: int
    keras_layers: tuple[str, ...]
    live: str | None
    n_rows: int
    n_features: int
    seconds: float
    peak_bytes: int | None
    largest_difference: float
    mixed_precision: tuple[str, ...]
    rank_correlation: float | None
    versions: dict[str, str]
