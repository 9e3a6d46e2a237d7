"""The lineage of a saved model: the eras that it was trained on, and the code that it needs.

A model that is trained further inherits the eras of the models before it, back to the first one.
Takes the path of a saved model, or a run; returns a `Lineage`. A run records the lineage of
the model that it began with, so it stays known when that model is trained further, moved or
removed. Imports no TensorFlow.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..dataset.eras import era_sort_key
from ..errors import ConfigError, RunError
from .files import CONFIG_NAME, damaged
from .folds.embargo import min_embargo, too_near
from .folds.fold import Fold
from .run import Run, read_run

SUFFIX = ".keras"
"""The suffix of a saved model's file."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """The training of a model and of all models before it.

    Attributes
    ----------
    train_eras : tuple of str
        Eras that any of the models was trained on.
    choice_eras : tuple of str
        Eras whose scores decided which epoch of a model was kept.
    embargo_eras : int
        The largest embargo that any of the models was trained with, or that its targets require.
    code : tuple of str
        The functions that built the models, as "package.module:name": their modules may define
        layers.
    is_known : bool
        False if it is unknown what one of the models was trained on.
    """

    train_eras: tuple[str, ...] = ()
    choice_eras: tuple[str, ...] = ()
    embargo_eras: int = 0
    code: tuple[str, ...] = ()
    is_known: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the lineage as `config.json` has it."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Lineage":
        """Return the lineage that `to_json` returned these values for."""
        return cls(
            tuple(data["train_eras"]),
            tuple(data["choice_eras"]),
            data["embargo_eras"],
            tuple(data["code"]),
            data["is_known"],
        )

    def seen_of(self, fold: Fold, eras: tuple[str, ...], *, walks_forward: bool) -> list[str]:
        """Return the eras of the lineage that a model must not know if a fold is to score it.

        Parameters
        ----------
        fold : Fold
            The fold whose validation eras score the model.
        eras : tuple of str
            All eras of the dataset.
        walks_forward : bool
            Whether the model must not have been trained on eras from the fold's first validation
            era on, nor chosen by their scores.

        Returns
        -------
        list of str
            The eras in the order of time; empty if the model may be scored on the fold.
        """
        reach = max(self.embargo_eras, fold.embargo_eras)
        seen = {*self.train_eras, *(self.choice_eras if walks_forward else ())}
        found = too_near(seen, fold.validation, eras, reach)
        if walks_forward:
            first = era_sort_key(fold.validation[0])
            found |= {era for era in seen if era_sort_key(era) >= first}
        return sorted(found, key=era_sort_key)


def lineage_of(model: Path) -> Lineage:
    """Return the lineage of a saved model, which the record of the run in its folder has."""
    try:
        run = read_run(model.parent)
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
    """Return the lineage of the saved model that a run began with; empty if there was none."""
    record = run.record
    if not record.model.endswith(SUFFIX):
        return Lineage()
    if record.begun_with is not None:
        try:
            return Lineage.from_json(record.begun_with)
        except (KeyError, TypeError):
            raise damaged(run.path / CONFIG_NAME, "'begun_with' lacks keys") from None
    # Earlier versions didn't record it. The file is of use as long as it hasn't changed.
    path = Path(record.model)
    try:
        is_same = digest_of_model(path) == record.model_digest
    except ConfigError:
        is_same = False
    return lineage_of(path) if is_same else Lineage(is_known=False)


def code_of(run: Run) -> tuple[str, ...]:
    """Return the functions that built a run's model and the models before it."""
    model = run.record.model
    own = (model,) if ":" in model and not model.endswith(SUFFIX) else ()
    return (*begun_with(run).code, *own)


def digest_of_model(path: Path) -> str:
    """Return the digest of a saved model's file.

    Raises
    ------
    ConfigError
        The file can't be read.
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
