"""Tests of the JSON of `download` and `submit`: its keys are those that their READMEs list."""

import json
import re
from pathlib import Path

import pytest

import memmap_train
from memmap_train.cli.commands import main
from tests.support.numerai_server import NumeraiServer
from tests.support.numerai_submissions import open_account, write_model, write_predictions

pytest_plugins = ["tests.support.numerai_fixtures"]

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
