"""Data frames of predictions are scored as files of the same rows are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import memmap_train as mt
from memmap_train.errors import ArgumentError, SourceError
from tests.support.errors import refused
from tests.support.scoring_data import predictions_frame

pytest_plugins = ["tests.support.scoring_fixtures"]


class Stream:
    """A frame of some other library: its columns come by Arrow's interface alone."""

    def __init__(self, frame: pd.DataFrame) -> None:
        strings = pa.Table.from_pandas(frame.reset_index(), preserve_index=False)
        types = [
            pa.field(field.name, pa.string_view() if field.name == "id" else field.type)
            for field in strings.schema
        ]
        self._table = strings.cast(pa.schema(types))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.fixture
def predictions(frame: pd.DataFrame) -> pd.DataFrame:
    return predictions_frame(frame)


@pytest.mark.parametrize(
    "made",
    [
        lambda f: f,
        lambda f: f.rename_axis(None),
        lambda f: f.reset_index(),
        lambda f: f.drop(columns="era"),
        lambda f: f.reset_index()[["prediction", "id"]],
        lambda f: f.astype({"era": "category"}),
        lambda f: f.sample(frac=1, random_state=3),
        lambda f: pa.Table.from_pandas(f),
        lambda f: pa.Table.from_pandas(f).combine_chunks().to_batches()[0],
        Stream,
    ],
    ids=[
        "index",
        "index without a name",
        "column",
        "no eras",
        "only a column",
        "categories",
        "shuffled",
        "Arrow table",
        "Arrow batch",
        "another library",
    ],
)
def test_a_frame_is_scored_as_its_file_is(
    scored_dataset: Path,
    predictions: pd.DataFrame,
    tmp_path: Path,
    made: Callable[[pd.DataFrame], Any],
) -> None:
    predictions.to_csv(tmp_path / "predictions.csv")
    of_file, of_frame = mt.evaluate(
        {"file": tmp_path / "predictions.csv", "frame": made(predictions)}, scored_dataset
    ).models
    assert (of_frame.name, of_frame.path, of_frame.kind) == ("frame", None, "predictions")
    assert of_frame.eras == of_file.eras
    found, expected = of_frame.by_target["target"], of_file.by_target["target"]
    assert np.isfinite(expected.corr).any()
    for score in ("corr", "mmc", "bmc", "fnc"):
        np.testing.assert_array_equal(getattr(found, score), getattr(expected, score))


def test_frames_get_names_and_their_notes(scored_dataset: Path, predictions: pd.DataFrame) -> None:
    some = predictions[predictions["era"] >= "0006"]
    evaluation = mt.evaluate([predictions, some], scored_dataset)
    assert [model.name for model in evaluation.models] == ["predictions", "predictions (2)"]
    assert any("6 of 11 eras" in note for note in evaluation.models[1].notes)
    assert mt.evaluate(some, scored_dataset).models[0].eras == evaluation.models[1].eras


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda f: f.reset_index(drop=True), "predictions: no column of ids: expected 'id'"),
        (lambda f: f[["era"]], "predictions: no column 'prediction', and no column of numbers"),
        (lambda f: f.assign(prediction="x"), "the predictions, column 'prediction', are text"),
        (lambda f: f.assign(prediction=np.nan), "row 1: the prediction (column 'prediction') is"),
        (lambda f: f.assign(prediction=np.inf), "is infinite"),
        (lambda f: f[:0], "predictions: there are no rows"),
        (lambda f: pd.concat([f, f]), "rows with the id of another row"),
        (lambda f: f.assign(prediction=[{}, *[1] * (len(f) - 1)]), "predictions can't be read"),
        (lambda f: f["prediction"], "predictions"),
    ],
    ids=range(9),
)
def test_a_frame_of_something_else_is_one_line(
    scored_dataset: Path,
    predictions: pd.DataFrame,
    made: Callable[[pd.DataFrame], Any],
    said: str,
) -> None:
    with refused(SourceError, said):
        mt.evaluate(made(predictions), scored_dataset)


def test_what_is_no_frame_is_refused(scored_dataset: Path) -> None:
    with refused(ArgumentError, "a model is", "data frame"):
        mt.evaluate([np.zeros(3)], scored_dataset)
    with refused(ArgumentError, "a data frame of them"):
        mt.evaluate(3, scored_dataset)
