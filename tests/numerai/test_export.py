"""Model uploads of whole runs give what `convert` and `predict` give, or an error of one line."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.errors import (
    ConfigError,
    DependencyError,
    ExportError,
    MemmapTrainError,
    PathError,
    RunError,
    SourceError,
)
from memmap_train.numerai.export import export as export_module
from memmap_train.numerai.export import images, live_rows
from memmap_train.numerai.export.comparison import _difference
from memmap_train.numerai.export.images import IMAGES, OWN, find_python
from memmap_train.numerai.export.mark import UploadMark, read_mark
from memmap_train.numerai.export.text import export_text
from memmap_train.numerai.export.trial import make_pickle
from memmap_train.runs.folds.fold import Fold
from memmap_train.runs.record import fold_record
from memmap_train.runs.run_folder import begin_run
from tests.support.errors import refused
from tests.support.live_parity import assert_parity, loaded, with_dataset
from tests.support.run_records import run_record

pytest_plugins = ["tests.support.training_fixtures"]


@pytest.fixture
def features(sample: Path) -> list[str]:
    return list(mt.open_dataset(sample).feature_names)


@pytest.fixture
def run(sample: Path, features: list[str], tmp_path: Path) -> Path:
    """Return a run with random weights on the dataset `sample`."""
    return with_dataset(tmp_path / "run", features, sample)


@pytest.fixture
def live_file(sample_files: Path) -> Path:
    return sample_files / "live.parquet"


def test_live_rows_get_what_convert_and_predict_give(
    run: Path, live_file: Path, live: Path, tmp_path: Path
) -> None:
    report = mt.export(run, tmp_path / "model.pkl", live=live_file)
    assert_parity(tmp_path / "model.pkl", [run], live_file, live)
    assert report.largest_difference <= 1e-6
    assert (report.python, report.n_models, report.keras_layers) == (OWN, 1, ())
    assert report.live == str(live_file)
    assert report.n_rows == len(pd.read_parquet(live_file))
    assert report.seconds > 0
    assert report.peak_bytes is None or report.peak_bytes > 10_000_000
    assert report.n_bytes == (tmp_path / "model.pkl").stat().st_size
    assert set(os.listdir(tmp_path)) == {"run", "model.pkl"}


def test_several_runs_made_neutral_give_what_predict_gives(
    run: Path, sample: Path, features: list[str], live_file: Path, live: Path, tmp_path: Path
) -> None:
    other = with_dataset(tmp_path / "other", features[5:1:-1], sample)
    mt.export([run, other], tmp_path / "m.pkl", live=live_file, neutralize="small", proportion=0.6)
    how = {"neutralize": "small", "proportion": 0.6}
    assert_parity(tmp_path / "m.pkl", [run, other], live_file, live, **how)
    plain = mt.predict([run, other], live).values
    found = loaded(tmp_path / "m.pkl")(pd.read_parquet(live_file))["prediction"]
    assert not np.allclose(found, plain, atol=0.02)


def test_of_a_run_of_folds_the_last_model_predicts(
    sample: Path, features: list[str], live_file: Path, live: Path, tmp_path: Path
) -> None:
    folds = [Fold(("1",), ("3",), ("2",), 1), Fold(("1", "2", "3"), ("5",), ("4",), 1)]
    record = run_record(
        features=features,
        dataset=str(sample),
        folds=[fold_record(fold) for fold in folds],
        asked_folds=2,
        train_eras=[],
        embargoed_eras=[],
        validation_eras=["3", "5"],
    )
    run = begin_run(tmp_path / "folds", record)
    first, last = (
        with_dataset(path, features[:number] + features[3:], sample)
        for number, path in enumerate(run.part_paths, start=1)
    )
    with refused(RunError, "not all of its 2 folds are trained"):
        mt.export(run.path, tmp_path / "m.pkl")
    run.finish(dict.fromkeys(("corr_mean", "corr_std", "corr_sharpe"), 0.1))
    mt.export(run.path, tmp_path / "m.pkl", live=live_file)
    assert_parity(tmp_path / "m.pkl", [last], live_file, live)
    assert_parity(tmp_path / "m.pkl", [run.path], live_file, live)
    raw = loaded(tmp_path / "m.pkl").raw_outputs(pd.read_parquet(live_file))[:, 0]
    assert not np.allclose(raw, mt.predict(first, live, raw=True).values, atol=1e-3)


def test_the_upload_holds_no_path_and_none_of_the_package(run: Path, tmp_path: Path) -> None:
    mt.export(run, tmp_path / "m.pkl")
    content = (tmp_path / "m.pkl").read_bytes()
    folder = Path(mt.__file__).parents[1]
    for name in ("memmap_train", "tensorflow", "scipy", "pandas", str(tmp_path), str(folder)):
        assert name.encode() not in content
    assert b"numpy" in content


OWN_LAYERS = """
import keras


