"""The types of what the public functions take and return, to annotate with and to read about.

Like the public names, they are imported at their first use.
"""

from typing import TYPE_CHECKING

from ._lazy import lazy_attributes

__all__ = [
    "Batch",
    "DownloadPlan",
    "DownloadReport",
    "Evaluation",
    "ExportReport",
    "Exposures",
    "FoldsReport",
    "ModelScores",
    "PlannedFile",
    "Pool",
    "PredictReport",
    "Predictions",
    "Problem",
    "Progress",
    "Provenance",
    "RemoteFile",
    "Report",
    "Reporter",
    "Sampler",
    "ScoreStatistics",
    "SeedsReport",
    "Shard",
    "StepLocation",
    "Stream",
    "SubmitReport",
    "Summary",
    "Sweep",
    "TargetScores",
    "TorchBatches",
    "TrainPlan",
    "TrainReport",
    "TrainedRun",
]

_HOMES = {
    "Batch": "loading.gather",
    "DownloadPlan": "numerai.download.plan",
    "DownloadReport": "numerai.download.report",
    "Evaluation": "scoring.evaluation",
    "ExportReport": "numerai.export.report",
    "Exposures": "scoring.model_scores",
    "FoldsReport": "runs.reports.report",
    "ModelScores": "scoring.model_scores",
    "PlannedFile": "numerai.download.plan",
    "Pool": "loading.sampler",
    "PredictReport": "training.prediction.predictions",
    "Predictions": "training.prediction.predictions",
    "Problem": "dataset.verify",
    "Progress": "progress",
    "Provenance": "scoring.provenance",
    "RemoteFile": "numerai.download.part",
    "Report": "conversion.report",
    "Reporter": "runs.reports.reporter",
    "Sampler": "loading.sampler",
    "ScoreStatistics": "runs.scores.statistics",
    "SeedsReport": "runs.reports.seeds_report",
    "Shard": "dataset.shard",
    "StepLocation": "loading.sampler",
    "Stream": "loading.stream",
    "SubmitReport": "numerai.submission.report",
    "Summary": "runs.scores.summary",
    "Sweep": "training.sweeps.trained_sweep",
    "TargetScores": "scoring.model_scores",
    "TorchBatches": "loading.torch_batches",
    "TrainPlan": "runs.reports.plan",
    "TrainReport": "runs.reports.report",
    "TrainedRun": "training.trained_run",
}

if TYPE_CHECKING:
    from .conversion.report import Report
    from .dataset.shard import Shard
    from .dataset.verify import Problem
    from .loading.gather import Batch
    from .loading.sampler import Pool, Sampler, StepLocation
    from .loading.stream import Stream
    from .loading.torch_batches import TorchBatches
    from .numerai.download.part import RemoteFile
    from .numerai.download.plan import DownloadPlan, PlannedFile
    from .numerai.download.report import DownloadReport
    from .numerai.export.report import ExportReport
    from .numerai.submission.report import SubmitReport
    from .progress import Progress
    from .runs.reports.plan import TrainPlan
    from .runs.reports.report import FoldsReport, TrainReport
    from .runs.reports.reporter import Reporter
    from .runs.reports.seeds_report import SeedsReport
    from .runs.scores.statistics import ScoreStatistics
    from .runs.scores.summary import Summary
    from .scoring.evaluation import Evaluation
    from .scoring.model_scores import Exposures, ModelScores, TargetScores
    from .scoring.provenance import Provenance
    from .training.prediction.predictions import Predictions, PredictReport
    from .training.sweeps.trained_sweep import Sweep
    from .training.trained_run import TrainedRun
else:
    __getattr__ = lazy_attributes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
