"""Tests of the commands about datasets and of `train`: what each prints and writes."""

import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.system.memory_budget import PROCESS_MEMORY
from tests.support.cli_data import json_flag, sources


def test_sample_prints_its_files_and_the_best_possible_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(f"sample {tmp_path} --eras 10 --rows-per-era 30 --features 6".split()) == 0
    out = capsys.readouterr().out
    assert re.search(r"best possible validation score -?0\.\d{4}", out)
    for name in ("train.parquet", "validation.parquet", "live.parquet", "features.json"):
        assert str(tmp_path / name) in out


def test_plan_describes_the_sources_and_its_last_line_converts_them(
    sample: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(sample.rglob("*"))
    assert main(["plan", *map(str, sources(sample)), *json_flag(sample)]) == 0
    out = capsys.readouterr().out
    for expected in ("600 rows x 12 features", "15 (0001 to 0015)", "equals target_alpha_20"):
        assert expected in out
    assert (sorted(tmp_path.rglob("*")), sorted(sample.rglob("*"))) == ([], before)
    program, *command = shlex.split(out.splitlines()[-1].removeprefix("next"))
    assert program == "memmap-train"
    assert main(command) == 0
    assert mt.open_dataset(tmp_path / "data" / "shards").n_rows == 600


def test_plan_as_json_is_the_only_thing_on_stdout(
    sample: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(shards), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert main(["plan", *map(str, sources(sample)), *json_flag(sample), "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    for key in ("n_rows", "n_eras", "eras", "rows_per_era", "n_features", "data_type", "has_ids"):
        assert planned[key] == made[key]
    assert planned["next"].startswith("memmap-train convert ")
    for name, target in made["targets"].items():
        assert planned["targets"][name]["labelled_eras"] == target["labelled_eras"]


def test_plan_accepts_other_column_names(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(sources(sample)[0])
    names = [n.replace("feature", "x").replace("target", "y") for n in table.column_names]
    table = table.rename_columns(names).rename_columns({"era": "week", "id": "stock"})
    pq.write_table(table, tmp_path / "other.parquet")
    flags = "--era-column week --id-column stock --feature-prefix x --target-prefix y"
    assert main(["plan", str(tmp_path / "other.parquet"), *flags.split()]) == 0
    out = capsys.readouterr().out
    assert "(equals y_alpha_20)" in out
    assert out.endswith(f" {flags}\n")


def test_convert_reports_and_a_second_convert_is_up_to_date(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shards"
    command = ["convert", *map(str, sources(sample)), "--out", str(out), *json_flag(sample)]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert "converted 600 rows, 15 eras, 12 features, float32" in first
    assert "target equals target_alpha_20 in every row" in first
    manifest = (out / "manifest.json").read_bytes()
    assert main(command) == 0
    assert "up to date" in capsys.readouterr().out
    assert (out / "manifest.json").read_bytes() == manifest


def test_convert_takes_every_option(sample: Path, tmp_path: Path) -> None:
    table = pq.read_table(sources(sample)[0])
    names = {"era": "week", "id": "stock", "target": "y"}
    table = table.rename_columns(
        [
            names.get(name, name.replace("feature", "x").replace("target", "y"))
            for name in table.column_names
        ]
    ).replace_schema_metadata(None)
    pq.write_table(table, tmp_path / "other.parquet")
    features = [name for name in table.column_names if name.startswith("x_")]
    (tmp_path / "f.json").write_text(json.dumps({"feature_sets": {"three": features[:3]}}))
    out = tmp_path / "shards"
    options = (
        f"--out {out} --dtype int8 --features-json {tmp_path / 'f.json'} --feature-set three "
        "--target y --target y_beta_60 --era-column week --id-column stock --feature-prefix x "
        "--target-prefix y --missing 0.5 --memory 600 --workers 1 --json"
    )
    assert main(["convert", str(tmp_path / "other.parquet"), *options.split()]) == 0
    dataset = mt.open_dataset(out)
    assert dataset.feature_names == tuple(features[:3])
    assert dataset.target_names == ("y", "y_beta_60")
    assert dataset.manifest.dtype == "int8"
    assert dataset["0001"].ids is not None


def test_convert_report_as_json_is_the_only_thing_on_stdout(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["convert", *map(str, sources(sample)), "--out", str(tmp_path / "d"), "--json"]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n_rows"], report["n_eras"], report["status"]) == (600, 15, "converted")
    assert report["digest"] == mt.open_dataset(tmp_path / "d").manifest.digest


def benchmark_files(sample: Path, folder: Path) -> list[str]:
    """Write files of benchmarks for all rows of the sample's sources, and return their paths."""
    paths = [folder / "train_models.parquet", folder / "validation_models.parquet"]
    for source, path in zip(sources(sample), paths, strict=True):
        rows = pq.read_table(source, columns=["era", "id"])
        values = pa.array(np.arange(len(rows)) / len(rows))
        pq.write_table(rows.append_column("v53_lgbm", values), path)
    return [str(path) for path in paths]


def test_benchmarks_are_joined_at_once_or_added_later(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, validation = benchmark_files(sample, tmp_path)
    named = [*map(str, sources(sample))]
    assert main(["convert", *named, "--out", str(tmp_path / "one"), "--benchmarks", train]) == 0
    out = capsys.readouterr().out
    assert "1 benchmark ('v53_lgbm')" in out
    assert f"train_models.parquet: {len(pq.read_table(train)):,} of " in out
    two = str(tmp_path / "two")
    assert main(["convert", *named, "--out", two]) == 0
    more = ["--benchmarks", train, "--benchmarks", validation]
    assert main(["convert", "--out", two, "--json", *more[:2]]) == 0
    capsys.readouterr()
    assert main(["convert", *named, "--out", str(tmp_path / "one"), "--json", *more]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["status"], report["benchmarks"]) == ("updated", ["v53_lgbm"])
    assert (report["n_eras_new"], report["n_eras_changed"], report["n_eras_benchmarks"]) == (
        0,
        0,
        3,
    )
    n_rows = len(pq.read_table(validation))
    assert report["benchmark_files"][1] == {
        "name": "validation_models.parquet",
        "n_rows": n_rows,
        "n_joined": n_rows,
        "n_other_eras": 0,
        "n_other_ids": 0,
    }
    assert main(["convert", "--out", two, "--benchmarks", train, validation]) == 0
    assert "1 benchmark ('v53_lgbm'), written in 3 old eras" in capsys.readouterr().out
    assert mt.open_dataset(two).manifest.digest == report["digest"]
    assert main(["convert", *named, "--out", two, *more]) == 0
    assert "up to date" in capsys.readouterr().out


def test_overwrite_replaces_a_dataset(sample: Path, tmp_path: Path) -> None:
    train, validation = map(str, sources(sample))
    out = str(tmp_path / "shards")
    assert main(["convert", train, "--out", out]) == 0
    assert main(["convert", validation, "--out", out]) == 1
    assert len(mt.open_dataset(out).eras) == 12
    assert main(["convert", validation, "--out", out, "--overwrite"]) == 0
    assert mt.open_dataset(out).eras == ("0013", "0014", "0015")


def test_inspect_shows_the_dataset(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(shards)]) == 0
    out = capsys.readouterr().out
    for expected in ("600 rows x 12 features, float32", "0001 to 0015", "medium", "planted"):
        assert expected in out
    assert main(["inspect", str(shards), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["n_rows"] == 600
    assert data["targets"]["target"]["alias_of"] == "target_alpha_20"
    assert data["targets"]["target_alpha_60"]["labelled_eras"] < 15


def test_the_python_line_that_inspect_shows_opens_an_era(
    shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(shards), "--era", "0007"]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1].removeprefix("open it").strip()
    array = eval(line, {"numpy": np})  # what a user pastes
    assert isinstance(array, np.memmap)
    assert array.shape == (40, 12)
    assert main(["inspect", str(shards), "--era", "0007", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["arrays"]["features"]["shape"] == [40, 12]
    assert data["arrays"]["ids"]["dtype"] == "|S16"


def test_inspect_lists_features_with_their_sets(
    shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(shards), "--features"]) == 0
    headings, *lines = capsys.readouterr().out.splitlines()
    assert headings.split() == ["column", "feature", "missing", "constant", "mean", "sets"]
    assert len(lines) == 12
    assert "small" in lines[0]
    assert main(["inspect", str(shards), "--features", "--era", "0007", "--json"]) == 0
    counts = [f["era_counts"] for f in json.loads(capsys.readouterr().out)["features"]]
    assert [sum(of_feature.values()) for of_feature in counts] == [40] * 12
    assert main(["inspect", str(shards), "--features", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert [f["column"] for f in described["features"]] == list(range(12))
    assert described["duplicated_ids"] == {}


def test_verify_lists_every_damage_and_fails(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shards"
    assert main(["convert", str(sources(sample)[0]), "--out", str(out)]) == 0
    assert main(["verify", str(out)]) == 0
    assert "all is well" in capsys.readouterr().out
    flipped = bytearray((out / "era-0002" / "features.npy").read_bytes())
    flipped[-1] ^= 1
    (out / "era-0002" / "features.npy").write_bytes(flipped)
    os.truncate(out / "era-0003" / "targets.npy", 200)
    (out / "notes.txt").write_text("mine")
    assert main(["verify", str(out)]) == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 3
    for name in ("era-0002/features.npy", "era-0003/targets.npy", "notes.txt"):
        assert name in captured.out
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")
    assert main(["verify", str(out), "--quick"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_status_and_warm_report_what_is_in_memory(
    shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["warm", str(shards)]) == 0
    assert "read all 15 of 15 eras" in capsys.readouterr().out
    assert main(["status", str(shards)]) == 0
    assert re.search(r"features .*(100% in memory|can't be told)", capsys.readouterr().out)
    assert main(["status", str(shards), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["arrays"].keys() == {"features", "targets", "ids", "counts"}


def test_warming_more_than_memory_holds_is_reported(
    shards: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PROCESS_MEMORY, "available", lambda: 1000)
    monkeypatch.setattr("memmap_train.loading.placement.can_read_directly", lambda path: True)
    assert main(["warm", str(shards)]) == 0
    assert "nothing to read ahead: memory is too small" in capsys.readouterr().out


@pytest.mark.usefixtures("quick_rates")
def test_bench_prints_rates_and_advice(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", str(shards), "--features", "small", "--batch-size", "50"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "batches of 50 x " in printed.out
    assert "doesn't wait for data" in printed.out
    assert "measuring" in printed.err
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"now", "in memory"} <= found["rates"].keys()
    assert 0 < found["n_features"] < 12
    assert f"batches of 50 x {found['n_features']}" in printed.out


def test_training_works_as_dry_run_quietly_and_in_the_list_of_runs(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["batch_size=32", "epochs=1", "validation_eras=2", "hidden=[4]", "baseline=none"]
    train = ["train", str(shards), "--run", str(tmp_path / "run")]
    train += [part for setting in settings for part in ("--set", setting)]
    capsys.readouterr()
    assert main([*train, "--dry-run"]) == 0
    out = capsys.readouterr().out
    expected_texts = ["eras (0001 to ", "steps of 32 rows", "for buffers", "nothing was written"]
    for expected in [*expected_texts, "steps and ", "\nepoch ", "for all 1 epoch"]:
        assert expected in out
    assert not list(tmp_path.iterdir())
    assert main([*train, "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "of eras positive" in printed.out
    assert main(["runs", str(tmp_path)]) == 0
    assert re.search(r"/run .* mlp .* finished\n", capsys.readouterr().out)
    assert main(["runs", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["n_features"] == 12
    runs = [str(tmp_path / "run")] * 2
    assert main(["predict", *runs, str(shards), "--out", str(tmp_path / "out.csv")]) == 0
    assert "600 predictions" in capsys.readouterr().out


def test_inspect_reports_how_a_dataset_would_be_shuffled(
    shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(shards)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"shuffling window .* pool .* eras per batch, gradient variance 1\.", out)
    assert re.search(r"reading .* fit into the .* of memory available", out)
