from collections.abc import Collection
from datetime import date, timedelta
from string import ascii_lowercase
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memmap_train.dataset.eras import era_time
from memmap_train.errors import FoldError, MemmapTrainError
from memmap_train.runs.folds.embargo import automatic_embargo
from memmap_train.runs.folds.fold import Fold, fold_of
from memmap_train.runs.folds.folds import split, walk_forward
from tests.support.errors import refused

FRIDAY = date(2024, 1, 5)
ALIASES = {"target": "target_alpha_20"}


def labels(first: int, last: int) -> list[str]:
    return [f"{number:04}" for number in range(first, last + 1)]


def numbers(eras: Collection[str]) -> list[int]:
    return [int(era) for era in eras]


def refusal(*args: Any, **options: Any) -> str:
    """Return the one line with which `split` refuses."""
    with refused(FoldError) as caught:
        split(*args, **options)
    return str(caught.value)


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


def test_eras_without_labels_are_in_no_part_of_the_fold() -> None:
    eras = labels(1, 60)
    unlabelled = {"0003", "0040", "0058", "0060"}
    fold = split(eras, set(eras) - unlabelled, validation_eras=5)
    everything = fold.train + fold.embargo + fold.validation
    assert sorted(everything) == sorted(set(eras) - unlabelled)
    assert "0040" not in fold.train


@pytest.mark.parametrize(
    ("targets", "aliases", "last_train"),
    [
        ("target_alpha_20", {}, 148),
        ("target_alpha_60", {}, 140),
        ("target", ALIASES, 148),
        ("target", {"target": "target_ender_60"}, 140),
        ("target", {}, 140),
        ("target_20_other", {}, 140),
        (["target_alpha_20", "target_beta_60"], {}, 140),
        (["target", "target_beta_20"], ALIASES, 148),
        (["target_beta_20", "target"], {}, 140),
    ],
)
def test_the_automatic_embargo_follows_the_longest_horizon(
    targets: str | list[str], aliases: dict[str, str], last_train: int
) -> None:
    # Numerai trains on eras 1-148 and predicts from 157 on for 20 days, purging 149-156.
    eras = labels(1, 312)
    fold = split(eras, eras, validation_eras=labels(157, 312), targets=targets, aliases=aliases)
    assert fold.train == tuple(labels(1, last_train))
    assert fold.embargo == tuple(labels(last_train + 1, 156))
    assert fold.embargo_eras == 156 - last_train


def test_the_embargo_lies_on_both_sides_of_a_block_in_the_middle() -> None:
    eras = labels(1, 60)
    fold = split(eras, eras, validation_eras=labels(30, 33), targets="target_x_20")
    assert fold.train == tuple(labels(1, 21) + labels(42, 60))
    assert fold.embargo == tuple(labels(22, 29) + labels(34, 41))


def test_each_block_of_a_list_has_its_own_embargo() -> None:
    eras = labels(1, 60)
    fold = split(
        eras, eras, validation_eras=["0050", "0020"], embargo_eras=5, targets="target_x_20"
    )
    assert fold.validation == ("0020", "0050")
    assert fold.train == tuple(labels(1, 14) + labels(26, 44) + labels(56, 60))
    assert fold.embargo == tuple(labels(15, 19) + labels(21, 25) + labels(45, 49) + labels(51, 55))


def test_the_embargo_is_counted_in_numbers_where_eras_are_missing() -> None:
    eras = labels(1, 100)[::4]
    assert eras[-1] == "0097"
    fold = split(eras, eras, validation_eras=1, targets="target_x_20")
    assert fold.embargo == ("0089", "0093")
    assert fold.train[-1] == "0085"


@pytest.mark.parametrize("pattern", ["{:04}", "era{}", "{}", "era-{:07}"])
def test_labels_of_any_form_are_counted_by_the_number_at_their_end(pattern: str) -> None:
    eras = [pattern.format(number) for number in range(1, 60, 2)]
    fold = split(eras, eras, validation_eras=1, targets="target_x_20")
    assert fold.embargo == tuple(pattern.format(number) for number in (51, 53, 55, 57))


