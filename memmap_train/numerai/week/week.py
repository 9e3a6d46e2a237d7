"""`week`: Numerai's week, unattended and safe to repeat at any point.

The order of the steps: the keys and all that can be checked at once; model uploads, which need no
round; the round, its live rows, the predictions of each model; the dataset at last, for a round is
open for an hour only. What fails for one model ends neither the others nor the dataset.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from ...arguments import flag
from ...dataset.format import FILE_NAME as MANIFEST_NAME
from ...errors import ConfigError, MemmapTrainError, NumeraiError
from ...progress import ProgressOption
from ...runs.run_folder import enclosing_run
from ...system.locks import Lock, LockHeldError
from ...system.paths import checked_path
from ..submission.account import check_key, find_model, read_keys
from .clock import Clock, system_clock
from .config import read_config
from .context import Context
from .dataset import update_dataset
from .live import live_rows
from .log import FILE_NAME as LOG_NAME
from .log import Log, logging_into
from .predictions import submit_predictions
from .preview import preview
from .ready import finished_runs
from .reason import reason
from .report import DATASET, LIVE_ROWS, ROUND, Outcome, WeekReport
from .state import State
from .uploads import upload_model
from .waiting import open_round

LOCK_NAME = ".lock"


def week(
    config: str | os.PathLike[str],
    *,
    dry_run: bool = False,
    progress: ProgressOption = None,
    clock: Clock | None = None,
) -> WeekReport:
    """Do what is to be done in Numerai's week: download, predict, submit, update the dataset.

    Parameters
    ----------
    config : path
        A TOML file, see `WeekConfig`.
    dry_run : bool
        Whether to say what would be done, and write and send nothing.
    progress : bool or callable, optional
        See `memmap_train.types.Progress`.
    clock : Clock, optional
        The default is the clock of this machine.

    Returns
    -------
    WeekReport
        With what has failed for single models; the caller has to look at it.

    Raises
    ------
    ConfigError
        The configuration isn't valid.
    NumeraiError
        There are no keys, or Numerai refuses them; another process does the same, or the folder
        can't be written to.
    """
    clock = clock or system_clock()
    path = checked_path(config, ConfigError)
    found, keys = read_config(path), read_keys()
    folder = Path(found.folder)
    _check_folder(folder)
    if flag("dry_run", dry_run):
        context = Context(found, State(folder), Log(), clock, keys, progress)
        return WeekReport(preview(context), is_dry_run=True, log=str(folder / LOG_NAME))
    with _holding(folder), logging_into(folder) as log:
        try:
            context = Context(found, State(folder), log, clock, keys, progress)
            return WeekReport(_outcomes(context), is_dry_run=False, log=str(folder / LOG_NAME))
        except MemmapTrainError as error:
            log.note(f"error: {error}")
            raise
        except KeyboardInterrupt:
            log.note("stopped; the same command goes on")
            raise


def _check_folder(folder: Path) -> None:
    """Raise a ConfigError if the folder of a week belongs to something else."""
    is_dataset, run = (folder / MANIFEST_NAME).exists(), enclosing_run(folder / LOCK_NAME)
    if is_dataset or run is not None:
        what = "a dataset" if is_dataset else f"part of the run {run}"
        raise ConfigError(f"folder: {folder} is {what}; name another folder for the week's files")


@contextmanager
def _holding(folder: Path) -> Iterator[None]:
    """Make the folder of a week, and lock it while the block runs."""
    try:
        lock = Lock(folder / LOCK_NAME)
    except LockHeldError as held:
        raise NumeraiError(
            f"{folder}: another process does this week{held.holder}; wait for its end{held.advice}"
        ) from None
    except OSError as error:
        raise NumeraiError(
            f"{folder}: the week's files can't be written there: {error.strerror}; name another "
            "folder in the configuration"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _outcomes(context: Context) -> tuple[Outcome, ...]:
    """Do all steps; return what came of each."""
    config, minutes = context.config, timedelta(minutes=context.config.wait_minutes)
    deadline = context.clock.now() + minutes
    check_key(context.keys)
    outcomes = [
        _attempted(context, model.name, partial(upload_model, context, model))
        for model in config.of_kind("model")
    ]
    if config.of_kind("predictions"):
        outcomes += _outcomes_of_round(context, deadline)
    if config.dataset is not None:
        update = partial(update_dataset, context, config.dataset)
        outcomes.append(_attempted(context, DATASET, update))
    return tuple(outcomes)


def _say_early(context: Context) -> None:
    """Say what is wrong with models that predict, before the wait for the round."""
    asks = True
    for model in context.config.of_kind("predictions"):
        try:
            finished_runs(model)
            if asks:
                find_model(model.name, context.keys)
        except MemmapTrainError as error:
            asks = asks and not isinstance(error, NumeraiError)  # one answer is enough
            context.log.say(f"{model.name}: {reason(error, context.config)}")


def _outcomes_of_round(context: Context, deadline: datetime) -> list[Outcome]:
    """Submit the predictions of all models for the round that is open, or that opens in time."""
    models, state = context.config.of_kind("predictions"), context.state
    before_wait = partial(_say_early, context)
    try:
        found = open_round(context.missing, deadline, context.clock, context.log, before_wait)
    except NumeraiError as error:
        return [_noted(context, Outcome(ROUND, str(error), has_failed=True))]
    if isinstance(found, str):
        return [_noted(context, Outcome(ROUND, found))]
    text = found.words(context.clock.now())
    outcomes = [_noted(context, Outcome(ROUND, text))]
    missing = context.missing(found)
    left = [model for model in models if model.name in missing]
    for model in models:
        if model not in left:
            sent = state.predictions(found.number, model.name).sent
            outcomes.append(_noted(context, Outcome(model.name, f"already submitted as {sent}")))
    if not left:
        return outcomes
    try:
        live = live_rows(context, found, min(deadline, found.closes))
    except (MemmapTrainError, OSError) as error:
        failed = Outcome(LIVE_ROWS, reason(error, context.config), has_failed=True)
        return [*outcomes, _noted(context, failed)]
    outcomes += [
        _attempted(context, model.name, partial(submit_predictions, context, model, found, live))
        for model in left
    ]
    return outcomes


def _attempted(context: Context, what: str, act: Callable[[], str]) -> Outcome:
    """Do one step; return what came of it."""
    try:
        outcome = Outcome(what, act())
    except (MemmapTrainError, OSError) as error:
        outcome = Outcome(what, reason(error, context.config), has_failed=True)
    return _noted(context, outcome)


def _noted(context: Context, outcome: Outcome) -> Outcome:
    """Write an outcome into the log; the report says it at the end."""
    context.log.note(str(outcome))
    return outcome
