"""Tests of the cross-check: a decoder that is wrong is found out before its codes are used."""

import itertools
import logging
from pathlib import Path

import numpy as np
import pytest

from memmap_train.conversion.conversion import convert
from memmap_train.conversion.parquet.cross_check import DecodedSamples, DecoderMismatchError
from memmap_train.conversion.parquet.dictionary_codes import CodeDecoder, ColumnOffsets
from memmap_train.conversion.parquet.file import read_file_info
from memmap_train.conversion.parquet.handle_pool import HandlePool
from memmap_train.dataset.dataset import Dataset
from memmap_train.dataset.verify import verify
from memmap_train.errors import SchemaError
from tests.support.deceiving_parquet import FEATURE, write_deceiving
from tests.support.errors import refused
from tests.support.interruptions import stopped_after
from tests.support.toy import feature_names, write_toy

ERAS = {f"{era:04}": 300 for era in range(1, 9)}
NAMES = [f"feature_{number}" for number in range(50)]
CODES = np.random.default_rng(3).integers(0, 5, (50, 90)).astype(np.int8)


def chosen(group: int, blocks: list[slice], left: set[int] | None = None) -> str | None:
    """Return the column that is compared where columns are decoded in these blocks."""
    samples = DecodedSamples()
    for block in blocks:
        numbers = range(*block.indices(50))
        here = [numbers.index(number) for number in left or () if number in numbers]
        samples.add(group, NAMES[block], here, CODES[block])
    sample = samples.pop(group)
    assert samples.pop(group) is None
    if sample is not None:
        assert sample.equals(CODES[NAMES.index(sample.name)])
        assert not sample.equals(CODES[NAMES.index(sample.name) - 1])
    return None if sample is None else sample.name


def shards_of(dataset: Dataset) -> list[object]:
    """Return the entries of a dataset's eras, with the checksums of all files."""
    return [entry.to_json() for entry in dataset.manifest.shards]


# -- which column is compared ---------------------------------------------------------------------


def test_the_compared_column_does_not_depend_on_blocks() -> None:
    whole = [slice(0, 50)]
    for cuts in ([slice(0, 7), slice(7, 50)], [slice(30, 50), slice(0, 30)]):
        assert [chosen(group, cuts) for group in range(9)] == [
            chosen(group, whole) for group in range(9)
        ]


def test_other_row_groups_compare_other_columns() -> None:
    assert len({chosen(group, [slice(0, 50)]) for group in range(100)}) > 30


def test_only_columns_that_were_decoded_are_compared() -> None:
    left = set(range(50)) - {17}
    assert {chosen(group, [slice(0, 20), slice(20, 50)], left) for group in range(9)} == {
        "feature_17"
    }
    assert chosen(0, [slice(0, 20), slice(20, 50)], set(range(50))) is None


# -- a pool of handles ----------------------------------------------------------------------------


def test_a_mismatch_names_file_row_group_and_column(tmp_path: Path) -> None:
    write_deceiving(tmp_path / "a.parquet", ERAS, 600, {2})
    pool = HandlePool([read_file_info(tmp_path / "a.parquet")])
    for group in range(4):
        with pool.take(0) as handle:
            codes = handle.features(group, [FEATURE])[0]
            right = handle.feature_from_arrow(group, FEATURE)
        assert np.count_nonzero(codes != right) == (group == 2)
        if group == 2:
            with pytest.raises(DecoderMismatchError) as caught:
                pool.cross_check(0, group)
            assert (caught.value.file, caught.value.group) == (0, 2)
            assert caught.value.name == FEATURE
        else:
            pool.cross_check(0, group)
    pool.use_arrow(0)
    with pool.take(0) as handle:
        assert np.array_equal(
            handle.features(2, [FEATURE])[0], handle.feature_from_arrow(2, FEATURE)
        )
    pool.cross_check(0, 2)
    pool.close()


