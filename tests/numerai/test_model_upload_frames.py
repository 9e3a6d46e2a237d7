"""Live frames of all kinds, as Numerai's runner might pass them."""

import inspect
import io
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from memmap_train.numerai.export.model_upload import frame as frames
from memmap_train.numerai.export.model_upload.arrays import packed
from memmap_train.numerai.export.model_upload.neutral import pivoted_cholesky, residual
from memmap_train.numerai.export.model_upload.prediction import make_predict
from memmap_train.numerai.export.model_upload.ranks import uniform_ranks
from memmap_train.runs.scores import metrics
from memmap_train.runs.scores.neutral import to_rank
from memmap_train.runs.scores.neutralizer import Neutralizer

NAMES = [f"feature_{letter}" for letter in "abcdef"]
GENERATOR_SEED = [22]


def codes(n_rows: int, n_features: int = len(NAMES)) -> NDArray[np.int8]:
    found = np.random.default_rng(GENERATOR_SEED).integers(0, 5, (n_rows, n_features))
    return found.astype(np.int8)


def live(n_rows: int = 30, eras: tuple[str, ...] = ("X",)) -> pd.DataFrame:
    """Return a live frame: eras that alternate, features, targets and an index `id`."""
    found = pd.DataFrame(codes(n_rows), columns=NAMES)
    found.insert(0, "era", [eras[row % len(eras)] for row in range(n_rows)])
    found["target"] = np.float32("nan")
    found.index = pd.Index([f"n{row:04}" for row in range(n_rows)], name="id")
    return found


def linear(names: list[str], weights: list[float], fill: float | None = None) -> dict[str, Any]:
    """Return the description of a model that is a weighted sum."""
    kernel = packed(np.array(weights, np.float32)[:, None])
    operation = ("dense", (0,), 1, {"kernel": kernel})
    return {"features": names, "fill_missing": fill, "operations": [operation], "output": 1}


def upload(*models: dict[str, Any], neutralize: Any = None) -> Any:
    runs = [1] * len(models)
    return make_predict({"models": list(models), "runs": runs, "neutralize": neutralize})


MODEL = linear(["feature_e", "feature_a", "feature_c"], [1.0, 0.31, -0.173])


def expected_raw(frame: pd.DataFrame) -> NDArray[np.float32]:
    x = frame[["feature_e", "feature_a", "feature_c"]].to_numpy(np.float32) / 4
    found: NDArray[np.float32] = x @ np.array([1.0, 0.31, -0.173], np.float32)
    return found


def test_predictions_are_ranks_of_a_frame_with_the_index_id() -> None:
    frame = live()
    found = upload(MODEL)(frame)
    assert type(found) is pd.DataFrame
    assert found.index.name == "id"
    assert list(found.columns) == ["prediction"]
    assert found.index.tolist() == frame.index.tolist()
    np.testing.assert_allclose(found["prediction"], metrics.uniform_ranks(expected_raw(frame)))


def test_the_runner_counts_two_parameters_and_benchmarks_change_nothing() -> None:
    predict, frame = upload(MODEL), live()
    assert list(inspect.signature(predict).parameters) == [
        "live_features",
        "live_benchmark_models",
    ]
    benchmarks = pd.DataFrame({"v53_lgbm": 0.5}, index=frame.index[::-1][:7])
    pd.testing.assert_frame_equal(predict(frame, benchmarks), predict(frame, None))


class OwnFrame(pd.DataFrame):
    @property
    def _constructor(self) -> Any:
        return OwnFrame


