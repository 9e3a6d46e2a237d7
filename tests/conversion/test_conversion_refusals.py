"""Tests of bad sources, options and values: each is one line, of the right class."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.cli.commands import main
from memmap_train.conversion.conversion import convert
from memmap_train.dataset.format import WORKSPACE
from memmap_train.dataset.verify import verify
from memmap_train.errors import ConversionError, MemmapTrainError, SchemaError, SourceError
from tests.support.errors import refused
from tests.support.toy import toy_table, write_toy


class Mistake(NamedTuple):
    """A source that can't be converted, and what is said of it."""

    write: Callable[[Path], Any]
    kind: type[MemmapTrainError]
    said: str


def as_array(values: Any) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values)


def table(**columns: Any) -> Callable[[Path], Any]:
    """Return what writes a toy source with these columns replaced, added, or left out (None)."""

    def write(path: Path) -> None:
        rows = toy_table({"0001": 4, "0002": 3})
        for name, values in columns.items():
            if name in rows.column_names and values is not None:
                rows = rows.set_column(rows.column_names.index(name), name, as_array(values))
            elif name in rows.column_names:
                rows = rows.drop_columns(name)
            else:
                rows = rows.append_column(name, as_array(values))
        pq.write_table(rows, path)

    return write


def of_bytes(content: bytes) -> pa.Array:
    """Return text of a byte each, valid or not."""
    ends = np.arange(len(content) + 1, dtype=np.int32)
    buffers = [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(content)]
    return pa.Array.from_buffers(pa.string(), len(content), buffers)


def cut(path: Path, *, end: float) -> None:
    write_toy(path, {"0001": 40})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * end)])


def write_without_features(path: Path) -> None:
    pq.write_table(pa.table({"era": ["1"], "target": [0.5], "id": ["n"]}), path)


def write_features_of_text(path: Path) -> None:
    pq.write_table(pa.table({"era": ["1"], "feature_a": ["a"], "feature_b": [[1]]}), path)


def write_a_name_of_other_bytes(path: Path) -> None:
    write_toy(path, {"0001": 4})
    path.write_bytes(path.read_bytes().replace(b"feature_z0", b"feature_\xff\xfe"))


def write_a_name_twice(path: Path) -> None:
    names = ["era", "feature_a", "feature_a"]
    columns = [pa.array(["1"]), pa.array([1], pa.int8()), pa.array([2], pa.int8())]
    pq.write_table(pa.Table.from_arrays(columns, names), path)


