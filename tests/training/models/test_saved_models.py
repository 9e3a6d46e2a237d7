"""Tests of saved models that a training begins with, and of the eras that they have seen."""

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import memmap_train as mt
from memmap_train.errors import ConfigError, RunError
from memmap_train.training.models.build import build
from memmap_train.training.models.initial_model import InitialModel
from memmap_train.training.parts.fold_loop import train_folds
from memmap_train.training.prediction.predict import write_predictions
from memmap_train.training.train import train_run
from tests.support.errors import refused
from tests.support.training_data import Script, small_config
from tests.support.training_runs import interrupt, results
from tests.support.user_code import loaded

pytest_plugins = ["tests.support.training_fixtures", "tests.support.user_code_fixtures"]


def test_a_saved_model_is_trained_further(sample: Path, tmp_path: Path) -> None:
    # Without quadratic terms, whose moving averages follow the rows at any learning rate.
    train_run(sample, tmp_path / "first", small_config(additive="linear"))
    saved = tmp_path / "first" / "model.keras"
    nearly_nothing = small_config(
        model=os.path.relpath(saved), learning_rate=1e-12, weight_decay=0.0, epochs=1
    )
    train_run(sample, tmp_path / "second", nearly_nothing)
    for old, new in zip(
        loaded(tmp_path / "first").get_weights(),
        loaded(tmp_path / "second").get_weights(),
        strict=True,
    ):
        np.testing.assert_allclose(new, old, atol=1e-6)
    with refused(ConfigError, "from (rows, 8) to (rows, 2)", "to (rows, 1)"):
        two = small_config(model=str(saved), targets=("target", "target_beta_20"))
        train_run(sample, tmp_path / "third", two)


def trained_further(saved: Path) -> None:
    build(8, 1, small_config(hidden=(3,))).save(saved)


def moved(saved: Path) -> None:
    saved.parent.rename(saved.parent.with_name("elsewhere"))


def removed(saved: Path) -> None:
    shutil.rmtree(saved.parent)


