"""Tests of the sample: what it promises of values, files and memory, read back from the files."""

import gc
import itertools
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.conversion.conversion import convert
from memmap_train.conversion.parquet.writer import SourceWriter
from memmap_train.conversion.sample import SampleSummary, write_sample
from memmap_train.conversion.sample_features import rank_bins
from memmap_train.conversion.sample_signal import TARGET_NAMES, Signal
from memmap_train.conversion.schema import BEST_KEY
from memmap_train.errors import ConfigError
from memmap_train.runs.scores.metrics import numerai_corr
from tests.support.files import files_limited_to
from tests.support.watching import watched_by

SOURCES = ("train.parquet", "validation.parquet", "live.parquet")
BENCHMARKS = (
    "train_benchmark_models.parquet",
    "validation_benchmark_models.parquet",
    "live_benchmark_models.parquet",
    "meta_model.parquet",
)
FILES = (*SOURCES, "features.json", *BENCHMARKS)

# Rows that neither 5 nor 20 divides, so that rounding is at work.
ROWS, FEATURES, ERAS, SEED = 53, 12, 180, 7


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, n_eras=ERAS, rows_per_era=ROWS, n_features=FEATURES, seed=SEED)
    return directory


def eras_of(path: Path) -> dict[str, pa.Table]:
    """Return the rows of each era, checking that an era's rows lie together."""
    table = pq.read_table(path)
    labels = np.array(table["era"].to_pylist())
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    assert len(starts) == len(np.unique(labels))
    stops = [*starts[1:], len(labels)]
    return {
        str(labels[start]): table.slice(start, stop - start)
        for start, stop in zip(starts, stops, strict=True)
    }


def columns(rows: pa.Table, prefix: str) -> npt.NDArray[np.float64]:
    """Return the columns with this prefix as one array, null as NaN."""
    names = [name for name in rows.column_names if name.startswith(prefix)]
    return np.column_stack([rows[name].to_numpy() for name in names]).astype(float)


@pytest.mark.parametrize("name", SOURCES)
def test_every_feature_has_five_equal_bins_in_every_era(sample: Path, name: str) -> None:
    for rows in eras_of(sample / name).values():
        codes = columns(rows, "feature_")
        sizes = np.array([(codes == code).sum(axis=0) for code in range(5)])
        assert sizes.sum(axis=0).tolist() == [ROWS] * FEATURES
        assert sizes.min() == ROWS // 5
        assert sizes.max() == ROWS // 5 + 1


def test_target_bins_hold_their_shares_in_every_era(sample: Path) -> None:
    shares = np.array([0.05, 0.20, 0.50, 0.20, 0.05])
    for rows in eras_of(sample / "train.parquet").values():
        targets = columns(rows, "target")
        sizes = np.array([(targets == value).sum(axis=0) for value in (0, 0.25, 0.5, 0.75, 1)])
        assert sizes.sum(axis=0).tolist() == [ROWS] * len(TARGET_NAMES)
        assert np.abs(sizes - ROWS * shares[:, np.newaxis]).max() <= 1


def test_equal_values_are_still_cut_into_equal_bins() -> None:
    values = np.random.default_rng([0, 0]).integers(0, 4, size=(50, 101)).astype(np.float32)
    bins = rank_bins(values, (0.2, 0.4, 0.6, 0.8))
    for line, ranked in zip(values, bins, strict=True):
        assert np.abs(np.bincount(ranked, minlength=5) - 101 / 5).max() < 1
        assert (np.diff(ranked[np.argsort(line, kind="stable")]) >= 0).all()


def test_target_is_the_alias_of_alpha_and_of_nothing_else(sample: Path) -> None:
    for name in SOURCES:
        table = pq.read_table(sample / name)
        assert table["target"].equals(table["target_alpha_20"])
    targets = columns(pq.read_table(sample / "train.parquet"), "target")
    correlations = np.array([np.corrcoef(targets[:, 0], each)[0, 1] for each in targets.T])
    assert dict(zip(TARGET_NAMES, correlations > 0.99, strict=True)) == {
        "target": True,
        "target_alpha_20": True,
        "target_alpha_60": False,
        "target_beta_20": False,
        "target_beta_60": False,
    }
    assert (correlations > 0.3).all()


