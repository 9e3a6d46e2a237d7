"""Tests of the JSON of the commands about Numerai: its keys are those that their READMEs list."""

import json
import re
from pathlib import Path

import pytest

import memmap_train
from memmap_train.cli.commands import main
from tests.support.numerai_server import NumeraiServer
from tests.support.numerai_submissions import open_account, write_model, write_predictions
from tests.support.numerai_week import CONFIG, NumeraiWeek

pytest_plugins = [
    "tests.support.numerai_fixtures",
    "tests.support.numerai_week_fixtures",
    "tests.support.training_fixtures",
]

NUMERAI = Path(memmap_train.__file__).parent / "numerai"


def documented(folder: str) -> list[str]:
    """Return the keys in the table `| key | value |` of a README."""
    text = (NUMERAI / folder / "README.md").read_text("utf-8")
    _, _, table = text.partition("| key | value |\n|---|---|\n")
    rows = table.partition("\n\n")[0].splitlines()
    return [key for row in rows for key in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_the_keys_of_a_download_are_documented(
    server: NumeraiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path)]
    assert main(["download", "live.parquet", "--version", "v5.3", *out, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(found) == sorted(documented("download"))
    text = (NUMERAI / "download" / "README.md").read_text("utf-8")
    assert all(f"`{key}`" in text for key in found["files"][0])


@pytest.mark.parametrize("kind", ["predictions", "diagnostics", "model"])
def test_the_keys_of_a_submission_are_documented_and_the_same_for_all_kinds(
    server: NumeraiServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    open_account(server, monkeypatch)
    write = write_model if kind == "model" else write_predictions
    path = str(write(tmp_path / "file"))
    assert main(["submit", kind, path, "--model", "first", "--json", "--dry-run"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(found) == sorted(documented("submission"))
    assert (found["kind"], found["dry_run"], found["id"]) == (kind, True, None)
    assert isinstance(found["round"], int if kind == "predictions" else type(None))


def test_the_keys_of_an_export_are_documented(
    numerai: NumeraiWeek, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = numerai.folder / "runs" / "one", tmp_path / "model.pkl"
    assert main(["export", str(run), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(found) == sorted(documented("export"))
    assert (found["path"], found["bytes"]) == (str(out), out.stat().st_size)
    assert sorted(found["versions"]) == ["numpy", "pandas"]


@pytest.mark.parametrize("code", [0, 1])
def test_the_keys_of_a_week_are_documented(
    numerai: NumeraiWeek, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    if code:
        numerai.write_config(CONFIG.replace("runs/one", "runs/two"))
    assert main(["week", str(numerai.config), "--dry-run", "--json"]) == code
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert sorted(found) == sorted(documented("week"))
    text = (NUMERAI / "week" / "README.md").read_text("utf-8")
    assert all(f"`{key}`" in text for key in found["parts"][0])
    failed = {part["what"]: part["has_failed"] for part in found["parts"]}
    assert failed == {"Numerai": False, "the live rows": False, "first": bool(code)}
    assert printed.err.count("error: ") == code
