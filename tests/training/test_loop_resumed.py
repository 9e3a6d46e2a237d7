"""Trainings that are stopped, killed or resumed end like those that weren't."""

import contextlib
import errno
import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

from memmap_train.cli.commands import main
from memmap_train.errors import (
    RunError,
)
from memmap_train.runs.reports.report import TrainReport
from memmap_train.training.train import train_run
from tests.support.errors import refused
from tests.support.pictures import failing_pictures
from tests.support.training_data import (
    STEPS_PER_EPOCH,
    Script,
    small_config,
)
from tests.support.training_runs import interrupt, read_csv, results, train_killed, weights

pytest_plugins = ["tests.support.training_fixtures"]


@pytest.mark.parametrize(
    "call",
    ["started 1", "step 1", "step 7", "step 15", "validation 1", "epoch 1", "step 16", "step 30"],
)
def test_an_interrupted_run_ends_like_one_that_wasnt(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path, call: str
) -> None:
    run = tmp_path / "run"
    script = Script(call, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, run, small_config(), report=script)
    n_steps = script.calls.count("step")
    resumed = Script()
    report = train_run(sample, run, small_config(), resume=True, report=resumed)
    assert results(run) == results(finished[0])
    assert resumed.plan is not None
    # Only "started" comes before anything could be saved.
    assert resumed.plan.first_step == n_steps
    assert n_steps + resumed.calls.count("step") == 2 * STEPS_PER_EPOCH
    assert report.corr.mean == finished[1].corr.mean