def test_targets_of_the_last_4_eras_and_60_day_targets_of_the_last_12_are_null(
    sample: Path,
) -> None:
    train = pq.read_table(sample / "train.parquet")
    assert [train[name].null_count for name in TARGET_NAMES] == [0, 0, 0, 0, 0]
    for label, rows in eras_of(sample / "validation.parquet").items():
        in_20_days = ROWS if int(label) > ERAS - 4 else 0
        in_60_days = ROWS if int(label) > ERAS - 12 else 0
        assert [rows[name].null_count for name in TARGET_NAMES] == [
            in_60_days if name.endswith("_60") else in_20_days for name in TARGET_NAMES
        ]
    live = pq.read_table(sample / "live.parquet")
    assert [live[name].null_count for name in TARGET_NAMES] == [ROWS] * 5


def test_the_smallest_sample_has_every_part(tmp_path: Path) -> None:
    summary = write_sample(tmp_path, n_eras=5, rows_per_era=20, n_features=5)
    assert [len(eras_of(tmp_path / name)) for name in SOURCES] == [4, 1, 1]
    validation = pq.read_table(tmp_path / "validation.parquet")
    assert [validation[name].null_count for name in TARGET_NAMES] == [0, 0, 20, 0, 20]
    assert np.isfinite(summary.best)


def test_eras_and_data_types_are_labelled_as_numerai_does(sample: Path) -> None:
    found = {
        name: {
            label: rows["data_type"].unique().to_pylist()
            for label, rows in eras_of(sample / name).items()
        }
        for name in SOURCES
    }
    assert found["train.parquet"] == {f"{n:04d}": ["train"] for n in range(1, 145)}
    assert found["validation.parquet"] == {
        f"{n:04d}": ["test" if n > 172 else "validation"] for n in range(145, 181)
    }
    assert list(found["validation.parquet"]) == sorted(found["validation.parquet"])
    assert found["live.parquet"] == {"X": ["live"]}


@pytest.mark.parametrize("name", SOURCES)
def test_columns_have_numerais_order_and_types(sample: Path, name: str) -> None:
    schema = pq.read_schema(sample / name)
    features = json.loads((sample / "features.json").read_text())["feature_sets"]["all"]
    assert schema.names == ["era", "data_type", *features, *TARGET_NAMES, "id"]
    assert len(features) == FEATURES
    types = [str(kind) for kind in schema.types]
    assert types == ["string"] * 2 + ["int8"] * FEATURES + ["float"] * 5 + ["string"]


