"""Tests of sources as all kinds of programs write them: the same rows make the same dataset."""

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memmap_train.conversion.conversion import convert
from memmap_train.dataset.opening import open_dataset
from memmap_train.errors import SourceError
from tests.support.conversions import converted, of_codes, same_rows
from tests.support.errors import refused
from tests.support.toy import toy_ids, toy_table

# -- one dataset of many writings -----------------------------------------------------------------

ERAS = [("0003", "0001", "X")[(row * row + row // 7) % 3] for row in range(39)] + ["0002"]
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float16", "float32", "float64")
TEXTS = ("string", "large_string", "string_view", "dictionary")
CODECS = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")
ENCODINGS = {
    "text": ("PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"),
    "int": ("PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"),
    "float": ("PLAIN", "BYTE_STREAM_SPLIT"),
}
N_ROWS, N_FEATURES, N_TARGETS = 40, 5, 2


@dataclass(frozen=True)
class Writing:
    """How a program may write the rows: types, missing values, pages, row groups, files."""

    features: list[str]
    targets: list[str]
    texts: list[str]
    missing: str
    in_dictionaries: bool
    encoding: int
    codec: str
    pages: str
    page_bytes: int
    version: str
    keeps_arrow_types: bool
    column_order: int
    cuts: list[int]
    files: list[int]


PLAIN = Writing(
    features=["int8"],
    targets=["float32"],
    texts=["string"] * 3,
    missing="null",
    in_dictionaries=False,
    encoding=0,
    codec="none",
    pages="1.0",
    page_bytes=10**6,
    version="2.6",
    keeps_arrow_types=True,
    column_order=0,
    cuts=[],
    files=[],
)

writings = st.builds(
    Writing,
    features=st.one_of(
        st.lists(st.sampled_from(INTEGERS), min_size=1, max_size=N_FEATURES),
        st.lists(st.sampled_from(INTEGERS + FLOATS), min_size=1, max_size=N_FEATURES),
    ),
    targets=st.lists(st.sampled_from(FLOATS), min_size=1, max_size=N_TARGETS),
    texts=st.lists(st.sampled_from(TEXTS), min_size=3, max_size=3),
    missing=st.sampled_from(("null", "nan", "both")),
    in_dictionaries=st.booleans(),
    encoding=st.integers(-1, 2),
    codec=st.sampled_from(CODECS),
    pages=st.sampled_from(("1.0", "2.0")),
    page_bytes=st.sampled_from((1, 64, 10**6)),
    version=st.sampled_from(("1.0", "2.4", "2.6")),
    keeps_arrow_types=st.booleans(),
    column_order=st.integers(0, 99),
    cuts=st.lists(st.integers(0, N_ROWS), max_size=5),
    files=st.lists(st.integers(0, N_ROWS), max_size=2),
)


def cells(purpose: int, n_columns: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return quarters from 0 to 1, and which of them are missing."""
    random = np.random.default_rng([8, purpose])
    return random.integers(0, 5, (N_ROWS, n_columns)) / 4, random.random((N_ROWS, n_columns)) < 0.2


def numbers(
    quarters: npt.NDArray[np.float64], missing: npt.NDArray[np.bool_], kind: str, writing: Writing
) -> pa.Array:
    """Return a column of quarters as codes or floats, missing ones as null, as NaN, or as both."""
    if kind in INTEGERS:
        array = pa.array((quarters * 4).astype(kind), mask=missing)
    else:
        null = (
            missing
            & {"null": True, "nan": False, "both": np.arange(N_ROWS) % 2 == 0}[writing.missing]
        )
        floats = np.where(quarters == 0, -0.0, quarters)
        array = pa.array(np.where(missing & ~null, np.nan, floats).astype(kind), mask=null)
    return array.dictionary_encode() if writing.in_dictionaries and kind != "float16" else array


def text(values: list[str], kind: str) -> pa.Array:
    array = pa.array(values)
    return array.dictionary_encode() if kind == "dictionary" else array.cast(getattr(pa, kind)())


def table_of(writing: Writing) -> pa.Table:
    """Return the rows; eras come back, and one has a single row."""
    types = ["train" if row % 7 else "test" for row in range(N_ROWS)]
    columns = {
        "era": text(ERAS, writing.texts[0]),
        "data_type": text(types, writing.texts[1]),
        "id": text([f"n{row * 7919 % 997:03x}" for row in range(N_ROWS)], writing.texts[2]),
    }
    for purpose, prefix, n_columns, kinds in (
        (1, "feature_", N_FEATURES, writing.features),
        (2, "target_", N_TARGETS, writing.targets),
    ):
        quarters, missing = cells(purpose, n_columns)
        for column in range(n_columns):
            kind = kinds[column % len(kinds)]
            columns[f"{prefix}{column}"] = numbers(
                quarters[:, column], missing[:, column], kind, writing
            )
    # Only the order of the features among each other, and of the targets, means something.
    random = np.random.default_rng([9, writing.column_order])
    names = random.permutation(list(columns)).tolist()
    for prefix in ("feature_", "target_"):
        wanted = iter(sorted(name for name in names if name.startswith(prefix)))
        names = [next(wanted) if name.startswith(prefix) else name for name in names]
    return pa.table({name: columns[name] for name in names})


def encoding_of(kind: Any, writing: Writing) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        if pa.types.is_string(kind) and writing.keeps_arrow_types:
            return "PLAIN"  # pyarrow reads no other into a dictionary of text
    known = ENCODINGS[
        "float" if pa.types.is_floating(kind) else "int" if pa.types.is_integer(kind) else "text"
    ]
    return known[writing.encoding % len(known)]


def write(folder: Path, writing: Writing) -> list[Path]:
    """Write the rows so, as one file or several."""
    table = table_of(writing)
    encodings = {field.name: encoding_of(field.type, writing) for field in table.schema}
    ends = [*sorted(writing.files), N_ROWS]
    paths: list[Path] = []
    for start, end in pairwise([0, *ends]):
        paths.append(folder / f"{len(paths)}.parquet")
        groups = [start, *sorted(min(max(cut, start), end) for cut in writing.cuts), end]
        with pq.ParquetWriter(
            paths[-1],
            table.schema,
            version=writing.version,
            compression=writing.codec,
            use_dictionary=writing.encoding < 0,
            column_encoding=None if writing.encoding < 0 else encodings,
            data_page_version=writing.pages,
            data_page_size=writing.page_bytes,
            write_batch_size=3,
            store_schema=writing.keeps_arrow_types,
        ) as writer:
            for first, last in pairwise(groups):
                writer.write_table(table.slice(first, last - first), row_group_size=N_ROWS)
    return paths


@pytest.fixture(scope="module")
def plainly(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the datasets that every writing must come to, by store."""
    folder = tmp_path_factory.mktemp("plain")
    paths = write(folder, PLAIN)
    for store in ("float32", "int8"):
        convert(paths, folder / store, dtype=store)
    quarters, missing = cells(1, N_FEATURES)
    dataset = open_dataset(folder / "float32")
    assert dataset.eras == ("0001", "0002", "0003", "X")
    for era in dataset.eras:
        expected = np.where(missing, 0.5, quarters)[np.array(ERAS) == era]
        np.testing.assert_array_equal(dataset[era].features, expected)
    return {store: folder / store for store in ("float32", "int8")}


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(writing=writings, store=st.sampled_from(("float32", "int8")))
@example(writing=PLAIN, store="int8")
def test_every_parquet_layout_of_the_same_rows_makes_the_same_dataset(
    tmp_path_factory: pytest.TempPathFactory,
    plainly: dict[str, Path],
    writing: Writing,
    store: str,
) -> None:
    folder = tmp_path_factory.mktemp("writing")
    dataset = convert(write(folder, writing), folder / "out", dtype=store).dataset
    assert same_rows(dataset, open_dataset(plainly[store]))


# -- row groups -----------------------------------------------------------------------------------


def test_row_groups_of_a_million_rows_and_of_one_row_can_be_combined(tmp_path: Path) -> None:
    n_rows = 2**20
    row = np.arange(n_rows + 5)
    eras = pa.DictionaryArray.from_arrays(
        pa.array(((row // 1000) ** 2 % 7).astype(np.int32)), [f"{era:04}" for era in range(7)]
    )
    values = (row * 2654435761 >> 7) % 5
    columns = {"era": eras, "feature_a": values.astype(np.int8), "feature_b": 4 - values // 2}
    table = pa.table(columns | {"target": row.astype(np.float32)})
    with pq.ParquetWriter(tmp_path / "source.parquet", table.schema) as writer:
        writer.write_table(table.slice(0, n_rows), row_group_size=n_rows)
        writer.write_table(table.slice(n_rows), row_group_size=1)
    assert pq.ParquetFile(tmp_path / "source.parquet").num_row_groups == 6
    dataset = convert(tmp_path / "source.parquet", tmp_path / "out", dtype="int8").dataset
    codes = eras.indices.to_numpy()
    for position, era in enumerate(dataset.eras):
        mine = np.flatnonzero(codes == int(era))
        assert dataset.rows_per_era[position] == len(mine)
        np.testing.assert_array_equal(dataset[era].targets[:, 0], mine.astype(np.float32))
        np.testing.assert_array_equal(dataset[era].features[:, 0], values[mine])
        np.testing.assert_array_equal(dataset[era].features[:, 1], 4 - values[mine] // 2)
    assert dataset.n_rows == n_rows + 5


# -- encryption -----------------------------------------------------------------------------------


@pytest.mark.parametrize("column", [None, "era", "id", "feature_z0", "target"])
def test_encrypted_files_and_columns_are_refused(tmp_path: Path, column: str | None) -> None:
    encryption: Any = pytest.importorskip("pyarrow.parquet.encryption")

    class KeepsKeysAsTheyAre(encryption.KmsClient):  # type: ignore[misc]
        def wrap_key(self, key: bytes, name: str) -> str:
            return key.hex()

        def unwrap_key(self, wrapped: bytes, name: str) -> bytes:
            return bytes.fromhex(wrapped.decode())

    properties = encryption.CryptoFactory(
        lambda configuration: KeepsKeysAsTheyAre()
    ).file_encryption_properties(
        encryption.KmsConnectionConfig(),
        encryption.EncryptionConfiguration(
            footer_key="footer",
            column_keys={"column": [column or "target"]},
            plaintext_footer=column is not None,
        ),
    )
    table, path = toy_table({"0001": 4}), tmp_path / "secret.parquet"
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    said = "the parquet file is encrypted" if column is None else "Cannot decrypt"
    with refused(SourceError, "secret.parquet", said):
        convert(path, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


# -- eras -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "eras", "folders"),
    [
        (["0002", "0010", "0001"], ("0001", "0002", "0010"), {"era-0001"}),
        (["era10", "eraX", "era2"], ("era2", "era10", "eraX"), {"era-era2", "era-eraX"}),
        (["X"], ("X",), {"era-X"}),
        ([12, 7], ("7", "12"), {"era-7", "era-12"}),
        (["a/b", "..", "é"], ("..", "a/b", "é"), {"era-a%2Fb", "era-..", "era-%C3%A9"}),
    ],
    ids=["today", "legacy", "live", "integers", "unsafe"],
)
def test_eras_are_sorted_as_numbers_and_have_safe_folders(
    tmp_path: Path, labels: list[Any], eras: tuple[str, ...], folders: set[str]
) -> None:
    codes = pa.array(np.arange(len(labels)) % 5, pa.int8())
    dataset = converted(tmp_path, pa.table({"era": labels, "feature_a": codes}))
    assert dataset.eras == eras
    assert folders <= set(os.listdir(tmp_path / "out"))
    for label, code in zip(labels, codes.to_pylist(), strict=True):
        assert dataset[str(label)].features.tolist() == [[code / 4]]


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_the_type_of_the_labels_makes_no_difference(tmp_path: Path, kind: Any) -> None:
    table = toy_table({"0001": 4, "0002": 3}, order=[0, 4, 1, 5, 2, 6, 3])
    plain = converted(tmp_path, table, "plain")
    for column in ("era", "data_type"):
        position = table.column_names.index(column)
        table = table.set_column(position, column, table[column].cast(kind))
    assert same_rows(converted(tmp_path, table, "other"), plain)


# -- ids --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "width"),
    [(["a", "bcd", "", "ef"], 3), (["é", "日本", "a", "😀"], 6), ([10, 9, -200, 0], 4)],
    ids=["other lengths", "not ASCII", "integers"],
)
def test_ids_are_padded_to_the_longest(tmp_path: Path, ids: list[Any], width: int) -> None:
    table = of_codes(pa.array([0, 1, 2, 3], pa.int8()), id=ids)
    path = tmp_path / "ids.parquet"
    pq.write_table(table, path, row_group_size=1)
    found = convert(path, tmp_path / "out").dataset["0001"].ids
    assert found is not None
    assert found.dtype == np.dtype(f"S{width}")
    assert [name.decode() for name in found.tolist()] == [str(name) for name in ids]


@pytest.mark.parametrize("index", ["id", None])
def test_the_index_that_pandas_declares_gives_the_ids(tmp_path: Path, index: str | None) -> None:
    frame = toy_table({"0001": 4, "0002": 2}).to_pandas().set_index("id")
    frame.index.name = index
    frame.to_parquet(tmp_path / "pandas.parquet")
    dataset = convert(tmp_path / "pandas.parquet", tmp_path / "out").dataset
    for era, n_rows in (("0001", 4), ("0002", 2)):
        assert np.array_equal(np.asarray(dataset[era].ids), toy_ids(era, n_rows))
    assert dataset.manifest.columns["id"] == (index or "__index_level_0__")


def test_an_integer_index_of_pandas_gives_numbers_as_ids(tmp_path: Path) -> None:
    frame = toy_table({"0001": 4}, ids=False).to_pandas()
    frame.index = pd.Index([3, 10, 2, 1])
    frame.to_parquet(tmp_path / "pandas.parquet")
    found = convert(tmp_path / "pandas.parquet", tmp_path / "out").dataset["0001"].ids
    assert found is not None
    assert found.tolist() == [b"3", b"10", b"2", b"1"]


def test_without_ids_there_is_no_ids_file(tmp_path: Path) -> None:
    dataset = converted(tmp_path, toy_table({"0001": 4}, ids=False))
    assert dataset["0001"].ids is None
    assert os.listdir(tmp_path / "out" / "era-0001").count("ids.npy") == 0
    assert dataset.manifest.columns == {"era": "era", "id": None}


def test_an_id_column_with_another_name_is_used_where_requested(tmp_path: Path) -> None:
    table = toy_table({"0001": 4}).append_column("name", pa.array(["a", "b", "c", "d"]))
    found = converted(tmp_path, table, id_column="name")["0001"].ids
    assert found is not None
    assert found.tolist() == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_feature_of_type_null_in_a_file_is_missing_there(tmp_path: Path, dtype: str) -> None:
    """As pandas writes a column that holds None in every row."""
    known = of_codes(np.array([0, 4, 1], np.int8), feature_b=np.array([1, 2, 3], np.int8))
    unknown = pa.table({"era": ["0002"] * 2, "feature_a": pa.nulls(2), "feature_b": [3, 0]})
    typed = unknown.set_column(1, "feature_a", pa.nulls(2, pa.int8()))
    datasets = []
    for name, table in (("untyped", unknown), ("typed", typed)):
        folder = tmp_path / name
        folder.mkdir()
        pq.write_table(known, folder / "one.parquet")
        pq.write_table(table, folder / "two.parquet")
        sources = [folder / "one.parquet", folder / "two.parquet"]
        datasets.append(convert(sources, folder / "out", dtype=dtype).dataset)
    assert same_rows(*datasets)
    assert np.asarray(datasets[0]["0002"].counts)[:, 5].tolist() == [2, 0]