# -- conversions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("deceiving", [{0}, {3}, {1, 2}])
def test_a_wrong_code_ends_in_the_right_dataset_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, deceiving: set[int], dtype: str
) -> None:
    path, out = tmp_path / "deceiving.parquet", tmp_path / "out"
    write_deceiving(path, ERAS, 600, deceiving)
    rows_done: list[int] = []
    with caplog.at_level(logging.WARNING, "memmap_train"):
        report = convert(path, out, dtype=dtype, progress=lambda *args: rows_done.append(args[1]))
    (warning,) = [record.getMessage() for record in caplog.records]
    assert str(path) in warning
    assert f"row group {min(deceiving)}," in warning
    assert repr(FEATURE) in warning
    assert "please report" in warning
    if min(deceiving) > 1:  # eras were finished, and are written again
        assert any(later < earlier for earlier, later in itertools.pairwise(rows_done[4:]))
    assert rows_done[-1] == report.n_rows
    assert list(verify(out)) == []
    caplog.clear()
    expected = convert(path, tmp_path / "arrow", dtype=dtype, decoder="arrow").dataset
    assert caplog.records == []
    assert shards_of(report.dataset) == shards_of(expected)
    assert report.n_eras_new == len(ERAS)
    assert convert(path, out, dtype=dtype).status == "up to date"


def test_eras_of_an_interrupted_conversion_are_converted_again_after_a_mismatch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tmp_path / "deceiving.parquet", tmp_path / "out"
    write_deceiving(path, ERAS, 600, {3})
    stopped_after(monkeypatch, 2, lambda: convert(path, out, decoder="arrow"))
    assert len(list(out.glob(".convert/staged/era-*"))) == 2
    report = convert(path, out)
    assert report.n_eras_kept == 0
    assert len(caplog.records) == 1
    expected = convert(path, tmp_path / "arrow", decoder="arrow").dataset
    assert shards_of(report.dataset) == shards_of(expected)


def test_a_file_that_deceives_leaves_the_others_to_the_decoder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [tmp_path / f"{number}.parquet" for number in range(3)]
    for number, path in enumerate(paths):
        eras = {f"{10 * number + era}": 300 for era in range(4)}
        write_deceiving(path, eras, 600, {0} if number else ())
    report = convert(paths, tmp_path / "out")
    warnings = [record.getMessage() for record in caplog.records]
    assert [str(path) in warning for path, warning in zip(paths[1:], warnings, strict=True)] == [
        True,
        True,
    ]
    expected = convert(paths, tmp_path / "arrow", decoder="arrow").dataset
    assert shards_of(report.dataset) == shards_of(expected)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_switch_gives_equal_bytes(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "toy.parquet"
    write_toy(path, {"0001": 700, "0002": 500}, n_features=30, row_group_rows=400)
    info = read_file_info(path)
    decoder = CodeDecoder(path, ColumnOffsets(path, len(info.row_groups)), info.nullable)
    assert decoder.decode(0, feature_names(30), np.empty((30, 400), np.int8)) == []
    auto = convert(path, tmp_path / "auto", dtype=dtype).dataset
    arrow = convert(path, tmp_path / "arrow", dtype=dtype, decoder="arrow").dataset
    assert auto.manifest.digest == arrow.manifest.digest
    assert convert(path, tmp_path / "auto", dtype=dtype, decoder="arrow").status == "up to date"


def test_another_decoder_resumes_an_interrupted_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, ERAS, row_group_rows=600)
    stopped_after(monkeypatch, 2, lambda: convert(path, out))
    assert convert(path, out, decoder="arrow").n_eras_kept == 2


def test_an_unknown_decoder_is_refused(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.parquet", {"0001": 3})
    with refused(SchemaError, "decoder: expected one of 'auto', 'arrow', found 'pandas'"):
        convert(tmp_path / "toy.parquet", tmp_path / "out", decoder="pandas")
