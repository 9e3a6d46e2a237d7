"""The report of an exported model upload, as values and as text."""

from dataclasses import dataclass

from ...text import counted, in_bytes
from .images import IMAGES

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
        output if that is above 1.
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
    versions: dict[str, str]


def report_text(report: ExportReport) -> str:
    """Return a report as text."""
    rows = f"{report.n_rows:,} x {report.n_features:,}"
    tried = f"rows of {report.live}" if report.live else "made rows"
    memory = "unknown memory"
    if report.peak_bytes is not None:
        memory = f"{in_bytes(report.peak_bytes)} (limit {in_bytes(MAX_BYTES)})"
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    lines = [
        f"{report.path}: {counted(report.n_models, 'model')}, {in_bytes(report.n_bytes)}; choose "
        f"the image for Python {report.python}",
        f"tried on {rows} {tried} with {versions}: {report.seconds:.1f} s on one thread (limit "
        f"{MAX_SECONDS:.0f} s), {memory}",
        f"the models' own outputs differ by {report.largest_difference:.1g} at most",
    ]
    if report.keras_layers:
        lines.append(
            f"needs TensorFlow and Keras in the image, for {', '.join(report.keras_layers)}"
        )
        of_image = IMAGES[report.python]["keras"]
        if report.versions["keras"] != of_image:
            lines.append(
                f"not tried with the image's Keras {of_image}, which may not open it: add --image"
            )
    return "\n  ".join(lines)
