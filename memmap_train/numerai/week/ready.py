"""The runs of a model: finished, and recognized by a digest of what predicts."""

import json
from collections.abc import Sequence
from pathlib import Path

from ...dataset.file_digest import digest_file
from ...errors import RunError
from ...runs.files import CONFIG_NAME
from ...runs.run import Run, read_run
from ...system.checksum import Checksum
from .config import ModelConfig


def finished_runs(model: ModelConfig) -> list[Run]:
    """Return the runs of a model.

    Raises
    ------
    RunError
        There is no such run, or it isn't finished.
    """
    runs = [read_run(Path(folder)) for folder in model.runs]
    for run in runs:
        if run.read_result() is None or not run.has_results():
            raise RunError(
                f"{run.path}: the run isn't finished; finish it with `memmap-train train … "
                "--resume`"
            )
    return runs


def digest_of(runs: Sequence[Run], *settings: object) -> str:
    """Return a digest of all that predictions follow from: trained models, and settings."""
    parts: list[object] = [*settings]
    for run in runs:
        parts += [digest_file(path) for path in (run.path / CONFIG_NAME, *_models_of(run))]
    return Checksum(json.dumps(parts).encode()).text


def _models_of(run: Run) -> list[Path]:
    """Return the models of a run, or of its seeds or folds."""
    if not run.part_paths:
        return [run.model_path]
    return [model for path in run.part_paths for model in _models_of(read_run(path))]
