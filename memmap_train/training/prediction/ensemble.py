"""The models of several runs together: the mean of their predictions, or of their ranks.

Takes runs and a dataset; returns predictions of every row, in the dataset's order. A run of folds
predicts each era with the model of its fold, a run of seeds with those of all seeds together. One
model is in memory at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import tensorflow as tf

from ...arrays import Float32, Float64, Floats
from ...dataset.dataset import Dataset
from ...errors import ConfigError, DatasetError, ModelError, RunError
from ...loading.placement import is_past_cache
from ...progress import Progress
from ...runs.configuration.object_reference import describe_error, user_code
from ...runs.folds.fold import fold_of
from ...runs.lineage import code_of
from ...runs.run import Run, read_run
from ...runs.scores.metrics import uniform_ranks
from ..models.precision import compute_in_float32
from ..models.user_models import read_model
from ..startup import require_tensorflow
from .predictor import Predictor, check_missing


@dataclass(frozen=True, slots=True)
class Member:
    """A run whose predictions are averaged with those of others: an ordinary one or one of folds.

    Attributes
    ----------
    run : Run
    parts : tuple of (Run, tuple of str)
        The runs whose models predict, each with its eras, in the dataset's order.
    """

    run: Run
    parts: tuple[tuple[Run, tuple[str, ...]], ...]

    @property
    def eras(self) -> tuple[str, ...]:
        """All eras that it predicts."""
        return tuple(era for _, eras in self.parts for era in eras)


@dataclass(frozen=True, slots=True)
class ModelCounts:
    """The models that had a part in predictions.

    Attributes
    ----------
    n_folds : int
        Models of folds.
    n_seeds : int
        Runs of one seed.
    """

    n_folds: int
    n_seeds: int


def predict_rows(
    runs: Sequence[Run], dataset: Dataset, *, raw: bool, progress: Progress
) -> tuple[Dataset, Floats, ModelCounts]:
    """Predict every row of the eras that all of the runs predict.

    Parameters
    ----------
    runs : sequence of Run
    dataset : Dataset
    raw : bool
        See `predict.predict`.
    progress : callable(what, done, total)
        Called with rows, which count once for each run, or each seed of a run of seeds.

    Returns
    -------
    tuple of Dataset, ndarray of float64 (with `raw` float32), shape (rows,), and ModelCounts
        The eras, their predictions, and the models that had a part in them.

    Raises
    ------
    RunError, DatasetError, ConfigError
        See `predict.predict`.
    """
    require_tensorflow()
    for run in runs:
        _check_fits(run, dataset)
        check_trained(run)
    of_runs = [members_of(run, dataset) for run in runs]
    members = [member for of_run in of_runs for member in of_run]
    by_all = set.intersection(*(set(member.eras) for member in members))
    if not by_all:
        raise DatasetError(
            f"{dataset.path}: no era of it is predicted by all of these runs; predict with each "
            "alone"
        )
    chosen = dataset.select([label for label in dataset.eras if label in by_all])
    total, n_before = np.zeros((chosen.n_rows, 1)), 0
    for of_run in of_runs:

        def tell(done: int, _: int, before: int = n_before) -> None:
            progress("predicting", before + done, len(members) * chosen.n_rows)

        mean = mean_of_members(of_run, chosen, raw=raw, n_columns=1, progress=tell)
        if len(runs) > 1 and len(of_run) > 1 and not raw:
            _rank_eras(mean, chosen)  # so that all runs weigh the same
        total += mean
        n_before += len(of_run) * chosen.n_rows
    total = total[:, 0] / len(runs)
    counts = ModelCounts(
        n_folds=sum(len(member.parts) for member in members if member.run.folds),
        n_seeds=sum(len(of_run) for run, of_run in zip(runs, of_runs, strict=True) if run.seeds),
    )
    return chosen, total.astype(np.float32) if raw else total, counts


def members_of(run: Run, dataset: Dataset) -> list[Member]:
    """Return what the predictions of a run are the mean of: its seeds, or itself.

    Raises
    ------
    RunError
        A model is missing.
    DatasetError
        No fold predicts any of the eras.
    """
    averaged = [read_run(path) for path in run.part_paths] if run.seeds else [run]
    return [Member(each, _parts_of(each, run, dataset)) for each in averaged]


def mean_of_members(
    members: Sequence[Member],
    dataset: Dataset,
    *,
    raw: bool,
    n_columns: int,
    progress: Callable[[int, int], None],
) -> Float64:
    """Return the mean of some members' predictions, or of their ranks within each era.

    Parameters
    ----------
    members : sequence of Member
    dataset : Dataset
        Eras that all of them predict.
    raw : bool
        Take the models' own outputs.
    n_columns : int
        The number of targets to predict, the first ones of the models.
    progress : callable(rows done, rows)
        Called with rows, which count once for each member.

    Returns
    -------
    ndarray of float64, shape (rows, columns)

    Notes
    -----
    Ranks, since of outputs the model with the largest standard deviation weighs most.

    Source: https://forum.numer.ai/t/how-to-ensemble-models/4034
    """
    # One model after another: eras are cheap to read again, several models may not fit.
    total, n_rows = np.zeros((dataset.n_rows, n_columns)), dataset.n_rows
    for number, member in enumerate(members):

        def tell(done: int, before: int = number * n_rows) -> None:
            progress(before + done, len(members) * n_rows)

        first = 0
        for label, predictions in _predicted(member, dataset, tell):
            where = f"{member.run.path}: era {label!r} of {dataset.path}"
            values = _checked(predictions[:, :n_columns], where)
            rows = total[first : first + len(values)]
            for column, of_target in enumerate(values.T):
                rows[:, column] += of_target if raw else uniform_ranks(of_target)
            first += len(values)
    total /= len(members)
    return total


def _rank_eras(values: Float64, dataset: Dataset) -> None:
    """Replace values by their ranks within each era."""
    for low, high in pairwise(dataset.row_offsets):
        values[low:high, 0] = uniform_ranks(values[low:high, 0])


def _check_fits(run: Run, dataset: Dataset) -> None:
    """Raise an error if a dataset lacks columns that a run's model needs."""
    try:
        dataset.feature_columns(run.record.features)
    except DatasetError as error:
        raise DatasetError(f"{run.path}: {error}") from None
    check_missing(dataset, run.record.fill_missing)


