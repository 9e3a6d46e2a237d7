"""Tests of the embargo: how far it reaches, in eras and in days, and on which sides."""

from datetime import timedelta
from string import ascii_lowercase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.dataset.eras import era_time
from memmap_train.runs.folds.embargo import automatic_embargo
from memmap_train.runs.folds.folds import split, walk_forward
from tests.support.fold_eras import FRIDAY, days, labels, numbers, refusal

ALIASES = {"target": "target_alpha_20"}


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


@pytest.mark.parametrize("wanted", [True, "none", 8.0])
def test_an_embargo_of_a_wrong_type_is_refused(wanted: Any) -> None:
    eras = labels(1, 60)
    said = refusal(eras, eras, embargo_eras=wanted)
    assert said == f'embargo_eras is {wanted!r}, expected a whole number, or "auto"'


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
