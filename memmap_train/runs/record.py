"""The record of a run: the content of `config.json`, as attributes.

Takes the values of the file, or those of a run that begins; returns a `RunRecord`. Keys that
aren't attributes here are kept as they are: the configuration's other keys, and those of another
version of the package.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from ..errors import FoldError
from .configuration.wording import faults_in
from .folds.fold import Fold

FORMAT = "memmap-train run"
FORMAT_VERSION = 1

VERSION_KEYS = (
    "own_code_version",  # a digest of the user's code
    "memmap_train_version",
    "python_version",
    "numpy_version",
    "keras_version",
    "tensorflow_version",
    "compute_threads",
)
"""Keys that are recorded for the reader, and may have changed when a run is resumed."""

_Names = Annotated[tuple[str, ...], Field(strict=False, description="a list of texts")]
_Numbers = Annotated[tuple[int, ...], Field(strict=False, description="a list of whole numbers")]


class _EraLists(BaseModel):
    """The eras of one fold of a run of folds."""

    model_config = ConfigDict(frozen=True, strict=True)

    train_eras: _Names
    embargoed_eras: _Names
    validation_eras: _Names


class RunRecord(BaseModel):
    """The record of a run, written when it begins.

    A run of folds has `folds`, an ordinary run has `fold`; a run of seeds has `seeds` besides, and
    one of the two as each of its seeds. Keys with a default are missing in runs of earlier
    versions, or have a meaning in some kinds of runs only.

    Attributes
    ----------
    epochs : int
        The largest number of epochs to train.
    features, targets : tuple of str
        Columns that the model reads, and those that it learns to predict.
    target_transform : str
        What becomes of the targets that it learns to predict.
    main_target : str
        The target that is scored.
    named_targets : tuple of str
        The targets that `targets` are aliases of, or they themselves.
    model : str
        A built-in model, a function as "package.module:name", or the path of a saved model.
    model_digest : str or None
        A digest of the saved model's file.
    begun_with : dict or None
        The lineage of the saved model; see `lineage`.
    schedule : str
        The schedule of the learning rate.
    monitor : str
        The score that decides which epoch is the best.
    monitored_against : str or None
        What this score refers to: the benchmark of BMC, the meta model of MMC, the feature set of
        FNC; None for other scores.
    kept_epoch : "best" or "last"
        The epoch whose model is kept.
    embargo_eras : int
        The reach of the embargo, in eras.
    train_eras, embargoed_eras, validation_eras : tuple of str
        The eras of the fold; in a run of folds the first two are empty, and the third has the
        validation eras of all folds.
    fold_eras : tuple
        The eras of each fold, in a run of folds; the key is ``folds``.
    asked_folds, asked_rolling_eras, asked_embargo_eras, asked_validation_eras : any
        The options that the folds follow from.
    seed : int
        The seed of the run; of a run of seeds the first one.
    seeds : tuple of int
        The seeds of the runs in a run of seeds, in order; empty for other runs.
    fill_missing, batch_size, window_size, pool_batches, memory, deterministic
        The values of the configuration, with every default resolved.
    dataset : str
        The path of the dataset.
    dataset_digest : str
        The checksum of its manifest.
    selected_eras : tuple of str or None
        The eras of the selection that the run was begun with; None: all of the dataset.
    features_digest, targets_digest, labels_digest : str or None
        Checksums of the features, of the targets, and of the labels of the run's own targets in the
        eras of its folds.
    benchmark_digest : str or None
        A checksum of the monitored benchmark in the validation eras, if there is one.
    residual_digest : str or None
        A checksum of the benchmarks in the training eras to which residuals are taken, if there are
        some.

    Raises
    ------
    pydantic.ValidationError
        If keys are missing or have values of a wrong type; `faults_of_record` describes them.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    epochs: int
    features: _Names
    targets: _Names
    main_target: str
    named_targets: _Names = ()
    model: str
    model_digest: str | None = None
    begun_with: dict[str, Any] | None = None
    target_transform: str = "none"
    schedule: str = "constant"
    monitor: str = "val_corr_mean"
    monitored_against: str | None = None
    kept_epoch: Literal["best", "last"] = "best"
    embargo_eras: int
    train_eras: _Names = ()
    embargoed_eras: _Names = ()
    validation_eras: _Names
    fold_eras: Annotated[
        tuple[_EraLists, ...],
        Field(alias="folds", strict=False, description="a list of lists of eras"),
    ] = ()
    asked_folds: int | str | None = None
    asked_rolling_eras: int | None = None
    asked_embargo_eras: int | str | None = None
    asked_validation_eras: Any = None
    seed: int = 0
    seeds: _Numbers = ()
    fill_missing: float | None = None
    batch_size: int | None = None
    window_size: int | None = None
    pool_batches: int | None = None
    memory: int | None = None
    deterministic: bool | None = None
    dataset: str
    dataset_digest: str
    selected_eras: _Names | None = None
    features_digest: str | None = None
    targets_digest: str | None = None
    labels_digest: str | None = None
    benchmark_digest: str | None = None
    residual_digest: str | None = None

    _values: dict[str, Any] = PrivateAttr()
    _fold: Fold | None = PrivateAttr()
    _folds: tuple[Fold, ...] = PrivateAttr()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the record with these values; `to_json` returns them all again."""
        record = cls.model_validate(values)
        record._values = {"format": FORMAT, "format_version": FORMAT_VERSION, **values}
        return record

    def to_json(self) -> dict[str, Any]:
        """Return all keys and values, as `config.json` has them."""
        return dict(self._values)

    def changed(self, **changes: Any) -> Self:
        """Return a record that differs in some keys."""
        return self.from_json({**self._values, **changes})

    @property
    def fold(self) -> Fold | None:
        """The fold of an ordinary run; None for a run of folds."""
        return self._fold

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The folds of a run of folds, in order; empty for an ordinary run."""
        return self._folds

    @property
    def flags(self) -> str:
        """The flags of `train` that make such a run, such as "--seeds 3 --folds 2"."""
        asked = {"--folds": self.asked_folds, "--rolling": self.asked_rolling_eras}
        flags = [f"--seeds {len(self.seeds)}"] if self.seeds else []
        if self.folds:
            flags += [f"{flag} {value}" for flag, value in asked.items() if value is not None]
        return " ".join(flags)

    @property
    def versions(self) -> dict[str, Any]:
        """The keys of `VERSION_KEYS` that were recorded, with their values."""
        return {key: self._values[key] for key in VERSION_KEYS if key in self._values}

    @model_validator(mode="after")
    def _make_folds(self) -> Self:
        """Make the folds from their lists of eras."""
        lists: tuple[_EraLists | RunRecord, ...] = self.fold_eras or (self,)
        try:
            folds = tuple(
                Fold(one.train_eras, one.validation_eras, one.embargoed_eras, self.embargo_eras)
                for one in lists
            )
        except FoldError as error:
            reason = str(error).partition(":")[0]  # what follows is advice on the configuration
            raise ValueError(f"its eras make no fold: {reason}") from None
        self._fold, self._folds = (None, folds) if self.fold_eras else (folds[0], ())
        return self


def faults_of_record(error: ValidationError, values: Mapping[str, Any]) -> str:
    """Return the faults of a record's values in one line."""
    faults = []
    for key, expected, found in faults_in(
        error, RunRecord.model_json_schema()["properties"], values
    ):
        if not key:
            faults.append(expected)
        elif not found:
            faults.append(f"{key!r} is missing")
        else:
            faults.append(f"{key!r} is {found}, expected {expected}")
    return "; ".join(faults)


def fold_record(fold: Fold) -> dict[str, list[str]]:
    """Return the eras of a fold, as a record has them.

    >>> fold_record(Fold(("1",), ("5",), ("3",), 2))
    {'train_eras': ['1'], 'embargoed_eras': ['3'], 'validation_eras': ['5']}
    """
    return {
        "train_eras": list(fold.train),
        "embargoed_eras": list(fold.embargo),
        "validation_eras": list(fold.validation),
    }