@pytest.mark.parametrize(
    "eras",
    [
        [f"week {letter}" for letter in ascii_lowercase],
        [f"{FRIDAY + timedelta(weeks=week):%Y%m%d}" for week in range(26)],
        [f"{FRIDAY + timedelta(weeks=week):%Y-%m-%d}" for week in range(26)],
    ],
    ids=["no number", "date in digits", "date with dashes"],
)
def test_labels_without_an_era_number_are_counted_by_position(eras: list[str]) -> None:
    fold = split(eras, eras, validation_eras=1, targets="target_x_20")
    assert fold.embargo == tuple(eras[-9:-1])


# -- eras that aren't weeks -----------------------------------------------------------------------


def days(
    n: int,
    *,
    step: int = 1,
    business: bool = True,
    form: str = "%Y-%m-%d",
    missing: Collection[int] = (),
) -> list[str]:
    """Return the labels of `n` days from a Friday on, with or without weekends."""
    candidates = (FRIDAY + timedelta(days=step * number) for number in range(4 * n))
    found = [day for day in candidates if not business or day.weekday() < 5]
    return [f"{day:{form}}" for number, day in enumerate(found[:n]) if number not in missing]


def calendar_days(first: str, last: str) -> float:
    """Return the number of days from one label to another."""
    start, end = era_time(first), era_time(last)
    assert start is not None
    assert end is not None
    return (end - start) / (24 * 60 * 60 * 10**9)


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%Y%m%d", "%Y-%m-%d 16:00:00", "era%Y/%m/%d"])
@pytest.mark.parametrize(
    ("target", "business", "n_eras", "n_days"),
    [
        ("target_x_20", True, 40, 56),
        ("target_x_60", True, 80, 112),
        ("target_x_30", True, 80, 112),
        ("target_x_120", True, 140, 196),
        ("target", True, 80, 112),
        ("target_x_20", False, 56, 56),
    ],
)
def test_the_automatic_embargo_of_daily_eras_counts_days(
    form: str, target: str, business: bool, n_eras: int, n_days: int
) -> None:
    eras = days(600, business=business, form=form)
    fold = split(eras, eras, validation_eras=50, targets=target)
    assert fold.embargo_eras == len(fold.embargo) == n_eras
    assert calendar_days(fold.train[-1], fold.validation[0]) > n_days
    middle = split(eras, eras, validation_eras=eras[300:320], targets=target)
    after = next(era for era in middle.train if era > eras[320])
    assert calendar_days(middle.validation[-1], after) > n_days


@given(
    missing=st.sets(st.integers(0, 399), max_size=200),
    step=st.sampled_from([1, 2, 3, 30]),
    weeks=st.sampled_from([("target_x_20", 8, 5), ("target_x_60", 16, 13)]),
)
def test_no_embargo_of_dates_is_shorter_than_its_weeks(
    missing: set[int], step: int, weeks: tuple[str, int, int]
) -> None:
    target, usual, least = weeks
    eras = days(400, step=step, business=step == 1, missing=missing)
    fold = split(eras, eras, validation_eras=3, targets=target)
    assert calendar_days(fold.train[-1], fold.validation[0]) > 7 * usual
    # The shortest one that isn't refused is long enough, too.
    said = refusal(eras, eras, validation_eras=3, targets=target, embargo_eras=-1)
    shortest = int(said.partition("expected ")[2].split()[0])
    fold = split(eras, eras, validation_eras=3, targets=target, embargo_eras=shortest)
    assert calendar_days(fold.train[-1], fold.validation[0]) > 7 * least


def test_eras_within_a_day_count_days() -> None:
    eras = [f"{day}T{hour:02}:30:00" for day in days(100) for hour in range(9, 16)]
    fold = split(eras, eras, validation_eras=7, targets="target_x_20")
    assert fold.embargo_eras == 7 * 40
    assert calendar_days(fold.train[-1], fold.validation[0]) > 56