@keras.saving.register_keras_serializable("own")
class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def build(n_features, n_targets):
    layers = [keras.layers.Dense(4), Doubled(), keras.layers.Dense(n_targets)]
    return keras.Sequential([keras.Input((n_features,)), *layers])
"""


def test_a_model_with_layers_of_the_user_carries_them_and_needs_keras(
    sample: Path,
    features: list[str],
    live_file: Path,
    live: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "own_layers_of_upload.py").write_text(OWN_LAYERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import own_layers_of_upload  # type: ignore[import-not-found]

    run = tmp_path / "run"
    begin_run(
        run,
        run_record(features=features, dataset=str(sample), model="own_layers_of_upload:build"),
    )
    own_layers_of_upload.build(len(features), 1).save(run / "model.keras")
    report = mt.export(run, tmp_path / "m.pkl", live=live_file)
    (layer,) = report.keras_layers
    assert layer.startswith("Doubled ")
    assert "needs TensorFlow and Keras in the image, for Doubled" in export_text(report)
    assert report.versions["keras"] == keras.__version__
    assert "not tried with the image's Keras 3.1" in export_text(report)
    in_image = replace(report, versions=report.versions | {"keras": IMAGES[OWN]["keras"]})
    assert "not tried" not in export_text(in_image)
    assert_parity(tmp_path / "m.pkl", [run], live_file, live)


def test_the_command_prints_what_the_trial_has_shown(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--out", str(tmp_path / "m.pkl")]) == 0
    said = capsys.readouterr().out
    assert f"choose the image for Python {OWN}" in said
    assert "7,000 x 8 made rows" in said
    assert "limit 600 s" in said
    assert "limit 4.0 GB" in said


# -- errors of one line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("model.txt", "expected a name that ends in .pkl"),
        ("missing/model.pkl", "there is no folder"),
        ("folder.pkl", "it is a folder"),
        ("run/model.pkl", "it is a run's folder"),
    ],
)
def test_where_no_upload_can_be_written_is_said_first(
    out: str, said: str, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.pkl").mkdir()
    with refused(RunError, said):
        mt.export(run, tmp_path / out)


def test_runs_that_have_no_model_are_refused(run: Path, tmp_path: Path) -> None:
    with refused(RunError, "no run is named"):
        mt.export([], tmp_path / "m.pkl")
    with refused(RunError, "not a run"):
        mt.export(tmp_path, tmp_path / "m.pkl")
    (run / "model.keras").unlink()
    with refused(RunError, "there is no model.keras", "memmap-train train"):
        mt.export(run, tmp_path / "m.pkl")
    (run / "model.keras").write_bytes(b"PK nothing")
    with refused(RunError, "damaged"):
        mt.export(run, tmp_path / "m.pkl")
    assert not (tmp_path / "m.pkl").exists()


def test_live_files_that_are_none_are_refused(
    run: Path, live_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, other = tmp_path / "m.pkl", tmp_path / "other.parquet"
    with refused(SourceError, "nothing.parquet"):
        mt.export(run, out, live=tmp_path / "nothing.parquet")
    other.write_bytes(b"nothing")
    with refused(SourceError, "other.parquet"):
        mt.export(run, out, live=other)
    frame = pd.read_parquet(live_file)
    gone = next(name for name in frame if name.startswith("feature"))
    frame.drop(columns=gone).to_parquet(other)
    with refused(ExportError, "expected the 8 features of the run, 1 are missing", gone):
        mt.export(run, out, live=other)
    frame.iloc[:0].to_parquet(other)
    with refused(ExportError, "found 0"):
        mt.export(run, out, live=other)
    monkeypatch.setattr(live_rows, "MAX_ROWS", 10)
    with refused(ExportError, "1 to 10", "name live.parquet"):
        mt.export(run, out, live=live_file)
    assert not out.exists()


def test_wrong_options_are_refused(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.pkl"
    with refused(ConfigError, "proportion"):
        mt.export(run, out, proportion=0.5)
    with refused(ConfigError, "from 0 to 1"):
        mt.export(run, out, neutralize="small", proportion=2)
    with pytest.raises(MemmapTrainError, match="did you mean 'small'"):
        mt.export(run, out, neutralize="smal")
    with refused(ExportError, "'3.11', '3.12', '3.13'", "'3.9'"):
        mt.export(run, out, python="3.9")
    with refused(PathError, "expected a path"):
        mt.export(run, "")
    assert not out.exists()


def test_without_its_dataset_a_run_has_no_feature_sets(features: list[str], tmp_path: Path) -> None:
    run = with_dataset(tmp_path / "run", features, tmp_path / "gone")
    with refused(ExportError, "the features to neutralise are looked up in its dataset", "gone"):
        mt.export(run, tmp_path / "m.pkl", neutralize="small")


def test_a_python_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    other = next(version for version in IMAGES if version != OWN)
    monkeypatch.setattr(images, "_candidates", lambda version: iter(["/nowhere/python"]))
    with refused(ExportError, f"python{other}: not found", "segmentation fault", "leave out"):
        find_python(other)
    # An interpreter of another version isn't taken for it.
    monkeypatch.setattr(images, "_candidates", lambda version: iter([sys.executable]))
    with refused(ExportError, "not found"):
        find_python(other)
    assert find_python(OWN) == find_python(None) == (OWN, sys.executable)
    monkeypatch.setattr(images, "OWN", "3.14")
    with refused(ExportError, "no image", "this is Python 3.14", "--python 3.12"):
        find_python(None)


def test_an_interpreter_without_pandas_needs_an_environment(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_says", lambda python, code: "pandas pyarrow")
    with refused(ExportError, "lacks 'pandas', 'pyarrow'", "--image"):
        mt.export(run, tmp_path / "m.pkl")


def test_no_program_that_an_export_starts_gets_the_key(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, seen = subprocess.run, list[dict[str, str]]()

    def watched(command: list[str], **options: Any) -> Any:
        seen.append(options["env"])
        if "pip" in command:
            return subprocess.CompletedProcess(command, 0, "", "")
        if "venv" in command:
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.symlink_to(sys.executable)
            return subprocess.CompletedProcess(command, 0, "", "")
        return original([sys.executable, *command[1:]], **options)

    monkeypatch.setattr(subprocess, "run", watched)
    for name in ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY"):
        monkeypatch.setenv(name, "KEY-OF-TEST")
    mt.export(run, tmp_path / "m.pkl", image=True)
    assert len(seen) == 5  # the environment, pip, the look at it, the pickle, the trial
    assert all("PATH" in environment for environment in seen)
    assert "KEY-OF-TEST" not in str(seen)


def test_an_environment_that_cannot_be_made_is_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(command: list[str], **options: Any) -> Any:
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nERROR: No network\n")

    monkeypatch.setattr(subprocess, "run", failing)
    with refused(ExportError, "no environment can be made", "No network; leave out --image"):
        mt.export(run, tmp_path / "m.pkl", image=True)


def test_without_cloudpickle_the_extra_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with refused(DependencyError, "pip install 'memmap-train[numerai]'"):
        mt.export(run, tmp_path / "m.pkl")


def constant(path: Path, value: float) -> None:
    """Let a run's model give one number for all rows."""
    model = keras.models.load_model(path / "model.keras")
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    model.weights[-1].assign(np.full(model.weights[-1].shape, value))
    model.save(path / "model.keras")


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "outputs aren't numbers"), (0.5, "all predictions are equal")]
)
def test_what_numerai_would_refuse_is_not_written(
    value: float, said: str, run: Path, tmp_path: Path
) -> None:
    constant(run, value)
    (tmp_path / "m.pkl").write_text("before")
    with refused(ExportError, "Numerai couldn't use the upload", said):
        mt.export(run, tmp_path / "m.pkl")
    assert (tmp_path / "m.pkl").read_text() == "before"
    assert set(os.listdir(tmp_path)) == {"run", "m.pkl"}


