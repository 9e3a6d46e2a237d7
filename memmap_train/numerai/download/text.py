"""The report of a download, as text and as JSON."""

from typing import Any

from ...text import counted, in_bytes
from .plan import PlannedFile
from .report import DownloadReport


def describe_download(report: DownloadReport) -> dict[str, Any]:
    """Return the report as JSON data."""
    plan = report.plan
    return {
        "version": plan.version,
        "round": plan.round_number,
        "folder": str(plan.folder),
        "dry_run": report.is_dry_run,
        "files": [
            {
                "name": file.remote.name,
                "path": str(file.path),
                "bytes": file.remote.n_bytes,
                "etag": file.remote.etag,
                "state": file.state,
                "present_bytes": file.present_bytes,
                "replaces": file.replaces or None,
            }
            for file in plan.files
        ],
        "wanted_bytes": plan.wanted_bytes,
        "received_bytes": report.received_bytes,
        "free_bytes": plan.free_bytes,
        "absent": list(plan.absent),
        "others": list(plan.others),
        "versions": list(plan.versions),
    }


def download_text(report: DownloadReport) -> str:
    """Return the report as lines to read."""
    plan = report.plan
    changed = f"{len(plan.fetched):,} of {counted(len(plan.files), 'file')}"
    if report.is_dry_run:
        head = (
            f"{changed} would be fetched, {in_bytes(plan.wanted_bytes)}; the disk has "
            f"{in_bytes(plan.free_bytes)} free"
        )
    else:
        head = f"{changed} fetched, {in_bytes(report.received_bytes)}"
    lines = [f"{plan.folder}: {plan.version}, {head}"]
    width = max((len(file.path.name) for file in plan.files), default=0)
    for file in plan.files:
        size = in_bytes(file.remote.n_bytes)
        lines.append(f"  {file.path.name:{width}} {size:>9}  {_what(file, report.is_dry_run)}")
    if plan.absent:
        lines.append(f"  {plan.version} has no {', '.join(plan.absent)}")
    if report.is_dry_run:
        lines.append(f"other files of {plan.version}: {', '.join(plan.others) or 'none'}")
        lines.append(f"versions: {', '.join(plan.versions)}")
    return "\n".join(lines)


def _what(file: PlannedFile, is_dry_run: bool) -> str:
    if file.state == "unchanged":
        return "unchanged"
    text = "would be fetched" if is_dry_run else "fetched"
    if file.state == "resume":
        text += f" from {in_bytes(file.present_bytes)} on"
    return f"{text}, replaces {file.replaces}" if file.replaces else text
