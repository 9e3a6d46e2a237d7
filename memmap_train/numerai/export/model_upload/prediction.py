"""The function that Numerai's runner calls.

Takes what the models are, as plain values; returns the function. A description is a dict::

    models      a list of dicts: features [names], fill_missing, and either operations and output,
                or keras_file (the bytes of a .keras file), classes {name: class} and defaults
                (see `keras_file.opened_model`)
    runs        a list: how many of the models each run has, in order
    neutralize  None, or a dict: features [names], proportion
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .frame import (
    MIDDLE,
    blocks,
    column_places,
    decoded,
    floats_of,
    holds_codes,
    rows_of_eras,
    with_ids,
)
from .keras_file import opened_model, outputs_of
from .neutral import residual
from .operations import run_operations
from .ranks import mean_ranks, uniform_ranks

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt


def make_predict(upload: dict[str, Any]) -> Callable[..., Any]:
    """Return the function of a model upload.

    The function has an attribute `raw_outputs`, which returns the models' own outputs: float32,
    shape (rows, models).
    """

    # The runner counts the parameters, those with a default too, and passes the benchmarks.
    def predict(live_features: Any, live_benchmark_models: Any = None) -> Any:
        """Return a DataFrame with the index `id` and the column `prediction`, within (0, 1)."""
        del live_benchmark_models
        outputs = predict.raw_outputs(live_features)  # type: ignore[attr-defined]
        return with_ids(live_features, _ranked(outputs, live_features, upload))

    predict.raw_outputs = lambda frame: raw_outputs(upload["models"], frame)  # type: ignore[attr-defined]
    return predict


def raw_outputs(models: list[dict[str, Any]], frame: Any) -> npt.NDArray[np.float32]:
    """Return the main output of each model for each row, float32, shape (rows, models)."""
    found = np.empty((len(frame), len(models)), np.float32)
    for number, model in enumerate(models):
        run = _runner(model)
        places = column_places(frame, model["features"])
        missing = MIDDLE if model["fill_missing"] is None else model["fill_missing"]
        are_codes = holds_codes(frame, places)
        for low, block in blocks(frame, places, are_codes=are_codes, missing=missing):
            found[low : low + len(block), number] = run(block)[:, 0]
    if not np.isfinite(found).all():
        raise ValueError("a model's outputs aren't numbers")
    return found


def _runner(model: dict[str, Any]) -> Callable[[npt.NDArray[np.float32]], Any]:
    """Return the forward pass of a model."""
    if "keras_file" in model:
        opened = opened_model(model["keras_file"], model["classes"], model["defaults"])
        return lambda block: outputs_of(opened, block)
    return lambda block: run_operations(model["operations"], model["output"], block)


def _ranked(
    outputs: npt.NDArray[np.float32], frame: Any, upload: dict[str, Any]
) -> npt.NDArray[np.float64]:
    """Return the mean of the runs' ranks within each era, neutral to features if wanted."""
    found, neutralize = np.empty(len(frame)), upload["neutralize"]
    if neutralize is not None:
        places = column_places(frame, neutralize["features"])
        are_codes = holds_codes(frame, places)
    for rows in rows_of_eras(frame):
        ranks = mean_ranks(outputs[rows], upload["runs"])
        if neutralize is not None and np.ptp(ranks):
            features = decoded(floats_of(frame, rows, places), are_codes=are_codes, missing=MIDDLE)
            ranks = uniform_ranks(residual(ranks, features, neutralize["proportion"]))
        found[rows] = ranks
    return found
