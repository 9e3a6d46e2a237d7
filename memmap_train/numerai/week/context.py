"""What all steps of a week share."""

from dataclasses import dataclass
from pathlib import Path

from ...progress import ProgressOption
from ..submission.account import Keys
from ..submission.rounds import Round
from .clock import Clock
from .config import WeekConfig
from .log import Log
from .state import State


@dataclass(frozen=True, slots=True)
class Context:
    """What all steps of a week share.

    Attributes
    ----------
    config : WeekConfig
    state : State
    log : Log
    clock : Clock
    keys : Keys
    progress : bool, callable or None
    """

    config: WeekConfig
    state: State
    log: Log
    clock: Clock
    keys: Keys
    progress: ProgressOption

    @property
    def folder(self) -> Path:
        """The folder of the state."""
        return Path(self.config.folder)

    @property
    def data(self) -> Path:
        """The folder of downloads."""
        return Path(self.config.data)

    def missing(self, found: Round) -> list[str]:
        """Return the models whose predictions weren't submitted for a round."""
        names = [model.name for model in self.config.of_kind("predictions")]
        return [name for name in names if not self.state.predictions(found.number, name).sent]
