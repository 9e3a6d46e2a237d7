"""The checkpoints of a training under way: when one is due, saving one, taking the newest.

Takes complete states of one training; returns them after an interruption. Imports no
TensorFlow.
"""

import time

from ..configuration.config import TrainConfig
from ..reports.run_warnings import RunWarnings
from ..resume import identity_of
from ..run import Run
from .checkpoints import load_newest, save_checkpoint
from .state import State, from_checkpoint, to_checkpoint


class CheckpointPace:
    """Tells when a checkpoint is due.

    Parameters
    ----------
    config : TrainConfig
        The keys `checkpoint_steps` and `checkpoint_minutes` are used.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config, self._saved_at = config, time.monotonic()

    def is_due(self, step: int) -> bool:
        """Return True if a checkpoint should be saved after this number of steps of the run."""
        config = self._config
        if config.checkpoint_steps and step % config.checkpoint_steps == 0:
            return True
        minutes = (time.monotonic() - self._saved_at) / 60
        return 0 < config.checkpoint_minutes <= minutes

    def saved(self) -> None:
        """Note that a checkpoint was saved."""
        self._saved_at = time.monotonic()


class StateStore:
    """Saves the states of one training into its run's folder.

    Parameters
    ----------
    run : Run
    config : TrainConfig
        `checkpoint_steps` and `checkpoint_minutes` decide when a checkpoint is due.
    warnings : RunWarnings
    """

    def __init__(self, run: Run, config: TrainConfig, warnings: RunWarnings) -> None:
        self._directory, self._identity = run.checkpoint_dir, identity_of(run)
        self._pace, self._warnings = CheckpointPace(config), warnings

    def newest(self) -> State | None:
        """Return the state of the newest checkpoint that is whole, or None if there is none."""
        checkpoint = load_newest(self._directory, self._identity, self._warnings.warn)
        return None if checkpoint is None else from_checkpoint(checkpoint)

    def is_due(self, step: int) -> bool:
        """Return True if a checkpoint should be saved after this number of steps of the run."""
        return self._pace.is_due(step)

    def save(self, step: int, state: State) -> None:
        """Save a state after `step` steps; on a full disk warn, and continue without it."""
        best, checkpoint = state.progress.best, to_checkpoint(step, state, self._identity)
        with self._warnings.tolerating_a_full_disk("a checkpoint"):
            best_step = best.step if best else None
            save_checkpoint(self._directory, checkpoint, best_step=best_step)
        self._pace.saved()