def test_pandas_shows_id_as_the_index(sample: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(sample / "validation.parquet")
    table = pq.read_table(sample / "validation.parquet")
    assert frame.index.name == "id"
    assert frame.index.tolist() == table["id"].to_pylist()
    assert frame.columns.tolist() == table.column_names[:-1]
    assert frame["target_beta_60"].isna().sum() == 12 * ROWS
    assert frame.dtypes.iloc[2] == np.int8
    assert frame["target"].dtype == np.float32


def test_ids_are_unique_and_sorted_inside_an_era(sample: Path) -> None:
    ids = []
    for name in SOURCES:
        for label, rows in eras_of(sample / name).items():
            of_era = rows["id"].to_pylist()
            assert of_era == sorted(of_era)
            # What makes ids unique over eras too, by design and not by luck.
            assert {int(text[-4:], 16) for text in of_era} == {0 if label == "X" else int(label)}
            ids += of_era
    assert len(set(ids)) == len(ids) == (ERAS + 1) * ROWS
    assert {(len(text), text[0]) for text in ids} == {(16, "n")}
    assert {digit for text in ids for digit in text[1:]} == set("0123456789abcdef")


def test_eras_straddle_row_groups(sample: Path) -> None:
    source = pq.ParquetFile(sample / "train.parquet")
    sizes = [source.metadata.row_group(i).num_rows for i in range(source.num_row_groups)]
    assert sizes[:-1] == [int(3.5 * ROWS)] * (len(sizes) - 1)
    eras = [set(source.read_row_group(i, ["era"])["era"].to_pylist()) for i in range(len(sizes))]
    straddling = [before & after for before, after in pairwise(eras)]
    assert sum(map(bool, straddling)) > len(sizes) // 2


def test_feature_sets_nest_and_overlap(sample: Path) -> None:
    content = json.loads((sample / "features.json").read_text())
    sets = {name: set(features) for name, features in content["feature_sets"].items()}
    assert sets["small"] < sets["medium"] < sets["all"]
    groups = [name for name in sets if name not in ("small", "medium", "all")]
    assert all(sets[name] and sets[name] < sets["all"] for name in groups)
    assert sets["sunshine"] & sets["rain"]
    assert not sets["intelligence"] & sets["charisma"]
    assert content["targets"] == list(TARGET_NAMES)


def test_features_of_a_family_are_mildly_correlated(sample: Path) -> None:
    sets = json.loads((sample / "features.json").read_text())["feature_sets"]
    table = pq.read_table(sample / "train.parquet", columns=sets["all"])
    correlations = np.abs(np.corrcoef(columns(table, "feature_"), rowvar=False))
    np.fill_diagonal(correlations, 0)
    assert 0.1 < correlations.max() < 0.6
    width = len(sets["intelligence"])
    assert correlations[:width, width:].max() < 0.05


def test_the_recorded_best_score_is_that_of_the_files(sample: Path) -> None:
    signal = Signal(FEATURES, SEED)
    scores = []
    for label, rows in eras_of(sample / "validation.parquet").items():
        if int(label) <= ERAS - 4:
            features = columns(rows, "feature_").astype(np.int8)
            scores.append(numerai_corr(signal.persistent(features), rows["target"].to_numpy()))
    recorded = {
        pq.read_metadata(sample / name).metadata[BEST_KEY.encode()]
        for name in (*SOURCES, *BENCHMARKS)
    }
    assert recorded == {repr(float(np.mean(scores))).encode()}


def test_a_linear_model_of_the_default_sample_comes_near_the_best(tmp_path: Path) -> None:
    summary = write_sample(tmp_path)
    train = pq.read_table(tmp_path / "train.parquet")
    features, target = columns(train, "feature_"), columns(train, "target")[:, 0]
    features -= 2
    weights = np.linalg.solve(features.T @ features, features.T @ (target - 0.5))
    validation = eras_of(tmp_path / "validation.parquet")
    scores = [
        numerai_corr(columns(rows, "feature_") @ weights, rows["target"].to_numpy())
        for rows in validation.values()
        if not rows["target"].null_count
    ]
    assert len(scores) == 56
    assert min(rows.num_rows for rows in validation.values()) >= 1_500
    assert 0.04 < summary.best < 0.05
    assert 0.8 * summary.best < np.mean(scores) < summary.best
    assert np.std(scores) > 0.02  # eras differ, as in reality


def test_the_signal_of_single_eras_does_not_generalize() -> None:
    signal = Signal(FEATURES, SEED)
    first, second = signal.era(1, 100_000), signal.era(2, 100_000)
    weights = np.linalg.lstsq(first.features - 2.0, first.targets[:, 0] - 0.5)[0]
    explained = [
        np.corrcoef((era.features - 2.0) @ weights, era.targets[:, 0])[0, 1]
        for era in (first, second)
    ]
    # One era's fit finds its own weights, 0.15 / 0.053 times as strong as the persistent ones.
    assert explained[0] > 0.1
    assert explained[1] < explained[0] / 2


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    contents = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_sample(tmp_path / name, n_eras=10, rows_per_era=40, n_features=9, seed=seed)
        contents.append([(tmp_path / name / file).read_bytes() for file in FILES])
    assert contents[0] == contents[1]
    tables = [pq.read_table(tmp_path / name / "train.parquet") for name in ("a", "c")]
    for column in ("id", "target", tables[0].column_names[2]):
        assert not tables[0][column].equals(tables[1][column])


def test_an_era_does_not_depend_on_those_made_before() -> None:
    signal = Signal(FEATURES, SEED)
    for number in (1, 2, 9):
        signal.era(number, 40)
    again, fresh = signal.era(2, 40), Signal(FEATURES, SEED).era(2, 40)
    assert np.array_equal(again.features, fresh.features)
    assert np.array_equal(again.targets, fresh.targets)
    assert np.array_equal(again.ids, fresh.ids)
    assert not np.array_equal(again.features, signal.era(3, 40).features)


def test_more_eras_do_not_change_earlier_ones(tmp_path: Path) -> None:
    tables = []
    for n_eras in (10, 15):
        directory = tmp_path / str(n_eras)
        write_sample(directory, n_eras=n_eras, rows_per_era=40, n_features=9)
        sources = [pq.read_table(directory / name) for name in SOURCES[:2]]
        tables.append(pa.concat_tables(sources).slice(0, 10 * 40))
    changing = ["data_type", "target_alpha_60", "target_beta_60"]
    assert tables[0].drop_columns(changing).equals(tables[1].drop_columns(changing))
    assert tables[0]["target_alpha_60"].null_count > tables[1]["target_alpha_60"].null_count == 0


def test_memory_does_not_grow_with_the_eras(tmp_path: Path) -> None:
    def peak_bytes(n_eras: int) -> int:
        of_arrow = 0
        gc.collect()
        before = pa.total_allocated_bytes()  # by what ran earlier in this process

        def progress(what: str, done: int, total: int) -> None:
            nonlocal of_arrow
            of_arrow = max(of_arrow, pa.total_allocated_bytes() - before)

        tracemalloc.start()
        folder = tmp_path / str(n_eras)
        write_sample(folder, n_eras=n_eras, rows_per_era=2_000, n_features=32, progress=progress)
        of_numpy = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return of_numpy + of_arrow

    peak_bytes(5)  # what is imported when it is first needed
    few, many = peak_bytes(15), peak_bytes(75)
    bytes_per_era = 2_000 * (32 + 4 * len(TARGET_NAMES) + 16)
    assert many - few < 3 * bytes_per_era  # of the 60 that it has more
    assert few < 30 * bytes_per_era


def test_the_summary_and_the_progress_report_what_was_done(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    summary = write_sample(
        tmp_path / "new" / "folder",
        n_eras=6,
        rows_per_era=30,
        n_features=7,
        progress=lambda what, done, total: calls.append((what, done, total)),
    )
    assert calls == [("writing the sample", done, 210) for done in range(30, 211, 30)]
    assert summary == SampleSummary(
        paths=tuple(tmp_path / "new" / "folder" / name for name in FILES),
        n_rows=sum(pq.read_metadata(path).num_rows for path in summary.paths[:3]),
        n_eras=6,
        n_features=7,
        best=summary.best,
    )
    assert sorted(summary.paths[0].parent.iterdir()) == sorted(summary.paths)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_eras": 4}, "--eras: expected 5 to 9,999, found 4; type: .* --eras 5$"),
        ({"n_eras": 10_000}, "--eras: expected 5 to 9,999, found 10,000; type: .* --eras 9999$"),
        ({"rows_per_era": 19}, "--rows-per-era: expected 20 or more, found 19"),
        ({"n_features": 0}, "--features: expected 5 to 50,000, found 0"),
        ({"n_features": 10**9}, "--features: expected 5 to 50,000, found 1,000,000,000"),
        ({"rows_per_era": 10**11}, "take at least 130,000.0 GB of memory; expected .* at most"),
        ({"rows_per_era": 10**30}, "GB of memory; expected .* at most, which is what is free"),
        ({"seed": -1}, "--seed: expected 0 or more, found -1"),
    ],
)
def test_sizes_that_make_no_sense_are_refused_before_anything_is_written(
    tmp_path: Path, sizes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        write_sample(tmp_path / "new", **sizes)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_that_the_disk_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: dict[str, Any] = {"n_eras": 5, "rows_per_era": 1000, "n_features": 800}
    written = sum(path.stat().st_size for path in write_sample(tmp_path / "a", **sizes).paths)
    monkeypatch.setattr("memmap_train.conversion.sample.free_disk", lambda path: written)
    write_sample(tmp_path / "b", **sizes)
    monkeypatch.setattr("memmap_train.conversion.sample.free_disk", lambda path: written // 2)
    with pytest.raises(ConfigError, match=r"take at least 1\.9 MB of disk; expected .* at most"):
        write_sample(tmp_path / "c", **sizes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, below: str) -> None:
    taken = tmp_path / "taken"
    taken.write_text("precious")
    with pytest.raises(ConfigError, match=r"can't write a sample into .*taken"):
        write_sample(taken / below, n_eras=5, rows_per_era=20, n_features=5)
    assert taken.read_text() == "precious"


def test_a_former_sample_is_replaced(tmp_path: Path) -> None:
    for n_features in (5, 6):
        write_sample(tmp_path, n_eras=5, rows_per_era=20, n_features=n_features)
    for name in SOURCES:
        assert len(pq.read_schema(tmp_path / name).names) == 6 + 2 + len(TARGET_NAMES) + 1
    assert len(json.loads((tmp_path / "features.json").read_text())["feature_sets"]["all"]) == 6


def test_a_sample_of_before_there_were_benchmark_files_is_replaced(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"n_eras": 5, "rows_per_era": 20}
    write_sample(tmp_path, n_features=5, **sizes)
    for name in BENCHMARKS:
        (tmp_path / name).unlink()
    write_sample(tmp_path, n_features=6, **sizes)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    assert pq.read_schema(tmp_path / "train.parquet").names[-1] == "id"
    assert len(pq.read_schema(tmp_path / "train.parquet").names) == 6 + 2 + len(TARGET_NAMES) + 1


def test_a_full_disk_is_explained_and_leaves_the_former_sample(tmp_path: Path) -> None:
    write_sample(tmp_path, n_eras=5, rows_per_era=20, n_features=5)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with (
        files_limited_to(20_000),
        pytest.raises(ConfigError, match=r"space enough; found: .*File too large"),
    ):
        write_sample(tmp_path, n_eras=50, rows_per_era=500, n_features=5)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


class Kill:
    """Ends a sample at its n-th rename or removal; nothing can be changed from then on."""

    class Error(BaseException):
        """Nobody catches it."""

    def __init__(self, folder: Path, number: int) -> None:
        self.n_seen, self._folder, self._number = 0, str(folder), number

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        changes = event in ("os.rename", "os.remove", "os.rmdir")
        if changes and str(arguments[0]).startswith(self._folder):
            self.n_seen += 1
            if self.n_seen >= self._number:
                raise self.Error


def test_a_killed_sample_is_never_a_mixture_and_a_rerun_completes_it(tmp_path: Path) -> None:
    """What `make` asks for is train.parquet: where it is, all files are of one sample."""
    sizes: dict[str, Any] = {"n_eras": 5, "rows_per_era": 20}
    folder = tmp_path / "sample"
    write_sample(tmp_path / "old", n_features=5, **sizes)
    write_sample(tmp_path / "new", n_features=6, **sizes)
    known = {
        tuple((tmp_path / name / file).read_bytes() for file in FILES): name
        for name in ("old", "new")
    }
    found = []
    for number in itertools.count(1):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "old", folder)
        with watched_by(kill := Kill(folder, number)), suppress(Kill.Error):
            write_sample(folder, n_features=6, **sizes)
        if (folder / "train.parquet").exists():
            contents = tuple((folder / file).read_bytes() for file in FILES)
            found.append(known[contents])
        else:
            found.append("absent")
        write_sample(folder, n_features=6, **sizes)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
            file.name: file.read_bytes() for file in (tmp_path / "new").iterdir()
        }
        if kill.n_seen < number:
            break
    assert list(dict.fromkeys(found)) == ["old", "absent", "new"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["other", "cut", "folder", "link", "broken link", "pipe"])
