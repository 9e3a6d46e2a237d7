"""`export`: a self-contained model upload for Numerai, tried before it is there.

Takes runs; writes a pickle of numpy code and weights, which needs neither this package nor
TensorFlow, unless a model has layers that only Keras can compute. The pickle is loaded and run in
an isolated process, and its models' own outputs are compared with those of the runs.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...arguments import flag
from ...dataset.manifest_file import enclosing_dataset
from ...dataset.opening import open_dataset
from ...dataset.selection import Selection
from ...errors import ExportError, MemmapTrainError, RunError
from ...progress import ProgressOption, reporting
from ...runs.files import replacing
from ...runs.run import Run
from ...runs.run_folder import enclosing_run
from ...system.paths import checked_path, user_path
from ...training.prediction.neutralization import neutralization
from ...training.prediction.predict import RunOrPath, named_runs
from ...training.startup import import_tensorflow
from .comparison import compare
from .images import check_can_try, find_python, make_environment
from .live_rows import LiveRows, make_live
from .model_upload.arrays import packed
from .report import ExportReport
from .trial import cloudpickle_folder, make_pickle, try_pickle

if TYPE_CHECKING:
    from ...training.prediction.last_model import LastModel

SUFFIXES = (".pkl", ".pickle")


def export(
    runs: RunOrPath | Sequence[RunOrPath],
    out_path: str | os.PathLike[str],
    *,
    neutralize: Selection = None,
    proportion: float | None = None,
    live: str | os.PathLike[str] | None = None,
    python: str | None = None,
    image: bool = False,
    progress: ProgressOption = None,
) -> ExportReport:
    """Write a model upload for Numerai: a pickled function ``predict(live_features)``.

    It predicts as `predict` does: the mean of the models' ranks within each era, made neutral to
    features if wanted. Of a run of folds the last fold's model predicts, of a run of seeds those of
    all seeds together.

    Parameters
    ----------
    runs : run, path of a run's folder, or sequence of such
    out_path : path
        A file whose name ends in .pkl or .pickle. It is there only if the trial has succeeded.
    neutralize, proportion
        The same as for `predict`; a feature set is that of the dataset which the first run was
        trained on.
    live : path, optional
        Numerai's live.parquet, which the upload is tried on; by default 7,000 rows are made.
    python : str, optional
        The version of Python that is to load it, such as "3.12"; by default this one. A pickle of
        another version ends Numerai's process with a segmentation fault.
    image : bool
        Try it in an environment with the versions of numpy and pandas that Numerai's image has.
        It is installed into a temporary folder.
    progress : bool or callable(what, done, total), optional
        The same as for `predict`: with the steps that are done.

    Returns
    -------
    ExportReport

    Raises
    ------
    RunError
        There is no such run, or it has no model yet; or the file can't be written.
    ExportError
        There is no Python of this version; or the trial fails, needs more time or memory than
        Numerai gives, or has other outputs than the run.
    SourceError, DatasetError, ConfigError
        The live file, the dataset or an option isn't what it should be.
    DependencyError
        The extra `numerai` isn't installed.
    """
    out, image = _checked_out(out_path), flag("image", image)
    found_runs = named_runs(runs)
    neutral = _neutral_features(found_runs[0], neutralize, proportion)
    cloudpickle_folder()
    version, interpreter = find_python(python)
    rows = None if live is None else LiveRows(user_path(live))
    import_tensorflow()
    from ...training.prediction.last_model import last_models  # needs TensorFlow

    with reporting(progress) as report, _temporary_folder() as folder:
        of_runs = [last_models(run) for run in found_runs]
        models = [model for of_run in of_runs for model in of_run]
        wanted = _features_of(models, neutral)
        if rows is not None:
            rows.check_names(wanted)
        keras_layers = _keras_layers(models)
        needs_keras = bool(keras_layers)
        tester = interpreter
        if image:
            report("making the image's environment", 0, 4)
            tester = make_environment(version, interpreter, folder / "env", needs_keras=needs_keras)
        check_can_try(version, tester, needs_keras=needs_keras)
        report("exporting", 1, 4)
        description = _description(of_runs, neutral)
        pickled = _pickled(description, models, (interpreter, tester), folder, version)
        report("trying", 2, 4)
        if rows is None:
            make_live(folder / "live.parquet", _all_features(found_runs[0], wanted))
            rows = LiveRows(folder / "live.parquet")
        trial = try_pickle(pickled, rows.path, tester, folder, needs_keras=needs_keras)
        report("comparing", 3, 4)
        compared = compare(models, rows, trial.raw)
        _move(pickled, out)
        report("trying", 4, 4)
    return ExportReport(
        path=str(out_path),
        n_bytes=out.stat().st_size,
        python=version,
        n_models=len(models),
        keras_layers=keras_layers,
        live=None if live is None else str(live),
        n_rows=rows.n_rows,
        n_features=len({name for model in models for name in model.features}),
        seconds=trial.seconds,
        peak_bytes=trial.peak_bytes,
        largest_difference=compared.largest_difference,
        mixed_precision=compared.mixed_precision,
        rank_correlation=compared.rank_correlation,
        versions=trial.versions,
    )


def _checked_out(out_path: str | os.PathLike[str]) -> Path:
    """Return the path of the upload; raise an error if nothing can be written there."""
    out = checked_path(out_path, RunError)
    what = f"{out}: the upload can't be written there"
    if out.suffix.lower() not in SUFFIXES:
        raise RunError(f"{what}: expected a name that ends in .pkl")
    if out.is_dir():
        raise RunError(f"{what}: it is a folder; name a file in it")
    if not out.parent.is_dir():
        raise RunError(f"{what}: there is no folder {str(out.parent)!r}; make it first")
    if not os.access(out.parent, os.W_OK):
        raise RunError(f"{what}: the folder can't be written to; choose another one")
    if enclosing_run(out) is not None:
        raise RunError(f"{what}: it is a run's folder; choose another one")
    dataset = enclosing_dataset(out)
    if dataset is not None:
        raise RunError(f"{what}: it lies in the dataset {dataset}; choose another folder")
    return out


def _neutral_features(
    run: Run, features: Selection, proportion: float | None
) -> dict[str, Any] | None:
    """Return what predictions are made neutral to, as `model_upload` has it."""
    wanted = neutralization(features, proportion, raw=False)
    if wanted is None:
        return None
    try:
        dataset = open_dataset(run.record.dataset)
    except MemmapTrainError as error:
        raise ExportError(
            f"{run.path}: the features to neutralise are looked up in its dataset: {error}"
        ) from error
    columns = dataset.feature_columns(
        wanted.features if isinstance(wanted.features, str) else list(wanted.features)
    )
    names = dataset.feature_names
    chosen = names if columns is None else [names[column] for column in columns]
    return {"features": list(chosen), "proportion": wanted.proportion}


def _pickled(
    description: dict[str, Any],
    models: Sequence["LastModel"],
    interpreters: tuple[str, str],
    folder: Path,
    version: str,
) -> Path:
    """Return a pickle of the models; `interpreters` are one of the version, and the tester."""
    modules = tuple(dict.fromkeys(name for model in models for name in model.modules))
    # The user's modules import Keras, which the tester has.
    pickler = interpreters[1] if modules else interpreters[0]
    return make_pickle(description, modules, pickler, folder, version=version)


def _description(
    of_runs: Sequence[Sequence["LastModel"]], neutral: dict[str, Any] | None
) -> dict[str, Any]:
    """Return what `model_upload.prediction.make_predict` takes, for the models of each run."""
    found = []
    for model in (model for of_run in of_runs for model in of_run):
        values: dict[str, Any] = {
            "features": list(model.features),
            "fill_missing": model.fill_missing,
        }
        if model.operations.unknown:
            values |= {"keras_file": model.content, "classes": {}, "defaults": model.defaults}
        else:
            values["operations"] = [
                (name, reads, writes, {key: _plain(value) for key, value in parameters.items()})
                for name, reads, writes, parameters in model.operations.operations
            ]
            values["output"] = model.operations.output
        found.append(values)
    return {"models": found, "runs": [len(of_run) for of_run in of_runs], "neutralize": neutral}


def _plain(value: Any) -> Any:
    return packed(value) if isinstance(value, np.ndarray) else value


def _keras_layers(models: Sequence["LastModel"]) -> tuple[str, ...]:
    """Return the layers that only Keras can compute, each once."""
    return tuple(dict.fromkeys(name for model in models for name in model.operations.unknown))


def _features_of(models: Sequence["LastModel"], neutral: dict[str, Any] | None) -> list[str]:
    """Return the features that an upload reads."""
    others = neutral["features"] if neutral else ()
    return list(dict.fromkeys([*(name for model in models for name in model.features), *others]))


def _all_features(run: Run, wanted: Sequence[str]) -> list[str]:
    """Return the features of made rows: all of the dataset, as a live file has them."""
    try:
        names = open_dataset(run.record.dataset).feature_names
    except MemmapTrainError:  # it is gone: the run's own features do
        names = ()
    return list(dict.fromkeys([*names, *wanted]))


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Yield a temporary folder."""
    try:
        with tempfile.TemporaryDirectory(prefix="memmap-train-export-") as folder:
            yield Path(folder)
    except OSError as error:
        if isinstance(error, MemmapTrainError):
            raise
        raise ExportError(
            f"no upload can be made in {tempfile.gettempdir()}: {error.strerror}; set TMPDIR to a "
            "folder with free space"
        ) from error


def _move(pickled: Path, out: Path) -> None:
    """Copy the upload to its place, whole or not at all."""
    try:
        with replacing(out) as temporary:
            shutil.copyfile(pickled, temporary)
    except OSError as error:
        raise RunError(f"{out}: the upload can't be written: {error.strerror}") from error
