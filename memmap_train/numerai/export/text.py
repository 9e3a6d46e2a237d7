"""The report of an exported model upload, as text and as JSON."""

from typing import Any

from ...text import counted, in_bytes
from .images import IMAGES
from .report import MAX_BYTES, MAX_SECONDS, ExportReport


def describe_export(report: ExportReport) -> dict[str, Any]:
    """Return the report as JSON data."""
    return {
        "path": report.path,
        "bytes": report.n_bytes,
        "python": report.python,
        "n_models": report.n_models,
        "keras_layers": list(report.keras_layers),
        "live": report.live,
        "n_rows": report.n_rows,
        "n_features": report.n_features,
        "seconds": report.seconds,
        "peak_bytes": report.peak_bytes,
        "largest_difference": report.largest_difference,
        "mixed_precision": list(report.mixed_precision),
        "rank_correlation": report.rank_correlation,
        "versions": report.versions,
    }


def export_text(report: ExportReport) -> str:
    """Return the report as lines to read."""
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
    if report.mixed_precision:
        lines.append(
            f"computes in float32 what the runs compute in {' and '.join(report.mixed_precision)}: "
            f"the ranks correlate with {report.rank_correlation:.5f}"
        )
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
