"""Tests of what is said before anything is written: counts, labels, the alias, what fits."""

import json
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.conversion import memory_budget, preview
from memmap_train.conversion.preview import Preview, TargetLabels, preview_sources
from memmap_train.conversion.preview_text import describe_preview, preview_text
from memmap_train.conversion.schema import ColumnOptions
from memmap_train.errors import MemmapTrainError, SchemaError, SourceError
from tests.support.errors import refused
from tests.support.toy import feature_names, target_names, toy_table, write_toy

ERAS = {"0001": 40, "0002": 25, "0010": 35, "X": 5}
N_FEATURES = 12
NAMES = feature_names(N_FEATURES)
SETS = {
    "small": NAMES[:2],
    "medium": NAMES[:6],
    "partly": [NAMES[0], "feature_gone"],
    "empty": [],
    "all": NAMES,
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder: a source `toy.parquet` and its `features.json`."""
    monkeypatch.chdir(tmp_path)
    write_toy(Path("toy.parquet"), ERAS, n_features=N_FEATURES, row_group_rows=17)
    Path("features.json").write_text(json.dumps({"feature_sets": SETS}))
    return tmp_path


def machine_of(monkeypatch: pytest.MonkeyPatch, *, memory: int, disk: int) -> None:
    """Let the machine have so many bytes of memory and of free disk."""
    monkeypatch.setattr(preview, "available_memory", lambda: memory)
    monkeypatch.setattr(memory_budget, "available_memory", lambda: memory)
    free = shutil._ntuple_diskusage(10**15, 10**15 - disk, disk)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)


def with_targets(path: str, columns: dict[str, Sequence[float | None]], rows: int = 3) -> None:
    """Write a source of two eras with these targets, in row groups of so many rows."""
    n = len(next(iter(columns.values())))
    table = toy_table({"0001": n // 2, "0002": n - n // 2}, n_targets=0)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.float32()))
    pq.write_table(table, path, row_group_size=rows)


def bytes_of(found: Preview) -> dict[tuple[str, str], int]:
    return {
        (choice.name, dtype): store.bytes
        for choice in found.choices
        for dtype, store in choice.stores.items()
    }


# -- counts -----------------------------------------------------------------------------------


def test_rows_eras_columns_and_data_types_are_counted(home: Path) -> None:
    write_toy(Path("more.parquet"), {"0010": 3, "0011": 9}, n_features=12, data_type="test")
    found = preview_sources(["toy.parquet", "more.parquet"])
    assert found.n_rows == 117
    assert list(found.rows_per_era.items()) == [
        ("0001", 40),
        ("0002", 25),
        ("0010", 38),
        ("0011", 9),
        ("X", 5),
    ]
    assert found.data_types == {"train": 105, "test": 12}
    assert (found.n_features, list(found.targets), found.has_ids) == (12, target_names(2), True)
    assert found.integer_features
    data = describe_preview(found)
    assert (data["n_eras"], data["eras"]) == (5, ["0001", "X"])
    assert data["rows_per_era"] == {"least": 5, "most": 40}


@pytest.mark.parametrize("row_group_rows", [1, 7, 1000])
def test_eras_with_labels_are_counted_for_each_target(tmp_path: Path, row_group_rows: int) -> None:
    order = np.random.default_rng(0).permutation(60)  # eras come mixed, and come again
    table = toy_table({"9": 20, "10": 20, "X": 20}, n_targets=3, order=order)
    eras = np.array(table.column("era").to_pylist())
    wanted = {"target": ["9"], "target_t1_20": ["9", "10"], "target_t2_20": []}
    for name, labelled in wanted.items():
        values = table.column(name).to_numpy()
        keep = np.zeros(60, bool)
        for era in labelled:
            keep[np.flatnonzero(eras == era)[-1]] = True  # a single label is one
        position = table.column_names.index(name)
        table = table.set_column(position, name, pa.array(np.where(keep, values, np.nan)))
    pq.write_table(table, tmp_path / "toy.parquet", row_group_size=row_group_rows)
    assert preview_sources([tmp_path / "toy.parquet"]).targets == {
        "target": TargetLabels(1, "9"),
        "target_t1_20": TargetLabels(2, "10"),
        "target_t2_20": TargetLabels(0, None),
    }


def test_null_and_nan_are_both_no_label(tmp_path: Path) -> None:
    with_targets(f"{tmp_path}/toy.parquet", {"target": [None, None, np.nan, 0.5]})
    found = preview_sources([tmp_path / "toy.parquet"])
    assert found.targets == {"target": TargetLabels(1, "0002")}


def test_targets_that_are_all_of_type_null_have_no_labels(tmp_path: Path) -> None:
    table = toy_table({"X": 3}, n_targets=0).append_column("target", pa.nulls(3))
    pq.write_table(table, tmp_path / "live.parquet")
    found = preview_sources([tmp_path / "live.parquet"])
    assert (found.targets, found.aliases) == ({"target": TargetLabels(0, None)}, {})


def test_a_source_without_targets_or_ids_has_a_preview(tmp_path: Path) -> None:
    write_toy(tmp_path / "live.parquet", {"X": 6}, n_targets=0, ids=False)
    found = preview_sources([tmp_path / "live.parquet"])
    assert (found.targets, found.aliases, found.has_ids) == ({}, {}, False)
    assert "targets   0\n" in preview_text(found)


def test_all_that_is_counted_is_what_a_conversion_finds(home: Path) -> None:
    write_toy(Path("nulls.parquet"), ERAS, n_features=5, n_targets=4, nulls=True, row_group_rows=9)
    found = preview_sources(["nulls.parquet"])
    dataset = mt.convert("nulls.parquet", "out").dataset
    assert tuple(found.rows_per_era) == dataset.eras
    assert tuple(found.rows_per_era.values()) == tuple(dataset.rows_per_era)
    assert found.aliases == dict(dataset.manifest.aliases)
    for name, labels in found.targets.items():
        assert labels.labelled_eras == len(dataset.labelled_eras(name))
        assert labels.last_labelled_era == dataset.labelled_eras(name)[-1]


# -- the alias ----------------------------------------------------------------------------------

LABELS: list[float | None] = [0.25, None, np.nan, 0.5, 1.0, None, 0.0]


def test_the_named_target_that_equals_the_alias_is_said(tmp_path: Path) -> None:
    equal = [0.25, np.nan, None, 0.5, 1.0, None, 0.0]  # null and NaN are the same
    columns: dict[str, Sequence[float | None]] = {
        "target": LABELS,
        "target_a": [0.5] * 7,
        "target_b": equal,
        "target_c": LABELS,
    }
    with_targets(f"{tmp_path}/toy.parquet", columns)
    found = preview_sources([tmp_path / "toy.parquet"])
    assert found.aliases == {"target": "target_b"}
    assert "(equals target_b)" in preview_text(found)
    assert describe_preview(found)["targets"]["target"]["alias_of"] == "target_b"


def test_the_alias_may_stand_after_the_others(tmp_path: Path) -> None:
    columns: dict[str, Sequence[float | None]] = {
        "target_a": [0.5] * 7,
        "target_b": LABELS,
        "target": LABELS,
    }
    with_targets(f"{tmp_path}/toy.parquet", columns)
    found = preview_sources([tmp_path / "toy.parquet"])
    assert found.aliases == {"target": "target_b"}
    assert list(found.targets) == ["target_a", "target_b", "target"]


@pytest.mark.parametrize("row", range(7))
@pytest.mark.parametrize("other", [0.75, None])
@pytest.mark.parametrize("file", ["one", "two"])
def test_one_row_of_one_file_that_differs_makes_it_no_alias(
    tmp_path: Path, row: int, other: float | None, file: str
) -> None:
    differing = [other if i == row else value for i, value in enumerate(LABELS)]
    for name in ("one", "two"):
        named = differing if name == file else LABELS
        with_targets(f"{tmp_path}/{name}.parquet", {"target": LABELS, "target_a": named})
    found = preview_sources([tmp_path / "one.parquet", tmp_path / "two.parquet"])
    label = LABELS[row]
    is_equal = other is None and (label is None or np.isnan(label))
    assert found.aliases == ({"target": "target_a"} if is_equal else {})


def test_without_any_label_there_is_no_alias(tmp_path: Path) -> None:
    columns: dict[str, Sequence[float | None]] = {"target": [None] * 4, "target_a": [np.nan] * 4}
    with_targets(f"{tmp_path}/toy.parquet", columns)
    assert preview_sources([tmp_path / "toy.parquet"]).aliases == {}


def test_named_targets_alone_have_no_alias(tmp_path: Path) -> None:
    with_targets(f"{tmp_path}/toy.parquet", {"target_a": LABELS, "target_b": LABELS})
    assert preview_sources([tmp_path / "toy.parquet"]).aliases == {}


# -- what it takes ------------------------------------------------------------------------------


def test_all_and_the_sets_that_are_wholly_there_are_listed(home: Path) -> None:
    found = preview_sources(["toy.parquet"], features_json="features.json")
    assert [(c.name, c.feature_set, c.n_features) for c in found.choices] == [
        ("all", None, 12),
        ("small", "small", 2),
        ("medium", "medium", 6),
    ]
    assert "partly" not in preview_text(found)
    assert [c.name for c in preview_sources(["toy.parquet"]).choices] == ["all"]


def test_a_set_named_all_that_holds_less_is_a_set(home: Path) -> None:
    Path("features.json").write_text(json.dumps({"feature_sets": {"all": NAMES[:3]}}))
    found = preview_sources(["toy.parquet"], features_json="features.json")
    assert [(c.feature_set, c.n_features) for c in found.choices] == [(None, 12), ("all", 3)]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("feature_set", [None, "medium"])
def test_the_bytes_said_are_those_that_are_written(
    tmp_path: Path, dtype: str, feature_set: str | None
) -> None:
    path, sets = tmp_path / "toy.parquet", tmp_path / "features.json"
    write_toy(path, {"0001": 3000, "0002": 3000}, n_features=300, row_group_rows=999)
    sets.write_text(json.dumps({"feature_sets": {"medium": feature_names(300)[:200]}}))
    found = preview_sources([path], features_json=sets)
    mt.convert(path, tmp_path / "out", dtype=dtype, features_json=sets, feature_set=feature_set)
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    taken = sum(-(-file.stat().st_size // 4096) * 4096 for file in files)
    assert taken <= bytes_of(found)[feature_set or "all", dtype] <= 1.1 * taken


def test_what_a_conversion_stages_on_the_disk_has_to_fit_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toy(Path("wide.parquet"), {"0001": 4000}, n_features=300, row_group_rows=4000)
    monkeypatch.setattr(preview, "default_budget", lambda available: 1000)
    (staged,) = preview_sources(["wide.parquet"]).choices
    int8 = staged.stores["int8"]
    assert int8.disk_bytes - int8.bytes == 4000 * (300 + 4 * 2 + 16)
    machine_of(monkeypatch, memory=10**12, disk=int8.bytes)
    found = preview_sources(["wide.parquet"])
    assert not describe_preview(found)["choices"][0]["stores"]["int8"]["fits_disk"]
    assert found.next_command is None
    assert "1.3 MB more while it is converted" in preview_text(found)


# -- what to type next ----------------------------------------------------------------------------

WIDE = feature_names(40)
WIDE_SETS = {"small": WIDE[5:7], "medium": WIDE[10:30], "partly": [*WIDE[:35], "feature_gone"]}
# What is suggested, by what memory and disk hold: the bytes of (set, dtype), and some more.
SUGGESTED: dict[str, tuple[Any, Any, str | None, str | None]] = {
    "float32 into memory": (("all", "float32", 0), ("all", "float32", 0), None, "float32"),
    "a byte too little memory": (("all", "float32", -1), 10**12, None, "int8"),
    "a byte too little disk": (10**12, ("all", "float32", -1), None, "int8"),
    "all as int8 just fits": (0, ("all", "int8", 0), None, "int8"),
    "a set as int8": (10**12, ("all", "int8", -1), "medium", "int8"),
    "a set that just fits": (0, ("medium", "int8", 0), "medium", "int8"),
    "a small set as float32": (10**12, ("medium", "int8", -1), "small", "float32"),
    "a small set as int8": (10**12, ("small", "float32", -1), "small", "int8"),
    "nothing fits": (10**12, ("small", "int8", -1), None, None),
}
SUGGESTED_FLOATS: dict[str, tuple[Any, Any, str | None, str | None]] = {
    "float32 into memory": (("all", "float32", 0), ("all", "float32", 0), None, "float32"),
    "no memory": (0, ("all", "float32", 0), None, "float32"),
    "a set": (10**12, ("all", "float32", -1), "medium", "float32"),
    "a small set, no memory": (0, ("medium", "float32", -1), "small", "float32"),
    "nothing fits": (10**12, ("small", "float32", -1), None, None),
}


@pytest.mark.parametrize(
    ("source_dtype", "case"),
    [("int8", case) for case in SUGGESTED] + [("float32", case) for case in SUGGESTED_FLOATS],
)
def test_the_command_suggested_suits_the_machine_and_runs(
    source_dtype: str, case: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = SUGGESTED if source_dtype == "int8" else SUGGESTED_FLOATS
    memory, disk, feature_set, dtype = cases[case]
    write_toy(Path("wide.parquet"), {"1": 3000, "2": 3000}, n_features=40, dtype=source_dtype)
    Path("wide.json").write_text(json.dumps({"feature_sets": WIDE_SETS}))
    needed = bytes_of(preview_sources(["wide.parquet"], features_json="wide.json"))
    memory, disk = (
        needed[size[:2]] + size[2] if isinstance(size, tuple) else size for size in (memory, disk)
    )
    machine_of(monkeypatch, memory=memory, disk=disk)
    found = preview_sources(["wide.parquet"], features_json="wide.json")
    if dtype is None:
        assert found.next_command is None
        assert "next      nothing fits: free 1 B of disk" in preview_text(found)
        assert describe_preview(found)["next"] is None
        return
    assert found.next_command is not None
    assert preview_text(found).endswith(f"next      {found.next_command}")
    program, *arguments = shlex.split(found.next_command)
    assert program == "memmap-train"
    assert main(arguments) == 0
    dataset = mt.open_dataset("data/shards")
    assert dataset.manifest.dtype == dtype
    wanted = WIDE if feature_set is None else WIDE_SETS[feature_set]
    assert dataset.feature_names == tuple(wanted)


def test_integers_in_one_file_and_floats_in_another_are_floats(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toy(Path("floats.parquet"), {"0011": 9}, n_features=12, dtype="float32")
    machine_of(monkeypatch, memory=0, disk=10**12)
    found = preview_sources(["toy.parquet", "floats.parquet"])
    assert not found.integer_features
    assert "--dtype float32" in (found.next_command or "")
    assert "int8 only if" in preview_text(found)


def test_without_sets_the_advice_is_to_name_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_of(monkeypatch, memory=0, disk=0)
    assert "--features-json" in preview_text(preview_sources(["toy.parquet"]))
    found = preview_sources(["toy.parquet"], features_json="features.json")
    assert "--features-json" not in preview_text(found)


def test_the_command_suggested_names_all_that_was_named(home: Path) -> None:
    table = pq.read_table("toy.parquet")
    names = [
        name.replace("feature", "x").replace("target", "y").replace("era", "a week")
        for name in table.column_names
    ]
    Path("it's here").mkdir()
    table = table.rename_columns(names).rename_columns({"id": "stock"})
    pq.write_table(table, "it's here/$a b.parquet")
    Path("it's here/sets.json").write_text(json.dumps({"feature_sets": {"two": ["x_z0", "x_y1"]}}))
    found = preview_sources(
        ["it's here/$a b.parquet"],
        features_json="it's here/sets.json",
        columns=ColumnOptions(
            era_column="a week", id_column="stock", feature_prefix="x", target_prefix="y"
        ),
    )
    assert found.next_command is not None
    assert main(shlex.split(found.next_command)[1:]) == 0
    dataset = mt.open_dataset("data/shards")
    assert dataset.target_names == ("y", "y_t1_20")
    assert dataset.manifest.columns == {"era": "a week", "id": "stock"}
    assert list(dataset.manifest.feature_sets) == ["two"]


def test_the_disk_is_that_of_the_folder_to_be(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def disk_usage(path: Path) -> Any:
        asked.append(Path(path))
        return shutil._ntuple_diskusage(10, 1, 9)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert preview_sources(["toy.parquet"]).disk_free == 9
    Path("data").mkdir()
    preview_sources(["toy.parquet"])
    assert asked == [Path("."), Path("data")]


# -- what is refused, and what is left behind -----------------------------------------------------


def test_nothing_is_written(home: Path) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in home.rglob("*")}

    before = state()
    found = preview_sources(["toy.parquet"], features_json="features.json")
    preview_text(found)
    assert state() == before


def test_features_are_not_read(home: Path) -> None:
    table = pq.read_table("toy.parquet")
    wrong = pa.array(np.full(len(table), 99, np.int8))
    table = table.set_column(table.column_names.index(NAMES[3]), NAMES[3], wrong)
    pq.write_table(table, "wrong.parquet")
    assert preview_sources(["wrong.parquet"]).n_rows == 105
    with refused(SourceError, NAMES[3]):
        mt.convert("wrong.parquet", "out")


def test_progress_goes_up_to_all_values(home: Path) -> None:
    seen: list[tuple[int, int]] = []
    preview_sources(["toy.parquet"], progress=lambda _, *count: seen.append(count))
    assert {total for _, total in seen} == {105 * (3 + 2)}
    done = [n for n, _ in seen]
    assert done == sorted(set(done))
    assert done[-1] == 105 * 5


def test_a_preview_is_json(home: Path) -> None:
    data = describe_preview(preview_sources(["toy.parquet"], features_json="features.json"))
    assert json.loads(json.dumps(data)) == data
    assert set(data["choices"][0]["stores"]) == {"float32", "int8"}


MISNAMED = ColumnOptions(era_column="eras")
REFUSED: dict[str, tuple[list[str], dict[str, Any], type[MemmapTrainError]]] = {
    "no sources": ([], {}, SourceError),
    "no such file": (["none.parquet"], {}, SourceError),
    "twice": (["toy.parquet", "./toy.parquet"], {}, SourceError),
    "did you mean 'era'?": (["toy.parquet"], {"columns": MISNAMED}, SchemaError),
    "sets.json: no such file": (["toy.parquet"], {"features_json": "sets.json"}, SchemaError),
    "differ": (["toy.parquet", "narrow.parquet"], {}, SchemaError),
    "target 'target': found an infinity": (["infinite.parquet"], {}, SourceError),
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_mistake_is_one_line(home: Path, said: str) -> None:
    write_toy(Path("narrow.parquet"), {"0001": 3}, n_features=2)
    with_targets("infinite.parquet", {"target": [0.5, np.inf]})
    paths, options, kind = REFUSED[said]
    with refused(kind, said):
        preview_sources(paths, **options)


def test_a_file_that_changes_meanwhile_is_refused(home: Path) -> None:
    def change(what: str, done: int, total: int) -> None:
        os.utime("toy.parquet", (0, 0))

    with refused(SourceError, "changed while it was read"):
        preview_sources(["toy.parquet"], progress=change)