FOUND_IN_TIME = {
    "no such file": Mistake(lambda path: None, SourceError, "no such file"),
    "a folder": Mistake(Path.mkdir, SourceError, "a folder"),
    "empty": Mistake(Path.touch, SourceError, "not a parquet file"),
    "a text": Mistake(lambda path: path.write_text("era,id\n1,n\n"), SourceError, "not a parquet"),
    "cut in a page": Mistake(lambda path: cut(path, end=0.3), SourceError, "cut short"),
    "cut in the footer": Mistake(lambda path: cut(path, end=0.99), SourceError, "cut short"),
    "no rows": Mistake(
        lambda path: pq.write_table(toy_table({"1": 1}).slice(1), path), SourceError, "no rows"
    ),
    "no era column": Mistake(table(era=None), SchemaError, "'era'"),
    "a float era that isn't whole": Mistake(
        table(era=[1.0] * 6 + [1.5]), SourceError, "found 1.5 (row 6); expected whole numbers"
    ),
    "an infinite era": Mistake(table(era=[float("inf")] * 7), SourceError, "found inf (row 0)"),
    "a float era that is missing": Mistake(
        table(era=[1.0] * 6 + [float("nan")]), SourceError, "row 6;"
    ),
    "a decimal era that isn't whole": Mistake(
        table(era=[Decimal("1.0")] * 6 + [Decimal("1.5")]), SourceError, "found 1.5 (row 6)"
    ),
    "a bool era": Mistake(table(era=[True] * 7), SchemaError, "'era' holds bool"),
    "an era of a list": Mistake(table(era=[[1]] * 7), SchemaError, "'era' holds list"),
    "a time of the day for an era": Mistake(
        table(era=[time(1)] * 7), SchemaError, "'era' holds time64"
    ),
    "a date that can't be": Mistake(
        table(era=pa.array([10**7] * 7, pa.date32())), SourceError, "a year from 1 to 9999"
    ),
    "a missing date": Mistake(table(era=[date(2026, 1, 2)] * 6 + [None]), SourceError, "row 6;"),
    "an hour that clocks show twice": Mistake(
        table(era=pa.array([1_730_613_600] * 7, pa.timestamp("s", "America/New_York"))),
        SourceError,
        "an hour that clocks in America/New_York show twice (row 0)",
    ),
    "a time zone that isn't known": Mistake(
        table(era=pa.array([0] * 7, pa.timestamp("ns", "Mars/Phobos"))),
        SourceError,
        "'Mars/Phobos'",
    ),
    "a null era": Mistake(table(era=["a"] * 6 + [None]), SourceError, "row 6;"),
    "an empty era": Mistake(table(era=["a"] * 6 + [""]), SourceError, "empty"),
    "a long era": Mistake(table(era=["a" * 300] * 7), SourceError, "era"),
    "a null id": Mistake(table(id=["a"] * 6 + [None]), SourceError, "row 6;"),
    "a long id": Mistake(table(id=["a"] * 6 + ["b" * 5000]), SourceError, "'id'"),
    "an id with an end that is padding": Mistake(
        table(id=["a"] * 6 + ["b\0"]), SourceError, "zero byte"
    ),
    "an id of other bytes": Mistake(table(id=of_bytes(b"\xff" * 7)), SourceError, "not UTF-8"),
    "an era of other bytes": Mistake(table(era=of_bytes(b"\xff" * 7)), SourceError, "not UTF-8"),
    "a pipe": Mistake(os.mkfifo, SourceError, "a pipe"),
    "the magic alone": Mistake(lambda path: path.write_bytes(b"PAR1"), SourceError, "12 bytes"),
    "no features": Mistake(write_without_features, SchemaError, "'feature'"),
    "features of text": Mistake(write_features_of_text, SchemaError, "none of its features"),
    "bytes for eras": Mistake(table(era=[b"0001"] * 6 + [b"\xff"]), SourceError, "not UTF-8"),
    "bytes for data types": Mistake(
        table(data_type=[b"\xff"] * 7), SourceError, "not UTF-8 text (row 0); expected text; write"
    ),
    "bytes for ids": Mistake(table(id=[b"n"] * 6 + [b"\xff"]), SourceError, "not UTF-8"),
    "bools for ids": Mistake(table(id=[True] * 7), SchemaError, '--id-column ""'),
    "floats for ids": Mistake(
        table(id=[0.5] * 7), SourceError, "found 0.5 (row 0); expected whole numbers up to"
    ),
    "floats for ids, some missing": Mistake(
        table(id=[1.0] * 6 + [float("nan")]), SourceError, '--id-column ""'
    ),
    "floats for ids that stand for several numbers": Mistake(
        table(id=pa.array([2.0**25] * 7, pa.float32())), SourceError, "up to 16,777,216"
    ),
    "no columns": Mistake(
        lambda path: pq.write_table(pa.table({}), path), SchemaError, "among its 0 columns"
    ),
    "a name twice": Mistake(write_a_name_twice, SchemaError, "'feature_a' (stands for several"),
    "a name that isn't UTF-8": Mistake(
        write_a_name_of_other_bytes, SourceError, "the name of a column isn't UTF-8"
    ),
}


