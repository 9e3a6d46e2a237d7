"""A model over eras in order: predictions era by era, and the file of them.

In come a model and a dataset, out come float32 predictions of every row, in the dataset's order.
Rows pass the model in blocks of one fixed size, so that a row's prediction never depends on a batch
size; two blocks and one era are held in memory at a time.
"""

import os
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy.stats import rankdata

from ..dataset.dataset import Dataset
from ..errors import ConfigError, DatasetError, RunError, listed
from ..loading.placement import is_past_cache
from ..loading.sequential import SequentialReader
from ..runs.folds import fold_of
from ..runs.lineage import code_of
from ..runs.object_reference import describe_error, user_code
from ..runs.run import Run, open_run
from ..runs.selection import DatasetOrPath, opened
from ..system.buffers import BufferPool
from ..system.paths import checked_path, user_path
from ..system.threads import ThreadPool
from .model import require_tensorflow
from .prediction_file import PredictionFile, prediction_file
from .step import as_tensor, filled
from .user_models import read_model

Float32 = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]

BLOCK_ROWS = 4096

_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")  # how pandas writes one to parquet


class Predictor:
    """A model that predicts whole eras.

    Parameters
    ----------
    model : keras.Model
    fill_missing : float or None
        What missing features become; None: there are none.
    """

    def __init__(self, model: Any, fill_missing: float | None) -> None:
        n_features = model.input_shape[1]
        signature = [tf.TensorSpec((BLOCK_ROWS, n_features), tf.float32)]

        @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
        def run(x: Any) -> Any:
            return model(filled(x, fill_missing), training=False)

        self.run = run
        """The compiled forward pass: (BLOCK_ROWS, features) to (BLOCK_ROWS, targets)."""
        run.get_concrete_function()  # now, not after the first epoch, fails what fails
        # Never given back: the two blocks are filled in turn, each when its predictions are there.
        memory = BufferPool()
        shape, dtype = (BLOCK_ROWS, n_features), np.dtype(np.float32)
        self._blocks = [memory.array(shape, dtype) for _ in range(2)]
        for block in self._blocks:
            block.fill(0)

    def predict(
        self,
        dataset: Dataset,
        feature_names: Sequence[str],
        *,
        past_cache: bool = False,
        progress: Progress | None = None,
    ) -> Generator[tuple[str, Float32], None, None]:
        """Yield every era of a dataset with the predictions of its rows.

        Parameters
        ----------
        dataset : Dataset
        feature_names : sequence of str
            In the model's order.
        past_cache : bool
            Read the features from the disk itself; see `storage.is_past_cache`.
        progress : callable(rows done, rows), optional
            Called after each block.

        Yields
        ------
        tuple of str and ndarray of float32, shape (rows, targets)
            The array is the caller's own.

        Raises
        ------
        DatasetError
            The dataset lacks a feature.
        """
        columns = dataset.feature_columns(list(feature_names))
        blocks = SequentialReader(dataset, columns, past_cache=past_cache)
        firsts = dataset.row_offsets
        n_rows = dataset.n_rows
        pending: list[Float32] = []
        era = 0
        threads = ThreadPool(1, thread_name_prefix="memmap-train-predict")
        with closing(blocks), threads as reader:
            future = reader.submit(blocks.fill, self._blocks[0], 0)
            for number, low in enumerate(range(0, n_rows, BLOCK_ROWS)):
                future.result()
                high = min(low + BLOCK_ROWS, n_rows)
                if high < n_rows:
                    other = self._blocks[(number + 1) % 2]
                    future = reader.submit(blocks.fill, other, high)
                # Waiting for the result is what makes it safe to fill this block again.
                output = np.array(self.run(as_tensor(self._blocks[number % 2])).numpy())
                pending.append(output[: high - low])
                if progress is not None:
                    progress(high, n_rows)
                while era < len(dataset.eras) and firsts[era + 1] <= high:
                    known = np.concatenate(pending)
                    n_era = firsts[era + 1] - firsts[era]
                    yield dataset.eras[era], known[:n_era].copy()
                    pending, era = [known[n_era:]], era + 1


@dataclass(frozen=True, slots=True)
class PredictReport:
    """What came of predicting a dataset.

    Attributes
    ----------
    n_rows : int
        Written.
    n_folds : int
        How many folds' models had a part in it; 0 for an ordinary run.
    left_out : tuple of str
        Eras before those that the first fold predicts: it, or all of them, were trained on them.
    n_repeated : int
        Rows whose id an earlier row has too, with the eras written, an earlier row of their era:
        Numerai takes every id once.
    n_outside : int
        Rows whose prediction lies outside 0 to 1, which Numerai doesn't take.
    is_constant : bool
        Whether all predictions are equal, which Numerai doesn't take.
    is_in_stdout : bool
        Whether they were written to this process's stdout.
    """

    n_rows: int
    n_folds: int
    left_out: tuple[str, ...]
    n_repeated: int
    n_outside: int
    is_constant: bool
    is_in_stdout: bool


