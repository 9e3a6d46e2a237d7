"""The baseline of a run: a ridge regression on the same eras, in a folder inside the run's.

`RUN/baseline/` is an ordinary run (of folds, where the run is one), without a picture and a report.
It knows nothing of the run's model, so runs beside each other on the same eras, features and
targets have the same one: its files are copied. Imports no TensorFlow.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..system.durable import sync_directory, sync_file
from .configuration.config import TrainConfig
from .configuration.ridge_keys import RIDGE
from .files import CONFIG_NAME
from .lock import holding
from .record import RunRecord, fold_record
from .run import Run, read_run

_PARTIAL = ".partial-baseline"
_WITHOUT = ("linear", RIDGE)
"""Models that are as simple themselves."""
_KEYS = (
    "dataset_digest",
    "features",
    "targets",
    "fill_missing",
    "model",
    "target_transform",
    "target_weights",
    "era_weights",
    "monitor",
)
"""What a ridge regression follows from, beside its eras."""


def wants_baseline(config: TrainConfig) -> bool:
    """Return True if a baseline is to be trained beside a model."""
    return config.baseline == RIDGE and config.model not in _WITHOUT


def baseline_config(run: Run) -> TrainConfig:
    """Return the configuration of a run's baseline: that of the run, as far as it concerns data."""
    of_run = run.train_config()
    return TrainConfig(
        features=of_run.features,
        targets=of_run.targets,
        validation_eras=None if run.folds else of_run.validation_eras,
        embargo_eras=run.record.embargo_eras,
        allow_overlap=of_run.allow_overlap,
        fill_missing=of_run.fill_missing,
        memory=of_run.memory,
        model=RIDGE,
        deterministic=of_run.deterministic,
        checkpoint_minutes=of_run.checkpoint_minutes,
        baseline="none",
    )


def identity_of_fit(record: RunRecord) -> tuple[Any, ...]:
    """Return all that a ridge regression follows from: equal ones have the same model."""
    values = {**TrainConfig().to_dict(), **record.to_json()}
    folds = record.folds or ((record.fold,) if record.fold else ())
    strength = values["model_params"].get("strength")
    return strength, *(values.get(key) for key in _KEYS), [fold_record(fold) for fold in folds]


def copied_baseline(run: Run) -> Run | None:
    """Copy the same baseline from a run beside this one; return None if there is none.

    Parameters
    ----------
    run : Run
        A run that has no folder of a baseline. It is held while files are copied.

    Raises
    ------
    RunError
        Another process trains the run.
    OSError
        It can't be written.
    """
    found = same_baseline(run)
    if found is None:
        return None
    partial = run.path / _PARTIAL
    with holding(run.path):
        try:
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            _copy(found, partial)
            for path in found.part_paths:
                _copy(Run(path, found.record), partial / path.name)
            if not run.baseline_path.exists():  # another process may have begun one
                os.replace(partial, run.baseline_path)
                sync_directory(run.path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return read_run(run.baseline_path)


def same_baseline(run: Run) -> Run | None:
    """Return a finished run beside a run that is what its baseline would be, or None."""
    wanted = identity_of_fit(run.record.changed(**_of_ridge(baseline_config(run))))
    for candidate in _beside(run):
        if identity_of_fit(candidate.record) == wanted and bool(candidate.folds) == bool(run.folds):
            return candidate
    return None


def record_of_folds(run: Run) -> RunRecord:
    """Return the record of the baseline of a run of folds, or of seeds with folds."""
    left_out = ("begun_with", "model_digest", "monitored_against", "residual_digest", "seeds")
    values = {k: value for k, value in run.record.to_json().items() if k not in left_out}
    return RunRecord.from_json(values | _of_ridge(baseline_config(run)))


def _of_ridge(config: TrainConfig) -> dict[str, Any]:
    """Return the values of a configuration that a run's record doesn't resolve otherwise."""
    resolved = ("features", "validation_eras", "embargo_eras")
    return {key: value for key, value in config.to_dict().items() if key not in resolved}


def _beside(run: Run) -> Iterator[Run]:
    """Yield the finished baselines and ridge regressions in the folder that a run lies in."""
    parent = run.path.absolute().parent
    found = (
        *parent.glob(f"*/{CONFIG_NAME}"),
        *parent.glob(f"*/{run.baseline_path.name}/{CONFIG_NAME}"),
    )
    for path in sorted(found):
        with suppress(RunError, OSError):
            candidate = read_run(path.parent)
            is_ridge = candidate.record.model == RIDGE
            if is_ridge and candidate.read_result() and candidate.has_results():
                yield candidate


def _copy(run: Run, to: Path) -> None:
    """Copy the files of a run's results."""
    to.mkdir(parents=True)
    for name in (CONFIG_NAME, "history.csv", "era_scores.csv", "model.keras", "state.json"):
        source = run.path / name
        if source.exists():
            with open(shutil.copyfile(source, to / name), "rb+") as file:
                sync_file(file.fileno())
    sync_directory(to)