@pytest.mark.parametrize("name", ["_metadata", "_common_metadata"])
def test_a_summary_of_parquet_files_is_refused_as_such(tmp_path: Path, name: str) -> None:
    """As `data/*` names them together with the files that Spark or Dask have written."""
    parts: list[pq.FileMetaData] = []
    rows = toy_table({"0001": 4})
    pq.write_table(rows, tmp_path / "part-0.parquet", metadata_collector=parts)
    parts[0].set_file_path("part-0.parquet")
    pq.write_metadata(rows.schema, tmp_path / name, metadata_collector=parts)
    with refused(SourceError, name, "a summary of the parquet files", f"{tmp_path}/*.parquet"):
        convert([tmp_path / name, tmp_path / "part-0.parquet"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mistake", FOUND_IN_TIME.values(), ids=FOUND_IN_TIME.keys())
def test_a_bad_source_is_refused_and_leaves_nothing(tmp_path: Path, mistake: Mistake) -> None:
    path = tmp_path / "bad.parquet"
    mistake.write(path)
    with refused(mistake.kind, "bad.parquet", mistake.said):
        convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["plan {source}", "convert {source} --out {source}.out"])
def test_every_bad_source_is_one_line_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    for name, mistake in FOUND_IN_TIME.items():
        path = tmp_path / f"{name.replace(' ', '-')}.parquet"
        mistake.write(path)
        assert main(command.format(source=path).split()) == 1
        out, err = capsys.readouterr()
        assert out == ""
        (line,) = err.splitlines()
        assert line.startswith("error: ")
        assert mistake.said in line


@pytest.mark.parametrize("name", sorted(FOUND_IN_TIME.keys() - {"no rows"}))
def test_a_bad_source_beside_a_good_one_is_refused(tmp_path: Path, name: str) -> None:
    mistake = FOUND_IN_TIME[name]
    write_toy(tmp_path / "good.parquet", {"0003": 3})
    mistake.write(tmp_path / "bad.parquet")
    with refused(mistake.kind, "bad.parquet", mistake.said):
        convert([tmp_path / "good.parquet", tmp_path / "bad.parquet"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"dtype": "float64"}, SchemaError, "'float64'"),
        ({"missing": "0"}, SchemaError, "'0'"),
        ({"missing": "nan", "dtype": "int8"}, SchemaError, "--dtype float32"),
        ({"feature_set": "small"}, SchemaError, "--features-json"),
        ({"feature_set": "medum"}, SchemaError, "did you mean 'medium'?"),
        ({"feature_set": "partly"}, SchemaError, "'feature_gone'"),
        ({"targets": ["target_t1"]}, SchemaError, "did you mean 'target_t1_20'?"),
        ({"era_column": "ear"}, SchemaError, "did you mean 'era'?"),
        ({"id_column": "idd"}, SchemaError, "did you mean 'id'?"),
        ({"feature_prefix": "f_"}, SchemaError, "--feature-prefix"),
        ({"memory": 511}, ConversionError, "512 MB"),
        ({"memory": -1}, ConversionError, "512 MB"),
        ({"workers": 0}, ConversionError, "workers"),
    ],
    ids=str,
)
def test_a_bad_option_is_refused_and_leaves_nothing(
    tmp_path: Path, options: dict[str, Any], kind: type[MemmapTrainError], said: str
) -> None:
    write_toy(tmp_path / "toy.parquet", {"0001": 3})
    if options.get("feature_set") in ("medum", "partly"):
        sets = {"medium": ["feature_z0"], "partly": ["feature_z0", "feature_gone"]}
        (tmp_path / "features.json").write_text(json.dumps({"feature_sets": sets}))
        options = {**options, "features_json": tmp_path / "features.json"}
    with refused(kind, said):
        convert(tmp_path / "toy.parquet", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, "", "feature_a", "[]", '{"feature_sets": 1}'])
def test_a_bad_features_json_is_refused_and_leaves_nothing(
    tmp_path: Path, content: str | None
) -> None:
    write_toy(tmp_path / "toy.parquet", {"0001": 3})
    path = tmp_path / "features.json"
    if content is not None:
        path.write_text(content)
    with refused(SchemaError, "features.json"):
        convert(tmp_path / "toy.parquet", tmp_path / "out", features_json=path)
    assert not (tmp_path / "out").exists()


