"""The training of a run of any kind: of one model, of folds, of seeds.

Takes what `train` takes; returns the report of the kind that is asked for.
"""

import os
from typing import Any, Literal

from ..runs.configuration.config import TrainConfig
from ..runs.folds.selection import DatasetOrPath
from ..runs.reports.reporter import Reporter
from ..runs.reports.result_text import AnyReport
from .parts.fold_loop import train_folds
from .parts.seed_loop import train_seeds
from .train import train_run


def train_any(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None,
    *,
    seeds: int | None,
    folds: int | Literal["numerai"] | None,
    rolling_eras: int | None,
    resume: bool,
    report: Reporter,
) -> AnyReport:
    """Train a run of seeds or of folds where these are asked for, or else one model.

    Parameters
    ----------
    dataset, run_dir, config, seeds, folds, rolling_eras, resume, report
        See `train_seeds`, `train_folds` and `train_run`, which raise the same errors.
    """
    common: dict[str, Any] = {"resume": resume, "report": report}
    of_folds: dict[str, Any] = {"folds": folds, "rolling_eras": rolling_eras}
    if seeds is not None:
        return train_seeds(dataset, run_dir, config, seeds=seeds, **of_folds, **common)
    if folds is not None:
        return train_folds(dataset, run_dir, config, **of_folds, **common)
    return train_run(dataset, run_dir, config, **common)