@pytest.mark.parametrize(
    "changed",
    [
        lambda f: f[sorted(f.columns, reverse=True)],
        lambda f: f.assign(feature_new=1, other="text"),
        lambda f: f.astype(dict.fromkeys(NAMES, "int64")),
        lambda f: f.astype(dict.fromkeys(NAMES, "Int8")),
        lambda f: f.astype(dict.fromkeys(NAMES, "float64")),
        lambda f: f.assign(**{name: f[name] / 4 for name in NAMES}),
        lambda f: f.astype(dict.fromkeys(NAMES, "object")),
        lambda f: f.astype({"feature_a": "float32", "feature_e": "Int16"}),
        lambda f: f.drop(columns=["era", "target"]),
        lambda f: f.rename_axis(None),
        lambda f: f.reset_index(),
        lambda f: f.astype({"era": "category"}),
        lambda f: f.astype(dict.fromkeys(NAMES, pd.ArrowDtype(pa.int8()))),
        lambda f: f.convert_dtypes(dtype_backend="pyarrow"),
        lambda f: f.astype(dict.fromkeys(NAMES, "category")),
        lambda f: f.astype(dict.fromkeys(NAMES, "float16")),
        lambda f: pd.concat([f, f[["era", "feature_a"]].assign(feature_a=3)], axis=1),
        lambda f: f.set_index("era", append=True),
        lambda f: f.set_index("era", append=True).swaplevel(),
        lambda f: f.assign(era=None),
        lambda f: f.set_axis(pd.CategoricalIndex(f.columns), axis=1),
        OwnFrame,
    ],
)
def test_columns_of_any_kind_in_any_order_give_the_same(changed: Any) -> None:
    plain = live()
    frame = changed(plain)
    before = frame.copy()
    found = upload(MODEL)(frame)
    pd.testing.assert_frame_equal(found, upload(MODEL)(plain))
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("kind", ["float64", "Int8", "object", "int8[pyarrow]"])
@pytest.mark.parametrize("fill", [None, 0.25])
def test_a_missing_feature_is_the_middle_or_what_the_run_says(kind: str, fill: Any) -> None:
    frame = live()
    filled = frame.copy()
    frame = frame.astype({"feature_a": kind})
    frame.loc[frame.index[3], "feature_a"] = None
    filled.loc[filled.index[3], "feature_a"] = 2 if fill is None else 1
    model = MODEL | {"fill_missing": fill}
    assert upload(model).raw_outputs(frame).tolist() == upload(model).raw_outputs(filled).tolist()


def test_all_features_missing_are_all_in_the_middle() -> None:
    frame = live(3)
    frame[NAMES] = np.nan
    raw = upload(MODEL).raw_outputs(frame)
    np.testing.assert_allclose(raw, 0.5 * (1 + 0.31 - 0.173), rtol=1e-6)


@pytest.mark.parametrize("nothing", [None, np.nan, pd.NA])
def test_a_feature_without_any_value_is_in_the_middle(nothing: Any) -> None:
    raw = upload(MODEL).raw_outputs(live().assign(feature_a=nothing))
    assert raw.tolist() == upload(MODEL).raw_outputs(live().assign(feature_a=2)).tolist()


def test_a_frame_without_rows_gives_one_without_rows() -> None:
    found = upload(MODEL)(live().iloc[:0])
    assert (len(found), list(found.columns), found.index.name) == (0, ["prediction"], "id")


def test_ids_that_come_twice_are_kept() -> None:
    frame = live().set_axis(pd.Index(["n1", "n2"] * 15, name="id"), axis=0)
    assert upload(MODEL)(frame).index.tolist() == frame.index.tolist()


def test_what_the_runner_writes_is_a_submission() -> None:
    """The steps of Numerai's runner, from the parquet file to the CSV file."""
    frame, predict = live(30, ("1", "2")), upload(MODEL)
    file = io.BytesIO()
    frame.to_parquet(file)
    frame = pd.read_parquet(file)
    assert len(inspect.signature(predict).parameters) == 2
    for benchmarks in (None, pd.DataFrame({"v53_lgbm": 0.5}, frame.index)):
        found = predict(frame, benchmarks)
        assert type(found) is pd.DataFrame
        assert not found.isna().any().any()
        assert found.iloc[:, 0].between(0, 1).all()
        lines = found.to_csv(index=True).splitlines()
        assert lines[0] == "id,prediction"
        assert [line.partition(",")[0] for line in lines[1:]] == frame.index.tolist()


def test_each_era_is_ranked_alone_whatever_the_order_of_rows() -> None:
    frame = live(31, ("0901", "0902", "0903"))
    found = upload(MODEL)(frame)["prediction"]
    for era in ("0901", "0902", "0903"):
        rows = (frame["era"] == era).to_numpy()
        np.testing.assert_allclose(found[rows], metrics.uniform_ranks(expected_raw(frame[rows])))
    without = frame.assign(era=[None if era == "0903" else era for era in frame["era"]])
    pd.testing.assert_series_equal(upload(MODEL)(without)["prediction"], found)


def test_rows_pass_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = live(50)
    whole = upload(MODEL)(frame)
    monkeypatch.setattr(frames, "BLOCK_ROWS", 7)
    pd.testing.assert_frame_equal(upload(MODEL)(frame), whole)


