"""Tests of folds: what is trained on and what is validated, and folds that walk forward."""

from datetime import timedelta
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memmap_train.errors import FoldError, MemmapTrainError
from memmap_train.runs.folds.fold import Fold, fold_of
from memmap_train.runs.folds.folds import split, walk_forward
from tests.support.fold_eras import FRIDAY, labels, numbers, refusal


def test_eras_without_labels_are_in_no_part_of_the_fold() -> None:
    eras = labels(1, 60)
    unlabelled = {"0003", "0040", "0058", "0060"}
    fold = split(eras, set(eras) - unlabelled, validation_eras=5)
    everything = fold.train + fold.embargo + fold.validation
    assert sorted(everything) == sorted(set(eras) - unlabelled)
    assert "0040" not in fold.train


def test_a_fold_without_train_eras_is_refused_with_the_counts() -> None:
    eras = labels(1, 20)
    message = refusal(eras, eras, validation_eras=4)
    assert "no train eras are left" in message
    assert "4 eras are for validation and 16 lie within 16 eras" in message


def test_a_target_without_labels_is_refused() -> None:
    assert "'target_x_20' has labels in none of the 60 eras" in refusal(
        labels(1, 60), [], targets=["target_x_20"]
    )


@pytest.mark.parametrize(
    "parts",
    [
        (("1", "2"), ("2", "3"), ()),
        (("1", "2"), ("3",), ("2",)),
        (("1",), ("3",), ("3",)),
        (("1", "1"), ("3",), ()),
    ],
)
def test_a_fold_whose_parts_share_an_era_is_refused(
    parts: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]],
) -> None:
    with pytest.raises(FoldError, match="share no era"):
        Fold(*parts, embargo_eras=0)


def test_a_fold_error_is_ours_and_a_value_error() -> None:
    assert issubclass(FoldError, MemmapTrainError)
    assert issubclass(FoldError, ValueError)


# -- walking forward ------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "purged"), [("target_x_20", 8), ("target_x_60", 16)])
def test_numerai_folds_are_the_windows_of_its_benchmark_models(target: str, purged: int) -> None:
    eras = labels(1, 700)
    folds = walk_forward(eras, eras, folds="numerai", targets=target)
    found = [(numbers(fold.train), numbers(fold.validation)) for fold in folds]
    assert found == [
        (list(range(1, end + 1 - purged)), list(range(end + 1, min(end + 156, 700) + 1)))
        for end in (156, 312, 468, 624)
    ]
    assert folds[0].embargo == tuple(labels(157 - purged, 156))


def test_numerai_folds_without_train_eras_are_left_out() -> None:
    eras = labels(575, 900)
    (first, second) = walk_forward(eras, eras, folds="numerai", targets="target_x_20")
    assert (first.train[0], first.train[-1], first.validation[0]) == ("0575", "0616", "0625")
    assert (second.validation[0], second.validation[-1]) == ("0781", "0900")
    with pytest.raises(FoldError, match="no window of 156 eras has eras to train on before it"):
        walk_forward(labels(1, 150), labels(1, 150), folds="numerai")


def test_numerai_folds_of_labels_without_numbers_count_positions() -> None:
    eras = [f"{FRIDAY + timedelta(weeks=week):%Y-%m-%d}" for week in range(200)]
    (fold,) = walk_forward(eras, eras, folds="numerai", targets="target_x_20")
    assert (fold.train, fold.validation) == (tuple(eras[:148]), tuple(eras[156:]))


def test_rolling_folds_have_the_chosen_number_of_eras_or_all() -> None:
    eras = labels(1, 700)
    folds = walk_forward(eras, eras, folds="numerai", rolling_eras=200, targets="target_x_20")
    assert [len(fold.train) for fold in folds] == [148, 200, 200, 200]
    assert [fold.train[-1] for fold in folds] == ["0148", "0304", "0460", "0616"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folds": 0}, "the folds are 0, expected 1 or more"),
        ({"folds": 52}, "at most 51"),
        (
            {"folds": 3, "rolling_eras": 0},
            "rolling_eras: expected a whole number, 1 or more, found 0",
        ),
        ({"folds": "numeral"}, "the folds are 'numeral', expected a whole number, or 'numerai'"),
        ({"folds": True}, "the folds are True"),
        ({"folds": 3, "embargo_eras": 4}, "embargo_eras is 4"),
    ],
)
def test_impossible_folds_are_refused(options: dict[str, Any], said: str) -> None:
    eras = labels(1, 60)
    with pytest.raises(FoldError, match=said):
        walk_forward(eras, eras, targets="target_x_20", **options)
    assert len(walk_forward(eras, eras, folds=51, targets="target_x_20")) == 51


@settings(max_examples=50)
@given(
    first=st.integers(1, 200),
    n_eras=st.integers(40, 350),
    spacing=st.sampled_from([1, 1, 4]),
    absent=st.sets(st.integers(1, 600), max_size=20),
    unlabelled=st.sets(st.integers(1, 600), max_size=20),
    kind=st.integers(1, 8) | st.just("numerai"),
    reach=st.integers(5, 20),
    rolling=st.none() | st.integers(1, 300),
)
def test_walk_forward_folds_cover_every_later_era_once_in_order(
    first: int,
    n_eras: int,
    spacing: int,
    absent: set[int],
    unlabelled: set[int],
    kind: int | Literal["numerai"],
    reach: int,
    rolling: int | None,
) -> None:
    present = [n for n in range(first, first + n_eras * spacing, spacing) if n not in absent]
    labelled = [n for n in present if n not in unlabelled]
    eras, with_labels = ([f"{n:04}" for n in group] for group in (present, labelled))
    options: dict[str, Any] = {
        "rolling_eras": rolling,
        "embargo_eras": reach,
        "targets": "target_x_20",
    }
    if kind == "numerai":
        starts = {(n - 1) // 156: n for n in reversed(labelled)}.values()
        possible = any(labelled[0] < start - reach for start in starts)
    else:
        possible = len(labelled) - reach > kind
    if not possible:
        with pytest.raises(FoldError):
            walk_forward(eras, with_labels, folds=kind, **options)
        return
    folds = walk_forward(eras, with_labels, folds=kind, **options)
    # Every predicted era once, in order, and none left out behind the first.
    predicted = [era for fold in folds for era in fold.validation]
    assert predicted == with_labels[-len(predicted) :]
    if kind == "numerai":
        windows = [{(n - 1) // 156 for n in numbers(fold.validation)} for fold in folds]
        assert all(len(window) == 1 for window in windows)
    else:
        assert len(folds) == kind
        assert len({len(fold.validation) for fold in folds}) == 1
    before: set[int] = set()
    for number, fold in enumerate(folds):
        train, validation = numbers(fold.train), numbers(fold.validation)
        assert validation[0] - train[-1] > reach
        far = [n for n in labelled if n < validation[0] - reach]
        assert train == (far if rolling is None else far[-rolling:])
        near = [n for n in labelled if validation[0] - reach <= n < validation[0]]
        assert numbers(fold.embargo) == near
        if rolling is None:
            assert before <= set(train)
            before = set(train)
        assert {fold_of(era, folds) for era in fold.validation} == {number}
    assert {fold_of(era, folds) for era in eras if era < predicted[0]} <= {None}
    assert fold_of("9999", folds) == len(folds) - 1