def test_a_file_that_is_not_part_of_a_sample_is_never_replaced(
    tmp_path: Path, name: str, kind: str
) -> None:
    folder, theirs = tmp_path / "data", tmp_path / "theirs"
    write_sample(folder, n_eras=5, rows_per_era=20, n_features=5)
    path = folder / name
    whole = path.read_bytes()
    path.unlink()
    match kind:
        case "other":
            if name == "features.json":
                data = json.loads(whole)
                data["feature_sets"]["mine"] = data["feature_sets"]["small"]
                path.write_text(json.dumps(data))
            else:
                pq.write_table(pa.table({"era": ["0001"], "feature_a": [1]}), path)
        case "cut":
            path.write_bytes(whole[:-9])
        case "folder":
            path.mkdir()
        case "link":
            theirs.write_text("mine")
            path.symlink_to(theirs)
        case "broken link":
            path.symlink_to(theirs)
        case "pipe":
            os.mkfifo(path)
    before = {p.name: (p.lstat().st_ino, p.lstat().st_mtime_ns) for p in folder.iterdir()}
    with pytest.raises(ConfigError, match=f"found '{name}', which `sample` didn't write"):
        write_sample(folder, n_eras=5, rows_per_era=20, n_features=6)
    assert {p.name: (p.lstat().st_ino, p.lstat().st_mtime_ns) for p in folder.iterdir()} == before


