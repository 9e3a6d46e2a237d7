"""A run as an object: its result, its scores and its model; `train` and `open_run` return one.

TensorFlow is imported when a model is trained or loaded; the rest needs numpy alone.
"""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..arguments import flag
from ..dataset.dataset import Dataset
from ..errors import ConfigError, RunError
from ..progress import Progress
from ..runs.baseline import wants_baseline
from ..runs.configuration.config import TrainConfig
from ..runs.configuration.config_argument import checked_config
from ..runs.folds.selection import DatasetOrPath
from ..runs.lineage import code_of
from ..runs.reports.recorded_report import recorded_result
from ..runs.reports.report_process import make_report
from ..runs.reports.reporter import Reporter
from ..runs.reports.result_text import AnyReport
from ..runs.reports.training_display import reporter
from ..runs.run import Run, read_run
from ..runs.scores.score_files import era_score_columns, history_columns
from ..system.paths import user_path
from ..system.thread_lock import ThreadLock
from .startup import import_tensorflow

_log = logging.getLogger("memmap_train")
ONE_AT_A_TIME = ThreadLock()
"""Held while a model is trained: Keras's global seed belongs to the process."""


class TrainedRun:
    """A run in its folder; made by `train` and by `open_run`.

    It stands for the path of its folder wherever a path of a run is expected. Its files are read
    when an attribute is accessed.

    Attributes
    ----------
    path : Path
        The folder, as an absolute path: it doesn't depend on the current directory.
    """

    def __init__(self, run: Run, result: AnyReport | None = None) -> None:
        self.path: Path = run.path.absolute()  # also after os.chdir
        self._run, self._result = replace(run, path=self.path), result

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"<TrainedRun {str(self.path)!r}>"

    @property
    def result(self) -> AnyReport:
        """The scores of the run, such as ``run.result.corr.sharpe``.

        A run of folds has a `FoldsReport`: the scores of all folds together. A run of seeds has a
        `SeedsReport`: the scores of the mean of all seeds' ranks.

        Raises
        ------
        RunError
            The run isn't finished.
        """
        if self._result is None:
            self._result = recorded_result(self._run)
        return self._result

    @property
    def config(self) -> TrainConfig:
        """The resolved configuration, without open defaults."""
        return self._run.train_config()

    @property
    def folds(self) -> tuple["TrainedRun", ...]:
        """The runs of the folds that have begun, in order; empty for other runs.

        Each seed of a run of seeds with folds has its own.
        """
        return () if self._run.seeds else self._parts()

    @property
    def seeds(self) -> tuple["TrainedRun", ...]:
        """The runs of the seeds that have begun, in order; empty for other runs."""
        return self._parts() if self._run.seeds else ()

    def _parts(self) -> tuple["TrainedRun", ...]:
        return tuple(open_run(path) for path in self._run.part_paths if path.is_dir())

    @property
    def history(self) -> npt.NDArray[np.void]:
        """A row for each epoch, with the columns of the run's `history.csv`.

        A structured array: ``run.history["loss"]`` is a column, ``pandas.DataFrame(run.history)`` a
        table.

        Raises
        ------
        RunError
            A run of folds or seeds has a history for each of its `folds` or `seeds`.
        """
        self._check_is_one_model("history")
        rows, columns = self._run.read_history(), history_columns(self._run.record.monitor)
        kinds = [(name, np.int64 if name == "epoch" else np.float64) for name in columns]
        return np.array([tuple(row[name] for name in columns) for row in rows], dtype=kinds)

    @property
    def era_scores(self) -> npt.NDArray[np.void]:
        """A row for each validation era and target: era, target, numerai_corr, pearson.

        Where a further score is monitored ("bmc", "mmc", "fnc"), it is the last column. A
        structured array, as `history`; scores are NaN where they are undefined.
        """
        rows = self._run.read_era_scores()
        longest_era = max((len(era) for era, *_ in rows), default=1)
        longest_target = max((len(target) for _, target, *_ in rows), default=1)
        _, _, *scores = era_score_columns(self._run.record.monitor)
        kinds: list[tuple[str, Any]] = [
            ("era", f"U{longest_era}"),
            ("target", f"U{longest_target}"),
            *((name, np.float64) for name in scores),
        ]
        return np.array(rows, dtype=kinds)

    @property
    def chart_path(self) -> Path | None:
        """The picture of the scores; None without matplotlib, or where drawing it failed."""
        return self._run.chart_path if self._run.chart_path.exists() else None

    @property
    def report_path(self) -> Path | None:
        """The page of the official scores; None without the extra `report`, or where it failed."""
        return self._run.report_path if self._run.report_path.exists() else None

    def model(self) -> Any:
        """Load the best epoch's model.

        Returns
        -------
        keras.Model
            Its inputs are the features of ``config.features`` in this order, its outputs the
            predictions of ``config.targets``.

        Raises
        ------
        RunError
            There is no model yet, or it can't be loaded. A run of folds or seeds has a model for
            each of its `folds` or `seeds`.
        """
        self._check_is_one_model("model")
        if not self._run.model_path.exists():
            raise RunError(
                f"{self.path}: there is no model.keras; train with resume=True until an epoch is "
                "finished"
            )
        import_tensorflow()
        from .models.user_models import read_model

        try:
            return read_model(self._run.model_path, code_of(self._run))
        except ConfigError as error:
            raise RunError(str(error)) from error

    def _check_is_one_model(self, name: str) -> None:
        n_parts, parts = len(self._run.part_paths), "seeds" if self._run.seeds else "folds"
        if n_parts:
            raise RunError(
                f"{self.path}: a run of {n_parts} {parts} has a {name} for each: expected one of "
                f"its {parts}, such as run.{parts}[0].{name}"
            )


