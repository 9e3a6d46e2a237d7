"""Tests of era weights: every way to give them, and what is wrong with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memmap_train.errors import BatchError
from memmap_train.loading.era_weights import era_weights, row_weights
from tests.support.errors import refused

ERAS = {"0001": 30, "0002": 10, "0005": 60}


def weights(given: Any, eras: dict[str, int] = ERAS, **options: Any) -> list[float]:
    return list(era_weights(given, eras, **options).tolist())


def test_words_stand_for_weights() -> None:
    assert weights("rows") == [30, 10, 60]
    assert weights("equal") == [1, 1, 1]
    assert weights("half_life:1") == [2.0**-4, 2.0**-3, 1]
    assert weights("half_life:1.5") == [2.0 ** (-4 / 1.5), 2.0 ** (-3 / 1.5), 1]


def test_ages_are_counted_by_position_where_a_label_has_no_number() -> None:
    assert weights("half_life:1", {"0001": 3, "0005": 3, "X": 3}) == [0.25, 0.5, 1]
    dates = {"2024-01-05": 3, "2024-01-12": 3}
    assert weights("half_life:1", dates) == [0.5, 1]


@pytest.mark.parametrize(
    "given", [[3, 1, 0.5], (3, 1, 0.5), np.array([3, 1, 0.5]), np.array([3, 1, 0.5], np.float32)]
)
def test_a_list_has_a_number_for_each_era(given: Any) -> None:
    assert weights(given) == [3, 1, 0.5]


def test_a_mapping_may_spell_eras_otherwise_and_name_others_of_the_dataset() -> None:
    assert weights({"0002": 1, "0001": 2.5, "0005": 0}) == [2.5, 1, 0]
    assert weights({"era1": 2.5, "2": 1, 5: 4}) == [2.5, 1, 4]
    everything = ["0001", "0002", "0003", "0005"]
    assert weights({"1": 1, "2": 2, "3": 3, "5": 5}, known=everything) == [1, 2, 5]


@pytest.mark.parametrize("begin", ["", "\ufeff"])
def test_a_file_has_a_line_for_each_era(tmp_path: Path, begin: str) -> None:
    path = tmp_path / "weights.csv"
    path.write_text(f"{begin}era,weight\n0001,2\n\n0002, 0.5\n5,1e-3\n", "utf-8")
    assert weights(f"file:{path}") == [2, 0.5, 1e-3]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("row", "expected 'rows', 'equal', 'half_life:52'"),
        ("row", "found 'row' (str); did you mean 'rows'?"),
        ("halflife:3", "did you mean 'half_life:52'?"),
        ("half_life:", "expected a number of eras above 0 after 'half_life:', found ''"),
        ("half_life:0", "above 0 after 'half_life:', found '0'"),
        ("half_life:-3", "above 0"),
        ("half_life:nan", "above 0"),
        ("half_life:inf", "above 0"),
        (3, "or a number for each era, found 3"),
        ([1, 2], "expected 3 numbers, one for each era of the dataset, found 2"),
        ([1, 2, -1], "era '0005': expected a weight, 0 to 1e+12, found -1"),
        ([1, 2, float("nan")], "era '0005': expected a weight, 0 to 1e+12, found nan"),
        ([1, float("inf"), 2], "era '0002': expected a weight, 0 to 1e+12, found inf"),
        ([1, 1e308, 2], "era '0002': expected a weight, 0 to 1e+12, found 1e+308"),
        ([1, "x", 2], "era '0002': expected a weight, 0 to 1e+12, found 'x'"),
        ([1, True, 2], "found True"),
        ([1, None, 2], "found None"),
        ([0, 0, 0], "the weights of all 3 eras are 0; expected at least one above 0"),
        ({"0001": 1, "0002": 1}, "expected a weight for each era, found none for '0005'"),
        ({"1": 1, "2": 1, "5": 1, "7": 1}, "the dataset has no era '7'"),
        ({"1": 1, "0001": 1, "2": 1, "5": 1}, "found two of '0001'"),
    ],
)
def test_weights_that_make_no_sense_are_refused(given: Any, said: str) -> None:
    with refused(BatchError, "era_weights: ", said):
        weights(given)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a CSV file with the columns era,weight, found ''"),
        ("era;weight\n1;2\n", "found 'era;weight'"),
        ("weight,era\n1,2\n", "found 'weight,era'"),
        ("era,weight\n0001\n", "line 2: expected an era and a weight, found '0001'"),
        ("era,weight\n1,1,1\n", "line 2: expected an era and a weight, found '1,1,1'"),
        ("era,weight\n1,2\n2,x\n5,1\n", "era '0002': expected a weight, 0 to 1e+12, found 'x'"),
        ("era,weight\n1,2\n2,-1\n5,1\n", "era '0002': expected a weight, 0 to 1e+12, found '-1'"),
        ("era,weight\n1,2\n2,\n5,1\n", "era '0002': expected a weight, 0 to 1e+12, found ''"),
        ("era,weight\n1,2\n2,2\n", "found none for '0005'"),
        ("era,weight\n1,2\n2,2\n5,1\n9,1\n", "the dataset has no era '9'"),
        ("era,weight\n1,0\n2,0\n5,0\n", "the weights of all 3 eras are 0"),
        ('era,weight\n"1,2\n', "expected a CSV file"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "weights.csv"
    path.write_text(text)
    with refused(BatchError, str(path), said):
        weights(f"file:{path}")


def test_a_file_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path, tmp_path / "a\0b"):
        with refused(BatchError, "era_weights: ", "can't be read: "):
            weights(f"file:{path}")
    path = tmp_path / "latin.csv"
    path.write_bytes(b"era,weight\n\xe9,1\n")
    with refused(BatchError, "latin.csv", "isn't UTF-8"):
        weights(f"file:{path}")


def test_row_weights_have_the_mean_1_and_give_each_era_its_share() -> None:
    rows = np.array(list(ERAS.values()))
    for given in ("rows", "equal", "half_life:2", [0, 1, 3]):
        of_eras = era_weights(given, ERAS)
        of_rows = row_weights(of_eras, list(ERAS.values()))
        assert of_rows.dtype == np.float32
        assert (of_rows * rows).sum() / rows.sum() == pytest.approx(1, rel=1e-6)
        share = of_rows * rows / (of_rows * rows).sum()
        np.testing.assert_allclose(share, of_eras / of_eras.sum(), rtol=1e-6)
    assert row_weights(era_weights("rows", ERAS), list(ERAS.values())).tolist() == [1, 1, 1]
