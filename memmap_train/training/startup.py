"""Start TensorFlow and Keras for a command in any environment.

A command's process belongs to this package, unlike that of a Python caller: here variables that
are meant for a notebook or for another project are set aside or refused in one line, before a run
is begun. TensorFlow's first log lines come before its own log level counts, so the file descriptor
of stderr is redirected while it starts. Heavy packages are imported by functions alone.
"""

import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from ..errors import ConfigError, MemmapTrainError
from ..system.resources import n_cores, n_schedulable_cores, nearest_existing

_LOG = logging.getLogger("memmap_train")
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")

# What TensorFlow and Keras assert of keras.json.
_SETTINGS = {
    "floatx": ("float16", "float32", "float64"),
    "image_data_format": ("channels_last", "channels_first"),
}

_KERAS_HOME = os.path.join(os.sep, "tmp", ".keras")  # as Keras itself has it without a home folder


def start_tensorflow(output: Path) -> None:
    """Import TensorFlow and Keras and look for devices.

    It is quiet unless `TF_CPP_MIN_LOG_LEVEL` is set.

    Parameters
    ----------
    output : Path
        The command's output path: Keras saves no model without temporary files, and they go
        there if the system has no other folder for them.

    Raises
    ------
    ConfigError
        Keras is asked to run on something else, or one of both can't be imported.
    """
    _set_aside(output)
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        _import_all()
    else:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # warnings: for those who import it later
        with _stderr_redirected():
            _import_all()
    _compute_in_float32()


def import_tensorflow() -> None:
    """Import TensorFlow and Keras for a Python caller, whose process and settings stay as they are.

    It is quiet unless `TF_CPP_MIN_LOG_LEVEL` is set.

    Raises
    ------
    ConfigError
        One of both can't be imported.
    """
    if "tensorflow" in sys.modules:
        return
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        _import_all()
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    try:
        with _stderr_redirected():
            _import_all()
    finally:
        del os.environ["TF_CPP_MIN_LOG_LEVEL"]


def n_compute_threads() -> int:
    """Return the number of threads that TensorFlow splits an operation among.

    Sums are added up in another order by another number of threads, and end in other bits.
    """
    asked = os.environ.get(_THREADS[0], "")
    return int(asked) if asked.isdecimal() and int(asked) else n_schedulable_cores()


def wrong_backend(backend: str) -> ConfigError:
    """Return the error for a Keras that runs on another backend than TensorFlow."""
    return ConfigError(
        f"Keras runs on {backend!r}, expected 'tensorflow'; set KERAS_BACKEND=tensorflow"
    )


def require_tensorflow() -> None:
    """Raise a ConfigError if Keras computes with something else, or in another type of number."""
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise wrong_backend(backend)
    if keras.config.floatx() != "float32":
        raise ConfigError(
            f"Keras's floatx is {keras.config.floatx()!r}, expected 'float32'; call "
            'keras.config.set_floatx("float32")'
        )


def _set_aside(output: Path) -> None:
    """Override settings of the environment that this process can't work with, or raise an error."""
    if not os.environ.get("KERAS_HOME"):
        os.environ.pop("KERAS_HOME", None)  # empty, it would be the current folder
        if (
            os.path.expanduser("~") == "~"
        ):  # of no user: TensorFlow would make a folder of that name
            os.environ["KERAS_HOME"] = _KERAS_HOME
    _check_settings()
    # It makes `tf.keras` Keras 2, or nothing where that isn't installed. Models here are Keras 3.
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    if n_cores() < n_schedulable_cores():  # TensorFlow would start a thread for each of these
        for name in _THREADS:
            os.environ.setdefault(name, str(n_cores()))
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = str(nearest_existing(output.absolute()))


