from datetime import date, timedelta
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.errors import FoldError, MemmapTrainError
from memmap_train.folds import Fold, split

FRIDAY = date(2024, 1, 5)
ALIASES = {"target": "target_alpha_20"}


def labels(first, last):
    return [f"{number:04}" for number in range(first, last + 1)]


def numbers(eras):
    return [int(era) for era in eras]


def refusal(*args, **options):
    """The one line with which `split` refuses."""
    with pytest.raises(FoldError) as caught:
        split(*args, **options)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


def test_the_last_fifth_is_validated_on_by_default():
    eras = labels(1, 100)
    fold = split(eras, eras)
    assert fold.validation == tuple(labels(81, 100))


def test_the_default_is_a_fifth_of_the_labelled_eras_and_at_least_one():
    eras = labels(1, 100)
    assert split(eras, labels(1, 50)).validation == tuple(labels(41, 50))
    few = ["0001", "0040", "0080"]
    assert split(few, few).validation == ("0080",)


def test_a_number_of_validation_eras_counts_only_those_with_labels():
    eras = labels(1, 60)
    labelled = [era for era in labels(1, 50) if era != "0049"]
    fold = split(eras, labelled, validation_eras=3)
    assert fold.validation == ("0047", "0048", "0050")


def test_eras_without_labels_are_in_no_part_of_the_fold():
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
def test_the_automatic_embargo_follows_the_longest_horizon(targets, aliases, last_train):
    # Numerai trains on eras 1-148 and predicts from 157 on for 20 days, purging 149-156.
    eras = labels(1, 312)
    fold = split(eras, eras, validation_eras=labels(157, 312), targets=targets, aliases=aliases)
    assert fold.train == tuple(labels(1, last_train))
    assert fold.embargo == tuple(labels(last_train + 1, 156))
    assert fold.embargo_eras == 156 - last_train


def test_the_embargo_lies_on_both_sides_of_a_block_in_the_middle():
    eras = labels(1, 60)
    fold = split(eras, eras, validation_eras=labels(30, 33), targets="target_x_20")
    assert fold.train == tuple(labels(1, 21) + labels(42, 60))
    assert fold.embargo == tuple(labels(22, 29) + labels(34, 41))


def test_each_block_of_a_list_has_its_own_embargo():
    eras = labels(1, 60)
    fold = split(
        eras, eras, validation_eras=["0050", "0020"], embargo_eras=5, targets="target_x_20"
    )
    assert fold.validation == ("0020", "0050")
    assert fold.train == tuple(labels(1, 14) + labels(26, 44) + labels(56, 60))
    assert fold.embargo == tuple(labels(15, 19) + labels(21, 25) + labels(45, 49) + labels(51, 55))


def test_the_embargo_is_counted_in_numbers_where_eras_are_missing():
    eras = labels(1, 100)[::4]
    assert eras[-1] == "0097"
    fold = split(eras, eras, validation_eras=1, targets="target_x_20")
    assert fold.embargo == ("0089", "0093")
    assert fold.train[-1] == "0085"


@pytest.mark.parametrize("pattern", ["{:04}", "era{}", "{}", "era-{:07}"])
def test_labels_of_any_form_are_counted_by_the_number_at_their_end(pattern):
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
def test_labels_without_an_era_number_are_counted_by_their_places(eras):
    fold = split(eras, eras, validation_eras=1, targets="target_x_20")
    assert fold.embargo == tuple(eras[-9:-1])


def test_unlabelled_eras_count_as_places_too():
    eras = [f"week {letter}" for letter in ascii_lowercase]
    fold = split(eras, set(eras) - {"week x", "week y"}, validation_eras=1, targets="target_x_20")
    assert fold.embargo == tuple(f"week {letter}" for letter in "rstuvw")


def test_a_label_without_a_number_between_others_is_placed_by_position():
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
def test_an_embargo_that_lets_labels_overlap_is_refused(targets, aliases, least):
    eras = labels(1, 60)
    options = {"targets": targets, "aliases": aliases}
    assert split(eras, eras, embargo_eras=least, **options).embargo_eras == least
    message = refusal(eras, eras, embargo_eras=least - 1, **options)
    assert f"embargo_eras is {least - 1}" in message
    assert f"expected {least} or more" in message
    assert "allow_overlap = true" in message
    permitted = split(eras, eras, embargo_eras=least - 1, allow_overlap=True, **options)
    assert len(permitted.embargo) == least - 1


