"""`predict`: every row of a dataset predicted by the models of runs, in memory or into a file.

Takes runs and a dataset, checks both before TensorFlow is imported, and returns `Predictions`, or
the report of the file into which they are written.
"""

import os
from collections.abc import Sequence

from ...arguments import flag
from ...dataset.selection import Selection
from ...errors import RunError
from ...progress import ProgressOption, reporting
from ...runs.folds.selection import DatasetOrPath, opened
from ...runs.run import Run, read_run
from ...system.paths import checked_path, user_paths
from ..startup import import_tensorflow
from .neutralization import check_features, neutralization, neutralized
from .prediction_file import prediction_file
from .predictions import Predictions, PredictReport, check_ids

RunOrPath = str | os.PathLike[str]
"""A run's folder; a `TrainedRun` stands for its own."""


def named_runs(runs: RunOrPath | Sequence[RunOrPath]) -> list[Run]:
    """Return the runs that are named; a RunError if one isn't there, or none is named."""
    found = [read_run(folder) for folder in user_paths(runs)]
    if not found:
        raise RunError("no run is named, expected the folder of one at least, such as runs/first")
    return found


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
        it belongs to (see `fold.fold_of`), which wasn't trained on it or on eras near it; eras
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
    found_runs = named_runs(runs)
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
    check_ids(found)
    predictions = predict(
        runs, found, raw=raw, neutralize=neutralize, proportion=proportion, progress=progress
    )
    return predictions.write(file, era=era)