@pytest.mark.parametrize("where", [".", "deep/er", "era-0001"])
def test_a_sample_in_a_dataset_is_refused(tmp_path: Path, where: str) -> None:
    write_sample(tmp_path / "sample", n_eras=5, rows_per_era=20, n_features=5)
    out = convert(tmp_path / "sample" / "train.parquet", tmp_path / "out").dataset.path
    before = sorted(out.rglob("*"))
    with pytest.raises(ConfigError, match="found the dataset"):
        write_sample(out / where, n_eras=5, rows_per_era=20, n_features=5)
    assert sorted(out.rglob("*")) == before


def test_an_interrupted_writer_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    path.write_bytes(b"former")
    era = Signal(FEATURES, SEED).era(1, 40)

    def write_and_stop() -> None:
        with SourceWriter(path, range_names(FEATURES), TARGET_NAMES, rows_per_group=30) as source:
            for label in ("0001", "0002"):
                source.write_era(
                    label, "train", features=era.features, targets=era.targets, ids=era.ids
                )
            assert [entry.name for entry in tmp_path.iterdir() if entry != path]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"former"


def test_an_interrupted_sample_leaves_no_empty_folder(tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        assert (tmp_path / "sample").exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "sample", n_eras=5, rows_per_era=20, n_features=5, progress=stop)
    assert not list(tmp_path.iterdir())