@pytest.fixture(scope="module")
def further(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the run `first` and the run `whole`, which begins with its model."""
    folder = tmp_path_factory.mktemp("further")
    train_run(sample, folder / "first", small_config(epochs=1))
    train_run(sample, folder / "whole", small_config(model=str(folder / "first" / "model.keras")))
    return folder


@pytest.mark.parametrize(
    ("change", "call"), [(trained_further, "step 3"), (moved, "step 20"), (removed, "step 3")]
)
def test_a_run_is_resumed_even_without_its_initial_model(
    change: Callable[[Path], None], call: str, further: Path, sample: Path, tmp_path: Path
) -> None:
    shutil.copytree(further / "first", tmp_path / "first")
    config = small_config(model=str(tmp_path / "first" / "model.keras"))
    with pytest.raises(KeyboardInterrupt):
        train_run(sample, tmp_path / "run", config, report=Script(call, interrupt))
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    change(tmp_path / "first" / "model.keras")
    train_run(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == results(further / "whole")
    train_run(sample, tmp_path / "again", None, resume=True)
    assert results(tmp_path / "again") == results(further / "whole")
    more = train_run(
        sample, tmp_path / "again", small_config(model=config.model, epochs=3), resume=True
    )
    assert more.n_epochs == 3


def test_a_run_that_kept_no_copy_is_resumed_from_a_checkpoint_after_an_epoch(
    further: Path, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of earlier versions."""
    shutil.copytree(further / "first", tmp_path / "first")
    config = small_config(model=str(tmp_path / "first" / "model.keras"))
    train_run(sample, tmp_path / "whole", config)
    with monkeypatch.context() as patch:
        patch.setattr(InitialModel, "keep", lambda *_: None)
        for name, call in (("run", "step 20"), ("early", "step 3")):
            with pytest.raises(KeyboardInterrupt):
                train_run(sample, tmp_path / name, config, report=Script(call, interrupt))
    removed(tmp_path / "first" / "model.keras")
    train_run(sample, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    with refused(ConfigError, "first/model.keras", "gone or was trained further", "another --run"):
        train_run(sample, tmp_path / "early", config, resume=True)
    record = json.loads((tmp_path / "whole" / "config.json").read_text())
    del record["begun_with"]
    (tmp_path / "whole" / "config.json").write_text(json.dumps(record))
    assert train_run(sample, tmp_path / "whole", config, resume=True).already_finished


def test_all_folds_begin_with_the_same_model_even_if_its_file_changes(
    sample: Path, tmp_path: Path
) -> None:
    early = small_config(validation_eras="0009-0010", epochs=1, allow_overlap=True, embargo_eras=0)
    train_run(sample, tmp_path / "first", early)
    options: dict[str, Any] = {"validation_eras": None, "allow_overlap": True}
    config = small_config(model=str(tmp_path / "first" / "model.keras"), **options)
    whole = train_folds(sample, tmp_path / "whole", config, folds=2)
    script = Script("step 20", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_folds(sample, tmp_path / "run", config, folds=2, report=script)
    removed(tmp_path / "first" / "model.keras")
    resumed = train_folds(sample, tmp_path / "run", config, folds=2, resume=True)
    assert [fold.corr.mean for fold in resumed.folds] == [fold.corr.mean for fold in whole.folds]
    record = json.loads((tmp_path / "run" / "fold-02" / "config.json").read_text())
    assert record["begun_with"]["train_eras"]


@pytest.mark.parametrize("name", ["shaking", "known"])
def test_models_with_user_layers_are_trained_further_and_predict(
    name: str, mine: Any, sample: Path, tmp_path: Path
) -> None:
    config = small_config(model=f"mine:{name}", epochs=1)
    before = None
    for run in ("first", "second", "third"):
        train_run(sample, tmp_path / run, config)
        config = small_config(model=str(tmp_path / run / "model.keras"), epochs=1)
        if before:
            shutil.rmtree(before)
        before = tmp_path / run
        forget_mine()
    assert (
        write_predictions(tmp_path / "third", sample, tmp_path / "out.csv").n_rows
        == mt.open_dataset(sample).n_rows
    )


def forget_mine() -> None:
    """Have this process know as little of `mine` as another one."""
    sys.modules.pop("mine")
    sys.path[:] = [folder for folder in sys.path if folder != os.getcwd()]
    for name in [name for name in keras.saving.get_custom_objects() if name.startswith("mine>")]:
        del keras.saving.get_custom_objects()[name]


def test_a_saved_model_is_not_scored_on_eras_that_it_was_trained_on(
    sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "first", small_config(epochs=1))
    saved = str(tmp_path / "first" / "model.keras")
    early = {"model": saved, "epochs": 1, "validation_eras": "0001-0003"}
    with refused(ConfigError, "trained on some of the validation eras ('0001', '0002', '0003')"):
        train_run(sample, tmp_path / "second", small_config(**early))
    train_run(sample, tmp_path / "second", small_config(**early, allow_overlap=True))
    alone = tmp_path / "alone.keras"
    shutil.copy(saved, alone)
    for model in (saved, str(alone)):
        with refused(ConfigError, model, "allow_overlap = true"):
            config = small_config(model=model, validation_eras=None)
            train_folds(sample, tmp_path / "folds", config, folds=2)
    assert not (tmp_path / "folds").exists()


def test_an_untrained_run_is_refused_on_eras_that_its_model_has_seen(
    sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "first", small_config(epochs=1))
    model = {"model": str(tmp_path / "first" / "model.keras"), "epochs": 1}
    with pytest.raises(KeyboardInterrupt):
        train_run(
            sample, tmp_path / "run", small_config(**model), report=Script("started 1", interrupt)
        )
    shutil.rmtree(tmp_path / "run" / "checkpoints", ignore_errors=True)  # as if it was killed
    removed(tmp_path / "first" / "model.keras")
    early = small_config(**model, validation_eras="0001-0003")
    with refused(ConfigError, "trained on some of the validation eras ('0001', '0002', '0003')"):
        train_run(sample, tmp_path / "run", early, resume=True)
    train_run(sample, tmp_path / "run", small_config(**model), resume=True)


def test_eras_that_earlier_models_have_seen_count(sample: Path, tmp_path: Path) -> None:
    """The first was trained on eras 13 to 24, the second on early ones, and the third isn't scored
    on what the first has seen, even when that one is gone."""
    late = {"validation_eras": "0001-0004", "epochs": 1}
    train_run(sample, tmp_path / "first", small_config(**late))
    first = str(tmp_path / "first" / "model.keras")
    options = {"validation_eras": "0021-0024", "epochs": 1}
    with refused(ConfigError, "first", "trained on some of the validation eras ('0021', "):
        train_run(sample, tmp_path / "second", small_config(model=first, **options))
    train_run(sample, tmp_path / "second", small_config(model=first, **options, allow_overlap=True))
    removed(Path(first))
    second = str(tmp_path / "second" / "model.keras")
    with refused(ConfigError, "second", "trained on some of the validation eras ('0021', "):
        train_run(sample, tmp_path / "third", small_config(model=second, **options))
    with refused(ConfigError, "second", "trained on eras that this fold predicts"):
        config = small_config(model=second, validation_eras=None)
        train_folds(sample, tmp_path / "third", config, folds=2)
    assert not (tmp_path / "third").exists()


def test_the_embargo_separates_the_eras_of_a_saved_model_and_the_validation_eras(
    sample: Path, tmp_path: Path
) -> None:
    first = small_config(validation_eras="0015-0017", epochs=1)  # trained on eras 1 to 6
    train_run(sample, tmp_path / "first", first)
    options = {"model": str(tmp_path / "first" / "model.keras"), "epochs": 1}
    with refused(ConfigError, "trained on eras within 8 of the validation eras ('0006')"):
        train_run(sample, tmp_path / "second", small_config(**options, validation_eras="0014-0017"))
    train_run(sample, tmp_path / "second", small_config(**options, validation_eras="0015-0017"))


@pytest.mark.parametrize("name", ["sequential", "known"])
def test_saved_models_of_every_keras_api_are_trained_further(
    name: str, mine: Any, sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "first", small_config(model=f"mine:{name}", epochs=1))
    saved = tmp_path / "first" / "model.keras"
    train_run(sample, tmp_path / "second", small_config(model=str(saved), epochs=1))
    shapes = [
        [w.shape for w in loaded(tmp_path / run).get_weights()] for run in ("first", "second")
    ]
    assert shapes[0] == shapes[1]


def test_a_model_of_a_newer_keras_is_refused_as_such(sample: Path, tmp_path: Path) -> None:
    train_run(sample, tmp_path / "run", small_config(epochs=1))
    saved = tmp_path / "run" / "model.keras"
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(b'"units"', b'"newer_than_units"')
    said = "can't be opened as a saved model: "
    for version, why in (
        (keras.__version__, "TypeError"),
        ("99.1.0", "it was saved by Keras 99.1.0"),
    ):
        members["metadata.json"] = json.dumps({"keras_version": version}).encode()
        with zipfile.ZipFile(saved, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        with refused(RunError, f"{said}{why}"):
            write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")
        with refused(ConfigError, f"{said}{why}"):
            train_run(sample, tmp_path / "further", small_config(model=str(saved)))
    damaged = bytearray(saved.read_bytes())
    damaged[damaged.index(members["model.weights.h5"]) + 3000] ^= 255
    saved.write_bytes(damaged)
    with refused(RunError, "damaged (model.weights.h5)"):
        write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")


def test_a_saved_model_with_undefined_layers_is_refused_with_what_is_missing(
    mine: Any, sample: Path, tmp_path: Path
) -> None:
    train_run(sample, tmp_path / "run", small_config(model="mine:known", epochs=1))
    forget_mine()
    (tmp_path / "mine.py").rename(tmp_path / "yours.py")
    with refused(RunError, "can't be opened as a saved model: ", "No module named 'mine'"):
        write_predictions(tmp_path / "run", sample, tmp_path / "out.csv")