def _parts_of(run: Run, outer: Run, dataset: Dataset) -> tuple[tuple[Run, tuple[str, ...]], ...]:
    """Return the runs whose models predict, each with its eras; `outer` is the run or has it."""
    if not run.folds:
        check_model(run, outer)
        return ((run, dataset.eras),)
    by_fold = groupby(dataset.eras, lambda era: fold_of(era, run.folds))
    parts = tuple(
        (read_run(run.part_paths[number]), tuple(eras))
        for number, eras in by_fold
        if number is not None
    )
    if not parts:
        raise DatasetError(
            f"{dataset.path}: all of its eras come before {run.folds[0].validation[0]!r}, the "
            "first that a fold predicts; expected later ones"
        )
    for part, _ in parts:
        check_model(part, outer)
    return parts


def check_trained(run: Run) -> None:
    """Raise a RunError if not all folds or seeds of a run are trained."""
    if run.part_paths and run.read_result() is None:
        what = "seeds" if run.seeds else "folds"
        raise RunError(
            f"{run.path}: not all of its {len(run.part_paths)} {what} are trained; run "
            f"`{run.resume_command}`"
        )


def check_model(part: Run, run: Run) -> None:
    """Raise a RunError if a run, or a fold or seed of it, has no model."""
    if not part.model_path.exists():
        is_finished = part.read_result() is not None
        why = "any more" if is_finished else "yet, since no epoch is finished"
        raise RunError(f"{part.path}: there is no model.keras {why}; run `{run.resume_command}`")


def _predicted(
    member: Member, dataset: Dataset, progress: Callable[[int], None]
) -> Iterator[tuple[str, Float32]]:
    """Yield every era with its predictions, one model after another."""
    n_before = 0
    for run, eras in member.parts:
        wanted = [era for era in eras if era in dataset.eras]
        if not wanted:
            continue
        part = dataset.select(wanted)
        predictor = load(run)

        def tell(done: int, n_rows: int, before: int = n_before) -> None:
            progress(before + done)

        try:
            yield from predictor.predict(
                part, run.record.features, past_cache=is_past_cache(part), progress=tell
            )
        except tf.errors.OpError as error:
            raise ModelError(
                f"{run.model_path}: the model fails: {describe_error(error)}"
            ) from error
        n_before += part.n_rows


def load(run: Run, *, in_float32: bool = False) -> Predictor:
    """Load a run's model, as it was trained or with layers that compute in float32."""
    try:
        model = read_model(run.model_path, code_of(run))
    except ConfigError as error:
        raise RunError(str(error)) from error
    if in_float32:
        compute_in_float32(model)
    with user_code(f"{run.model_path}: the model fails"):
        return Predictor(model, run.record.fill_missing)


def _checked(values: Float32, where: str) -> Float32:
    if not np.isfinite(values).all():
        raise ModelError(
            f"{where}: the model's predictions aren't numbers; train again with a lower "
            "learning_rate"
        )
    return values