def test_no_sources_are_refused(tmp_path: Path) -> None:
    with refused(SourceError, "no sources"):
        convert([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "toy.parquet"
    write_toy(path, {"0001": 3})
    (tmp_path / "link.parquet").symlink_to(path)
    for other in (path, tmp_path / "link.parquet"):
        with refused(SourceError, "the same file is named twice", "name it once"):
            convert([path, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inode", ["stays", "changes", "is none"])
def test_inode_numbers_neither_identify_files_nor_show_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inode: str
) -> None:
    """Network file systems may give a file another number each time, or all files none."""
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for number, path in enumerate(paths, start=1):
        write_toy(path, {f"000{number}": 30}, row_group_rows=10)
    stat, calls = os.stat, 0

    def renumbered(path: Any, **options: Any) -> Any:
        nonlocal calls
        status = stat(path, **options)
        if inode == "stays" or not str(path).endswith((".parquet", ".npy")):
            return status
        calls += 1
        fields = {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}
        return SimpleNamespace(**fields | {"st_ino": calls if inode == "changes" else 0})

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", renumbered)
        dataset = convert(paths, tmp_path / "out").dataset
        assert [len(shard.features) for shard in dataset.values()] == [30, 30]
        narrow = convert(tmp_path / "out", tmp_path / "narrow", targets="target").dataset
        assert [len(shard.targets) for shard in narrow.values()] == [30, 30]
        with refused(SourceError, "twice"):
            convert([paths[0], paths[0]], tmp_path / "again")
    assert calls > 20 or inode == "stays"


@pytest.mark.parametrize("column", ["feature_y1", "target", "id"])
def test_files_with_other_columns_are_refused(tmp_path: Path, column: str) -> None:
    table()(tmp_path / "one.parquet")
    table(**{column: None})(tmp_path / "two.parquet")
    with refused(SchemaError, "one.parquet", "two.parquet"):
        convert([tmp_path / "one.parquet", tmp_path / "two.parquet"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int8", 5), ("int8", -1), ("int8", 127), ("int8", -128), ("uint8", 255), ("int64", 2**40)],
)
@pytest.mark.parametrize("store", ["float32", "int8"])
def test_an_integer_that_is_no_code_is_refused(
    tmp_path: Path, dtype: str, value: int, store: str
) -> None:
    table(feature_z3=np.array([0, 1, 2, 3, 4, value, 0], dtype))(tmp_path / "toy.parquet")
    with refused(SourceError, "toy.parquet", "'feature_z3'", f"found {value} "):
        convert(tmp_path / "toy.parquet", tmp_path / "out", dtype=store)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e39])
@pytest.mark.parametrize("column", ["feature_y1", "target"])
@pytest.mark.parametrize("store", ["float32", "int8"])
def test_an_infinity_is_refused(tmp_path: Path, value: float, column: str, store: str) -> None:
    table(**{column: [0.0] * 5 + [value, 0.0]})(tmp_path / "toy.parquet")
    with refused(SourceError, "toy.parquet", repr(column), "'0002'", "infinity"):
        convert(tmp_path / "toy.parquet", tmp_path / "out", dtype=store)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("value", [0.1, -0.25, 1.25, 2.0, 4.0, 0.25 + 1e-7, 3e38])
def test_floats_that_are_not_codes_need_the_float32_store(tmp_path: Path, value: float) -> None:
    path = tmp_path / "toy.parquet"
    table(feature_y1=[0.0] * 4 + [value, 0.5, 0.5])(path)
    with refused(SourceError, "toy.parquet", "'feature_y1'", "'0002'", "--dtype float32"):
        convert(path, tmp_path / "out", dtype="int8")
    dataset = convert(path, tmp_path / "out").dataset
    assert dataset["0002"].features[0, 1] == np.float32(value)
    assert list(verify(tmp_path / "out")) == []


def test_a_damaged_page_is_refused_and_finished_eras_stay(tmp_path: Path) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {f"{era:04}": 50 for era in range(1, 9)}, row_group_rows=50)
    whole = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(6).column(3)
    damaged = bytearray(whole)
    start = column.dictionary_page_offset
    damaged[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(damaged)
    with refused(SourceError, "toy.parquet", "row group 6"):
        convert(path, out)
    assert set(os.listdir(out)) <= {WORKSPACE, *(f"era-{era:04}" for era in range(1, 7))}
    assert not (out / WORKSPACE / "partial").exists()
    path.write_bytes(whole)
    assert convert(path, out).n_rows == 400
    assert list(verify(out)) == []


def test_a_flipped_byte_is_refused_or_makes_a_whole_dataset(tmp_path: Path) -> None:
    path, out = tmp_path / "toy.parquet", tmp_path / "out"
    write_toy(path, {"0001": 60, "0002": 20}, n_features=3, n_targets=1, row_group_rows=50)
    whole = path.read_bytes()
    random = np.random.default_rng([2, 7])
    n_refused = 0
    for position in random.choice(len(whole), 80, replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            convert(path, out)
        except (SourceError, SchemaError) as error:
            n_refused += 1
            text = str(error)
        else:
            text = "converted"
            assert list(verify(out)) == []
        assert "\n" not in text
        shutil.rmtree(out, ignore_errors=True)
    assert 10 < n_refused < 80


def test_invalid_names_are_refused(tmp_path: Path) -> None:
    source, odd = tmp_path / "source.parquet", tmp_path / "odd\udcff.parquet"
    write_toy(source, {"0001": 4})
    with refused(ConversionError, "too long", "shorten"):
        convert(source, tmp_path / ("a" * 300))
    shutil.copy(source, odd)
    with refused(SourceError, "isn't UTF-8", "rename"):
        convert(odd, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == sorted([source, odd])
