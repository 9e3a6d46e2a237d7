"""The types of what the public functions take and return, to annotate with and to read about.

Like the public names, they are imported when they are first asked for.
"""

from typing import TYPE_CHECKING

from ._lazy import lazy_attributes

__all__ = [
    "Batch",
    "FoldsReport",
    "PredictReport",
    "Predictions",
    "Problem",
    "Progress",
    "Report",
    "Reporter",
    "Shard",
    "Stream",
    "Summary",
    "TrainPlan",
    "TrainReport",
    "TrainedRun",
]

_HOMES = {
    "Batch": "loading.gather",
    "FoldsReport": "runs.report",
    "PredictReport": "training.predictions",
    "Predictions": "training.predictions",
    "Problem": "dataset.verify",
    "Progress": "progress",
    "Report": "conversion.report",
    "Reporter": "runs.report",
    "Shard": "dataset.shard",
    "Stream": "loading.stream",
    "Summary": "runs.summary",
    "TrainPlan": "runs.report",
    "TrainReport": "runs.report",
    "TrainedRun": "training.trained_run",
}

if TYPE_CHECKING:
    from .conversion.report import Report
    from .dataset.shard import Shard
    from .dataset.verify import Problem
    from .loading.gather import Batch
    from .loading.stream import Stream
    from .progress import Progress
    from .runs.report import FoldsReport, Reporter, TrainPlan, TrainReport
    from .runs.summary import Summary
    from .training.predictions import Predictions, PredictReport
    from .training.trained_run import TrainedRun
else:
    __getattr__ = lazy_attributes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
