"""The models of several runs together: the mean of their predictions, or of their ranks.

Takes runs and a dataset; returns predictions of every row, in the dataset's order. A run of
folds predicts each era with the model of its fold. One model is in memory at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import numpy as np
import tensorflow as tf

from ..arrays import Float32, Float64, Floats
from ..dataset.dataset import Dataset
from ..errors import ConfigError, DatasetError, RunError
from ..loading.placement import is_past_cache
from ..progress import Progress
from ..runs.folds import fold_of
from ..runs.lineage import code_of
from ..runs.metrics import uniform_ranks
from ..runs.object_reference import describe_error, user_code
from ..runs.run import Run, read_run
from .precision import compute_in_float32
from .predictor import Predictor, check_missing
from .startup import require_tensorflow
from .user_models import read_model


def predict_rows(
    runs: Sequence[Run], dataset: Dataset, *, raw: bool, progress: Progress
) -> tuple[Dataset, Floats, int]:
    """Predict every row of the eras that all of the runs predict.

    Parameters
    ----------
    runs : sequence of Run
    dataset : Dataset
    raw : bool
        See `predictions.predict`.
    progress : callable(what, done, total)
        Called with rows, which count once for each run.

    Returns
    -------
    tuple of Dataset, ndarray of float64 (with `raw` float32), shape (rows,), and int
        The eras, their predictions, and the number of folds' models that had a part in them.

    Raises
    ------
    RunError, DatasetError, ConfigError
        See `predictions.predict`.
    """
    require_tensorflow()
    for run in runs:
        _check_fits(run, dataset)
    parts_of_runs = [_parts_of(run, dataset) for run in runs]
    by_all = set.intersection(
        *({label for _, eras in parts for label in eras} for parts in parts_of_runs)
    )
    if not by_all:
        raise DatasetError(
            f"{dataset.path}: no era of it is predicted by all of these runs; predict with each "
            "alone"
        )
    chosen = dataset.select([label for label in dataset.eras if label in by_all])
    total = _summed(runs, parts_of_runs, chosen, raw=raw, progress=progress)
    total /= len(runs)
    n_folds = sum(len(parts) for run, parts in zip(runs, parts_of_runs, strict=True) if run.folds)
    return chosen, total.astype(np.float32) if raw else total, n_folds


def _summed(
    runs: Sequence[Run],
    parts_of_runs: Sequence[Sequence[tuple[Run, Sequence[str]]]],
    dataset: Dataset,
    *,
    raw: bool,
    progress: Progress,
) -> Float64:
    """Return the sum of all runs' predictions, or of their ranks within each era."""
    # One model after another: eras are cheap to read again, several models may not fit.
    total, n_rows = np.zeros(dataset.n_rows), dataset.n_rows
    for number, (run, parts) in enumerate(zip(runs, parts_of_runs, strict=True)):

        def tell(done: int, _: int, before: int = number * n_rows) -> None:
            progress("predicting", before + done, len(runs) * n_rows)

        first = 0
        for label, predictions in _predicted(parts, dataset, tell):
            values = _checked(predictions[:, 0], f"{run.path}: era {label!r} of {dataset.path}")
            total[first : first + len(values)] += values if raw else uniform_ranks(values)
            first += len(values)
    return total


def _check_fits(run: Run, dataset: Dataset) -> None:
    """Raise an error if a dataset lacks columns that a run's model needs."""
    try:
        dataset.feature_columns(run.record.features)
    except DatasetError as error:
        raise DatasetError(f"{run.path}: {error}") from None
    check_missing(dataset, run.record.fill_missing)


def _parts_of(run: Run, dataset: Dataset) -> list[tuple[Run, list[str]]]:
    """Return the runs whose models predict, each with its eras, in the dataset's order."""
    if not run.folds:
        check_model(run, run)
        return [(run, list(dataset.eras))]
    check_folds(run)
    by_fold = groupby(dataset.eras, lambda era: fold_of(era, run.folds))
    parts = [
        (read_run(run.fold_path(number + 1)), list(eras))
        for number, eras in by_fold
        if number is not None
    ]
    if not parts:
        raise DatasetError(
            f"{dataset.path}: all of its eras come before {run.folds[0].validation[0]!r}, the "
            "first that a fold predicts; expected later ones"
        )
    for part, _ in parts:
        check_model(part, run)
    return parts


def check_folds(run: Run) -> None:
    """Raise a RunError if not all folds of a run are trained."""
    if run.read_result() is None:
        raise RunError(
            f"{run.path}: not all of its {len(run.folds)} folds are trained; run `memmap-train "
            f"train {run.record.dataset} --run {run.path} --folds {run.record.asked_folds} "
            "--resume`"
        )


def check_model(part: Run, run: Run) -> None:
    """Raise a RunError if a run, or a fold of it, has no model."""
    if not part.model_path.exists():
        folds = f" --folds {run.record.asked_folds}" if run.folds else ""
        is_finished = part.read_result() is not None
        why = "any more" if is_finished else "yet, since no epoch is finished"
        raise RunError(
            f"{part.path}: there is no model.keras {why}; run "
            f"`memmap-train train {run.record.dataset} --run {run.path}{folds} --resume`"
        )


def _predicted(
    parts: Sequence[tuple[Run, Sequence[str]]],
    dataset: Dataset,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[str, Float32]]:
    """Yield every era with its predictions, one model after another."""
    n_before = 0
    for run, eras in parts:
        wanted = [era for era in eras if era in dataset.eras]
        if not wanted:
            continue
        part = dataset.select(wanted)
        predictor = load(run)

        def tell(done: int, n_rows: int, before: int = n_before) -> None:
            progress(before + done, dataset.n_rows)

        try:
            yield from predictor.predict(
                part, run.record.features, past_cache=is_past_cache(part), progress=tell
            )
        except tf.errors.OpError as error:
            raise RunError(f"{run.model_path}: the model fails: {describe_error(error)}") from error
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
        raise RunError(
            f"{where}: the model's predictions aren't numbers; train again with a lower "
            "learning_rate"
        )
    return values
