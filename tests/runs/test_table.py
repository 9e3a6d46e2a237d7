"""Tests of the table of runs: found, described and sorted, whatever their state."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memmap_train.cli.commands import main
from memmap_train.errors import RunError
from memmap_train.runs.folds.fold import Fold
from memmap_train.runs.lock import holding
from memmap_train.runs.record import fold_record
from memmap_train.runs.run import read_run
from memmap_train.runs.run_folder import begin_run
from memmap_train.runs.scores.score_files import HISTORY_COLUMNS
from memmap_train.runs.table import describe_runs, runs_text
from tests.support.errors import refused
from tests.support.run_records import run_record

MISSING = object()


def make_run(path: Path, corrs: list[float], **changes: Any) -> Path:
    """Write a run with one epoch for each given mean score; the standard deviations rise."""
    values = {"monitor": "val_corr_mean", "features": ["feature_1", "feature_2"], "epochs": 5}
    run = begin_run(path, run_record(**values | changes))
    rows = [
        dict.fromkeys(HISTORY_COLUMNS, 0.5)
        | {"epoch": epoch, "val_corr_mean": corr, "val_corr_std": epoch / 10}
        for epoch, corr in enumerate(corrs, start=1)
    ]
    run.write_history(rows)
    return path


def change_config(path: Path, **changes: object) -> None:
    config = json.loads((path / "config.json").read_text()) | changes
    kept = {key: value for key, value in config.items() if value is not MISSING}
    (path / "config.json").write_text(json.dumps(kept))


def make_folds(path: Path) -> Path:
    """Write a run of two trained folds, and their joint scores."""
    folds = [Fold(("1",), ("10",), ("2",), 1), Fold(("1", "2"), ("11",), ("3",), 1)]
    make_run(path, [], folds=[fold_record(fold) for fold in folds])
    for number in (1, 2):
        make_run(path / f"fold-0{number}", [0.01, 0.02])
        read_run(path / f"fold-0{number}").finish({"best_epoch": 2})
    (path / "history.csv").unlink()
    read_run(path).finish({"corr_mean": 0.02, "corr_std": 0.1, "corr_sharpe": 0.2})
    return path


def make_seeds(path: Path) -> Path:
    """Write a run of three seeds, of which two are finished, and their joint scores."""
    make_run(path, [], seeds=[7, 8, 9])
    for number, corr in enumerate((0.01, 0.03), start=1):
        make_run(path / f"seed-0{number}", [0.0, corr], seed=6 + number)
        read_run(path / f"seed-0{number}").finish({"best_epoch": 2})
    (path / "history.csv").unlink()
    return path


def by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {Path(row["run"]).name: row for row in rows}


def test_the_best_epochs_of_runs_are_sorted_by_score(tmp_path: Path) -> None:
    make_run(tmp_path / "a", [0.01, 0.02, 0.015])
    make_run(tmp_path / "b", [0.03, float("nan")])
    make_run(tmp_path / "c", [])
    make_run(tmp_path / "d", [float("nan")])
    rows = describe_runs([tmp_path])
    assert [Path(row["run"]).name for row in rows][:2] == ["b", "a"]
    found = by_name(rows)
    assert (found["a"]["score"], found["a"]["best_epoch"], found["a"]["epochs"]) == (0.02, 2, 3)
    assert (found["a"]["n_features"], found["a"]["most_epochs"]) == (2, 5)
    assert (found["c"]["score"], found["d"]["score"]) == (None, None)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    lines = runs_text(rows).splitlines()
    assert lines[0].split()[:3] == ["run", "corr", "std"]
    assert lines[1].split()[:3] == [str(tmp_path / "b"), "0.0300", "0.1000"]
    assert len(lines) == 5


def test_a_smaller_score_comes_first_where_smaller_is_better(tmp_path: Path) -> None:
    make_run(tmp_path / "a", [0.01], monitor="loss")
    other = make_run(tmp_path / "b", [0.01], monitor="loss")
    text = (other / "history.csv").read_text()
    (other / "history.csv").write_text(text.replace("1,0.5,", "1,0.25,"))
    rows = describe_runs([tmp_path])
    assert [row["score"] for row in rows] == [0.25, 0.5]
    assert "score: loss" in runs_text(rows)


def test_runs_that_monitor_different_scores_are_sorted_by_their_correlation(
    tmp_path: Path,
) -> None:
    make_run(tmp_path / "a", [0.01, 0.02], monitor="val_corr_std")
    make_run(tmp_path / "b", [0.015])
    rows = describe_runs([tmp_path])
    assert [row["corr_mean"] for row in rows] == [0.015, 0.01]
    assert "sorted by corr" in runs_text(rows).splitlines()[-1]


def test_every_state_is_shown(tmp_path: Path) -> None:
    for name in ("finished", "stopped", "running"):
        make_run(tmp_path / name, [0.01])
    for name in ("no json", "no history", "no key", "newer"):
        make_run(tmp_path / name, [0.01])
    read_run(tmp_path / "finished").finish({"best_epoch": 1})
    (tmp_path / "no json" / "config.json").write_text("{")
    (tmp_path / "no history" / "history.csv").write_text("epoch\nx\n")
    change_config(tmp_path / "no key", main_target=MISSING)
    change_config(tmp_path / "newer", format_version=2)
    with holding(tmp_path / "running"):
        rows = describe_runs([tmp_path])
    states = {name: row["state"] for name, row in by_name(rows).items()}
    assert states == {
        "finished": "finished",
        "stopped": "stopped",
        "running": "running",
        "no json": "damaged",
        "no history": "damaged",
        "no key": "damaged",
        "newer": "newer",
    }
    text = runs_text(rows)
    for part in (
        "not valid JSON",
        "history.csv: damaged",
        "'main_target' is missing",
        "newer/config.json: format_version 2 isn't known here",
    ):
        assert part in text
    assert by_name(describe_runs([tmp_path / "running"]))["running"]["state"] == "stopped"


def cut(name: str, *, keep: float) -> Callable[[Path], object]:
    return lambda run: os.truncate(run / name, int((run / name).stat().st_size * keep))


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda run: (run / name).write_bytes(content)


def replace(name: str, old: str, new: str) -> Callable[[Path], object]:
    def act(run: Path) -> None:
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new))

    return act


def by_a(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def act(run: Path) -> None:
        (run / name).unlink()
        make(run / name)

    return act


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "config.json empty": (write("config.json", b""), "config.json: damaged: not valid JSON"),
    "config.json cut": (cut("config.json", keep=0.5), "config.json: damaged: not valid JSON"),
    "config.json a list": (
        write("config.json", b"[]"),
        "config.json: damaged: expected a JSON obj",
    ),
    "config.json deep": (
        write("config.json", b"[" * 10**5),
        "config.json: damaged: not valid JSON",
    ),
    "config.json of bytes": (write("config.json", b"\xff"), "config.json: damaged: not valid JSON"),
    "config.json a folder": (
        by_a("config.json", Path.mkdir),
        "config.json: can't be read: Is a dir",
    ),
    "config.json a pipe": (
        by_a("config.json", os.mkfifo),
        "config.json: can't be read: expected a",
    ),
    "epochs a text": (
        lambda run: change_config(run, epochs="x"),
        "'epochs' is 'x', expected a whole",
    ),
    "monitor a list": (
        lambda run: change_config(run, monitor=[]),
        "'monitor' is [], expected text",
    ),
    "monitor unknown": (
        lambda run: change_config(run, monitor="val_corr_meen"),
        "did you mean 'val_corr_mean'?",
    ),
    "folds a number": (lambda run: change_config(run, folds=5), "'folds' is 5, expected a list"),
    "no version": (
        lambda run: change_config(run, format_version=None),
        "format_version is None, expected 1",
    ),
    "history.csv empty": (write("history.csv", b""), "history.csv: damaged: it is empty"),
    "history.csv cut in its last number": (
        replace("history.csv", "0.5\n", "0."),
        "history.csv: damaged: its last line is cut short",
    ),
    "history.csv cut in a line": (
        cut("history.csv", keep=0.9),
        "history.csv: damaged: its last line",
    ),
    "history.csv of zeros": (write("history.csv", bytes(99)), "history.csv: damaged: "),
    "history.csv of bytes": (
        write("history.csv", b"\xff\n"),
        "history.csv: damaged: 'utf-8' codec",
    ),
    "history.csv with other columns": (
        write("history.csv", b"epoch,loss\n1,0.5\n"),
        "history.csv: damaged: it has no column 'val_corr_mean', 'val_corr_std', 'val_corr_sharpe' "
        "and 11 more",
    ),
    "history.csv with text": (
        replace("history.csv", "0.02", "x"),
        "history.csv: damaged: line 3: expected 16 numbers, found",
    ),
    "history.csv with an epoch twice": (
        replace("history.csv", "\n2,", "\n1,"),
        "history.csv: damaged: line 3: expected epoch 2, found 1",
    ),
    "history.csv a folder": (
        by_a("history.csv", Path.mkdir),
        "history.csv: can't be read: Is a dir",
    ),
    "history.csv a loop": (
        by_a("history.csv", lambda path: path.symlink_to(path)),
        "history.csv: can't be read: Too many levels of symbolic links",
    ),
    "state.json empty": (write("state.json", b""), "state.json: damaged: not valid JSON"),
    "state.json a list": (
        write("state.json", b"[]"),
        "state.json: damaged: expected a JSON object",
    ),
    "state.json with a text": (
        write("state.json", b'{"corr_mean": "x"}'),
        "state.json: damaged: 'corr_mean' is 'x', expected a number",
    ),
    "state.json with a huge number": (
        write("state.json", b'{"corr_mean": 1%s}' % (b"0" * 400)),
        "state.json: damaged: 'corr_mean' is 1000",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_among_others_is_named_and_they_are_shown(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    act, said = DAMAGES[damage]
    for name in ("sound", "damaged"):
        make_run(tmp_path / name, [0.01, 0.02])
        read_run(tmp_path / name).finish({"best_epoch": 2})
    act(tmp_path / "damaged")
    assert main(["runs", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    _, sound, damaged, problem = printed.out.splitlines()
    assert sound.split()[0] == str(tmp_path / "sound")
    assert sound.split()[-1] == "finished"
    assert damaged.split()[-1] == "damaged"
    assert problem.startswith(str(tmp_path / "damaged"))
    assert said in problem
    assert main(["runs", "--json", str(tmp_path)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["problem"] for row in rows] == [None, problem]
    for arguments in ([], ["--json"]):  # by itself it is an error
        assert main(["runs", str(tmp_path / "damaged"), *arguments]) == 1
        assert capsys.readouterr() == ("", f"error: {problem}\n")


def test_a_damaged_run_in_the_home_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    make_run(tmp_path / "run", [0.01])
    (tmp_path / "run" / "config.json").write_text("{")
    with refused(RunError, "config.json: damaged"):
        describe_runs([Path("~/run")])


@pytest.mark.parametrize("damage", ["config.json cut", "history.csv a folder", "state.json a list"])
def test_a_damaged_fold_is_named_and_the_others_are_shown(damage: str, tmp_path: Path) -> None:
    run = make_folds(tmp_path / "run")
    assert [row["state"] for row in describe_runs([run])] == ["finished"] * 3
    act, said = DAMAGES[damage]
    act(run / "fold-02")
    rows = by_name(describe_runs([run]))
    assert {name: row["state"] for name, row in rows.items()} == {
        "run": "damaged",
        "fold-01": "finished",
        "fold-02": "damaged",
    }
    for name in ("run", "fold-02"):
        assert f"fold-02/{said}" in rows[name]["problem"]


def test_a_link_to_a_run_is_listed_under_its_own_name(tmp_path: Path) -> None:
    run = make_run(tmp_path / "somewhere" / "run", [0.01])
    (tmp_path / "runs").mkdir()
    for name, to in (("linked", run), ("dangling", tmp_path / "nothing")):
        (tmp_path / "runs" / name).symlink_to(to)
    rows = describe_runs([tmp_path / "runs", tmp_path / "somewhere"])
    assert [row["run"] for row in rows] == [str(tmp_path / "runs" / "linked"), str(run)]


def test_other_files_in_the_folder_are_ignored(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", [0.01])
    make_run(run / "fold-1", [0.02])
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"format": "of somebody else"}')
    assert by_name(describe_runs([tmp_path, run])).keys() == {"a"}


@pytest.mark.parametrize(
    ("name", "said"),
    [("none", "no such folder"), ("empty", "no run in it"), ("file", "file: a file")],
)
def test_a_folder_without_runs_is_refused(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with refused(RunError, said, "memmap-train train"):
        describe_runs([tmp_path / name])


def test_a_run_of_seeds_is_one_row_and_its_seeds_are_shown_when_it_is_named(tmp_path: Path) -> None:
    run = make_seeds(tmp_path / "run")
    (row,) = describe_runs([tmp_path])
    assert (row["state"], row["score"], row["epochs"]) == ("stopped", None, 4)
    assert "stopped, 2 of 3 seeds" in runs_text([row])
    read_run(run).finish({"corr_mean": 0.04, "corr_std": 0.1, "corr_sharpe": 0.4})
    rows = describe_runs([run])
    assert [Path(row["run"]).name for row in rows] == ["run", "seed-02", "seed-01"]
    assert [row["score"] for row in rows] == [0.04, 0.03, 0.01]
    assert (rows[0]["seeds"], rows[0]["seeds_finished"], rows[0]["folds"]) == (3, 2, 0)
    assert "±" not in runs_text(rows)
    scores = {"seed_corr_mean": 0.02, "seed_corr_standard_error": 0.01}
    read_run(run).finish({"corr_mean": 0.04, "corr_std": 0.1, "corr_sharpe": 0.4} | scores)
    rows = describe_runs([run])
    said = "numerai_corr of one seed 0.0200 ± 0.0100 (mean and standard error over 3 seeds)"
    assert f"{run}: {said}" in runs_text(rows).splitlines()
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
