"""The state of a ridge regression under way, as a checkpoint and back.

Takes sums, the choice of the strength and a place among the blocks; all of it together is enough to
continue with the next block.
"""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ...runs.checkpoints.checkpoints import Checkpoint
from .strength import LinearModel, StrengthChoice
from .sums import Sums

_SUMS = "sums/"
_VALUES = ("labels_digest", "part", "block", "rows", "strengths", "loss", "seconds", "waited")


@dataclass(slots=True)
class FitState:
    """What was done so far.

    Attributes
    ----------
    labels_digest : str
        A checksum of the labels that sums are made of.
    part, block : int
        The part that is added, and the number of its blocks that were added.
    rows : int
        The rows of all blocks so far.
    choice : StrengthChoice or None
        None before the models of the first part are made.
    model : LinearModel or None
        The model, once all rows are added.
    strengths : tuple of float
        Its strength for each target.
    loss : float
        Its mean squared error over the rows it was trained on.
    seconds, waited : float
        The time so far, and the part of it that was waited for rows.
    """

    labels_digest: str = ""
    part: int = 0
    block: int = 0
    rows: int = 0
    choice: StrengthChoice | None = None
    model: LinearModel | None = None
    strengths: tuple[float, ...] = ()
    loss: float = float("nan")
    seconds: float = 0.0
    waited: float = 0.0

    def to_checkpoint(self, sums: Sums, run: str) -> Checkpoint:
        """Return the state with its sums; without them once there is a model."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _VALUES}
        arrays: dict[str, npt.NDArray[Any]] = {}
        if self.model is not None:
            arrays = {"weights": self.model.weights, "biases": self.model.biases}
        else:
            arrays |= {f"{_SUMS}{name}": array for name, array in sums.arrays().items()}
            if self.choice is not None:
                pending = self.choice.pending
                arrays |= {
                    "choice/weights": self.choice.weights,
                    "choice/scores": self.choice.scores,
                }
                if pending is not None:
                    arrays["choice/pending"] = pending
        return Checkpoint(self.rows, values, arrays, run)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, sums: Sums) -> "FitState":
        """Return the state that a checkpoint was made of, and restore its sums."""
        arrays, found = checkpoint.arrays, dict(checkpoint.state)
        state = cls(**{**found, "strengths": tuple(found["strengths"])})
        if is_fitted(checkpoint):
            state.model = LinearModel(arrays["weights"], arrays["biases"])
            return state
        sums.restore(
            {
                name.removeprefix(_SUMS): array
                for name, array in arrays.items()
                if name.startswith(_SUMS)
            }
        )
        if "choice/weights" in arrays:
            state.choice = StrengthChoice(
                arrays["choice/weights"], arrays["choice/scores"], arrays.get("choice/pending")
            )
        return state


def is_fitted(checkpoint: Checkpoint) -> bool:
    """Return True if a checkpoint has the model, and no sums any more."""
    return "weights" in checkpoint.arrays
