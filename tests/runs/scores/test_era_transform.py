"""Targets of an era as ranks, normally distributed ranks, or residuals to a benchmark."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from memmap_train.runs.configuration.target_transforms import TargetTransform
from memmap_train.runs.scores.era_transform import residual, transformed_era

Array = npt.NDArray[np.float64]
TEXTS = [
    "rank",
    "gaussian",
    "residual:a",
    "residual:a+gaussian",
    "gaussian+residual:b",
    "residual:a+residual:b+rank",
]


def era(
    seed: int, n_rows: int = 200, n_targets: int = 2
) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.float32]]]:
    """Return targets with holes, and two benchmarks with holes that are correlated with them."""
    generator = np.random.default_rng([3, seed])
    targets = generator.choice([0, 0.25, 0.5, 0.75, 1], (n_rows, n_targets)).astype(np.float32)
    benchmarks = {}
    for name in ("a", "b"):
        values = 0.5 + 0.1 * targets[:, 0] + 0.1 * generator.normal(size=n_rows)
        values[generator.random(n_rows) < 0.1] = np.nan
        benchmarks[name] = values.astype(np.float32)
    targets[generator.random(targets.shape) < 0.2] = np.nan
    return targets, benchmarks


def by_hand(text: str, target: Array, benchmarks: dict[str, npt.NDArray[np.float32]]) -> Array:
    """Return one target after a transform, as a textbook has it."""
    for name in ("a", "b"):
        if f"residual:{name}" in text:
            target = np.where(np.isnan(benchmarks[name]), np.nan, target)
    for step in text.split("+"):
        known = ~np.isnan(target)
        found = np.full(len(target), np.nan)
        if step.startswith("residual:"):
            benchmark = benchmarks[step.removeprefix("residual:")].astype(np.float64)
            known &= ~np.isnan(benchmark)
            x = np.column_stack([np.ones(known.sum()), benchmark[known]])
            solution = np.linalg.lstsq(x, target[known], rcond=None)[0]
            found[known] = target[known] - x @ solution
        else:
            ranks = (rankdata(target[known]) - 0.5) / known.sum()
            found[known] = ranks if step == "rank" else norm.ppf(ranks)
        target = found
    return target


@pytest.mark.parametrize(
    "text", ["rank", "gaussian", "residual:a", "gaussian+residual:b", "residual:a+residual:b"]
)
def test_targets_become_what_a_textbook_says(text: str) -> None:
    targets, benchmarks = era(1)
    found = transformed_era(TargetTransform.parse(text), targets, benchmarks)
    assert found.dtype == np.float32
    assert found.shape == targets.shape
    assert found.flags.c_contiguous
    for column, target in enumerate(targets.T):
        expected = by_hand(text, target.astype(np.float64), benchmarks)
        assert 100 < np.isfinite(expected).sum() < len(target)
        np.testing.assert_allclose(found[:, column], expected, atol=1e-6)


@pytest.mark.parametrize("text", ["residual:a+gaussian", "residual:b+rank"])
def test_equal_residuals_share_a_rank_in_spite_of_rounding(text: str) -> None:
    targets, benchmarks = era(2, n_rows=400)
    benchmarks = {name: np.round(values, 1) for name, values in benchmarks.items()}
    found = transformed_era(TargetTransform.parse(text), targets, benchmarks)[:, 0]
    pairs = np.column_stack([targets[:, 0], benchmarks[text[len("residual:")]]])
    known = ~np.isnan(pairs).any(axis=1)
    _, which = np.unique(pairs[known], axis=0, return_inverse=True)
    assert len(np.unique(found[known])) <= which.max() + 1 < known.sum() / 4
    for value in range(which.max() + 1):
        assert len(np.unique(found[known][which == value])) == 1


def test_steps_are_applied_from_left_to_right() -> None:
    targets, benchmarks = era(3)
    one = transformed_era(TargetTransform.parse("residual:a+gaussian"), targets, benchmarks)
    other = transformed_era(TargetTransform.parse("gaussian+residual:a"), targets, benchmarks)
    assert np.nanmax(np.abs(one - other)) > 0.1
    in_steps = transformed_era(TargetTransform.parse("residual:a"), targets, benchmarks)
    in_steps = transformed_era(TargetTransform.parse("gaussian"), in_steps, {})
    np.testing.assert_allclose(one, in_steps, atol=1e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_the_order_of_rows_doesnt_matter(text: str) -> None:
    targets, benchmarks = era(4)
    order = np.random.default_rng([5]).permutation(len(targets))
    transform = TargetTransform.parse(text)
    moved = transformed_era(transform, targets[order], {n: v[order] for n, v in benchmarks.items()})
    np.testing.assert_allclose(
        moved, transformed_era(transform, targets, benchmarks)[order], atol=1e-6
    )


@pytest.mark.parametrize("text", TEXTS)
def test_rows_without_label_or_benchmark_are_unlabelled_and_change_nothing(text: str) -> None:
    targets, benchmarks = era(6)
    transform = TargetTransform.parse(text)
    found = transformed_era(transform, targets, benchmarks)
    unknown = np.isnan(targets)
    for name in transform.benchmarks:
        unknown |= np.isnan(benchmarks[name])[:, None]
    np.testing.assert_array_equal(np.isnan(found), unknown)
    for column in range(targets.shape[1]):
        rows = ~unknown[:, column]
        of_rows = {name: values[rows] for name, values in benchmarks.items()}
        alone = transformed_era(transform, targets[rows][:, [column]], of_rows)
        np.testing.assert_allclose(alone[:, 0], found[rows, column], atol=1e-6)


@pytest.mark.parametrize("text", TEXTS)
def test_an_era_without_labels_or_with_one_is_no_error(text: str) -> None:
    transform = TargetTransform.parse(text)
    benchmarks = {"a": np.ones(3, np.float32), "b": np.arange(3, dtype=np.float32)}
    nothing = transformed_era(transform, np.full((3, 2), np.nan), benchmarks)
    assert np.isnan(nothing).all()
    one = transformed_era(transform, np.array([[np.nan], [0.25], [np.nan]]), benchmarks)
    assert one[1, 0] == (0.5 if text.endswith("rank") else 0)
    empty = transformed_era(transform, np.empty((0, 1)), {"a": np.empty(0), "b": np.empty(0)})
    assert empty.shape == (0, 1)


@given(
    seed=st.integers(0, 1000),
    n_rows=st.integers(3, 60),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e6]),
    offset=st.sampled_from([0.0, 0.5, 1e3]),
)
def test_a_residual_has_nothing_in_common_with_the_benchmark(
    seed: int, n_rows: int, scale: float, offset: float
) -> None:
    generator = np.random.default_rng([8, seed])
    target = generator.choice([0, 0.25, 0.5, 0.75, 1], n_rows)
    benchmark = scale * (offset + generator.random(n_rows))
    rest = residual(target, benchmark)
    x = benchmark - benchmark.mean()
    assert abs(rest.mean()) < 1e-9
    assert abs(rest @ x) <= 1e-9 * np.linalg.norm(x) * np.sqrt(n_rows)
    assert rest.var() <= target.var() + 1e-12


def test_a_residual_to_a_constant_benchmark_is_the_centred_target() -> None:
    target = np.array([0.0, 0.25, 1.0])
    np.testing.assert_allclose(residual(target, np.full(3, 0.1)), target - target.mean())


def test_what_a_benchmark_explains_whole_leaves_no_rounding_errors_to_be_ranked() -> None:
    target = np.random.default_rng([9]).random(50)
    assert not residual(target, 0.3 - 0.7 * target).any()
    ranks = transformed_era(
        TargetTransform.parse("residual:a+gaussian"), target[:, None], {"a": target}
    )
    assert not ranks.any()


def test_the_mean_of_transformed_targets_is_known_beforehand() -> None:
    targets, benchmarks = era(10, n_rows=2000)
    for text in ("none", *TEXTS):
        transform = TargetTransform.parse(text)
        found = transformed_era(transform, targets, benchmarks)
        assert np.nanmean(found) == pytest.approx(transform.mean, abs=0.02), text
