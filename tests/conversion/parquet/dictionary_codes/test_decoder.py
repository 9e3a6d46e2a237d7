"""Tests of decoded columns: the codes are those that were written, or Arrow has to read them."""

import itertools
import os
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memmap_train.conversion.parquet.dictionary_codes import CodeDecoder, ColumnOffsets
from memmap_train.conversion.parquet.file import read_file_info
from memmap_train.conversion.parquet.handle import ParquetHandle
from memmap_train.errors import SourceError
from tests.support.layout_comparison import compare_layouts
from tests.support.parquet_files import open_file
from tests.support.parquet_layouts import Column, Run, write_columns

Codes = npt.NDArray[np.int8]
RANDOM = np.random.default_rng(53)
_STATE = RANDOM.bit_generator.state


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Begin each test with the same random numbers, whatever ran before it."""
    RANDOM.bit_generator.state = _STATE


def random_codes(n_columns: int, n_rows: int, among: int = 5) -> Codes:
    """Return codes that are as likely as each other: shape (columns, rows)."""
    return RANDOM.integers(0, among, (n_columns, n_rows)).astype(np.int8)


def write(
    path: Path, codes: Codes, group_rows: int | None = None, nullable: bool = True, **options: Any
) -> list[str]:
    """Write columns of codes; return their names."""
    names = [f"feature_{number}" for number in range(len(codes))]
    schema = pa.schema([pa.field(name, pa.int8(), nullable) for name in names])
    table = pa.table([pa.array(column) for column in codes], schema=schema)
    pq.write_table(table, path, row_group_size=group_rows or codes.shape[1] or 1, **options)
    return names


def decoder_of(path: Path, names: list[str], nullable: bool = True) -> CodeDecoder:
    """Return a decoder of these columns of a file."""
    offsets = ColumnOffsets(path, pq.ParquetFile(path).num_row_groups)
    return CodeDecoder(path, offsets, dict.fromkeys(names, nullable))


def decoded(path: Path, names: list[str], n_rows: int) -> tuple[Codes, list[int]]:
    """Return the codes of the first row group, and the positions of columns left to Arrow."""
    out = np.full((len(names), n_rows), 99, np.int8)
    left = decoder_of(path, names).decode(0, names, out)
    return out, left


# -- Numerai's layouts -------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["snappy", "none"])
@pytest.mark.parametrize("nullable", [True, False])
@pytest.mark.parametrize("page_rows", [1_000, 1_001, 20_000])
def test_columns_in_dictionary_pages_are_decoded(
    tmp_path: Path, compression: str, nullable: bool, page_rows: int
) -> None:
    codes = random_codes(40, 30_000)
    options = {"compression": compression, "max_rows_per_page": page_rows}
    names = write(tmp_path / "a.parquet", codes, 7_003, nullable, **options)
    found = decoder_of(tmp_path / "a.parquet", names, nullable)
    first = 0
    for group, n_rows in enumerate([7_003] * 4 + [1_988]):
        out = np.empty((len(names), n_rows), np.int8)
        assert found.decode(group, names, out) == []
        assert np.array_equal(out, codes[:, first : first + n_rows])
        first += n_rows


def test_columns_are_decoded_in_any_order(tmp_path: Path) -> None:
    codes = random_codes(60, 900)
    names = write(tmp_path / "a.parquet", codes)
    for n_chosen in (1, 2, 7, 60):
        chosen = RANDOM.permutation(60)[:n_chosen]
        out, left = decoded(tmp_path / "a.parquet", [names[i] for i in chosen], 900)
        assert left == []
        assert np.array_equal(out, codes[chosen])


def test_row_groups_of_other_sizes_leave_no_codes_behind(tmp_path: Path) -> None:
    sizes = 5_000, 40, 3_000, 8
    groups = [random_codes(3, n_rows) for n_rows in sizes]
    names = [f"feature_{number}" for number in range(3)]
    schema = pa.schema([pa.field(name, pa.int8()) for name in names])
    with pq.ParquetWriter(tmp_path / "a.parquet", schema, max_rows_per_page=1_000) as writer:
        for codes in groups:
            codes[:, :5] = range(5)
            writer.write_table(pa.table(list(codes), schema=schema))
    decoder = decoder_of(tmp_path / "a.parquet", names)
    for group, codes in enumerate(groups):
        out = np.empty(codes.shape, np.int8)
        assert decoder.decode(group, names, out) == []
        assert np.array_equal(out, codes)


def test_pages_with_checksums_are_decoded(tmp_path: Path) -> None:
    codes = random_codes(4, 3_000)
    names = write(tmp_path / "a.parquet", codes, write_page_checksum=True)
    out, left = decoded(tmp_path / "a.parquet", names, 3_000)
    assert left == []
    assert np.array_equal(out, codes)


def test_runs_of_one_code_are_decoded(tmp_path: Path) -> None:
    codes = random_codes(12, 20_000)
    for column in codes:
        for begin in RANDOM.integers(0, 20_000, 5):
            column[begin : begin + RANDOM.integers(1, 3_000)] = RANDOM.integers(5)
    codes[7] = 2
    names = write(tmp_path / "a.parquet", codes, max_rows_per_page=4_000)
    out, left = decoded(tmp_path / "a.parquet", names, 20_000)
    assert left == []
    assert np.array_equal(out, codes)


def test_pages_changed_by_compression_are_decoded(tmp_path: Path) -> None:
    codes = random_codes(6, 8_000)
    codes[:, 4_000:] = codes[:, :4_000]  # the same bytes again
    names = write(tmp_path / "a.parquet", codes)
    chunk = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).column(0)
    assert chunk.total_compressed_size < 0.8 * chunk.total_uncompressed_size
    out, left = decoded(tmp_path / "a.parquet", names, 8_000)
    assert left == []
    assert np.array_equal(out, codes)


def test_layouts_that_were_forgotten_are_parsed_again(tmp_path: Path) -> None:
    codes = random_codes(50, 700)
    for number, column in enumerate(codes):
        column[: 10 * number] = number % 5
    names = write(tmp_path / "a.parquet", codes, 300)
    offsets = ColumnOffsets(tmp_path / "a.parquet", 3)
    nullable = dict.fromkeys(names, True)
    decoder = CodeDecoder(tmp_path / "a.parquet", offsets, nullable, max_columns=4, max_known=3)
    for _ in range(2):
        for group, rows in enumerate([slice(0, 300), slice(300, 600), slice(600, 700)]):
            out = np.empty(codes[:, rows].shape, np.int8)
            left = decoder.decode(group, names, out)
            assert len(left) < 10
            taken = [number for number in range(50) if number not in left]
            assert np.array_equal(out[taken], codes[taken][:, rows])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_features_of_random_files_are_those_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("any") / "any.parquet"
    n_rows = data.draw(st.integers(1, 6_000), "rows")
    n_columns = data.draw(st.integers(1, 6), "columns")
    random = np.random.default_rng(data.draw(st.integers(0, 2**32), "seed"))
    codes = np.empty((n_columns, n_rows), np.int8)
    for column in codes:
        weights = random.dirichlet([data.draw(st.sampled_from([0.05, 0.5, 50.0]))] * 5)
        repeats = data.draw(st.sampled_from([1, 1, 3, 9, 200]))
        column[:] = np.repeat(random.choice(5, n_rows, p=weights), repeats)[:n_rows]
    is_null = np.zeros(codes.shape, np.bool_)
    if data.draw(st.booleans(), "nulls"):
        is_null = random.random(codes.shape) < random.choice([0, 0.001, 0.5], (n_columns, 1))
    kind = data.draw(st.sampled_from([pa.int8(), pa.uint8(), pa.int32(), pa.int64()]))
    arrays = [pa.array(c, mask=n).cast(kind) for c, n in zip(codes, is_null, strict=True)]
    names = [f"f{number}" for number in range(n_columns)]
    pq.write_table(
        pa.table(arrays, names),
        path,
        row_group_size=data.draw(st.integers(1, 7_000), "group"),
        max_rows_per_page=data.draw(st.sampled_from([1, 7, 100, 999, 20_000]), "page"),
        data_page_size=data.draw(st.sampled_from([64, 1_000, 2**20]), "page bytes"),
        write_batch_size=data.draw(st.sampled_from([1, 64, 1_024]), "batch"),
        use_dictionary=data.draw(st.sampled_from([True, True, True, False])),
        compression=data.draw(st.sampled_from(["snappy", "none", "zstd", "lz4"])),
        data_page_version=data.draw(st.sampled_from(["1.0", "1.0", "2.0"])),
        write_page_index=data.draw(st.booleans(), "index"),
    )
    source = open_file(path)
    groups = range(len(source.info.row_groups))
    found = np.concatenate([source.features(group, names) for group in groups], axis=1)
    source.close()
    assert np.array_equal(found, np.where(is_null, 5, codes))


# -- layouts that no writer makes -----------------------------------------------------------------


def test_random_legal_layouts_are_decoded_correctly_or_left(tmp_path: Path) -> None:
    found = compare_layouts(tmp_path / "a.parquet", range(160, 360))
    assert found["decoded"] > 600
    assert found["left"] > 600


@pytest.mark.parametrize("n_repeated", range(1, 8))
def test_repeated_rows_that_make_up_for_padding_keep_their_positions(
    tmp_path: Path, n_repeated: int
) -> None:
    """Pages of 16 rows and two packed groups, of which the second one is padded."""
    runs = [Run(False, n_repeated, n_repeated), Run(True, 2, 16 - n_repeated)]
    column = Column(layouts={16: runs})
    names, (codes,) = write_columns(tmp_path / "a.parquet", RANDOM, [column] * 3, [[[16] * 40] * 3])
    out, left = decoded(tmp_path / "a.parquet", names, 640)
    assert left == []
    assert np.array_equal(out, codes)


@pytest.mark.parametrize("run_rows", [400, 1_000])
def test_layouts_of_pages_changed_by_compression_are_not_reused(
    tmp_path: Path, run_rows: int
) -> None:
    """The pages are equally long, and hold only repeated codes."""
    head = np.repeat(np.arange(5, dtype=np.int8), run_rows)
    orders = list(itertools.permutations(range(5)))[:40]
    n_times = 15_000 // len(head)
    codes = np.stack(
        [
            np.concatenate([head, np.tile(np.repeat(np.array(order, np.int8), run_rows), n_times)])
            for order in orders
        ]
    )
    names = write(tmp_path / "a.parquet", codes)
    group = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0)
    sizes = Counter(group.column(i).total_compressed_size for i in range(len(names)))
    assert max(sizes.values()) > 1
    out, left = decoded(tmp_path / "a.parquet", names, codes.shape[1])
    assert left == []
    assert np.array_equal(out, codes)


# -- columns left to Arrow ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zstd"},
        {"use_dictionary": False},
        {"data_page_version": "2.0"},
        {"use_dictionary": False, "column_encoding": "DELTA_BINARY_PACKED"},
    ],
    ids=str,
)
def test_unsupported_layouts_are_left_to_arrow(tmp_path: Path, options: dict[str, Any]) -> None:
    codes = random_codes(3, 2_000)
    names = write(tmp_path / "a.parquet", codes, **options)
    assert decoded(tmp_path / "a.parquet", names, 2_000)[1] == [0, 1, 2]
    assert np.array_equal(open_file(tmp_path / "a.parquet").features(0, names), codes)


def test_columns_are_left_to_arrow_one_by_one(tmp_path: Path) -> None:
    codes = random_codes(5, 2_000)
    codes[1] = RANDOM.integers(0, 3, 2_000)  # three values: two bits
    codes[3, 1_000] = 7
    names = write(tmp_path / "a.parquet", codes)
    out, left = decoded(tmp_path / "a.parquet", names, 2_000)
    assert left == [1, 3]
    assert np.array_equal(out[[0, 2, 4]], codes[[0, 2, 4]])
    with pytest.raises(SourceError, match="'feature_3': expected integer codes 0 to 4, found 7"):
        open_file(tmp_path / "a.parquet").features(0, names)


def test_a_wrong_value_in_a_dictionary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    names = write(path, random_codes(1, 2_000))
    whole = path.read_bytes()
    four = whole.index(b"\4\0\0\0", 4)  # in the dictionary, which has eight bytes for each value
    path.write_bytes(whole[:four] + b"\6" + whole[four + 1 :])
    assert decoded(path, names, 2_000)[1] == [0]
    with pytest.raises(SourceError, match="found 6"):
        open_file(path).features(0, names)


def test_a_deleted_file_is_left(tmp_path: Path) -> None:
    names = write(tmp_path / "a.parquet", random_codes(2, 100))
    found = decoder_of(tmp_path / "a.parquet", names)
    (tmp_path / "a.parquet").unlink()
    assert found.decode(0, names, np.empty((2, 100), np.int8)) == [0, 1]


def test_systems_without_preadv_leave_all_columns_to_arrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = random_codes(2, 100)
    names = write(tmp_path / "a.parquet", codes)
    monkeypatch.delattr(os, "preadv")
    assert decoded(tmp_path / "a.parquet", names, 100)[1] == [0, 1]
    assert np.array_equal(open_file(tmp_path / "a.parquet").features(0, names), codes)


# -- damage -----------------------------------------------------------------------------------


def test_damaged_pages_hold_the_codes_that_arrow_finds_or_that_were_written(
    tmp_path: Path,
) -> None:
    codes = random_codes(2, 1_500)
    codes[1, 300:900] = 3
    names = write(tmp_path / "a.parquet", codes, max_rows_per_page=700)
    whole = (tmp_path / "a.parquet").read_bytes()
    n_pages_bytes = int.from_bytes(whole[-8:-4], "little")
    path = tmp_path / "b.parquet"

    def outcome(*, uses_decoder: bool) -> list[list[int]] | None:
        """Return the codes; None where they are refused."""
        try:
            with closing(ParquetHandle(read_file_info(path), uses_decoder=uses_decoder)) as handle:
                return [column.tolist() for column in handle.features(0, names)]
        except SourceError:
            return None

    found = {"the same": 0, "others": 0, "refused": 0}
    for position in range(4, len(whole) - n_pages_bytes - 8, 2):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(RANDOM.integers(8))
        path.write_bytes(damaged)
        ours, arrows = outcome(uses_decoder=True), outcome(uses_decoder=False)
        # Arrow also refuses headers for fields that it doesn't need.
        assert ours in (arrows, codes.tolist()), position
        kind = "refused" if ours is None else "the same" if ours == codes.tolist() else "others"
        found[kind] += 1
    assert min(found.values()) > 10, found


# -- pyarrow's own ways ---------------------------------------------------------------------------


@pytest.mark.parametrize("feature", ["int8", "int32", "dictionary"])
def test_pyarrow_reads_no_integers_as_dictionaries(tmp_path: Path, feature: str) -> None:
    """If this fails, measure whether `read_dictionary` can replace the decoder."""
    codes = pa.array([0, 1] * 500, pa.int32() if feature == "int32" else pa.int8())
    if feature == "dictionary":
        codes = codes.dictionary_encode()
    pq.write_table(pa.table({"text": ["a", "b"] * 500, "feature": codes}), tmp_path / "a.parquet")
    with pq.ParquetFile(tmp_path / "a.parquet", read_dictionary=["text", "feature"]) as file:
        found = file.read_row_group(0)
    assert pa.types.is_dictionary(found["text"].type)
    assert pa.types.is_integer(found["feature"].type)