def predict(
    run_dirs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    dataset: DatasetOrPath,
    out_path: str | os.PathLike[str],
    *,
    raw: bool = False,
    era: bool = False,
    progress: Progress | None = None,
) -> PredictReport:
    """Predict every row of a dataset with the models of runs; write `id,prediction`.

    Parameters
    ----------
    run_dirs : path or sequence of paths
        Folders of runs; of each its best epoch's model is used, with the features that it was
        trained on. The prediction of several runs is the mean of theirs. In a run of folds every
        era is predicted by the model of the fold that it belongs to (see `folds.fold_of`), which
        wasn't trained on it or on eras near it: those behind the last fold's by the last one.
    dataset : Dataset or path
        Any dataset that has the runs' features, by name; targets aren't needed. A selection of
        eras, such as ``dataset.select(eras)``, restricts the predictions to these eras.
    out_path : path
        A file whose name ends in .csv or .parquet, rows in the dataset's order; it is there whole
        or not at all. What isn't a plain file (a device, a pipe, /dev/stdout) is written into, as
        CSV. The first column has the name that the ids have in the dataset's source, "id" where
        they are an index without a name.
    raw : bool
        Take the model's own output of the main target; by default its rank among the rows of its
        era, evenly spaced between 0 and 1, which is what Numerai expects.
    era : bool
        Write the era as a column between the two.
    progress : callable(rows done, rows), optional
        Rows count once for each run.

    Returns
    -------
    PredictReport

    Raises
    ------
    RunError
        There is no such run, or none is named; it has no model yet (or, a run of folds, isn't
        finished); its model's predictions aren't numbers; or the file can't be written.
    DatasetError
        The dataset has no ids, lacks some of the features, or has only eras from before the folds.
    ConfigError
        Features are missing in it, and the run doesn't say what they should become.
    BrokenPipeError
        What reads the pipe that is written into has ended.
    """
    out_path = checked_path(out_path, RunError)
    require_tensorflow()
    file = prediction_file(Path(out_path))
    is_in_stdout = file.is_stdout
    folders = [run_dirs] if isinstance(run_dirs, str | os.PathLike) else run_dirs
    runs = [open_run(user_path(folder)) for folder in folders]
    if not runs:
        raise RunError("no run is named, expected the folder of one at least, such as runs/first")
    dataset = opened(dataset)
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
    # One model after another: eras are cheap to read again, several models may not fit.
    total, n_rows = np.zeros(chosen.n_rows), chosen.n_rows
    for number, (run, parts) in enumerate(zip(runs, parts_of_runs, strict=True)):

        def tell(done: int, _: int, before: int = number * n_rows) -> None:
            if progress is not None:
                progress(before + done, len(runs) * n_rows)

        first = 0
        for label, predictions in _predicted(parts, chosen, tell):
            values = _checked(predictions[:, 0], f"{run.path}: era {label!r} of {dataset.path}")
            total[first : first + len(values)] += values if raw else per_era_rank(values)
            first += len(values)
    total /= len(runs)
    written = total.astype(np.float32) if raw else total
    n_repeated = _write(file, chosen, written, with_era=era)
    return PredictReport(
        n_rows=n_rows,
        n_folds=sum(
            len(parts) for run, parts in zip(runs, parts_of_runs, strict=True) if run.folds
        ),
        left_out=tuple(label for label in dataset.eras if label not in by_all),
        n_repeated=n_repeated,
        n_outside=int(np.count_nonzero((written < 0) | (written > 1))),
        is_constant=bool(written.min() == written.max()),
        is_in_stdout=is_in_stdout,
    )


def _check_fits(run: Run, dataset: Dataset) -> None:
    """Raise an error if a dataset lacks what a run's model or the file of predictions needs."""
    try:
        dataset.feature_columns(run.record.features)
    except DatasetError as error:
        raise DatasetError(f"{run.path}: {error}") from None
    without_ids = [era for era in dataset.eras if "ids" not in dataset.entry(era).files]
    if without_ids:
        raise DatasetError(
            f"{dataset.path}: era {listed(without_ids, most=3)} has no ids, which the first column "
            "of the predictions is made of; convert again, with --id-column NAME if the column "
            "isn't called 'id'"
        )
    check_missing(dataset, run.record.fill_missing)


