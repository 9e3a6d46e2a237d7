"""The state of a training beside the arrays of its step; and all of it as a checkpoint.

The arrays of a `TrainStep` (among them the number of steps done) and one immutable
`TrainingProgress`, replaced once per epoch, are whole at any moment. The data need no state: a
stream begins at any step. Imports no TensorFlow.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ..scores.summary import EraScores
from .attribute_state import Packed
from .checkpoints import Checkpoint

Arrays = dict[str, npt.NDArray[Any]]
_FURTHER = "best/further/"
Row = Mapping[str, float]
"""A row of `history.csv` or `step_scores.csv`, by column."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best epoch so far."""

    epoch: int
    step: int
    scores: EraScores
    weights: list[npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """The progress after a whole number of epochs, and the scorings since then.

    `loss_sum` and `labels` are the sums of all epochs done: those of the running epoch are the
    step's sums less these. `stopped` says that a callback has ended the training.
    """

    history: tuple[Row, ...] = ()
    step_scores: tuple[Row, ...] = ()
    best: Best | None = None
    loss_sum: float = 0.0
    labels: float = 0.0
    stopped: bool = False

    @property
    def epochs_done(self) -> int:
        """Whole epochs."""
        return len(self.history)

    def epoch_loss(self, sums: tuple[float, float]) -> float:
        """Return the mean loss of the running epoch, NaN before its first label.

        Parameters
        ----------
        sums : tuple of float
            The loss summed over labels, and the labels, since the first step of the run.
        """
        loss_sum, labels = sums
        labels -= self.labels
        return (loss_sum - self.loss_sum) / labels if labels else math.nan

    def is_out_of_patience(self, patience: int) -> bool:
        """Return True if the score hasn't improved for `patience` epochs."""
        if not patience or self.best is None:
            return False
        return self.epochs_done - self.best.epoch >= patience


@dataclass(slots=True)
class Clock:
    """The seconds of the running epoch: training, the part that waited for data, and scoring.

    They include earlier processes. `begun` is True once callbacks know of the epoch.
    """

    seconds: float = 0.0
    waited: float = 0.0
    scored: float = 0.0
    begun: bool = False
    steps: int = 0

    @property
    def data_wait(self) -> float:
        """The share of the time that was waited for rows."""
        return self.waited / self.seconds if self.seconds else 0.0

    def rows_per_second(self, batch_size: int) -> float:
        """Return the rate while it trained."""
        return self.steps * batch_size / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class State:
    """The complete state from which a training can be resumed.

    Attributes
    ----------
    arrays : dict of str to ndarray
        The arrays of the training step.
    progress : TrainingProgress
    clock : Clock
        The clock of the running epoch; its `steps` aren't kept, since the arrays tell them.
    stop_requested : bool
        Whether a callback has requested a stop at the end of the epoch.
    callbacks : list of dict of str to Packed
        What each callback remembers, in their order.
    """

    arrays: Arrays
    progress: TrainingProgress
    clock: Clock
    stop_requested: bool
    callbacks: list[dict[str, Packed]]


def to_checkpoint(step: int, state: State, run: str) -> Checkpoint:
    """Return the checkpoint of a run's state after `step` steps."""
    progress, clock, best = state.progress, state.clock, state.progress.best
    arrays = {f"step/{name}": array for name, array in state.arrays.items()}
    found: dict[str, Any] = {
        "history": [dict(row) for row in progress.history],
        "step_scores": [dict(row) for row in progress.step_scores],
        "loss_sum": progress.loss_sum,
        "labels": progress.labels,
        "stopped": progress.stopped,
        "best": None,
        "seconds": clock.seconds,
        "waited": clock.waited,
        "scored": clock.scored,
        "begun": clock.begun,
        "stop_requested": state.stop_requested,
        "callbacks": [
            {name: [packed.tree, len(packed.arrays)] for name, packed in attributes.items()}
            for attributes in state.callbacks
        ],
    }
    if best is not None:
        found["best"] = {"epoch": best.epoch, "step": best.step}
        arrays["best/corr"], arrays["best/pearson"] = best.scores.corr, best.scores.pearson
        for name, scores in best.scores.further.items():
            arrays[f"{_FURTHER}{name}"] = scores
        for number, weight in enumerate(best.weights):
            arrays[f"best/weights/{number:04d}"] = weight
    for position, attributes in enumerate(state.callbacks):
        for name, packed in attributes.items():
            for number, array in enumerate(packed.arrays):
                arrays[_of_callback(position, name, number)] = array
    return Checkpoint(step, found, arrays, run)


def from_checkpoint(checkpoint: Checkpoint) -> State:
    """Return the state that a checkpoint was made of."""
    arrays, found, best = checkpoint.arrays, checkpoint.state, None
    if found["best"] is not None:
        weights = [arrays[name] for name in sorted(arrays) if name.startswith("best/weights/")]
        further = {
            name.removeprefix(_FURTHER): array
            for name, array in arrays.items()
            if name.startswith(_FURTHER)
        }
        scores = EraScores(arrays["best/corr"], arrays["best/pearson"], further=further)
        best = Best(found["best"]["epoch"], found["best"]["step"], scores, weights)
    return State(
        arrays={
            name.removeprefix("step/"): array
            for name, array in arrays.items()
            if name.startswith("step/")
        },
        progress=TrainingProgress(
            tuple(found["history"]),
            tuple(found["step_scores"]),
            best,
            found["loss_sum"],
            found["labels"],
            found["stopped"],
        ),
        clock=Clock(found["seconds"], found["waited"], found["scored"], found["begun"]),
        stop_requested=found["stop_requested"],
        callbacks=[
            {
                name: Packed(tree, [arrays[_of_callback(position, name, n)] for n in range(count)])
                for name, (tree, count) in attributes.items()
            }
            for position, attributes in enumerate(found["callbacks"])
        ],
    )


def _of_callback(position: int, name: str, number: int) -> str:
    return f"callbacks/{position}/{name}/{number:04d}"
