"""What a week has done: what came of its parts, and the files that it has left."""

from pathlib import Path

from memmap_train.numerai.week.report import WeekReport


def outcomes(report: WeekReport) -> dict[str, str]:
    """Return what came of each part that hasn't failed."""
    return {outcome.what: outcome.text for outcome in report.outcomes if not outcome.has_failed}


def everything(folder: Path) -> dict[str, int]:
    """Return the paths below a folder, with the times at which they were changed."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}