def _write(
    file: PredictionFile, dataset: Dataset, predictions: npt.NDArray[Any], *, with_era: bool
) -> int:
    """Write the predictions of all rows, in the dataset's order; return the repeated ids."""
    name = dataset.manifest.columns.get("id") or "id"
    if _UNNAMED_INDEX.fullmatch(name):
        name = "id"
    firsts = dataset.row_offsets
    alike: list[npt.NDArray[np.bytes_]] = []  # ids that must differ, if they are to name rows
    n_repeated = 0
    with file.writing(name, predictions.dtype, with_era=with_era) as writer:
        for era, low, high in zip(dataset.eras, firsts, firsts[1:], strict=False):
            ids = np.array(dataset[era].ids)
            texts = np.char.decode(ids, "utf-8").tolist()
            writer.write_era(era, texts, predictions[low:high])
            if with_era:
                n_repeated += _n_repeated([ids])
            else:
                alike.append(ids)
    return n_repeated + _n_repeated(alike)


def _n_repeated(ids: Sequence[npt.NDArray[np.bytes_]]) -> int:
    """Return how many of these ids have stood before."""
    if not ids:
        return 0
    ordered = np.sort(np.concatenate(ids))
    return int(np.count_nonzero(ordered[1:] == ordered[:-1]))


def _parts_of(run: Run, dataset: Dataset) -> list[tuple[Run, list[str]]]:
    """Return the runs whose models predict, each with its eras, in the dataset's order."""
    if not run.folds:
        _check_model(run, run)
        return [(run, list(dataset.eras))]
    if run.read_result() is None:
        raise RunError(
            f"{run.path}: not all of its {len(run.folds)} folds are trained; run `memmap-train "
            f"train {run.record.dataset} --run {run.path} --folds {run.record.asked_folds} "
            "--resume`"
        )
    by_fold = groupby(dataset.eras, lambda era: fold_of(era, run.folds))
    parts = [
        (open_run(run.fold_path(number + 1)), list(eras))
        for number, eras in by_fold
        if number is not None
    ]
    if not parts:
        raise DatasetError(
            f"{dataset.path}: all of its eras come before {run.folds[0].validation[0]!r}, the "
            "first that a fold predicts; expected later ones"
        )
    for part, _ in parts:
        _check_model(part, run)
    return parts


def _check_model(part: Run, run: Run) -> None:
    if not part.model_path.exists():
        folds = f" --folds {run.record.asked_folds}" if run.folds else ""
        is_finished = part.read_result() is not None
        why = "any more" if is_finished else "yet, since no epoch is finished"
        raise RunError(
            f"{part.path}: there is no model.keras {why}; run "
            f"`memmap-train train {run.record.dataset} --run {run.path}{folds} --resume`"
        )


def _predicted(
    parts: Sequence[tuple[Run, Sequence[str]]], dataset: Dataset, progress: Progress | None
) -> Iterator[tuple[str, Float32]]:
    """Yield every era with its predictions, one model after another."""
    n_before = 0
    for run, eras in parts:
        wanted = [era for era in eras if era in dataset.eras]
        if not wanted:
            continue
        part = dataset.select(wanted)
        predictor = _load(run)

        def tell(done: int, n_rows: int, before: int = n_before) -> None:
            if progress is not None:
                progress(before + done, dataset.n_rows)

        try:
            yield from predictor.predict(
                part, run.record.features, past_cache=is_past_cache(part), progress=tell
            )
        except tf.errors.OpError as error:
            raise RunError(f"{run.model_path}: the model fails: {describe_error(error)}") from error
        n_before += part.n_rows


def _load(run: Run) -> Predictor:
    """Load a run's model."""
    try:
        model = read_model(run.model_path, code_of(run))
    except ConfigError as error:
        raise RunError(str(error)) from error
    with user_code(f"{run.model_path}: the model fails"):
        return Predictor(model, run.record.fill_missing)


def per_era_rank(predictions: Float32) -> npt.NDArray[np.float64]:
    """Return the ranks of one era's predictions, evenly spaced between 0 and 1.

    Ties share their mean rank.

    >>> per_era_rank(np.array([0.3, 0.1, 0.2, 0.3], np.float32)).tolist()
    [0.75, 0.125, 0.375, 0.75]
    """
    ranks: npt.NDArray[np.float64] = (rankdata(predictions) - 0.5) / len(predictions)
    return ranks


def check_missing(dataset: Dataset, fill_missing: float | None) -> None:
    """Raise a ConfigError if features are missing and nothing says what they should become."""
    if fill_missing is not None or dataset.manifest.missing != "nan":
        return
    eras = [era for era in dataset.eras if dataset.entry(era).missing_features]
    if eras:
        raise ConfigError(
            f"{dataset.path}: features are missing (NaN) in {len(eras):,} eras: {listed(eras, 3)}; "
            "train with --set fill_missing=0.5, or convert without --missing nan"
        )


def _checked(values: Float32, where: str) -> Float32:
    if not np.isfinite(values).all():
        raise RunError(
            f"{where}: the model's predictions aren't numbers; train again with a lower "
            "learning_rate"
        )
    return values
