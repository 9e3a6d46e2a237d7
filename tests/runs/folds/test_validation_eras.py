"""Tests of validation eras: by number, by share, by label and by range."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from memmap_train.runs.folds.folds import split
from tests.support.fold_eras import FRIDAY, days, labels, numbers, refusal


def test_the_last_fifth_is_the_default_validation() -> None:
    eras = labels(1, 100)
    fold = split(eras, eras)
    assert fold.validation == tuple(labels(81, 100))


def test_the_default_is_a_fifth_of_the_labelled_eras_and_at_least_one() -> None:
    eras = labels(1, 100)
    assert split(eras, labels(1, 50)).validation == tuple(labels(41, 50))
    few = ["0001", "0040", "0080"]
    assert split(few, few).validation == ("0080",)


def test_a_number_of_validation_eras_counts_only_those_with_labels() -> None:
    eras = labels(1, 60)
    labelled = [era for era in labels(1, 50) if era != "0049"]
    fold = split(eras, labelled, validation_eras=3)
    assert fold.validation == ("0047", "0048", "0050")


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("2024-02-01-2024-02-29", "2024-02-01", "2024-02-29"),
        ("2024-02-03 - 2024-02-04", None, None),  # a weekend
        ("2024-02-03 - 2024-02-05", "2024-02-05", "2024-02-05"),
        ("20240203-20240213", "2024-02-05", "2024-02-13"),
        ("2024-02-10-2024-12-31", "2024-02-12", "2024-03-14"),
        ("1999-01-01 - 1999-12-31", None, None),
        ("2024-02-10-2024-02-01", None, None),
        ("0001-0009", None, None),
    ],
)
def test_a_range_of_dates_may_begin_or_end_between_eras(
    wanted: str, first: str | None, last: str | None
) -> None:
    eras = days(50)
    options: dict[str, Any] = {
        "targets": "target_x_20",
        "embargo_eras": 0,
        "allow_overlap": True,
    }
    if first is None or last is None:
        assert "aren't in the dataset" in refusal(eras, eras, validation_eras=wanted, **options)
        return
    fold = split(eras, eras, validation_eras=wanted, **options)
    assert fold.validation == tuple(eras[eras.index(first) : eras.index(last) + 1])


def test_the_last_date_of_a_range_includes_the_whole_day() -> None:
    eras = [f"{day}T{hour:02}:30:00" for day in days(10) for hour in (9, 15)]
    wanted = "2024-01-09 - 2024-01-10"
    fold = split(eras, eras, validation_eras=wanted, embargo_eras=0, allow_overlap=True)
    assert fold.validation == tuple(era for era in eras if era[8:10] in ("09", "10"))


def test_unknown_validation_eras_are_refused_with_the_nearest_label() -> None:
    eras = labels(1, 60)
    message = refusal(eras, eras, validation_eras=["0059", "059", "0061"])
    assert "'0061', '059'" in message
    assert "did you mean" in message
    assert "'0059'," not in message


def test_validation_eras_without_labels_are_refused() -> None:
    eras = labels(1, 60)
    message = refusal(
        eras, labels(1, 50), validation_eras=["0050", "0055"], targets=["target_x_20"]
    )
    assert "'target_x_20' has no labels: '0055'" in message
    assert "'0001' to '0050'" in message


def test_unknown_and_unlabelled_validation_eras_are_reported_in_one_error() -> None:
    message = refusal(labels(1, 60), labels(1, 50), validation_eras=["0055", "X"])
    assert "'0055'" in message
    assert "'X'" in message


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.29, labels(72, 100)), (0.2, labels(81, 100)), (0.001, ["0100"])],
)
def test_a_share_selects_the_last_labelled_eras_and_at_least_one(
    share: float, expected: list[str]
) -> None:
    eras = labels(1, 110)
    assert split(eras, labels(1, 100), validation_eras=share).validation == tuple(expected)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    assert f"validation_eras is {share}" in refusal(
        labels(1, 60), labels(1, 60), validation_eras=share
    )


def test_a_range_selects_all_labelled_eras_between_its_ends() -> None:
    eras = labels(1, 100)
    labelled = set(eras) - {"0032"}
    fold = split(
        eras,
        labelled,
        validation_eras=["0070-0072", "0090", "0030 - 0033"],
        targets="target_x_20",
    )
    assert fold.validation == ("0030", "0031", "0033", "0070", "0071", "0072", "0090")
    near = {n + d for n in (30, 31, 33, 70, 71, 72, 90) for d in range(-8, 9)}
    assert numbers(fold.train) == [n for n in range(1, 101) if n not in near | {32}]
    assert split(eras, eras, validation_eras="0099-0100").validation == ("0099", "0100")


def test_labels_with_dashes_work_in_ranges_and_are_no_ranges_themselves() -> None:
    eras = [f"{FRIDAY + timedelta(weeks=week):%Y-%m-%d}" for week in range(30)]
    fold = split(eras, eras, validation_eras=f"{eras[20]}-{eras[22]}", targets="target_x_20")
    assert fold.validation == tuple(eras[20:23])
    assert split(eras, eras, validation_eras=[eras[29]]).validation == (eras[29],)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("0040-0030", "the range '0040-0030' is reversed: write '0030-0040'"),
        ("0030-0099", "aren't in the dataset: '0099'"),
        (["0001", "29-0099"], "aren't in the dataset: '0099', '29'; did you mean"),
        (["a-b-c"], "aren't in the dataset: 'a-b-c'"),
        ("0051-0053", "in the range '0051-0053' 'target' has no labels"),
    ],
)
def test_an_impossible_range_is_refused(wanted: str | list[str], said: str) -> None:
    assert said in refusal(labels(1, 60), labels(1, 50), validation_eras=wanted)


def test_one_validation_era_may_be_given_by_itself() -> None:
    eras = ["1", "2", "12"]
    fold = split(eras, eras, validation_eras="12", embargo_eras=5, targets="target_x_20")
    assert fold.validation == ("12",)


@pytest.mark.parametrize("wanted", [0, -1, 61])
def test_an_impossible_number_of_validation_eras_is_refused(wanted: int) -> None:
    eras = labels(1, 60)
    message = refusal(eras, eras, validation_eras=wanted)
    assert f"validation_eras is {wanted}" in message
    assert "60 eras" in message


def test_numbers_of_numpy_are_numbers_of_eras_and_shares() -> None:
    eras = labels(1, 60)
    wanted: Any
    for wanted in (6, np.int64(6), 0.1, np.float32(0.1), np.array(eras[-6:])):
        assert split(eras, eras, validation_eras=wanted).validation == tuple(eras[-6:])
    reach: Any = np.int64(20)
    assert split(eras, eras, validation_eras=6, embargo_eras=reach).embargo_eras == 20


@pytest.mark.parametrize("wanted", [True, object(), [["0050"]]])
def test_validation_eras_of_a_wrong_type_are_refused(wanted: Any) -> None:
    eras = labels(1, 60)
    assert "expected a number of eras, a share" in refusal(eras, eras, validation_eras=wanted)


def test_an_empty_list_of_validation_eras_is_refused() -> None:
    eras = labels(1, 60)
    assert "no validation eras are left" in refusal(eras, eras, validation_eras=[])
