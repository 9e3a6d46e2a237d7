"""Predictions of a dataset by the models of runs, in memory, and in a file as Numerai accepts it.

TensorFlow is imported when rows are predicted; a `Predictions` doesn't need it.
"""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arguments import flag
from ...dataset.dataset import Dataset
from ...dataset.ids import ID_COLUMN
from ...dataset.selection import Selection
from ...errors import DatasetError, RunError, listed
from ...progress import ProgressOption, reporting
from ...runs.folds.selection import DatasetOrPath, opened
from ...runs.run import read_run
from ...system.paths import checked_path, user_paths
from ...text import counted
from ..startup import import_tensorflow
from .neutralization import check_features, neutralization, neutralized
from .prediction_file import PredictionFile, prediction_file

_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")  # how pandas writes one to parquet
_log = logging.getLogger("memmap_train")

RunOrPath = str | os.PathLike[str]
"""A run's folder; a `TrainedRun` stands for its own."""


@dataclass(frozen=True, slots=True)
class PredictReport:
    """The report of a written file of predictions.

    Attributes
    ----------
    n_rows : int
        Rows of the file.
    n_folds : int
        Models of folds that had a part in it; 0 for an ordinary run.
    n_seeds : int
        Seeds that had a part in it; 0 unless there was a run of seeds.
    left_out : tuple of str
        Eras before those that the first fold predicts: the models of all folds were trained on
        them, or near them.
    n_repeated : int
        Rows whose id an earlier row has too; with the eras written, an earlier row of their era.
        Numerai takes every id once.
    n_outside : int
        Predictions outside 0 to 1, which Numerai doesn't take.
    is_constant : bool
        Whether all predictions are equal, which Numerai doesn't take.
    is_in_stdout : bool
        Whether they were written to this process's stdout.
    objections : tuple of str
        A sentence for each reason why Numerai wouldn't take the file.
    """

    n_rows: int
    n_folds: int
    left_out: tuple[str, ...]
    n_repeated: int
    n_outside: int
    is_constant: bool
    is_in_stdout: bool
    objections: tuple[str, ...] = ()
    n_seeds: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The predictions of all rows of a dataset, in its order.

    Attributes
    ----------
    dataset : Dataset
        The eras that are predicted.
    values : ndarray of float64 or float32, shape (rows,)
        Ranks between 0 and 1 within each era; or, in float32, the model's own output.
    n_folds : int
        Models of folds that had a part in it; 0 for an ordinary run.
    left_out : tuple of str
        Eras before those that the first fold predicts: the models of all folds were trained on
        them, or near them.
    n_seeds : int
        Seeds that had a part in it; 0 unless there was a run of seeds.
    """

    dataset: Dataset
    values: npt.NDArray[np.floating[Any]]
    n_folds: int = 0
    left_out: tuple[str, ...] = ()
    n_seeds: int = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    def __repr__(self) -> str:
        return (
            f"<Predictions of {counted(len(self), 'row')}, "
            f"{counted(len(self.dataset.eras), 'era')} of {str(self.dataset.path)!r}>"
        )

    @property
    def ids(self) -> npt.NDArray[np.str_]:
        """The ids of the rows, an array of text; read from the dataset.

        Raises
        ------
        DatasetError
            The dataset has no ids.
        """
        _check_ids(self.dataset)
        return np.concatenate(
            [np.char.decode(_ids_of(self.dataset, era), "utf-8") for era in self.dataset]
        )

    @property
    def eras(self) -> npt.NDArray[np.str_]:
        """The era of each row, an array of text."""
        return np.repeat(np.array(self.dataset.eras), self.dataset.rows_per_era)

    def to_csv(self, path: str | os.PathLike[str], *, era: bool = False) -> None:
        """Write a CSV file as Numerai accepts it: the columns ``id`` and ``prediction``.

        Parameters
        ----------
        path : path
            A name that ends in .csv; or a device or a pipe.
        era : bool
            Write the era as a column between the two.

        Raises
        ------
        RunError
            The file can't be written, or holds anything but predictions.
        DatasetError
            The dataset has no ids.

        Notes
        -----
        Why Numerai wouldn't take the file is logged as a warning.
        """
        self._write_as(".csv", path, era=era)

    def to_parquet(self, path: str | os.PathLike[str], *, era: bool = False) -> None:
        """Write a parquet file, with the same columns as `to_csv`."""
        self._write_as(".parquet", path, era=era)

    def write(self, file: PredictionFile, *, era: bool = False) -> PredictReport:
        """Write to a file that `prediction_file` has checked, in the format of its suffix."""
        n_repeated = _write(file, self.dataset, self.values, with_era=era)
        report = PredictReport(
            n_rows=len(self),
            n_folds=self.n_folds,
            n_seeds=self.n_seeds,
            left_out=self.left_out,
            n_repeated=n_repeated,
            n_outside=int(np.count_nonzero((self.values < 0) | (self.values > 1))),
            is_constant=bool(self.values.min() == self.values.max()),
            is_in_stdout=file.is_stdout,
        )
        return replace(report, objections=tuple(_objections(report, self.dataset, with_era=era)))

    def _write_as(self, suffix: str, path: str | os.PathLike[str], *, era: bool) -> None:
        era = flag("era", era)
        _check_ids(self.dataset)
        file = prediction_file(checked_path(path, RunError))
        if file.plain is not None and file.plain.suffix.lower() != suffix:
            raise RunError(
                f"{file.path}: the predictions can't be written: expected a name that ends in "
                f"{suffix}"
            )
        for objection in self.write(file, era=era).objections:
            _log.warning("%s: %s", file.path, objection)


def predict(
    runs: RunOrPath | Sequence[RunOrPath],
    dataset: DatasetOrPath,
    *,
    raw: bool = False,
    neutralize: Selection = None,
    proportion: float | None = None,
    progress: ProgressOption = None,
) -> Predictions:
    """Predict every row of a dataset with the models of runs.

    Parameters
    ----------
    runs : run, path of a run's folder, or sequence of such
        The best epoch's model of each run is used, with the features that it was trained on. The
        prediction of several runs is the mean of theirs, and that of a run of seeds the mean of
        those of its seeds. In a run of folds every era is predicted by the model of the fold that
        it belongs to (see `folds.fold_of`), which wasn't trained on it or on eras near it; eras
        after the last fold's by the last one.
    dataset : Dataset or path
        Any dataset that has the runs' features, by name; targets aren't needed. A selection of
        eras, such as ``dataset.select(eras)``, restricts the predictions to these eras.
    raw : bool
        Take the model's own output of the main target; by default its rank among the rows of its
        era, evenly spaced between 0 and 1, which is what Numerai expects.
    neutralize : str or sequence of str, optional
        Features that the predictions are made neutral to: a feature set of `dataset`, "all", or
        names. What these explain of an era's predictions in a least-squares fit is subtracted, and
        the rest is ranked again.
    proportion : float, optional
        The share of it that is subtracted, from 0 to 1; by default 1.
    progress : bool or callable(what, done, total), optional
        Whether to show how far the work is, or what to call instead (see `types.Progress`): with
        rows, which count once for each run or seed. By default it is shown in a terminal and in a
        notebook.

    Returns
    -------
    Predictions
        They take 8 bytes for each row, or with `raw` 4.

    Raises
    ------
    RunError
        There is no such run, or none is named; it has no model yet (or, a run of folds or
        seeds, isn't finished); or its model's predictions aren't numbers.
    DatasetError
        The dataset lacks some of the features, or has only eras from before the folds; or features
        to neutralise are missing, or explain the predictions of an era completely.
    ConfigError
        Features are missing in it, and the run doesn't say what they should become; or the
        proportion is outside 0 to 1.

    Notes
    -----
    Residuals equal those of ``numerai_tools.scoring.neutralize`` to 1e-6.
    """
    raw = flag("raw", raw)
    found_runs = [read_run(folder) for folder in user_paths(runs)]
    if not found_runs:
        raise RunError("no run is named, expected the folder of one at least, such as runs/first")
    wanted = neutralization(neutralize, proportion, raw=raw)
    found = opened(dataset)
    if wanted is not None:
        check_features(found, wanted)
    import_tensorflow()
    from .ensemble import predict_rows

    with reporting(progress) as report:
        chosen, values, counts = predict_rows(found_runs, found, raw=raw, progress=report)
        if wanted is not None:
            values = neutralized(chosen, values, wanted, progress=report)
    predicted = set(chosen.eras)
    left_out = tuple(era for era in found.eras if era not in predicted)
    return Predictions(chosen, values, counts.n_folds, left_out, counts.n_seeds)


def write_predictions(
    runs: RunOrPath | Sequence[RunOrPath],
    dataset: DatasetOrPath,
    out_path: str | os.PathLike[str],
    *,
    raw: bool = False,
    era: bool = False,
    neutralize: Selection = None,
    proportion: float | None = None,
    progress: ProgressOption = None,
) -> PredictReport:
    """Predict as `predict` does, and write the predictions to a file, which is checked first.

    Parameters
    ----------
    runs, dataset, raw, neutralize, proportion, progress
        The same as for `predict`.
    out_path : path
        A file whose name ends in .csv or .parquet, rows in the dataset's order; it is there whole
        or not at all. What isn't a plain file (a device, a pipe, /dev/stdout) is written into, as
        CSV. The first column has the name that the ids have in the dataset's source, "id" where
        they are an index without a name.
    era : bool
        Write the era as a column between the two.

    Returns
    -------
    PredictReport

    Raises
    ------
    RunError, DatasetError, ConfigError
        The same errors as `predict`; or the file can't be written, or the dataset has no ids.
    BrokenPipeError
        What reads the pipe that is written into has ended.
    """
    file = prediction_file(checked_path(out_path, RunError))
    found = opened(dataset)
    _check_ids(found)
    predictions = predict(
        runs, found, raw=raw, neutralize=neutralize, proportion=proportion, progress=progress
    )
    return predictions.write(file, era=era)


def _objections(report: PredictReport, dataset: Dataset, *, with_era: bool) -> Iterator[str]:
    """Yield the reasons for which Numerai would reject a file of predictions."""
    if report.n_repeated:
        where = " of their era" if with_era else ""
        yield (
            f"{report.n_repeated:,} rows have the id of another row{where}; Numerai takes every id "
            f"once (`memmap-train inspect {dataset.path} --features` names the eras that have an "
            "id twice)"
        )
    if report.n_outside:
        yield (
            f"{report.n_outside:,} predictions lie outside 0 to 1, which Numerai doesn't take; "
            "without --raw they are ranks between 0 and 1"
        )
    if report.is_constant:
        yield "all predictions are equal, which Numerai doesn't take"


def _check_ids(dataset: Dataset) -> None:
    """Raise an error if a dataset has no ids."""
    without_ids = [era for era in dataset.eras if "ids" not in dataset.entry(era).files]
    if without_ids:
        raise DatasetError(
            f"{dataset.path}: era {listed(without_ids, most=3)} has no ids, which the first column "
            "of the predictions is made of; convert again, with --id-column NAME if the column "
            "isn't called 'id'"
        )


def _ids_of(dataset: Dataset, era: str) -> npt.NDArray[np.bytes_]:
    return np.array(dataset[era].ids)


def _write(
    file: PredictionFile, dataset: Dataset, predictions: npt.NDArray[Any], *, with_era: bool
) -> int:
    """Write the predictions of all rows, in the dataset's order; return the repeated ids."""
    name = dataset.manifest.id_column
    if _UNNAMED_INDEX.fullmatch(name):
        name = ID_COLUMN
    firsts = dataset.row_offsets
    alike: list[npt.NDArray[np.bytes_]] = []  # ids that must differ, if they are to name rows
    n_repeated = 0
    with file.writing(name, predictions.dtype, with_era=with_era) as writer:
        for era, low, high in zip(dataset.eras, firsts, firsts[1:], strict=False):
            ids = _ids_of(dataset, era)
            texts = np.char.decode(ids, "utf-8").tolist()
            writer.write_era(era, texts, predictions[low:high])
            if with_era:
                n_repeated += _n_repeated([ids])
            else:
                alike.append(ids)
    return n_repeated + _n_repeated(alike)


def _n_repeated(ids: Sequence[npt.NDArray[np.bytes_]]) -> int:
    """Return the number of these ids that are repeated."""
    if not ids:
        return 0
    ordered = np.sort(np.concatenate(ids))
    return int(np.count_nonzero(ordered[1:] == ordered[:-1]))