def test_dates_among_other_eras_count_days() -> None:
    eras = ["0001", "0002", *days(200), "X"]
    fold = split(eras, eras[:-1], validation_eras=3, targets="target_x_20")
    assert fold.embargo_eras == 40


def test_a_short_embargo_of_daily_eras_is_refused() -> None:
    eras = days(400)
    for embargo in (8, 16, 24):
        message = refusal(eras, eras, embargo_eras=embargo, targets="target_x_20")
        assert "look up to 25 eras (5 weeks) ahead: expected 25 or more" in message
        assert '"auto" (40)' in message
    assert split(eras, eras, embargo_eras=25, targets="target_x_20").embargo_eras == 25
    short = split(eras, eras, targets="target_x_20", embargo_eras=1, allow_overlap=True)
    assert short.embargo_eras == 1


def test_folds_of_daily_eras_leave_out_days() -> None:
    eras = days(600)
    for fold in walk_forward(eras, eras, folds=4, targets="target_x_20"):
        assert len(fold.embargo) == 40
        assert calendar_days(fold.train[-1], fold.validation[0]) > 56


@pytest.mark.parametrize(("target", "usual"), [("target_x_20", 8), ("target_x_60", 16)])
def test_weekly_dates_count_weeks_even_where_some_are_missing(target: str, usual: int) -> None:
    weekly = [f"{FRIDAY + timedelta(weeks=week):%Y-%m-%d}" for week in range(100)]
    eras = [era for number, era in enumerate(weekly) if number not in (50, 90, 91)]
    for present in (weekly, [*eras, "X"]):
        fold = split(present, weekly, validation_eras=3, targets=target)
        assert len(fold.embargo) == fold.embargo_eras == usual


@pytest.mark.parametrize(
    ("eras", "target", "era_column", "reach", "notes"),
    [
        (labels(1, 50), "target_x_20", "era", 8, None),
        (labels(1, 50), "target", "era", 16, ["it is unknown how far 'target' looks ahead"]),
        (["era1", "eraX"], "target_x_60", "era", 16, None),
        (days(50, step=7), "target_x_20", "friday_date", 8, None),
        (
            [str(number) for number in range(50)],
            "responder_6",
            "date_id",
            16,
            ["'responder_6'", "60 business days", "eras such as '0' are assumed to be weeks",
             "set embargo_eras"],
        ),
        (
            [str(number) for number in range(50)],
            "target_x_20",
            "date_id",
            8,
            ["eras such as '0' are assumed to be weeks; set embargo_eras"],
        ),
        (["1704412800", "1704499200"], "target_x_20", "era", 8, ["are assumed to be weeks"]),
        (["05.01.2024", "08.01.2024"], "target_x_20", "era", 8, ["are assumed to be weeks"]),
        (days(200), "target_x_20", "date", 40, ["8 weeks for 'target_x_20' are up to 40 eras"]),
        (days(200), "y", "date", 80, ["unknown how far 'y'", "16 weeks for 'y' are up to 80"]),
    ],
)  # fmt: skip
def test_the_assumptions_of_the_automatic_embargo_are_reported(
    eras: list[str], target: str, era_column: str, reach: int, notes: list[str] | None
) -> None:
    found, note = automatic_embargo(eras, target, era_column=era_column)
    assert found == reach
    if notes is None:
        assert note is None
    else:
        assert note is not None
        assert all(part in note for part in notes)
        assert "\n" not in note


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


def test_unlabelled_eras_count_as_positions() -> None:
    eras = [f"week {letter}" for letter in ascii_lowercase]
    fold = split(eras, set(eras) - {"week x", "week y"}, validation_eras=1, targets="target_x_20")
    assert fold.embargo == tuple(f"week {letter}" for letter in "rstuvw")


def test_a_label_without_a_number_between_others_is_placed_by_position() -> None:
    eras = [*labels(1, 30), "X"]
    fold = split(eras, eras, validation_eras=["X"], targets="target_x_20")
    assert fold.embargo == tuple(labels(23, 30))


