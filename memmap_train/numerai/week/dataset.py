"""The dataset of training and validation rows, brought up to date."""

from ...conversion.conversion import convert
from ...conversion.report import report_text
from ..download.download import download
from .config import WeekConfig
from .context import Context
from .live import FEATURES

TRAIN, VALIDATION = "train.parquet", "validation.parquet"


def files_of_dataset(config: WeekConfig) -> tuple[str, ...]:
    """Return the names of the files that the dataset is made of."""
    return (FEATURES, TRAIN, VALIDATION, *(config.benchmarks or ()))


def update_dataset(context: Context, dataset: str) -> str:
    """Download what has changed, and update the dataset; return what was done, in words.

    Raises
    ------
    MemmapTrainError
        The files can't be fetched or converted; a rerun goes on.
    """
    config = context.config
    download(
        files_of_dataset(config),
        version=config.version,
        out=context.data,
        progress=context.progress,
    )
    report = convert(
        [context.data / TRAIN, context.data / VALIDATION],
        dataset,
        dtype=config.dtype,
        features_json=context.data / FEATURES,
        feature_set=config.feature_set,
        targets=config.targets,
        missing=config.missing,
        benchmarks=[context.data / name for name in config.benchmarks or ()] or None,
        progress=context.progress,
    )
    return report_text(report).splitlines()[0]
