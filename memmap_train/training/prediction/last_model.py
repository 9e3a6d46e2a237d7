"""The models of a run that predict new eras: what they consist of, and what they return.

Takes a run; of a run of folds the last fold's model counts, which predicts all later eras, of a run
of seeds the model of each seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...arrays import Float32
from ...dataset.opening import open_dataset
from ...errors import ConfigError, MemmapTrainError, RunError
from ...runs.configuration.object_reference import user_code
from ...runs.lineage import code_of
from ...runs.run import Run, read_run
from ..models.numpy_operations import NumpyOperations, numpy_operations
from ..models.saved_configuration import argument_defaults, has_own_code
from ..models.user_models import read_model
from ..startup import require_tensorflow
from ..step import as_tensor
from .ensemble import check_model, check_trained, load
from .predictor import BLOCK_ROWS


@dataclass(frozen=True, slots=True)
class LastModel:
    """A model of a run that predicts new eras.

    Attributes
    ----------
    run : Run
        The run of the model: the whole one, or a seed of it, or the last fold of one of these.
    features : tuple of str
        The features that the model reads, in its order.
    fill_missing : float or None
        What a missing feature becomes; None: the middle, as `conversion` has it.
    operations : NumpyOperations
    content : bytes
        The file of the model; empty where operations do.
    modules : tuple of str
        The user's modules that may define its layers; empty where all layers are Keras's.
    defaults : dict of str to dict
        Default values of the arguments of the model's classes, see `saved_configuration`; empty
        where operations do.
    """

    run: Run
    features: tuple[str, ...]
    fill_missing: float | None
    operations: NumpyOperations
    content: bytes
    modules: tuple[str, ...]
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def last_models(run: Run) -> list[LastModel]:
    """Return the models of a run that predict new eras: several for a run of seeds.

    Raises
    ------
    RunError
        The run has no model yet, or it can't be opened.
    ConfigError
        Keras runs on another backend than TensorFlow.
    """
    require_tensorflow()
    check_trained(run)
    averaged = [read_run(path) for path in run.part_paths] if run.seeds else [run]
    return [_model_of(_last_part(each), run) for each in averaged]


def _last_part(run: Run) -> Run:
    """Return the last fold of a run of folds, or an ordinary run itself."""
    return read_run(run.part_paths[-1]) if run.part_paths else run


def _model_of(part: Run, run: Run) -> LastModel:
    """Return the model of an ordinary run, which may be a part of another one."""
    check_model(part, run)
    code = code_of(part)
    try:
        model = read_model(part.model_path, code)
    except ConfigError as error:
        raise RunError(str(error)) from error
    operations = numpy_operations(model)
    content, modules = b"", tuple(dict.fromkeys(name.partition(":")[0] for name in code))
    if operations.unknown:
        content = part.model_path.read_bytes()
    return LastModel(
        run=part,
        features=part.record.features,
        fill_missing=_fill_missing(part),
        operations=operations,
        content=content,
        modules=modules if content and has_own_code(content) else (),
        defaults=argument_defaults(content) if content else {},
    )


def _fill_missing(run: Run) -> float | None:
    """Return what a missing feature has become in training."""
    try:
        missing = open_dataset(run.record.dataset).manifest.missing
    except MemmapTrainError:  # it is gone
        return run.record.fill_missing
    return run.record.fill_missing if missing == "nan" else None


def outputs_of(last: LastModel, features: Float32, *, in_float32: bool = False) -> Float32:
    """Return a model's own outputs of the main target, as `predict.predict` has them.

    Parameters
    ----------
    last : LastModel
    features : ndarray of float32, shape (rows, features)
        NaN where a feature is missing and the run says what it becomes.
    in_float32 : bool
        Whether layers that compute in less compute in float32, as numpy operations do.

    Returns
    -------
    ndarray of float32, shape (rows,)
    """
    predictor = load(last.run, in_float32=in_float32 and bool(last.operations.mixed_precision))
    block = np.zeros((BLOCK_ROWS, features.shape[1]), np.float32)
    found = np.empty(len(features), np.float32)
    with user_code(f"{last.run.model_path}: the model fails"):
        for low in range(0, len(features), BLOCK_ROWS):
            rows = features[low : low + BLOCK_ROWS]
            block[: len(rows)] = rows
            found[low : low + len(rows)] = predictor.run(as_tensor(block)).numpy()[: len(rows), 0]
    return found
