"""What a saved model was made from: the eras that it has seen, and the code that it needs.

A model that is trained further has seen what the model before it has seen, back to the first one.
In comes the path of a saved model, or what a run's `config.json` holds; out comes a `Lineage`. A
run records that of the model that it began with, so it stays known when that one is trained
further, moved or removed. Imports no TensorFlow.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..dataset.eras import era_sort_key
from ..errors import ConfigError, RunError
from .embargo import min_embargo, too_near
from .files import CONFIG_NAME, damaged
from .folds import Fold
from .run import Run, open_run

SUFFIX = ".keras"
"""How the name of a saved model's file ends."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a model was made from, and all models before it.

    Attributes
    ----------
    train_eras : tuple of str
        Eras that one of them was trained on.
    choice_eras : tuple of str
        Eras by whose scores one of them was chosen among its epochs.
    embargo_eras : int
        The largest embargo that one of them was trained with, or that its targets ask for.
    code : tuple of str
        The functions that built them, as "package.module:name": their modules may define layers.
    is_known : bool
        Whether this is all; False where nothing tells what one of them was trained on.
    """

    train_eras: tuple[str, ...] = ()
    choice_eras: tuple[str, ...] = ()
    embargo_eras: int = 0
    code: tuple[str, ...] = ()
    is_known: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return it as `config.json` has it."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Lineage":
        """Return what `to_json` was called of."""
        return cls(
            tuple(data["train_eras"]),
            tuple(data["choice_eras"]),
            data["embargo_eras"],
            tuple(data["code"]),
            data["is_known"],
        )

    def seen_of(self, fold: Fold, eras: tuple[str, ...], *, walks_forward: bool) -> list[str]:
        """Return the eras that a model should not have seen that is scored on a fold.

        Parameters
        ----------
        fold : Fold
        eras : tuple of str
            Of the dataset.
        walks_forward : bool
            Whether no era from the fold's first validation era on may have been seen, nor have had
            a part in choosing the model.
        """
        reach = max(self.embargo_eras, fold.embargo_eras)
        seen = {*self.train_eras, *(self.choice_eras if walks_forward else ())}
        found = too_near(seen, fold.validation, eras, reach)
        if walks_forward:
            first = era_sort_key(fold.validation[0])
            found |= {era for era in seen if era_sort_key(era) >= first}
        return sorted(found, key=era_sort_key)


def lineage_of(model: Path) -> Lineage:
    """Return the lineage of a saved model: the run in whose folder it lies tells it."""
    try:
        run = open_run(model.parent)
        before = begun_with(run)
    except (RunError, OSError):
        return Lineage(is_known=False)
    fold, targets = run.record.fold, run.record.named_targets or run.record.targets
    if fold is None:
        return Lineage(is_known=False)
    of_run = (*fold.train, *fold.embargo, *fold.validation)
    chosen = () if run.record.kept_epoch == "last" else fold.validation
    return Lineage(
        train_eras=_merged(before.train_eras, fold.train),
        choice_eras=_merged(before.choice_eras, chosen),
        embargo_eras=max(before.embargo_eras, fold.embargo_eras, min_embargo(of_run, targets)),
        code=code_of(run),
        is_known=before.is_known,
    )


def begun_with(run: Run) -> Lineage:
    """Return the lineage of the model that a run began with; it is empty where that was none."""
    record = run.record
    if not record.model.endswith(SUFFIX):
        return Lineage()
    if record.begun_with is not None:
        try:
            return Lineage.from_json(record.begun_with)
        except (KeyError, TypeError):
            raise damaged(run.path / CONFIG_NAME, "'begun_with' lacks keys") from None
    # A run of an earlier version: the file tells it, if it still is what it was.
    path = Path(record.model)
    try:
        is_same = digest_of_model(path) == record.model_digest
    except ConfigError:
        is_same = False
    return lineage_of(path) if is_same else Lineage(is_known=False)


def code_of(run: Run) -> tuple[str, ...]:
    """Return the functions that built a run's model and those before it."""
    model = run.record.model
    own = (model,) if ":" in model and not model.endswith(SUFFIX) else ()
    return (*begun_with(run).code, *own)


def digest_of_model(path: Path) -> str:
    """Return the digest of a saved model's file.

    Raises
    ------
    ConfigError
        It can't be read.
    """
    try:
        with open(path, "rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise ConfigError(
            f"model: {path}: the saved model can't be read: {error.strerror}"
        ) from error


def _merged(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*first, *second}, key=era_sort_key))
