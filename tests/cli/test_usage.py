"""Tests of mistakes, absurd values, wrong usage and help on the command line."""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.cli.parser import make_parser
from tests.support.cli_data import sources

pytest_plugins = ["tests.support.numerai_fixtures"]


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