def test_a_short_embargo_names_the_target_with_the_longest_horizon_and_its_alias():
    eras = labels(1, 60)
    aliases = {"target": "target_alpha_60"}
    message = refusal(
        eras, eras, embargo_eras=5, targets=["target_x_20", "target"], aliases=aliases
    )
    assert "'target' (= 'target_alpha_60')" in message
    assert "target_x_20" not in message


def test_no_embargo_at_all_can_be_had_on_purpose():
    eras = labels(1, 10)
    fold = split(eras, eras, validation_eras=2, embargo_eras=0, allow_overlap=True)
    assert (fold.train, fold.embargo) == (tuple(labels(1, 8)), ())


def test_a_negative_embargo_is_refused_even_if_overlap_is_allowed():
    eras = labels(1, 60)
    assert "embargo_eras is -1" in refusal(eras, eras, embargo_eras=-1, allow_overlap=True)


def test_unknown_validation_eras_are_refused_with_the_nearest_label():
    eras = labels(1, 60)
    message = refusal(eras, eras, validation_eras=["0059", "059", "0061"])
    assert "'0061', '059'" in message
    assert "did you mean" in message
    assert "'0059'," not in message


def test_validation_eras_without_labels_are_refused():
    eras = labels(1, 60)
    message = refusal(
        eras, labels(1, 50), validation_eras=["0050", "0055"], targets=["target_x_20"]
    )
    assert "'target_x_20' has no labels: '0055'" in message
    assert "'0001' to '0050'" in message


def test_unknown_and_unlabelled_validation_eras_are_told_in_one_error():
    message = refusal(labels(1, 60), labels(1, 50), validation_eras=["0055", "X"])
    assert "'0055'" in message
    assert "'X'" in message


def test_one_validation_era_may_be_given_by_itself():
    eras = ["1", "2", "12"]
    fold = split(eras, eras, validation_eras="12", embargo_eras=5, targets="target_x_20")
    assert fold.validation == ("12",)


@pytest.mark.parametrize("wanted", [0, -1, 61])
def test_an_impossible_number_of_validation_eras_is_refused(wanted):
    eras = labels(1, 60)
    message = refusal(eras, eras, validation_eras=wanted)
    assert f"validation_eras is {wanted}" in message
    assert "60 eras" in message


def test_an_empty_list_of_validation_eras_is_refused():
    eras = labels(1, 60)
    assert "no validation eras are left" in refusal(eras, eras, validation_eras=[])


def test_a_fold_without_train_eras_is_refused_with_the_counts():
    eras = labels(1, 20)
    message = refusal(eras, eras, validation_eras=4)
    assert "no train eras are left" in message
    assert "4 eras are for validation and 16 lie within 16 eras" in message


def test_a_target_without_labels_is_refused():
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
def test_a_fold_whose_parts_share_an_era_cannot_be_made(parts):
    with pytest.raises(FoldError, match="share no era"):
        Fold(*parts, embargo_eras=0)


def test_a_fold_error_is_ours_and_a_value_error():
    assert issubclass(FoldError, MemmapTrainError)
    assert issubclass(FoldError, ValueError)


@given(
    present=st.sets(st.integers(1, 120), min_size=30),
    unlabelled=st.sets(st.integers(1, 120), max_size=20),
    reach=st.integers(5, 30),
    data=st.data(),
)
def test_no_train_era_is_near_and_no_far_era_is_lost(present, unlabelled, reach, data):
    labelled = present - unlabelled
    validation = data.draw(st.sets(st.sampled_from(sorted(labelled)), min_size=1, max_size=4))
    far = {n for n in labelled if min(abs(n - other) for other in validation) > reach}
    eras, with_labels, wanted = (
        [f"{number:04}" for number in sorted(group)] for group in (present, labelled, validation)
    )
    options = {"validation_eras": wanted, "embargo_eras": reach, "targets": "target_x_20"}
    if not far:
        assert "no train eras are left" in refusal(eras, with_labels, **options)
        return
    fold = split(eras, with_labels, **options)
    assert numbers(fold.train) == sorted(far)
    assert numbers(fold.validation) == sorted(validation)
    assert numbers(fold.embargo) == sorted(labelled - far - validation)
