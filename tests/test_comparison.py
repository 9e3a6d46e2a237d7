"""Runs side by side: found, described, sorted, whatever state they are in."""

import json
from pathlib import Path
from typing import Any

import pytest
from refusal import refused

from memmap_train.comparison import describe_runs, runs_text
from memmap_train.errors import RunError
from memmap_train.runs import HISTORY_COLUMNS, begin_run, holding, open_run


def make_run(path: Path, corrs: list[float], **changes: Any) -> Path:
    """Write a run of so many epochs; its standard deviations rise from epoch to epoch."""
    config = {
        "monitor": "val_corr_mean",
        "main_target": "target",
        "features": ["feature_1", "feature_2"],
        "model": "mlp",
        "epochs": 5,
    }
    run = begin_run(path, config | changes)
    rows = [
        dict.fromkeys(HISTORY_COLUMNS, 0.5)
        | {"epoch": epoch, "val_corr_mean": corr, "val_corr_std": epoch / 10}
        for epoch, corr in enumerate(corrs, start=1)
    ]
    run.write_history(rows)
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


def test_every_state_is_told(tmp_path: Path) -> None:
    for name in ("finished", "stopped", "running"):
        make_run(tmp_path / name, [0.01])
    for name in ("no json", "no history", "no key"):
        make_run(tmp_path / name, [0.01])
    open_run(tmp_path / "finished").finish({"best_epoch": 1})
    (tmp_path / "no json" / "config.json").write_text("{")
    (tmp_path / "no history" / "history.csv").write_text("epoch\nx\n")
    begin_run(tmp_path / "no key", {"epochs": 3})
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
    }
    text = runs_text(rows)
    for part in ("not valid JSON", "history.csv: damaged", "'main_target' is missing"):
        assert part in text
    assert by_name(describe_runs([tmp_path / "running"]))["running"]["state"] == "stopped"


def test_what_else_lies_there_is_ignored(tmp_path: Path) -> None:
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
