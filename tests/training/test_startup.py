"""TensorFlow and Keras are started whatever the environment asks for, or refused in one line."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memmap_train.errors import ConfigError
from memmap_train.training import startup
from memmap_train.training.startup import start_tensorflow
from tests.support.errors import refused
from tests.support.training_data import PLAIN_INSTALL

pytest_plugins = ["tests.support.training_fixtures"]

SETTINGS = ["batch_size=64", "epochs=1", "validation_eras=4", "hidden=[4]"]
NOT_IN_THE_ENVIRONMENT = ("TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND", "KERAS_HOME", "MPLBACKEND")


def run_train(
    dataset: Path, run: Path, *arguments: str, prepare: str = "pass", **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run `memmap-train train` in a process of its own, after some code; it makes no report."""
    code = (
        f"{PLAIN_INSTALL}; {prepare}; import memmap_train.runs.reports.report_process as reports; "
    )
    code += "reports.charts_are_installed = lambda: False; "
    code += "from memmap_train.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "train", str(dataset), "--run", str(run)]
    command += [part for setting in SETTINGS for part in ("--set", setting)]
    kept = {name: os.environ[name] for name in os.environ if name not in NOT_IN_THE_ENVIRONMENT}
    return subprocess.run(
        [*command, "--quiet", *arguments],
        capture_output=True,
        text=True,
        cwd=run.parent,
        env=kept | environment,
    )


def test_settings_of_notebooks_and_other_projects_do_not_matter(
    sample: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "keras.json").write_text('{"floatx": "float64"}')
    (tmp_path / "models.py").write_text(
        "import tensorflow as tf\n"
        "def build(n_features, n_targets):\n"
        "    import matplotlib.pyplot as plt\n"
        "    plt.figure()\n"
        "    return tf.keras.Sequential([tf.keras.layers.Dense(n_targets)])\n"
    )
    done = run_train(
        sample,
        tmp_path / "run",
        "--set",
        "model=models:build",
        MPLBACKEND="module://of_the_notebook.backend_inline",
        TF_USE_LEGACY_KERAS="1",
        KERAS_HOME=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f"warning: {tmp_path / 'keras.json'}: floatx 'float64' isn't used: memmap-train computes "
        "in float32"
    ]
    assert (tmp_path / "run" / "validation.png").exists()


def test_training_works_without_a_temporary_folder_and_a_working_matplotlib(
    sample: Path, tmp_path: Path
) -> None:
    (tmp_path / "matplotlib").mkdir()
    (tmp_path / "matplotlib" / "__init__.py").write_text("raise RuntimeError('no fonts\\nat all')")
    (tmp_path / "models.py").write_text(
        "import keras\n"
        "def build(n_features, n_targets):\n"
        "    return keras.Sequential([keras.layers.Dense(n_targets)])\n"
    )
    done = run_train(
        sample,
        tmp_path / "run",
        "--set",
        "model=models:build",
        prepare="import tempfile; tempfile._candidate_tempdir_list = lambda: ['/no/such/folder']",
        PYTHONPATH=str(tmp_path),
        HOME="/no/such/folder",
    )
    assert done.returncode == 0, done.stderr
    (warning,) = done.stderr.splitlines()
    assert warning.startswith(f"warning: {tmp_path / 'run' / 'validation.png'}: ")
    assert "RuntimeError: no fonts at all" in warning
    assert "chart       not drawn, see the warning" in done.stdout
    expected = {"config.json", "history.csv", "era_scores.csv", "model.keras", "state.json"}
    found = {path.name for path in (tmp_path / "run").iterdir()}
    assert found - {"report.html"} == {*expected, "checkpoints", "baseline"}
    assert {path.name for path in tmp_path.iterdir()} <= {
        "matplotlib",
        "models.py",
        "run",
        "__pycache__",
    }