@pytest.mark.parametrize(
    ("targets", "aliases", "least"),
    [
        ("target_x_20", {}, 5),
        ("target_x_60", {}, 13),
        ("target_x", {}, 13),
        ("target", ALIASES, 5),
        (["target_x_20", "target_x_60"], {}, 13),
    ],
)
def test_an_embargo_that_lets_labels_overlap_is_refused(
    targets: str | list[str], aliases: dict[str, str], least: int
) -> None:
    eras = labels(1, 60)
    options: dict[str, Any] = {"targets": targets, "aliases": aliases}
    assert split(eras, eras, embargo_eras=least, **options).embargo_eras == least
    message = refusal(eras, eras, embargo_eras=least - 1, **options)
    assert f"embargo_eras is {least - 1}" in message
    assert f"expected {least} or more" in message
    assert "allow_overlap = true" in message
    is_unknown = targets == "target_x"
    assert ("it is unknown how far 'target_x' looks ahead" in message) == is_unknown
    assert (f"look up to {least} eras ahead" in message) != is_unknown
    permitted = split(eras, eras, embargo_eras=least - 1, allow_overlap=True, **options)
    assert len(permitted.embargo) == least - 1


def test_a_short_embargo_names_the_target_with_the_longest_horizon_and_its_alias() -> None:
    eras = labels(1, 60)
    aliases = {"target": "target_alpha_60"}
    message = refusal(
        eras, eras, embargo_eras=5, targets=["target_x_20", "target"], aliases=aliases
    )
    assert "'target' (= 'target_alpha_60')" in message
    assert "target_x_20" not in message


def test_an_embargo_of_0_can_be_allowed() -> None:
    eras = labels(1, 10)
    fold = split(eras, eras, validation_eras=2, embargo_eras=0, allow_overlap=True)
    assert (fold.train, fold.embargo) == (tuple(labels(1, 8)), ())


def test_a_negative_embargo_is_refused_even_if_overlap_is_allowed() -> None:
    eras = labels(1, 60)
    assert "embargo_eras is -1" in refusal(eras, eras, embargo_eras=-1, allow_overlap=True)


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


@pytest.mark.parametrize("wanted", [True, "none", 8.0])
def test_an_embargo_of_a_wrong_type_is_refused(wanted: Any) -> None:
    eras = labels(1, 60)
    said = refusal(eras, eras, embargo_eras=wanted)
    assert said == f'embargo_eras is {wanted!r}, expected a whole number, or "auto"'


def test_an_empty_list_of_validation_eras_is_refused() -> None:
    eras = labels(1, 60)
    assert "no validation eras are left" in refusal(eras, eras, validation_eras=[])


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


@given(
    present=st.sets(st.integers(1, 120), min_size=30),
    unlabelled=st.sets(st.integers(1, 120), max_size=20),
    reach=st.integers(5, 30),
    data=st.data(),
)
def test_train_eras_are_exactly_those_outside_the_embargo(
    present: set[int], unlabelled: set[int], reach: int, data: st.DataObject
) -> None:
    labelled = present - unlabelled
    validation = data.draw(st.sets(st.sampled_from(sorted(labelled)), min_size=1, max_size=4))
    far = {n for n in labelled if min(abs(n - other) for other in validation) > reach}
    eras, with_labels, wanted = (
        [f"{number:04}" for number in sorted(group)] for group in (present, labelled, validation)
    )
    options: dict[str, Any] = {
        "validation_eras": wanted,
        "embargo_eras": reach,
        "targets": "target_x_20",
    }
    if not far:
        assert "no train eras are left" in refusal(eras, with_labels, **options)
        return
    fold = split(eras, with_labels, **options)
    assert numbers(fold.train) == sorted(far)
    assert numbers(fold.validation) == sorted(validation)
    assert numbers(fold.embargo) == sorted(labelled - far - validation)


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
