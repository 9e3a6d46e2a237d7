import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.cli.parser import make_parser
from memmap_train.system.memory_budget import PROCESS_MEMORY

pytest_plugins = ["tests.support.numerai_fixtures"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    assert main(f"sample {folder} --eras 15 --rows-per-era 40 --features 12 --seed 3".split()) == 0
    return folder


@pytest.fixture(scope="module")
def shards(sample: Path) -> Path:
    out = sample / "shards"
    assert main(["convert", *map(str, sources(sample)), "--out", str(out), *json_flag(sample)]) == 0
    return out


def sources(sample: Path) -> list[Path]:
    return [sample / "train.parquet", sample / "validation.parquet"]


def json_flag(sample: Path) -> list[str]:
    return ["--features-json", str(sample / "features.json")]


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


BAD = [
    ("convert {tmp}/none.parquet --out {tmp}/out", "none.parquet: no such file"),
    ("convert {tmp}/text.parquet --out {tmp}/out", "begin with PAR1"),
    ("convert {tmp}/cut.parquet --out {tmp}/out", "cut short"),
    ("plan {tmp}/none.parquet", "none.parquet: no such file"),
    ("plan {tmp}/text.parquet", "begin with PAR1"),
    ("plan {tmp}/cut.parquet", "footer is missing"),
    ("plan {sample}/train.parquet --era-column weak", "name it with --era-column"),
    ("plan {sample}/train.parquet --features-json {tmp}/text.parquet", "not valid JSON"),
    ("convert {sample}/train.parquet --out {tmp}/out --era-column weak", "with --era-column"),
    ("convert {sample}/train.parquet --out {tmp}/out --feature-prefix zz", "--feature-prefix"),
    ("convert {sample}/train.parquet --out {tmp}/out --feature-set small", "--features-json"),
    (
        "convert {sample}/train.parquet --out {tmp}/out --features-json {sample}/features.json "
        "--feature-set medum",
        "did you mean 'medium'",
    ),
    (
        "convert {sample}/train.parquet --out {tmp}/out --target target_beta_06",
        "did you mean 'target_beta_60'",
    ),
    ("convert {sample}/train.parquet {sample}/train.parquet --out {tmp}/out", "the same file"),
    ("convert {sample}/train.parquet --out {tmp}/out --memory 3", "512 MB"),
    ("convert {sample}/train.parquet --out {sample}", "won't be touched"),
    (
        "convert {sample}/train.parquet --out {tmp}/out --benchmarks {sample}/validation.parquet",
        "features or targets; expected a file of benchmarks",
    ),
    ("inspect {shards} --era 0099", "no era '0099'"),
    ("inspect {sample}", "not a dataset"),
    ("verify {tmp}/nothing", "no such folder"),
    ("sample {tmp}/out --eras 2", "--eras: expected 5 to 9,999, found 2; type: memmap-train"),
    ("sample {tmp}/out --features 1000000000", "--features: expected 5 to 50,000, found 1,000,000"),
    ("sample {tmp}/out --rows-per-era 100000000000", "130,000.0 GB of memory; expected"),
]


@pytest.mark.parametrize(("command", "said"), BAD, ids=[command for command, _ in BAD])
def test_a_mistake_is_reported_in_one_line_and_leaves_nothing_behind(
    command: str,
    said: str,
    sample: Path,
    shards: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.parquet").write_text("era,feature_1\n1,2\n")
    data = sources(sample)[0].read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    before = sorted(tmp_path.rglob("*")), sorted(sample.rglob("*"))
    capsys.readouterr()
    assert main(command.format(tmp=tmp_path, sample=sample, shards=shards).split()) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert (sorted(tmp_path.rglob("*")), sorted(sample.rglob("*"))) == before


# Of each command a line that can be parsed and takes little time; arguments by their names.
QUICK = {
    "sample": "sample {directory} --eras 5 --rows-per-era 20 --features 5",
    "plan": "plan {sources}",
    "convert": "convert {sources} --out new",
    "inspect": "inspect {dataset}",
    "verify": "verify {dataset}",
    "status": "status {dataset}",
    "warm": "warm {dataset}",
    "bench": "bench {dataset} --batch-size 50",
    "train": "train {dataset} --run new --set model=ridge --folds 1 --dry-run",
    "runs": "runs {directories}",
    "predict": "predict {runs} {dataset} --out new.csv",
    "evaluate": "evaluate {models} {dataset} --out new",
    "report": "report {names} --out new.html",
    "download": "download {files} --version v5.3 --out new",
    "export": "export {runs} --out new.pkl",
    "submit": "submit {kind} {file} --model first",
    "week": "week {config} --dry-run",
}
COMMANDS: dict[str, argparse.ArgumentParser] = next(
    action.choices
    for action in make_parser()._actions
    if isinstance(action, argparse._SubParsersAction)
)
WITH_VALUES = [
    (command, action)
    for command, parser in COMMANDS.items()
    for action in parser._actions
    if action.nargs != 0  # a flag has no value
]
ABSURD_NUMBERS = ["0", "-1", "1e400", "nan", "inf", "1.5", "0x10", "1_0", "٣", "9" * 5000]
ABSURD_NUMBERS += [str(10**power) for power in (9, 12, 19, 30)]
ABSURD_TEXTS = ["", " ", "-1", "two\nlines", "é" * 40, "'\"$(true)"]


def test_every_command_has_a_quick_example_for_these_tests() -> None:
    assert QUICK.keys() == COMMANDS.keys()


@pytest.mark.parametrize(
    ("command", "action"),
    WITH_VALUES,
    ids=[f"{command} {action.metavar or action.dest}" for command, action in WITH_VALUES],
)
@pytest.mark.usefixtures("quick_rates", "server")
def test_an_absurd_value_is_accepted_or_refused_in_one_line(
    command: str,
    action: argparse.Action,
    sample: Path,
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    may_be_empty = action.dest == "id_column"
    line = QUICK[command]
    if action.dest == "seeds":  # which a ridge regression has none of
        line = line.replace("model=ridge", "batch_size=50")
    is_text = may_be_empty or action.type in (None, Path)
    for value in ABSURD_TEXTS if is_text else [*ABSURD_TEXTS, *ABSURD_NUMBERS]:
        given = {"sources": sample / "train.parquet", "dataset": shards, "directory": "new"}
        given |= dict.fromkeys(("directories", "runs", "models", "names", "config"), "nothing")
        given |= {"files": "live.parquet", "kind": "predictions", "file": "nothing.csv"}
        arguments = [part.format(**given) for part in line.split()]
        if action.option_strings:
            arguments.append(f"{action.option_strings[0]}={value}")
        else:
            arguments[arguments.index(str(given[action.dest]))] = value
        try:
            code: object = main(arguments)
        except SystemExit as stopped:
            code = stopped.code
        printed = capsys.readouterr()
        assert code in (0, 1, 2), arguments
        assert "Traceback" not in printed.err
        if code == 1:
            assert re.fullmatch("error: .*\n", printed.err), arguments
        if code != 0:
            assert printed.out == ""
            assert list(tmp_path.iterdir()) == [], arguments
        if not value.strip() and not (may_be_empty and not value):
            assert code == 2, arguments
        for made in list(tmp_path.iterdir()):
            shutil.rmtree(made) if made.is_dir() else made.unlink()


def test_a_label_that_the_terminal_cannot_show_is_no_error(tmp_path: Path) -> None:
    table = pa.table({"era": ["é"], "feature_a": pa.array([1], pa.int8())})
    pq.write_table(table, tmp_path / "source.parquet")
    for command in ("plan source.parquet", "convert source.parquet --out d", "inspect d"):
        done = subprocess.run(
            [sys.executable, "-m", "memmap_train", *command.split()],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert ("\\xe9" in done.stdout) == (not command.startswith("convert"))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "required: COMMAND"),
        ("plan", "required: SOURCE"),
        ("convert a.parquet", "required: --out"),
        ("convert --out d", "required: SOURCE"),
        ("convert --out d --benchmarks", "argument --benchmarks: expected at least one argument"),
        ("nonsense", "argument COMMAND: expected one of 'sample', 'plan', "),
        ("nonsense", "'download', 'export', 'submit', 'week', found 'nonsense'\n"),
        ("conver a --out b", "found 'conver'; did you mean 'convert'?"),
        ("convert a --out b --dtype int4", "expected one of 'float32', 'int8', found 'int4'"),
        ("convert a --out b --over", "unexpected option '--over'; did you mean '--overwrite'?"),
        ("convert a --out b --memroy=5", "option '--memroy=5'; did you mean '--memory'?"),
        ("inspect a b", "unexpected argument 'b'"),
        ("convert a --out=", "argument --out: expected a value, found an empty one"),
        ("convert a --out=--", "argument --out: expected a value, found '--'"),
        ("sample x --eras", "argument --eras: expected one argument"),
        ("sample x --eras=1e3", "argument --eras: expected a whole number, found '1e3'"),
        ("train d --run r --folds=x", "expected a whole number or 'numerai', found 'x'"),
    ],
)
def test_wrong_usage_is_explained_and_exits_with_2(
    command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("usage: memmap-train")
    assert said in printed.err


def test_the_last_of_two_equal_options_counts() -> None:
    parsed = make_parser().parse_args(["sample", "x", "--eras", "5", "--seed", "1", "--eras", "6"])
    assert (parsed.n_eras, parsed.seed) == (6, 1)
    assert make_parser().parse_args(["runs", "--", "-x"]).directories == [Path("-x")]


def test_help_of_every_command_ends_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(COMMANDS) >= 11
    for command in COMMANDS:
        with pytest.raises(SystemExit) as stopped:
            main([command, "-h"])
        assert stopped.value.code == 0
        ending = " ".join(capsys.readouterr().out.split("example: ")[-1].split())
        assert ending.startswith(f"memmap-train {command} ")


def test_the_module_is_the_command_and_prints_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "memmap_train", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"memmap-train {mt.__version__}\n")


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("imported", ["numpy", "memmap_train.cli.commands"])
def test_a_signal_while_modules_are_imported_is_one_line(signal_number: int, imported: str) -> None:
    code = f"""
import os, sys
from memmap_train.__main__ import main

class Stopping:  # while something is imported whose errors are swallowed
    def find_spec(self, name, path=None, target=None):
        if name == {imported!r}:
            try:
                os.kill(os.getpid(), {int(signal_number)})
            except BaseException:
                pass

sys.meta_path.insert(0, Stopping())
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() == "stopped"


def test_a_signal_that_the_parent_ignores_is_ignored(tmp_path: Path) -> None:
    """A shell without job control makes its background processes ignore Ctrl-C."""
    code = """
import os, signal, sys
from memmap_train import __main__
from memmap_train.cli import commands

def inspect(arguments):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    print("done")

commands._COMMANDS["inspect"] = inspect
sys.argv = ["memmap-train", "inspect", "d"]
sys.exit(__main__.main())
"""
    (tmp_path / "code.py").write_text(code)
    command = f"trap '' INT TERM HUP; exec \"{sys.executable}\" code.py"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_signal_at_the_very_end_prints_no_traceback(shards: Path) -> None:
    code = f"""
import os, sys
from memmap_train import __main__
from memmap_train.cli import terminal

write_result = terminal.write_result
def stopped(result):
    os.kill(os.getpid(), {int(signal.SIGTERM)})
    return write_result(result)
terminal.write_result = stopped
sys.argv = ["memmap-train", "inspect", {str(shards)!r}]
__main__.run_process()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nstopped\n")


@pytest.mark.parametrize("closed", ["pipe", "full"])
def test_a_closed_stderr_does_not_end_the_work(shards: Path, closed: str) -> None:
    """As after a notebook has disconnected, or a terminal was closed under `nohup`."""
    reader, writer = os.pipe()
    os.close(reader)
    if closed == "full":
        os.close(writer)
        writer = os.open("/dev/full", os.O_WRONLY)
    quick = "from memmap_train.loading import rates; rates._COPIED_BYTES = 1_000_000; "
    quick += (
        "rates._DISK_SECONDS = 0.02; from memmap_train.__main__ import run_process; run_process()"
    )
    command = [sys.executable, "-c", quick]
    for arguments, code, said in (
        (["bench", str(shards), "--batch-size", "50"], 0, "rows/s"),
        (["inspect", f"{shards}.not"], 1, ""),
    ):
        done = subprocess.run(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=writer, text=True
        )
        assert done.returncode == code
        assert said in done.stdout
    os.close(writer)


INSPECT = '"{python}" -m memmap_train inspect "{shards}" --json'


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_output_to_a_closed_stream_is_discarded_and_reaches_no_file(
    closed: str, tmp_path: Path
) -> None:
    """A C++ library's output would otherwise go to the file that reuses the number of stderr."""
    code = """
import os, sys
from memmap_train import __main__
from memmap_train.cli import commands as cli

def run():
    with open(sys.argv[1], "w") as file:
        for number in (1, 2):
            os.write(number, b"from a library\\n")
        print("printed")
        print("printed", file=sys.stderr)
        file.write(f"{sys.stdin.read()}written")
    return 0

cli.main = run
sys.exit(__main__.main())
"""
    (tmp_path / "code.py").write_text(code)
    streams = "</dev/null >/dev/null 2>/dev/null"
    command = f'exec "{sys.executable}" code.py out.txt {streams} {closed}'
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    assert (tmp_path / "out.txt").read_text() == "written"


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        (f"{INSPECT} > /dev/full", 1, "stdout: the result can't be written: No space left"),
        ('"{python}" -m memmap_train train -h > /dev/full', 1, "No space left"),
        ('"{python}" -m memmap_train train --help-config > /dev/full', 1, "No space left"),
        ('"{python}" -m memmap_train --version > /dev/full', 1, "No space left"),
        ('"{python}" -m memmap_train --help >&-', 0, ""),
        ('set -o pipefail; "{python}" -m memmap_train train --help-config | true', 0, ""),
        (f"{INSPECT} >&-", 0, ""),
        (f"{INSPECT} 2>&-", 0, ""),
        (f"set -o pipefail; {INSPECT} | true", 0, ""),
        ('"{python}" -m memmap_train inspect "{shards}.not" >&-', 1, "no such folder"),
    ],
)
def test_a_closed_stdout_prints_no_traceback(
    shards: Path, command: str, code: int, error: str
) -> None:
    command = command.format(python=sys.executable, shards=shards)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == code
    assert error in done.stderr
    assert len(done.stderr.splitlines()) == bool(error)