def test_a_failed_import_is_reported_in_one_line(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libsomething.so:\\n not found')")
    done = run_train(sample, tmp_path / "run", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    (error,) = done.stderr.splitlines()
    assert "can't be started: ImportError: libsomething.so: not found" in error
    assert "pip install" in error
    assert not (tmp_path / "run").exists()


# -- settings of Keras ----------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Have nothing imported; return a list that tells whether anything would have been."""
    calls: list[str] = []
    monkeypatch.setattr(startup, "_import_all", lambda: calls.append("imported"))
    monkeypatch.setattr(startup, "_compute_in_float32", lambda: None)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return calls


@pytest.mark.parametrize("backend", ["torch", "jax", "numpy", "TensorFlow", "nonsense"])
@pytest.mark.parametrize("in_file", [False, True])
def test_another_backend_is_refused_whether_installed_or_not(
    backend: str, in_file: bool, started: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_file:
        (tmp_path / "keras.json").write_text(json.dumps({"backend": backend}))
    else:
        monkeypatch.setenv("KERAS_BACKEND", backend)
    with refused(ConfigError, repr(backend), "expected 'tensorflow'", "KERAS_BACKEND=tensorflow"):
        start_tensorflow(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # as the error says
    start_tensorflow(tmp_path)
    assert started == ["imported"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected a JSON object, found []"),
        ('{"floatx": "float128"}', "expected float16 or float32 or float64, found 'float128'"),
        ('{"floatx": ["float32"]}', "floatx: expected"),
        ('{"image_data_format": 1}', "image_data_format: expected channels_last or"),
        ('{"epsilon": 1}', "epsilon: expected a number with a point"),
    ],
)
def test_settings_that_keras_would_fail_on_are_refused(
    text: str, said: str, started: list[str], tmp_path: Path
) -> None:
    (tmp_path / "keras.json").write_text(text)
    with refused(ConfigError, str(tmp_path / "keras.json"), said, "mend or remove it"):
        start_tensorflow(tmp_path)
    assert started == []


@pytest.mark.parametrize(
    "text", ["", "{", '{"epsilon": 1e-7, "image_data_format": "channels_first"}']
)
def test_settings_that_keras_ignores_do_not_matter(
    text: str, started: list[str], tmp_path: Path
) -> None:
    (tmp_path / "keras.json").write_text(text)
    start_tensorflow(tmp_path)
    assert started == ["imported"]


def test_without_a_home_folder_no_folder_is_named_by_a_tilde(
    started: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", "")
    start_tensorflow(tmp_path)
    assert "KERAS_HOME" not in os.environ
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a number without a user's name
    start_tensorflow(tmp_path)
    assert os.environ["KERAS_HOME"] == "/tmp/.keras"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    start_tensorflow(tmp_path)
    assert os.environ["KERAS_HOME"] == str(tmp_path)


def test_a_python_caller_with_float64_as_default_is_warned(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    from memmap_train.training.train import train_run

    keras.config.set_floatx("float64")
    try:
        with refused(ConfigError, "'float64'", 'keras.config.set_floatx("float32")'):
            train_run(sample, tmp_path / "run")
    finally:
        keras.config.set_floatx("float32")
    assert not list(tmp_path.iterdir())


# -- threads and pictures -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quota", "asked", "expected"), [(2, None, "2"), (2, "5", "5"), (32, None, None)]
)
def test_threads_follow_a_quota_unless_the_user_has_set_them(
    quota: int,
    asked: str | None,
    expected: str | None,
    started: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "TF_NUM_INTRAOP_THREADS"
    monkeypatch.setattr(os, "environ", dict(os.environ))  # what is set here ends with the test
    os.environ.pop(name, None)
    if asked is not None:
        os.environ[name] = asked
    monkeypatch.setattr(startup, "n_cores", lambda: quota)
    monkeypatch.setattr(startup, "n_schedulable_cores", lambda: 32)
    start_tensorflow(tmp_path)
    assert os.environ.get(name) == expected
    assert startup.n_compute_threads() == int(expected or 32)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("svg", "svg"),
        ("module://matplotlib.backends.backend_pdf", "module://matplotlib.backends.backend_pdf"),
        ("module://matplotlib_inline.backend_of_another_environment", "agg"),
        ("module://no_such_module.backend", "agg"),
        ("module://", "agg"),
        ("nonsense", "agg"),
    ],
)
def test_a_backend_that_works_is_kept_and_another_one_replaced(
    asked: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    matplotlib: Any = pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", asked)
    with matplotlib.rc_context():
        startup._import_pyplot()
        assert matplotlib.rcParams["backend"] == expected
    assert os.environ["MPLBACKEND"] == asked


def test_a_hidden_matplotlib_can_always_be_imported_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise RuntimeError("no folder for the cache")

    modules = {"matplotlib.half": object(), "other": object()}
    monkeypatch.setattr(startup, "_import_pyplot", fail)
    monkeypatch.setattr(startup, "sys", SimpleNamespace(modules=modules))
    with suppress(ImportError), startup._importable_matplotlib():
        hidden = dict(modules)
        raise ImportError("Keras is broken")
    assert hidden.keys() == {"other", "matplotlib"}
    assert hidden["matplotlib"] is None
    assert list(modules) == ["other"]
