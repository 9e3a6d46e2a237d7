"""The Pythons of Numerai's images for model uploads, and interpreters of these versions here."""

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from ...errors import ExportError, listed
from ..environment import without_keys

IMAGES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "3.11": {
            "numpy": "2.1.3",
            "pandas": "2.3.2",
            "cloudpickle": "3.1.1",
            "pyarrow": "21.0.0",
            "tensorflow": "2.19.0",
            "keras": "3.11.3",
        },
        "3.12": {
            "numpy": "2.1.3",
            "pandas": "2.3.2",
            "cloudpickle": "3.1.1",
            "pyarrow": "18.1.0",
            "tensorflow": "2.19.0",
            "keras": "3.11.3",
        },
        "3.13": {
            "numpy": "2.2.6",
            "pandas": "2.3.3",
            "cloudpickle": "3.1.2",
            "pyarrow": "18.1.0",
            "tensorflow": "2.20.0",
            "keras": "3.13.2",
        },
    }
)
"""Of each image the versions that count here.

Source: https://github.com/numerai/numerai-predict, py3.*/poetry.lock, 2026-04-14.
"""

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
_SECONDS = 30.0  # to start an interpreter
_BUILD_SECONDS = 1800.0
_KERAS = ("tensorflow", "keras")


def find_python(version: str | None) -> tuple[str, str]:
    """Return the version of Python that an upload is made for, and an interpreter of it.

    Parameters
    ----------
    version : str or None
        Such as "3.12"; None: that of this process.

    Raises
    ------
    ExportError
        Numerai has no image with this Python, or it isn't installed here.
    """
    wanted = OWN if version is None else str(version)
    if wanted not in IMAGES:
        found = f"this is Python {wanted}" if version is None else f"found {wanted!r:.40}"
        raise ExportError(
            f"no image of Numerai's has this Python: expected {listed(IMAGES)}, {found}; name one: "
            "--python 3.12 (python='3.12')"
        )
    if wanted == OWN:
        return wanted, sys.executable
    for path in _candidates(wanted):
        if _says(path, "import sys; print('%d.%d' % sys.version_info[:2])") == wanted:
            return wanted, path
    raise ExportError(
        f"python{wanted}: not found here, and a pickle made by Python {OWN} would end Numerai's "
        f"process with a segmentation fault there; install Python {wanted}, or choose the image "
        f"for Python {OWN} and leave out --python"
    )


def _candidates(version: str) -> Iterator[str]:
    """Yield paths where an interpreter may be."""
    found = shutil.which(f"python{version}")
    if found:
        yield found
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    yield from sorted(glob.glob(f"{glob.escape(root)}/versions/{version}.*/bin/python"))


def _says(python: str, code: str) -> str | None:
    """Return what an interpreter prints, None if it fails."""
    try:
        done = subprocess.run(
            [python, "-I", "-c", code],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env=without_keys(),
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def check_can_try(version: str, python: str, *, needs_keras: bool) -> None:
    """Raise an ExportError if an interpreter lacks what it takes to try an upload."""
    names = ["numpy", "pandas", "pyarrow", "cloudpickle", *(["keras"] if needs_keras else [])]
    code = f"import importlib.util as u; print(*[n for n in {names} if u.find_spec(n) is None])"
    missing = _says(python, code)
    if missing != "":
        raise ExportError(
            f"{python}: the upload can't be tried in Python {version}, which lacks "
            f"{listed((missing or 'an answer').split())}; add --image (image=True), which makes "
            "an environment of the image's versions"
        )


def make_environment(version: str, python: str, folder: Path, *, needs_keras: bool) -> str:
    """Make an environment with an image's versions; return its interpreter.

    Raises
    ------
    ExportError
        It can't be made, for want of the network for example.
    """
    packages = [
        f"{name}=={number}"
        for name, number in IMAGES[version].items()
        if needs_keras or name not in _KERAS
    ]
    _run([python, "-m", "venv", str(folder)], f"python{version}: no environment can be made")
    (made,) = (
        path for path in (folder / "bin/python", folder / "Scripts/python.exe") if path.exists()
    )
    install = [str(made), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*install, *packages], f"python{version}: the image's {listed(packages, 9)} can't be had")
    return str(made)


def _run(command: list[str], what: str) -> None:
    """Run a command; `what` begins the error."""
    environment = {name: text for name, text in without_keys().items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_BUILD_SECONDS, env=environment
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ExportError(f"{what}: {' '.join(str(error).split())}") from error
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        reason = " ".join(lines[-1].split()) if lines else f"it ended with {done.returncode}"
        raise ExportError(f"{what}: {reason.removeprefix('ERROR: ')}; leave out --image")
