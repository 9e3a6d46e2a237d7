"""The saved model that a training begins with: found, checked against the fold, and copied.

Takes the path that a configuration names, or what a run to resume recorded of it; returns an
`InitialModel`. It must not have been trained on eras that the new model is scored on.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from ...dataset.dataset import Dataset
from ...errors import ConfigError, RunError, listed
from ...runs.checkpoints.checkpoints import newest_step
from ...runs.files import replacing
from ...runs.folds.fold import Fold
from ...runs.lineage import Lineage, begun_with, digest_of_model, lineage_of
from ...runs.run import Run


@dataclass(frozen=True, slots=True)
class InitialModel:
    """The saved model that a training begins with.

    Attributes
    ----------
    path : Path
        The path that the configuration names.
    file : Path
        The file to open: at that path, or a copy of it in the folder of the run.
    digest : str
        The checksum of the file that the run began with.
    lineage : Lineage
    is_resumed : bool
        Whether a run is resumed that was allowed to begin with it, and was trained since.
    """

    path: Path
    file: Path
    digest: str
    lineage: Lineage
    is_resumed: bool

    def keep(self, run: Run) -> None:
        """Copy the file into the folder of a run that has begun with it.

        Raises
        ------
        RunError
            The file has changed meanwhile, or the copy can't be written.
        """
        if self.file != self.path:
            return  # it is kept already
        try:
            with replacing(run.initial_path) as temporary:
                shutil.copyfile(self.file, temporary)
                if digest_of_model(temporary) != self.digest:
                    raise RunError(f"{self.file}: it has changed just now; run the command again")
        except OSError as error:
            if isinstance(error, RunError):
                raise
            raise RunError(
                f"{run.initial_path}: the copy of {self.file} can't be written: {error.strerror}"
            ) from error


def find_initial(path: Path, run: Run | None) -> InitialModel:
    """Return the saved model that a configuration names; of a run to resume, what it began with.

    Raises
    ------
    ConfigError
        There is no such file; or the run's is gone, and the run has kept no copy.
    """
    if run is None or run.record.model != str(path):
        return InitialModel(path, path, digest_of_model(path), lineage_of(path), is_resumed=False)
    digest = run.record.model_digest or ""
    file = _kept_file(run, path, digest)
    # Of an untrained run, what it is scored on may be another choice now.
    return InitialModel(path, file, digest, begun_with(run), is_resumed=not run.is_untrained())


def _kept_file(run: Run, path: Path, digest: str) -> Path:
    """Return a file with the layers of the model that a run began with, and the weights if needed.

    Runs of earlier versions kept no copy.
    """
    for file in (run.initial_path, path):
        if file.exists() and digest_of_model(file) == digest:
            return file
    if run.model_path.exists() and newest_step(run.checkpoint_dir):
        return run.model_path  # the weights come from the checkpoint
    raise ConfigError(
        f"model: {path}: the saved model that {run.path} began with is gone or was trained further "
        "since, and the run has no copy of it; put it back, or begin a new run with another --run"
    )


def check_unseen(
    initial: InitialModel, fold: Fold, dataset: Dataset, *, walks_forward: bool
) -> None:
    """Refuse a saved model that has seen eras which it would be scored on, or eras near them."""
    lineage = initial.lineage
    wrong = lineage.seen_of(fold, dataset.eras, walks_forward=walks_forward)
    themselves = [era for era in wrong if era in set(fold.validation)]
    if walks_forward and not lineage.is_known:
        found = "with folds every era is predicted by a model that hasn't seen it, and nothing"
        found += " tells what this one was trained on"
    elif not wrong:
        return
    elif walks_forward:
        found = "it was trained on eras that this fold predicts, that are near them or come later,"
        found += f" or was chosen by them ({listed(wrong, 3)})"
    elif themselves:
        found = f"it was trained on some of the validation eras ({listed(themselves, 3)})"
    else:
        reach = max(lineage.embargo_eras, fold.embargo_eras)
        found = f"it was trained on eras within {reach} of the validation eras ({listed(wrong, 3)})"
    raise ConfigError(
        f"model: {initial.path}: {found}; choose other validation_eras or another model, or permit "
        "it with allow_overlap = true"
    )
