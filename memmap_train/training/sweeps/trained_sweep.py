"""A sweep as an object: its table and its best run; `sweep` returns one.

TensorFlow is imported when trials are trained; the rest needs numpy alone.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ...arguments import flag
from ...errors import ConfigError, RunError, shown
from ...progress import Progress
from ...runs.configuration.config import TrainConfig
from ...runs.configuration.config_argument import checked_config
from ...runs.folds.selection import DatasetOrPath
from ...runs.reports.reporter import Reporter
from ...runs.reports.training_display import reporter
from ...runs.sweeps.record import SWEEP_CHART, read_sweep
from ...runs.sweeps.table import describe_sweep, sweep_text
from ...system.paths import user_path
from ..startup import import_tensorflow
from ..trained_run import ONE_AT_A_TIME, TrainedRun, open_run

_log = logging.getLogger("memmap_train")


class Sweep:
    """A sweep in its folder; made by `sweep`. ``print`` shows its table.

    Its files are read when an attribute is accessed.

    Attributes
    ----------
    path : Path
        The folder, as an absolute path.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path.absolute()  # also after os.chdir

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"<Sweep {str(self.path)!r}>"

    def __str__(self) -> str:
        return sweep_text(self.path, self.table())

    def table(self, by: str | None = None) -> list[dict[str, Any]]:
        """Return a row for all trials that differ in the seed alone, the best first.

        Parameters
        ----------
        by : str, optional
            The score to rank by, a column of `history.csv`; by default the monitored one.

        Returns
        -------
        list of dict
            With `settings`, `score`, `standard_error`, `standard_error_over`, `trials` and more;
            see `sweep_table.describe_sweep`. ``pandas.json_normalize`` makes a table of it.

        Raises
        ------
        RunError
            No trial has the score.
        """
        return describe_sweep(self.path, by)

    @property
    def best(self) -> TrainedRun:
        """The run with the best score; of several seeds the run of the first one.

        Its score is too good: it was chosen by the eras that it was scored on.

        Raises
        ------
        RunError
            No trial has a score.
        """
        first = self.table()[0]
        if first["score"] is None:
            raise RunError(f"{self.path}: no trial has a score yet; train with resume=True")
        scored = (
            name
            for name in first["trials"]
            if name not in first["failures"] and (self.path / name).exists()
        )
        return open_run(self.path / next(scored))

    @property
    def failures(self) -> dict[str, str]:
        """The reasons of the trials that have failed, by the names of their folders."""
        trials = read_sweep(self.path).trials
        return {trial.name: trial.failure for trial in trials if trial.failure is not None}

    @property
    def chart_path(self) -> Path | None:
        """The picture of the scores; None without matplotlib, or where drawing it failed."""
        path = self.path / SWEEP_CHART
        return path if path.exists() else None


def sweep(
    dataset: DatasetOrPath,
    sweep_dir: str | os.PathLike[str],
    swept: Mapping[str, Any] | None = None,
    config: TrainConfig | None = None,
    *,
    n_runs: int | None = None,
    folds: int | Literal["numerai"] | None = None,
    rolling_eras: int | None = None,
    seeds: int | None = None,
    resume: bool = False,
    progress: bool | Progress | Reporter | None = None,
) -> Sweep:
    """Train a model for each of several settings, one after another, and compare them.

    Parameters
    ----------
    dataset : Dataset or path
        See `train`.
    sweep_dir : path
        A new or an empty folder; with `resume` also that of a sweep. Each trial is a run in it.
    swept : mapping, optional
        By key of the configuration a list of values, such as ``{"dropout": [0.1, 0.3], "hidden":
        [[128], [256, 64]], "seed": [0, 1, 2]}``; with `n_runs` also ranges such as ``{"min": 1e-4,
        "max": 1e-2, "scale": "log"}``. `resume` takes that of the sweep by default.
    config : TrainConfig, optional
        All keys that aren't swept. The default is that of the sweep which is resumed, or else
        ``TrainConfig()``.
    n_runs : int, optional
        The number of random draws, each trained with every seed. By default all combinations are
        trained.
    folds, rolling_eras
        See `train`: each trial is a run of folds, and is scored out of fold.
    seeds : int, optional
        See `train`: each trial is a run of seeds, which predict together. (A list of seeds in
        `swept` trains them one by one.)
    resume : bool
        Resume a sweep: the trial that was interrupted resumes, and those that are missing begin.
        Values may be added, and `n_runs` and `epochs` raised. A trial that has failed stays so
        unless its folder is removed.
    progress
        See `train`.

    Returns
    -------
    Sweep
        With the reasons of trials that have failed, as `failures`; they don't end the sweep.

    Raises
    ------
    RunError
        The folder is taken, trials are no longer asked for, or something can't be written.
    ConfigError, DatasetError, FoldError, BatchError
        A trial doesn't suit the dataset. All are checked before the first one begins.
    KeyboardInterrupt
        Raised after a checkpoint of the running trial was saved, from which `resume` continues.
    """
    config, resume = checked_config(config), flag("resume", resume)
    if swept is not None and not isinstance(swept, Mapping):
        raise ConfigError(
            f"swept: expected lists by key such as {{'dropout': [0.1, 0.3]}}, found {shown(swept)}"
        )
    if folds is None and rolling_eras is not None:
        raise ConfigError("rolling_eras counts only with folds: add folds=5 or folds='numerai'")
    import_tensorflow()
    from .loop import train_sweep

    if not ONE_AT_A_TIME.is_free():
        _log.warning("%s: waits for the end of a training in another thread", sweep_dir)
    with ONE_AT_A_TIME, reporter(progress) as report:
        train_sweep(
            dataset,
            sweep_dir,
            swept,
            config,
            n_runs=n_runs,
            folds=folds,
            rolling_eras=rolling_eras,
            seeds=seeds,
            resume=resume,
            report=report,
        )
    return Sweep(user_path(sweep_dir))
