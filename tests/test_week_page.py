"""Tests of the README's week: its commands, run one after another against a server on loopback.

The server answers as Numerai does and has the sample's files. What the README shows of a command is
compared with what the command prints, except for numbers; a line `…` stands for any lines.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.conversion.sample import write_sample
from tests.support.numerai_account import MODEL_ID, Account
from tests.support.numerai_server import NumeraiServer
from tests.support.numerai_submissions import open_account

pytest.importorskip("keras")
pytest_plugins = ["tests.support.numerai_fixtures"]

README = (Path(__file__).parent.parent / "README.md").read_text()
WEEK = README[README.index("## Your week") : README.index("## From Python")]
ROWS = 300


@pytest.fixture
def account(server: NumeraiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Return an account at a server that has the sample's files, in an empty working folder."""
    account = open_account(server, monkeypatch)
    server.files.clear()
    write_sample(tmp_path / "sample", n_eras=60, rows_per_era=ROWS, n_features=12)
    for path in (tmp_path / "sample").iterdir():
        server.put_file(f"v5.3/{path.name}", path.read_bytes())
    account.models = [{"id": MODEL_ID, "name": "my_model", "tournament": 8}]
    account.data_versions = [{"id": "data-v5.3", "name": "v5.3"}]
    (tmp_path / "week").mkdir()
    monkeypatch.chdir(tmp_path / "week")
    return account


def commands_and_outputs() -> list[tuple[list[str], str]]:
    """Return the page's blocks of commands, each with the output that follows it."""
    found = re.findall(r"```sh\n(memmap-train [^`]*)```[^`]*```\n([^`]*)```", WEEK)
    return [(block.splitlines(), output) for block, output in found]


def without_numbers(line: str) -> str:
    """Return a line without what differs from one run to another: numbers, sizes, and ids."""
    line = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|(submission|pickle)-\d+", "ID", line)
    line = re.sub(r"\d[\d,.:e-]*( [kMGT]?B\b)?", "#", line)
    return " ".join(line.split())


def check_shown(shown: str, printed: str) -> None:
    """Check that what was printed has the lines that are shown, in this order."""
    left = iter(map(without_numbers, printed.splitlines()))
    for line in shown.splitlines():
        if line.strip() != "…":
            assert without_numbers(line) in left, f"{line!r} isn't in:\n{printed}"


def test_the_commands_of_the_week_print_what_the_page_shows(
    account: Account, server: NumeraiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = commands_and_outputs()
    assert [len(commands) for commands, _ in blocks] == [5, 3]
    for commands, shown in blocks:
        for command in commands:
            assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err
        check_shown(shown, capsys.readouterr().out)
    (pickle,), (submission,) = account.pickles, account.submissions
    assert server.uploads[pickle["filename"]] == Path("model.pkl").read_bytes()
    assert server.uploads[submission["filename"]] == Path("predictions.csv").read_bytes()
    (config,) = re.findall(r"```toml\n(.*?)```", WEEK, re.DOTALL)
    Path("week.toml").write_text(config)
    for _ in range(2):  # the second time there is nothing to do
        assert main(["week", "week.toml"]) == 0, capsys.readouterr().err
    assert len(account.submissions) == 2


def test_the_same_commands_in_the_next_week_fetch_and_convert_what_is_new(
    account: Account, server: NumeraiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (week, _), _ = commands_and_outputs()
    download, convert = (shlex.split(command)[1:] for command in week[:2])
    assert main(download) == main(convert) == 0
    write_sample("next", n_eras=61, rows_per_era=ROWS, n_features=12)
    for path in Path("next").iterdir():
        server.put_file(f"v5.3/{path.name}", path.read_bytes())
    capsys.readouterr()
    assert main(download) == main(convert) == 0
    printed = capsys.readouterr().out
    assert "features.json" in printed
    assert len(mt.open_dataset("data/shards").eras) == 61


def test_the_notebook_cell_predicts_and_submits(account: Account, server: NumeraiServer) -> None:
    (cell,) = re.findall(r"```python\n(.*?)```", WEEK, re.DOTALL)
    names: dict[str, Any] = {}
    exec(cell.replace("epochs=20", "epochs=1"), names)
    assert names["run"].history["epoch"].tolist() == [1]
    (submission,) = account.submissions
    assert len(server.uploads[submission["filename"]].splitlines()) == 1 + ROWS