def open_run(path: str | os.PathLike[str]) -> TrainedRun:
    """Open the folder of a run.

    Parameters
    ----------
    path : path

    Raises
    ------
    RunError
        There is no run, or its configuration can't be read.
    """
    return TrainedRun(read_run(user_path(path)))


def train(
    dataset: DatasetOrPath,
    run_dir: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    seeds: int | None = None,
    folds: int | Literal["numerai"] | None = None,
    rolling_eras: int | None = None,
    resume: bool = False,
    progress: bool | Progress | Reporter | None = None,
) -> TrainedRun:
    """Train a model on a dataset, in the folder of a run.

    Parameters
    ----------
    dataset : Dataset or path
        A selection of eras, such as ``dataset.select(eras)``, restricts training and scores to
        these eras; a run of one is resumed with the same eras, or with the path.
    run_dir : path
        A new or an empty folder; with `resume` also that of a run.
    config : TrainConfig, optional
        The default is the configuration of the run which is resumed, or else ``TrainConfig()``.
    seeds : int, optional
        Train with so many seeds, 2 or more: that of the configuration and the following ones. The
        run is one model, whose predictions are the mean of all seeds' ranks in each era; a run that
        is resumed may be given more seeds.
    folds : int or "numerai", optional
        Train so many folds that walk forward in time, or one for each of Numerai's windows of 156
        eras, and score them together (see `walk_forward`). The last epoch of each fold predicts.
    rolling_eras : int, optional
        With `folds`, train only on this number of last eras before each fold's embargo.
    resume : bool
        Resume a run that is there: from its newest checkpoint, or from the beginning if it has
        none. `epochs` may be raised, and `memory`, `checkpoint_*`, `tensorboard` and `baseline`
        changed; all else must be as it was. A finished run stays as it is.
    progress : bool, callable(what, done, total) or Reporter, optional
        Whether to show the training, what to call instead with rows of epochs and validations (see
        `types.Progress`), or an object that gets all events. By default the training is shown in a
        terminal and in a notebook.

    Returns
    -------
    TrainedRun

    Raises
    ------
    RunError
        The folder is taken, the dataset or the configuration has changed, or the run can't be
        written.
    ConfigError, DatasetError, FoldError, BatchError
        The configuration doesn't suit the dataset, or the loss is no number any more.
    KeyboardInterrupt
        Raised after a checkpoint was saved, from which `resume` continues.

    Notes
    -----
    With a deterministic configuration (the default on a CPU) equal runs on one machine end in equal
    bits, interrupted or not. For this, Keras's global seed is set, and TensorFlow's op determinism
    is switched on for the process.

    That seed belongs to the process, so one training runs at a time: called in another thread
    meanwhile, `train` waits until the first training has ended, and logs a warning that it does.
    For trainings at the same time, use processes.

    What goes wrong and doesn't end the training is logged as a warning of ``memmap_train``.

    A ridge regression on the same eras is fitted beside a net, see `baseline` in `TrainConfig`.

    With the extra `report`, a page of the official scores is written into the run's folder at the
    end, by a process of its own (see `scoring.report`).
    """
    config, resume = checked_config(config), flag("resume", resume)
    if folds is None and rolling_eras is not None:
        raise ConfigError("rolling_eras counts only with folds: add folds=5 or folds='numerai'")
    import_tensorflow()
    from .any_run import train_any
    from .baseline import add_baseline

    if not ONE_AT_A_TIME.is_free():
        _log.warning("%s: waits for the end of a training in another thread", run_dir)
    with ONE_AT_A_TIME, reporter(progress) as report:
        result = train_any(
            dataset,
            run_dir,
            config,
            seeds=seeds,
            folds=folds,
            rolling_eras=rolling_eras,
            resume=resume,
            report=report,
        )
        run = read_run(user_path(run_dir))
        if wants_baseline(config or run.train_config()):
            result = add_baseline(run, dataset, result, report)
        if not (result.already_finished and run.report_path.exists()):
            path = make_report(
                run, _path_of(dataset), say=report.making_report, warn=report.warning
            )
            result = replace(result, report_path=None if path is None else str(path))
    return TrainedRun(run, result)


def _path_of(dataset: DatasetOrPath) -> Path:
    return dataset.directory if isinstance(dataset, Dataset) else user_path(dataset)
