"""The model of a run that predicts new eras: what it consists of, and what it returns.

Takes a run; of a run of folds the last fold's model counts, which predicts all later eras.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arrays import Float32
from ..dataset.dataset import open_dataset
from ..errors import ConfigError, MemmapTrainError, RunError
from ..runs.lineage import code_of
from ..runs.object_reference import user_code
from ..runs.run import Run, read_run
from .ensemble import check_folds, check_model, load
from .numpy_operations import NumpyOperations, numpy_operations
from .predictor import BLOCK_ROWS
from .saved_configuration import argument_defaults, has_own_code
from .startup import require_tensorflow
from .step import as_tensor
from .user_models import read_model


@dataclass(frozen=True, slots=True)
class LastModel:
    """The model of a run that predicts new eras.

    Attributes
    ----------
    run : Run
        The run, or its last fold.
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


def last_model(run: Run) -> LastModel:
    """Return the model of a run that predicts new eras.

    Raises
    ------
    RunError
        The run has no model yet, or it can't be opened.
    ConfigError
        Keras runs on another backend than TensorFlow.
    """
    require_tensorflow()
    part = run
    if run.folds:
        check_folds(run)
        part = read_run(run.fold_path(len(run.folds)))
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
    """Return a model's own outputs of the main target, as `predictions.predict` has them.

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