def test_other_outputs_than_the_runs_are_an_error(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., Any] = export_module._description

    def wrong(*arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = original(*arguments)
        operations = found["models"][0]["operations"]
        last = max(n for n, (*_, parameters) in enumerate(operations) if "bias" in parameters)
        name, reads, writes, parameters = operations[last]
        kind, shape, content = parameters["bias"]
        bias = np.frombuffer(content, kind) + np.float32(1e-3)
        changed = parameters | {"bias": (kind, shape, bias.tobytes())}
        operations[last] = (name, reads, writes, changed)
        return found

    monkeypatch.setattr(export_module, "_description", wrong)
    with refused(ExportError, "aren't the run's", "at most 1e-06"):
        mt.export(run, tmp_path / "m.pkl")
    assert not (tmp_path / "m.pkl").exists()


def test_an_upload_that_takes_too_long_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = subprocess.run

    def slow(command: list[str], **options: Any) -> Any:
        if any("trial.py" in text for text in command):
            raise subprocess.TimeoutExpired(command, options["timeout"])
        return original(command, **options)

    monkeypatch.setattr(subprocess, "run", slow)
    with refused(ExportError, "takes longer than Numerai lets it run (600 s)"):
        mt.export(run, tmp_path / "m.pkl")


def test_too_much_memory_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(description: dict[str, Any], *others: Any, **named: Any) -> Path:
        path = tmp_path / "greedy.pkl"
        code = "(lambda a, b=None: bytearray(5 * 10**9))"
        path.write_bytes(b"cbuiltins\neval\n(V" + code.encode() + b"\ntR.")
        return path

    monkeypatch.setattr(export_module, "make_pickle", greedy)
    with refused(ExportError, "more memory than Numerai has"):
        mt.export(run, tmp_path / "m.pkl")


def test_the_difference_counts_relative_to_the_largest_output() -> None:
    expected: NDArray[np.float32] = np.array([1e6, 0.0], np.float32)
    off: NDArray[np.float32] = np.array([0, 1], np.float32)
    assert _difference((expected + off).astype(np.float32), expected) == pytest.approx(1e-6)
    assert _difference(np.float32(0.001) * off, np.float32(0) * off) == pytest.approx(1e-3)


def test_another_python_makes_the_file_without_any_package(tmp_path: Path) -> None:
    other = max(version for version in IMAGES if version != OWN)
    try:
        _, python = find_python(other)
    except ExportError:
        pytest.skip(f"no Python {other} on this machine")
    path = make_pickle({"models": [], "neutralize": None}, [], python, tmp_path, version=other)
    assert b"_make_function" in path.read_bytes()
    assert read_mark(path) == UploadMark(python=other, made_by=f"memmap-train {mt.__version__}")