def test_each_cell_is_read_back_from_its_coordinates(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    n_rows, n_columns = 7, 3
    with SourceWriter(path, range_names(n_columns), ["target"], rows_per_group=10) as source:
        for era in range(1, 6):
            rows = np.arange(n_rows)
            source.write_era(
                f"{era:04d}",
                "train",
                # C-ordered, unlike the sample's: both layouts are taken.
                features=(rows[:, np.newaxis] * 10 + np.arange(n_columns)).astype(np.int8) + era,
                targets=np.where(rows == era, np.nan, era + rows / 8)[:, np.newaxis].astype("f4"),
                ids=np.array([f"n{era}{row:014d}".encode() for row in rows], "S16"),
            )
    assert pq.ParquetFile(path).num_row_groups == 4
    for era, rows_of_era in enumerate(eras_of(path).values(), start=1):
        for row, cells in enumerate(rows_of_era.to_pylist()):
            assert cells == {
                "era": f"{era:04d}",
                "data_type": "train",
                **{f"feature_{k}": row * 10 + k + era for k in range(n_columns)},
                "target": None if row == era else era + row / 8,
                "id": f"n{era}{row:014d}",
            }


def range_names(n_features: int) -> list[str]:
    return [f"feature_{number}" for number in range(n_features)]


def test_importing_the_sample_module_loads_no_pyarrow() -> None:
    script = "import sys, memmap_train.conversion.sample; print('pyarrow' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout == "False\n"
