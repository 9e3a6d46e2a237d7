"""Tests of callbacks of the user: what they get, may change, and keep when a run is resumed."""

import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from memmap_train.errors import ConfigError
from memmap_train.training.parts.fold_loop import train_folds
from memmap_train.training.train import train_run
from tests.support.errors import refused
from tests.support.training_data import STEPS_PER_EPOCH, Script, newest_checkpoint, small_config
from tests.support.training_runs import interrupt, read_csv, results
from tests.support.user_code import loaded

pytest_plugins = ["tests.support.training_fixtures", "tests.support.user_code_fixtures"]


def test_a_callback_gets_all_calls(mine: Callable[[], Any], sample: Path, tmp_path: Path) -> None:
    train_run(sample, tmp_path / "run", small_config(callbacks=["mine:Listener"]))
    seen = mine().SEEN
    an_epoch = ["epoch begin", *["batch end"] * STEPS_PER_EPOCH, "epoch end"]
    assert [what for what, *_ in seen] == ["train begin", *an_epoch, *an_epoch, "train end"]
    assert seen[0][1] == {"epochs": 2, "steps": STEPS_PER_EPOCH, "verbose": 0}
    assert [s[1] for s in seen if s[0] == "batch end"] == [*range(STEPS_PER_EPOCH)] * 2
    history = read_csv(tmp_path / "run" / "history.csv")
    ends = [s for s in seen if s[0] == "epoch end"]
    for row, (_, epoch, logs) in zip(history, ends, strict=True):
        assert int(row["epoch"]) == epoch + 1
        assert {name: repr(value) for name, value in logs.items()} == {
            name: value for name, value in row.items() if name != "epoch"
        }
    assert seen[STEPS_PER_EPOCH + 1][2] == ends[0][2]["loss"]
    assert seen[-1][1] == 2 * STEPS_PER_EPOCH
    plain = train_run(sample, tmp_path / "plain", small_config())
    assert [row["loss"] for row in read_csv(tmp_path / "plain" / "history.csv")] == [
        row["loss"] for row in history
    ]
    size = (tmp_path / "run" / "model.keras").stat().st_size
    assert size < 1.2 * (Path(plain.run_dir) / "model.keras").stat().st_size  # no optimizer in it


def test_callbacks_of_folds_do_not_see_scores_of_predicted_eras(
    mine: Callable[[], Any], sample: Path, tmp_path: Path
) -> None:
    """An early stopping on them would choose the model by the eras that it is scored on."""
    config = small_config(callbacks=["mine:Listener"], tensorboard=True, validation_eras=None)
    train_folds(sample, tmp_path / "run", config, folds=2)
    ends = [seen[2] for seen in mine().SEEN if seen[0] == "epoch end"]
    assert len(ends) == 4
    for logs in ends:
        assert "loss" in logs
        assert not [name for name in logs if name.startswith("val_")]
    log = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("events.*"))
    assert b"val_corr_mean" in log


def test_a_callback_ends_the_run_with_the_epoch(mine: Any, sample: Path, tmp_path: Path) -> None:
    config = small_config(epochs=5, callbacks=["mine:Stop"])
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", config, report=Script("step 3", interrupt))
    report = train_run(sample, tmp_path / "run", config, resume=True)
    assert (report.n_epochs, report.stopped_early) == (1, True)


def test_a_callback_may_change_weights_and_the_best_model_is_the_scored_one(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "plain", small_config(epochs=1))
    train_run(sample, tmp_path / "run", small_config(epochs=1, callbacks=["mine:Double"]))
    plain, doubled = results(tmp_path / "plain"), results(tmp_path / "run")
    assert doubled["model"] == plain["model"]
    kernels = [np.frombuffer(r["state"]["step/model/0000"], np.float32) for r in (plain, doubled)]
    np.testing.assert_array_equal(kernels[1], 2 * kernels[0])


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        ("mine:Fail", ["mine:Fail failed in on_epoch_end: KeyError", "mine.py, line "]),
        ("mine:Leave", ["mine:Leave failed in on_epoch_end: SystemExit: 3", "mine.py, line "]),
        ("mine:Unset", ["mine:Unset failed in set_params: KeyError", "mine.py, line "]),
        ("mine:broken", ["mine:broken() failed: TypeError"]),
        ("mine:SEEN", ["is a list", "keras.callbacks.Callback"]),
        ("mine:Lisener", ["did you mean 'Listener'?"]),
    ],
)
def test_a_failing_callback_is_reported_in_one_line(
    callback: str, said: list[str], mine: Any, sample: Path, tmp_path: Path
) -> None:
    with refused(ConfigError, "callbacks: ", *said):
        train_run(sample, tmp_path / "run", small_config(callbacks=[callback]))


