"""Predictions of the rows of a dataset, in memory, and in a file as Numerai accepts it.

Takes a dataset and a number for each of its rows, which `predict` makes; writes CSV or parquet, and
reports why Numerai wouldn't take the file. Needs no TensorFlow.
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
from ...errors import DatasetError, RunError, listed
from ...system.paths import checked_path
from ...text import counted
from .prediction_file import PredictionFile, prediction_file

_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")  # how pandas writes one to parquet
_log = logging.getLogger("memmap_train")


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
        check_ids(self.dataset)
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
        check_ids(self.dataset)
        file = prediction_file(checked_path(path, RunError))
        if file.plain is not None and file.plain.suffix.lower() != suffix:
            raise RunError(
                f"{file.path}: the predictions can't be written: expected a name that ends in "
                f"{suffix}"
            )
        for objection in self.write(file, era=era).objections:
            _log.warning("%s: %s", file.path, objection)


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


def check_ids(dataset: Dataset) -> None:
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