def test_several_models_are_the_mean_of_their_ranks() -> None:
    frame = live(40, ("1", "2"))
    other = linear(["feature_b", "feature_d"], [1.0, 0.2])
    both = upload(MODEL, other)(frame)["prediction"]
    mean = (upload(MODEL)(frame)["prediction"] + upload(other)(frame)["prediction"]) / 2
    pd.testing.assert_series_equal(both, mean)
    assert both.gt(0).all()
    assert both.lt(1).all()


def test_one_row_and_equal_outputs_lie_in_the_middle() -> None:
    assert upload(MODEL)(live(1))["prediction"].tolist() == [0.5]
    constant = linear(["feature_a"], [0.0])
    assert set(upload(constant)(live(9))["prediction"]) == {0.5}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda f: f.drop(columns="feature_a"), "lacks 1 of the 3 features .* 'feature_a'"),
        (lambda f: f.assign(feature_a=5), "aren't codes 0 to 4"),
        (lambda f: f.assign(feature_a=-1), "aren't codes 0 to 4"),
        (lambda f: f.assign(feature_a=0.5), "aren't codes 0 to 4"),
        (lambda f: f.assign(**dict.fromkeys(NAMES, 0.5)).assign(feature_a=-np.inf), "infinite"),
    ],
)
def test_what_is_no_live_frame_is_an_error_that_says_so(changed: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        upload(MODEL)(changed(live()))


def test_outputs_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(ValueError, match="aren't numbers"):
        upload(linear(["feature_a"], [float("nan")]))(live())


@given(
    values=hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-2, 2, width=16)),
)
def test_ranks_are_those_of_the_package(values: NDArray[np.float32]) -> None:
    found = uniform_ranks(values)
    np.testing.assert_allclose(found, metrics.uniform_ranks(values), rtol=1e-15)
    assert found.min() > 0
    assert found.max() < 1


@given(
    shape=st.tuples(st.integers(3, 60), st.integers(1, 90)),
    kind=st.sampled_from(["codes", "floats", "collinear", "constant"]),
    proportion=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 999),
)
def test_residuals_are_those_of_the_package(
    shape: tuple[int, int], kind: str, proportion: float, seed: int
) -> None:
    generator = np.random.default_rng([seed])
    features: NDArray[Any] = generator.integers(0, 5, shape).astype(np.int8)
    if kind == "floats":
        features = generator.normal(size=shape).astype(np.float32)
    elif kind == "collinear":
        features = features[:, generator.integers(0, shape[1], 3 * shape[1])]
    elif kind == "constant":
        features[:, ::2] = 2
    ranks = uniform_ranks(generator.normal(size=shape[0]))
    neutralizer = Neutralizer(features)
    expected = neutralizer.residual(ranks[:, None], proportion)[:, 0]
    # Three ranks may lie on a line with one feature.
    is_explained = neutralizer.n_independent >= shape[0] - 1 or np.ptp(expected) < 1e-9
    if is_explained and proportion == 1:
        with pytest.raises(ValueError, match="explain the predictions"):
            residual(ranks, features, proportion)
        return
    np.testing.assert_allclose(
        residual(ranks, features, proportion), to_rank(expected), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("n", [1, 63, 64, 65, 200])
def test_the_factor_of_a_matrix_makes_the_matrix_again(n: int) -> None:
    generator = np.random.default_rng([n])
    root = generator.normal(size=(n, n))
    covariance = root @ root.T
    factor, order = pivoted_cholesky(covariance.copy(), 1e-12)
    assert sorted(order) == list(range(n))
    np.testing.assert_allclose(factor @ factor.T, covariance[order][:, order], atol=1e-9 * n * n)
    assert (np.diff(factor.diagonal()) < 1e-9).all()
    low_rank = root[:, :1] @ root[:, :1].T
    assert len(pivoted_cholesky(low_rank, 1e-9)[1]) == 1


def test_each_era_is_made_neutral_to_features_and_ranked_again() -> None:
    frame = live(60, ("1", "2"))
    chosen = ["feature_b", "feature_e"]
    neutral = {"features": chosen, "proportion": 0.7}
    found = upload(MODEL, neutralize=neutral)(frame)["prediction"].to_numpy()
    for era in ("1", "2"):
        rows = (frame["era"] == era).to_numpy()
        ranks = metrics.uniform_ranks(expected_raw(frame[rows]))[:, None]
        rest = Neutralizer(frame.loc[rows, chosen].to_numpy()).residual(ranks, 0.7)
        expected = metrics.uniform_ranks(to_rank(rest[:, 0]))
        np.testing.assert_allclose(found[rows], expected)
    plain = upload(MODEL)(frame)["prediction"].to_numpy()
    assert not np.allclose(found, plain, atol=0.05)