def test_a_callback_that_fails_at_once_can_be_corrected_and_retried(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    with refused(ConfigError, "mine:Unset failed"):
        train_run(sample, tmp_path / "run", small_config(callbacks=["mine:Unset"]))
    train_run(sample, tmp_path / "run", small_config(epochs=1))


def test_the_progress_bar_of_keras_is_accepted(sample: Path, tmp_path: Path) -> None:
    train_run(sample, tmp_path / "run", small_config(callbacks=["keras.callbacks:ProgbarLogger"]))


VARIANTS: dict[str, dict[str, Any]] = {
    "resnet": {"model": "resnet", "hidden": (6,)},
    "own model and callback": {"model": "mine:build", "callbacks": ["mine:halving"]},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_state_of_layers_and_learning_rates_survives_interruptions(
    name: str, mine: Any, sample: Path, tmp_path: Path
) -> None:
    config = small_config(**VARIANTS[name])
    train_run(sample, tmp_path / "whole", config)
    whole = results(tmp_path / "whole")
    moving = [array for layer in loaded(tmp_path / "whole").layers for array in layer.get_weights()]
    assert len(moving) > len(loaded(tmp_path / "whole").trainable_weights)
    if "callbacks" in VARIANTS[name]:
        assert [row["learning_rate"] for row in whole["history"]] == ["0.01", "0.005"]
    for call in ("step 8", "validation 1", "epoch 1", "step 4"):
        with pytest.raises(KeyboardInterrupt):
            train_run(sample, tmp_path / "run", config, resume=True, report=Script(call, interrupt))
    train_run(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == whole


@pytest.mark.parametrize(
    "options",
    [{"model": "mine:shaking"}, {"callbacks": ["mine:Beginning"]}],
    ids=["variables of no list", "attributes of the beginning"],
)
def test_state_outside_the_model_survives_interruptions(
    options: dict[str, Any], mine: Any, sample: Path, tmp_path: Path
) -> None:
    config = small_config(**options, epochs=3, checkpoint_steps=4)
    train_run(sample, tmp_path / "whole", config)
    train_run(sample, tmp_path / "again", config)
    whole = results(tmp_path / "whole")
    assert results(tmp_path / "again") == whole
    for call in ("step 8", "epoch 1", "step 4"):
        with pytest.raises(KeyboardInterrupt):
            train_run(sample, tmp_path / "run", config, resume=True, report=Script(call, interrupt))
        keras.utils.set_random_seed(99)
    train_run(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == whole


def test_changed_code_is_reported_on_resume(mine: Any, sample: Path, tmp_path: Path) -> None:
    config = small_config(model="mine:build", callbacks=["mine:Listener"])
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", config, report=Script("step 3", interrupt))
    script = Script("step 3", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", config, resume=True, report=script)
    assert script.warnings == []
    with open(tmp_path / "mine.py", "a") as file:
        file.write("# changed\n")
    script = Script()
    train_run(sample, tmp_path / "run", config, resume=True, report=script)
    (warning,) = script.warnings
    assert re.search(r"resumed with other versions .*: own code \w{12} → \w{12};", warning)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "mine:drawing"}, "draws by 'RandomStandardNormal'"),
        ({"callbacks": ["mine:Beginning"]}, "'mine:Beginning: generator'"),
    ],
)
def test_state_that_no_checkpoint_can_hold_is_reported(
    options: dict[str, Any], said: str, mine: Any, sample: Path, tmp_path: Path
) -> None:
    report = Script("no such call", interrupt)
    train_run(sample, tmp_path / "run", small_config(**options, epochs=1), report=report)
    (warning,) = report.warnings
    assert said in warning
    assert "bits of an uninterrupted one" in warning


def test_training_before_a_failed_callback_is_kept(mine: Any, sample: Path, tmp_path: Path) -> None:
    with refused(ConfigError, "mine:Fail failed in on_epoch_end"):
        train_run(sample, tmp_path / "run", small_config(callbacks=["mine:Fail"]))
    newest = newest_checkpoint(tmp_path / "run")
    assert newest is not None
    assert newest.step == STEPS_PER_EPOCH


def test_checkpoints_of_keras_can_be_written(mine: Any, sample: Path, tmp_path: Path) -> None:
    train_run(sample, tmp_path / "run", small_config(callbacks=["mine:checkpointing"], epochs=2))
    assert len(list(Path().glob("kept-0[12]-*.keras"))) == 2


def test_a_callback_that_moves_the_step_is_refused(mine: Any, sample: Path, tmp_path: Path) -> None:
    with refused(ConfigError, "'mine:Moving'", "moved the step from 0 to 3"):
        train_run(sample, tmp_path / "run", small_config(callbacks=["mine:Moving"]))


def test_a_callback_that_changes_which_layers_are_trained_is_refused(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    """The compiled step wouldn't notice, and a resumed one would."""
    config = small_config(callbacks=["mine:Unfreeze"])
    with refused(ConfigError, "'mine:Unfreeze'", "which layers are trained", "model.keras"):
        train_run(sample, tmp_path / "run", config)
    assert len(read_csv(tmp_path / "run" / "history.csv")) == 1
    assert (tmp_path / "run" / "model.keras").exists()


def test_a_log_that_cannot_be_written_does_not_stop_the_training(
    sample: Path, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    script = Script("step 1", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard)))
    script.epoch = (  # type: ignore[method-assign]
        lambda row: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    )
    try:
        config = small_config(tensorboard=True, epochs=1)
        report = train_run(sample, tmp_path / "run", config, report=script)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert report.n_epochs == 1
    (warning,) = [text for text in script.warnings if "TensorBoard" in text]
    assert "couldn't be written" in warning
    assert "\n" not in warning


def test_scores_are_logged_for_tensorboard(sample: Path, tmp_path: Path) -> None:
    train_run(sample, tmp_path / "run", small_config(tensorboard=True))
    (file,) = (tmp_path / "run" / "tensorboard").iterdir()
    found: dict[tuple[str, int], float] = {}
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name in ("scalars", "")
            found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    for row in read_csv(tmp_path / "run" / "history.csv"):
        expected = pytest.approx(float(row["val_corr_mean"]))
        assert found["val_corr_mean", int(row["epoch"])] == expected