@pytest.mark.parametrize(
    ("signal_number", "impatient"),
    [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, False)],
)
def test_a_stopped_conversion_says_that_a_rerun_resumes(
    signal_number: int, impatient: bool, tmp_path: Path
) -> None:
    # Wide enough to take a second: the signal comes while eras are being published.
    rows = 40_000
    rng = np.random.default_rng(0)
    table = pa.table(
        {"era": [f"{row // 100:04}" for row in range(rows)]}
        | {f"feature_{i}": rng.integers(0, 5, rows, np.int8) for i in range(300)}
    )
    pq.write_table(table, tmp_path / "source.parquet", row_group_size=1000)
    command = [sys.executable, "-m", "memmap_train", "convert", "source.parquet", "--out", "d"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not any(tmp_path.glob("d/.convert/staged/era-*")):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal_number)
    for _ in range(500 if impatient else 0):
        if process.poll() is None:
            process.send_signal(signal_number)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err.strip() == "stopped; run the same command again to resume"
    assert not (tmp_path / "d" / "manifest.json").exists()
    n_finished = len(list(tmp_path.glob("d/.convert/staged/era-*")))
    assert 0 < n_finished < 400
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    kept = int(re.search(r"(\d+) eras were kept", done.stdout)[1])  # type: ignore[index]
    assert 0 < kept <= n_finished
    assert len(mt.open_dataset(tmp_path / "d").eras) == 400


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
    settings = ["batch_size=32", "epochs=1", "validation_eras=2", "hidden=[4]"]
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
