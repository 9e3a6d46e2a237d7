"""Tests of subsets that are made again: up to date, updated as their dataset was, or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import memmap_train as mt
from memmap_train.dataset.verify import verify
from memmap_train.errors import ConversionError
from tests.support.conversions import features_json
from tests.support.errors import refused
from tests.support.files import contents
from tests.support.subsets import NAMES, SETS, check_same_as_converted, parent_of
from tests.support.toy import toy_table, write_toy
from tests.support.updates import write_first, write_later


def marks(dataset: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(dataset)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in dataset.rglob("*.npy")
    }


def test_the_same_subset_again_is_up_to_date_also_from_the_parquet_files(source: Path) -> None:
    parent, narrow = parent_of(source), source.with_name("narrow")
    mt.convert(parent, narrow, feature_set="small", targets="target")
    before = contents(narrow), marks(narrow)
    options: dict[str, Any] = {"feature_set": "small", "targets": "target"}
    assert mt.convert(parent, narrow, **options).status == "up to date"
    options["features_json"] = source.with_name("features.json")
    assert mt.convert(source, narrow, **options).status == "up to date"
    assert (contents(narrow), marks(narrow)) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"feature_set": "middle"}, "features"),
        ({"feature_set": "small", "targets": ["target"]}, "targets"),
        ({"feature_set": "small", "dtype": "int8"}, "dtype"),
    ],
    ids=str,
)
def test_other_options_are_refused_or_overwrite(
    source: Path, options: dict[str, Any], said: str
) -> None:
    parent, narrow = parent_of(source), source.with_name("narrow")
    mt.convert(parent, narrow, feature_set="small")
    before = contents(narrow)
    with refused(ConversionError, str(narrow), said, "--overwrite"):
        mt.convert(parent, narrow, **options)
    assert contents(narrow) == before
    mt.convert(parent, narrow, overwrite=True, **options)
    check_same_as_converted(source, narrow, **options)


@pytest.mark.parametrize("trust_features", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_an_updated_source_dataset_updates_its_subset(
    tmp_path: Path, dtype: str, trust_features: bool
) -> None:
    source, narrow = tmp_path / "validation.parquet", tmp_path / "narrow"
    features_json(tmp_path, SETS)
    write_first(source, n_features=6)
    parent = parent_of(source)
    options: dict[str, Any] = {"feature_set": "small", "dtype": dtype}
    first = mt.convert(parent, narrow, **options).dataset.manifest
    before, old = contents(narrow), marks(narrow)
    write_later(source, n_features=6)
    assert mt.convert(parent, narrow, **options).status == "up to date"  # the parent is what it was
    parent_of(source)
    report = mt.convert(parent, narrow, trust_features=trust_features, **options)
    assert (report.status, report.n_eras_new, report.n_eras_changed) == ("updated", 2, 1)
    after, new = contents(narrow), marks(narrow)
    assert {name for name in old if new[name] != old[name]} == {"era-0003/targets.npy"}
    assert {name for name in old if after[name] != before[name]} == {"era-0003/targets.npy"}
    assert report.dataset.manifest.history == (first.sources,)
    assert list(verify(narrow)) == []
    options["features_json"] = source.with_name("features.json")
    direct = mt.convert(source, tmp_path / "direct", **options).dataset
    assert report.dataset.manifest.digest == direct.manifest.digest
    assert mt.convert(parent, narrow, feature_set="small", dtype=dtype).status == "up to date"


def test_other_features_in_old_eras_are_refused_by_name(tmp_path: Path) -> None:
    source, narrow = tmp_path / "validation.parquet", tmp_path / "narrow"
    features_json(tmp_path, SETS)
    write_first(source, n_features=6)
    parent = parent_of(source, dtype="int8")
    mt.convert(parent, narrow, feature_set="small", dtype="float32")
    before = contents(narrow)
    write_later(source, n_features=6, seed=1)
    parent_of(source, overwrite=True)
    with refused(
        ConversionError, str(narrow), str(parent), "'feature_y1'", "stays as it is", "--overwrite"
    ):
        mt.convert(parent, narrow, feature_set="small", dtype="float32")
    assert contents(narrow) == before


@pytest.mark.parametrize("narrowed", [False, True])
@settings(max_examples=12, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 99_999), min_size=9, max_size=9, unique=True),
    ending=st.sampled_from(["", "", "0", "x" * 9]),
    n_changed=st.integers(1, 6),
)
@example(numbers=list(range(10, 19)), ending="0", n_changed=6)
@example(numbers=[*range(10, 16), 100, 101, 10_000], ending="", n_changed=1)
def test_ids_of_an_update_are_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    narrowed: bool,
    numbers: list[int],
    ending: str,
    n_changed: int,
) -> None:
    """Ids of new eras may be longer; those of old ones can't become what was cut from them."""
    folder = tmp_path_factory.mktemp("ids")
    source, parent, out = folder / "v.parquet", folder / "parent", folder / "out"
    first = [str(number) for number in numbers]

    def write(eras: dict[str, int], ids: list[str]) -> Path:
        """Write the source; return what the dataset is made from."""
        table = toy_table(eras)
        column = table.column_names.index("id")
        pq.write_table(table.set_column(column, "id", pa.array(ids)), source)
        return mt.convert(source, parent, overwrite=True).dataset.path if narrowed else source

    mt.convert(write({"0001": 4, "0002": 2}, first[:6]), out, targets="target")
    before = contents(out)
    later = [f"{text}{ending if row < n_changed else ''}" for row, text in enumerate(first)]
    origin = write({"0001": 4, "0002": 2, "0003": 3}, later)
    if ending:
        with refused(ConversionError, str(out), "the ids of", "--overwrite"):
            mt.convert(origin, out, targets="target")
        assert contents(out) == before
        return
    dataset = mt.convert(origin, out, targets="target").dataset
    found = [text for era in dataset.eras for text in np.asarray(dataset[era].ids).tolist()]
    assert found == [text.encode() for text in later]
    assert list(verify(out)) == []


@pytest.mark.parametrize("lost", ["era", "feature"])
def test_a_source_dataset_that_has_lost_an_era_or_a_feature_is_refused(
    tmp_path: Path, lost: str
) -> None:
    source, narrow = tmp_path / "validation.parquet", tmp_path / "narrow"
    features_json(tmp_path, SETS)
    write_first(source, n_features=6)
    parent = parent_of(source)
    mt.convert(parent, narrow, feature_set="middle")
    before = contents(narrow)
    if lost == "era":
        write_toy(source, {"0001": 12, "0003": 9}, n_features=6)
    else:
        write_later(source, n_features=4)
    parent_of(source, overwrite=True)
    with refused(
        ConversionError, str(parent), "'0002'" if lost == "era" else repr(NAMES[4]), "stays as it"
    ):
        mt.convert(parent, narrow, feature_set="middle" if lost == "era" else None)
    assert contents(narrow) == before