def _import_all() -> None:
    try:
        with _importable_matplotlib():
            import tensorflow as tf

            tf.config.list_physical_devices()
            import keras  # noqa: F401
    except MemmapTrainError:
        raise
    except Exception as error:  # whatever an installation or a setting makes an import raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        settings = [name for name in sorted(os.environ) if name.startswith(("KERAS_", "TF_NUM_"))]
        settings += [str(_keras_json())] if _keras_json().exists() else []
        look = f"look at {', '.join(settings)}, or " if settings else ""
        raise ConfigError(
            f"TensorFlow and Keras can't be started: {reason}; {look}install them again with "
            "`pip install --force-reinstall tensorflow keras`"
        ) from error
    # A model for each fold is no mistake, as the warning of "5 out of the last 5 calls" says.
    tf.get_logger().setLevel("ERROR")


def _keras_json() -> Path:
    """Return the path of Keras's settings."""
    home = os.path.expanduser("~")
    own = os.path.join(home, ".keras") if os.access(home, os.W_OK) else _KERAS_HOME
    folder = os.environ.get("KERAS_HOME", own)
    return Path(os.path.expanduser(os.path.join(folder, "keras.json")))


def _check_settings() -> None:
    """Raise a ConfigError for settings of Keras that aren't supported."""
    path, found = _keras_json(), {}
    with suppress(OSError, ValueError):  # Keras does without what is no JSON
        found = json.loads(path.read_text())
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected a JSON object, found {found!r:.40}; mend or remove it")
    for key, allowed in _SETTINGS.items():
        if key in found and found[key] not in allowed:
            raise ConfigError(
                f"{path}: {key}: expected {' or '.join(allowed)}, found {found[key]!r:.40}; mend "
                "or remove it"
            )
    epsilon = found.get("epsilon", 1e-7)
    if not isinstance(epsilon, float):
        raise ConfigError(
            f"{path}: epsilon: expected a number with a point, such as 1e-07, found "
            f"{epsilon!r:.40}; mend or remove it"
        )
    backend = os.environ.get("KERAS_BACKEND") or found.get("backend", "tensorflow")
    if backend != "tensorflow":
        raise wrong_backend(str(backend))


def _compute_in_float32() -> None:
    """Make layers compute in float32 in this process; warn if another dtype is configured.

    keras.json is the only place that can ask for one before a command begins.
    """
    import keras

    asked = keras.config.floatx()
    if asked != "float32":
        keras.config.set_floatx("float32")
        _LOG.warning(
            "%s: floatx %r isn't used: memmap-train computes in float32", _keras_json(), asked
        )


@contextmanager
def _importable_matplotlib() -> Iterator[None]:
    """Let Keras import a matplotlib that works, or none, while the block runs.

    Keras imports pyplot and survives nothing but an ImportError. matplotlib fails in other ways: a
    notebook passes on an `MPLBACKEND` that only its own environment has, no folder can be written
    for its cache, its settings can't be read. Pictures are then drawn without a display, or left
    out with a warning (see `chart`).
    """
    try:
        _import_pyplot()
    except ImportError:
        yield
    except Exception:  # anything else would reach Keras, and end the command
        # What is half imported would fail with another error the next time.
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]
        sys.modules["matplotlib"] = None  # type: ignore[assignment]
        try:
            yield
        finally:
            del sys.modules["matplotlib"]
    else:
        yield


def _import_pyplot() -> None:
    """Import pyplot with the backend that `MPLBACKEND` names, or with "agg" if that fails."""
    backend = os.environ.pop("MPLBACKEND", "")
    try:
        import matplotlib

        if backend:
            try:
                matplotlib.rcParams["backend"] = backend if _has_module(backend) else "agg"
            except ValueError:
                matplotlib.rcParams["backend"] = "agg"
        import matplotlib.pyplot
    finally:
        if backend:  # for processes that a callback may start
            os.environ["MPLBACKEND"] = backend


def _has_module(backend: str) -> bool:
    """Return False if a backend's name is `module://…` and the module isn't installed."""
    scheme, _, module = backend.partition("://")
    if scheme != "module":
        return True
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


@contextmanager
def _stderr_redirected() -> Iterator[None]:
    """Discard output to stderr, including that of C++ code."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