def test_many_interruptions_end_like_none(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    run, n_interruptions = tmp_path / "run", 0
    while not (run / "state.json").exists():
        try:
            train_run(sample, run, small_config(), resume=True, report=Script("step 4", interrupt))
        except KeyboardInterrupt:
            n_interruptions += 1
    assert n_interruptions == 7
    assert results(run) == results(finished[0])


VARIANTS: dict[str, dict[str, Any]] = {
    "plateau": {"epochs": 4, "plateau_patience": 1, "monitor": "val_max_drawdown"},
    "scores inside epochs": {"validation_steps": 4},
    "the terms of features": {"additive": "pairs", "schedule": "cosine", "warmup_steps": 3},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_all_state_survives_interruptions(name: str, sample: Path, tmp_path: Path) -> None:
    config = small_config(**VARIANTS[name])
    train_run(sample, tmp_path / "whole", config)
    whole = results(tmp_path / "whole")
    if name == "plateau":
        assert len({row["learning_rate"] for row in whole["history"]}) > 1
    for calls in (["step 8", "scored 1", "step 9"], ["validation 1", "epoch 1", "step 4"]):
        run = tmp_path / calls[0]
        for call in calls:
            with contextlib.suppress(KeyboardInterrupt):
                train_run(sample, run, config, resume=True, report=Script(call, interrupt))
        train_run(sample, run, config, resume=True)
        assert results(run) == whole


def test_a_killed_run_ends_like_one_that_wasnt(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    killed = small_config(checkpoint_steps=4)
    train_killed(sample, tmp_path / "run", killed, "step 23")
    resumed = Script()
    train_run(sample, tmp_path / "run", small_config(), resume=True, report=resumed)
    assert resumed.plan is not None
    assert resumed.plan.first_step == 20
    assert results(tmp_path / "run") == results(finished[0])


def test_checkpoints_come_by_steps_and_the_last_two_and_the_best_stay(
    sample: Path, tmp_path: Path
) -> None:
    def names() -> None:
        seen.append(sorted(os.listdir(tmp_path / "run" / "checkpoints")))

    seen: list[list[str]] = []
    config = small_config(checkpoint_steps=4)
    train_run(sample, tmp_path / "run", config, report=Script("step 14", names))
    assert seen == [["step-000000008.npz", "step-000000012.npz"]]
    names()
    best_step = 15 * train_run(sample, tmp_path / "run", None, resume=True).best_epoch
    kept = {28, 30, best_step}
    assert seen[1] == [f"step-{step:09d}.npz" for step in sorted(kept)]


def test_checkpoints_come_by_minutes(sample: Path, tmp_path: Path) -> None:
    names: list[str] = []
    script = Script("step 14", lambda: names.extend(os.listdir(tmp_path / "run" / "checkpoints")))
    train_run(sample, tmp_path / "run", small_config(checkpoint_minutes=1e-9), report=script)
    assert sorted(names) == ["step-000000012.npz", "step-000000013.npz"]


def test_a_damaged_checkpoint_costs_a_few_steps_and_nothing_else(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_run(
            sample, run, small_config(checkpoint_steps=4), report=Script("step 21", interrupt)
        )
    newest = run / "checkpoints" / "step-000000021.npz"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    script = Script()
    train_run(sample, run, small_config(), resume=True, report=script)
    assert script.plan is not None
    assert script.plan.first_step == 20
    (warning,) = script.warnings
    assert "step-000000021.npz" in warning
    assert results(run) == results(finished[0])


def test_a_full_disk_is_survived(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    run, sizes = tmp_path / "run", []

    class FullDisk(Script):
        """Nothing larger than 1 kB can be written from step 5 to the end of the last epoch."""

        def step(self, *numbers: Any) -> None:
            super().step(*numbers)
            if self.calls.count("step") == 5:
                sizes.extend(os.listdir(run / "checkpoints"))
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))

        def epoch(self, row: Any) -> None:
            super().epoch(row)
            if row["epoch"] == 2:
                assert set(sizes) <= set(os.listdir(run / "checkpoints"))
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    script = FullDisk()
    try:
        train_run(sample, run, small_config(checkpoint_steps=4), report=script)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sizes == ["step-000000004.npz"]
    assert len(script.warnings) == len(set(script.warnings)) == 2  # each once, not each time
    assert all("couldn't be written" in warning for warning in script.warnings)
    assert [row["loss"] for row in script.rows] == [
        float(row["loss"]) for row in read_csv(finished[0] / "history.csv")
    ]
    # In the end there was space again.
    assert (run / "era_scores.csv").read_bytes() == (finished[0] / "era_scores.csv").read_bytes()
    assert [w.tobytes() for w in weights(run)] == [w.tobytes() for w in weights(finished[0])]


@pytest.mark.usefixtures("drawn_pictures")
def test_a_picture_that_fails_costs_no_run_and_comes_when_it_is_resumed(
    finished: tuple[Path, TrainReport],
    sample: Path,
    tmp_path: Path,
) -> None:
    pytest.importorskip("matplotlib")
    run, script = tmp_path / "run", Script()
    with failing_pictures():
        report = train_run(sample, run, small_config(), report=script)
        again = train_run(sample, run, resume=True, report=script)
    assert (report.chart_path, again.chart_path) == (None, None)
    assert again.already_finished
    assert ["ValueError: no fonts" in warning for warning in script.warnings] == [True, True]
    assert results(run) == results(finished[0])
    script = Script()
    again = train_run(sample, run, resume=True, report=script)
    assert again.already_finished
    assert again.chart_path == str(run / "validation.png")
    assert (run / "validation.png").exists()
    assert script.warnings == []


def test_resuming_what_hasnt_begun_begins(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "new", small_config(), resume=True)
    assert results(tmp_path / "new") == results(finished[0])


@pytest.mark.parametrize(
    ("lost", "content"),
    [
        ("model.keras", None),
        ("history.csv", None),
        ("era_scores.csv", None),
        ("era_scores.csv", "era,target\n0021,target\n"),
        ("state.json", None),
        ("state.json", "{"),
    ],
)
def test_what_is_lost_of_a_finished_run_is_written_again(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path, lost: str, content: str | None
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    (run / lost).unlink()
    if content is not None:
        (run / lost).write_text(content)
    report = train_run(sample, run, small_config(), resume=True)
    assert not report.already_finished
    assert results(run) == results(finished[0])
    assert train_run(sample, run, small_config(), resume=True).already_finished


def test_a_run_inside_a_dataset_is_refused(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(sample)
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text('{"format": "memmap-train"}')
    inside = (sample, sample / "run", sample / "a" / "b", tmp_path / "link" / "run", other / "run")
    for run in inside:
        with refused(RunError, str(run), "inside the dataset"):
            train_run(sample, run, small_config())
    assert not (sample / "run").exists()
    assert not (other / "run").exists()


@pytest.mark.parametrize("folder", [".", "checkpoints"])
def test_a_run_that_cannot_be_written_is_refused_before_it_is_resumed(
    sample: Path, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, run, small_config(), report=Script("step 3", interrupt))
    touch = Path.touch

    def refusing(self: Path, *arguments: Any, **options: Any) -> None:
        if self.parent == run / folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        touch(self, *arguments, **options)

    monkeypatch.setattr(Path, "touch", refusing)  # root may write anywhere
    script = Script()
    with refused(RunError, "can't be written there: Permission denied"):
        train_run(sample, run, resume=True, report=script)
    assert script.calls == []


def test_a_checkpoint_that_the_system_withholds_is_not_thrown_away(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, run, small_config(), report=Script("step 3", interrupt))
    before = os.listdir(run / "checkpoints")
    path_open = Path.open

    def withholding(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.suffix == ".npz":
            raise OSError(errno.EIO, "Input/output error", str(self))
        return path_open(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", withholding)
    with refused(RunError, ".npz: can't be read: Input/output error", "--resume"):
        train_run(sample, run, resume=True)
    assert os.listdir(run / "checkpoints") == before


def test_epochs_may_be_raised_by_that_key_alone(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "long", small_config(epochs=3))
    shutil.copytree(finished[0], tmp_path / "run")
    command = ["train", str(sample), "--run", str(tmp_path / "run"), "--resume", "--quiet"]
    assert main([*command, "--set", "epochs=3"]) == 0
    assert results(tmp_path / "run") == results(tmp_path / "long")
    assert main([*command, "--set", "batch_size=32"]) == 1


def test_a_finished_run_ends_well_at_once(finished: tuple[Path, TrainReport], sample: Path) -> None:
    path, report = finished
    before = {entry: entry.stat().st_mtime_ns for entry in path.rglob("*")}
    for config in (None, small_config()):
        script = Script()
        again = train_run(sample, path, config, resume=True, report=script)
        assert again.already_finished
        assert script.calls == []
        assert (again.corr.mean, again.best_epoch) == (report.corr.mean, report.best_epoch)
    assert {entry: entry.stat().st_mtime_ns for entry in path.rglob("*")} == before


def test_a_run_remembers_its_configuration(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", small_config(), report=Script("step 3", interrupt))
    train_run(sample, tmp_path / "run", None, resume=True)
    assert results(tmp_path / "run") == results(finished[0])


def test_the_window_that_was_chosen_is_kept(sample: Path, tmp_path: Path) -> None:
    open_choice = small_config(window_size=None, pool_batches=None)
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", open_choice, report=Script("step 3", interrupt))
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    chosen = (config["window_size"], config["pool_batches"])
    other = (chosen[0] + 3, chosen[1] + 1)  # as another machine would have chosen
    path.write_text(json.dumps(config | {"window_size": other[0], "pool_batches": other[1]}))
    shutil.rmtree(tmp_path / "run" / "checkpoints")  # of the run as it was
    script = Script()
    train_run(sample, tmp_path / "run", open_choice, resume=True, report=script)
    assert script.plan is not None
    assert f"window {other[0]} rows" in script.plan.shuffling
    assert f"pool {other[1]} batches" in script.plan.shuffling


def test_more_epochs_are_those_of_a_longer_run(
    finished: tuple[Path, TrainReport], sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "long", small_config(epochs=3))
    shutil.copytree(finished[0], tmp_path / "run")
    report = train_run(sample, tmp_path / "run", small_config(epochs=3), resume=True)
    assert not report.already_finished
    assert report.n_epochs == 3
    assert results(tmp_path / "run") == results(tmp_path / "long")
    with refused(RunError, "epochs: 3 in the run, 2 now"):
        train_run(sample, tmp_path / "run", small_config(), resume=True)


def test_another_configuration_is_refused_naming_what_differs(
    finished: tuple[Path, TrainReport], sample: Path
) -> None:
    before = results(finished[0])
    other = small_config(learning_rate=0.02, dropout=0.3, validation_eras=3)
    with refused(RunError, "learning_rate", "dropout", "validation_eras"):
        train_run(sample, finished[0], other, resume=True)
    assert results(finished[0]) == before


def test_another_dataset_is_refused(
    finished: tuple[Path, TrainReport], convert_sample: Callable[..., Path]
) -> None:
    other = convert_sample("train.parquet")
    with refused(RunError, "dataset has changed"):
        train_run(other, finished[0], small_config(), resume=True)


@pytest.mark.parametrize(
    ("key", "before", "said"),
    [
        ("keras_version", "3.0.0", f"keras 3.0.0 → {keras.__version__}"),
        ("compute_threads", 999, "compute threads 999 → "),
        ("compute_threads", None, None),  # runs from before it was recorded
    ],
)
def test_other_versions_and_threads_are_told(
    key: str,
    before: object,
    said: str | None,
    finished: tuple[Path, TrainReport],
    sample: Path,
    tmp_path: Path,
) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    record = json.loads(path.read_text())
    del record[key]
    path.write_text(json.dumps(record | ({} if before is None else {key: before})))
    script = Script()
    train_run(sample, tmp_path / "run", small_config(), resume=True, report=script)
    assert len(script.warnings) == (said is not None)
    assert all(str(said) in warning for warning in script.warnings)
