"""Checkpoints of a training: plain arrays and a few numbers, whole or absent.  Imports numpy only.

`checkpoints/step-000001234.npz` holds the state after 1,234 steps. It is an ordinary `.npz` file
(``numpy.load`` opens it): a member `state.json`, and one `.npy` member per array. The zip archive's
comment, the last bytes of the file, is a digest of all bytes before it, so that a file that was cut
or altered anywhere is known as damaged before anything in it is believed.

The last two are kept, and the best one. Nothing is deleted before a new one is safely there.
"""

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from .errors import RunError
from .runs import replacing

_NAME = re.compile(r"step-(\d{9,})\.npz")
_STATE = "state.json"
_DIGEST_BYTES = 32  # hexadecimal digits of xxh3_128
_LAST_KEPT = 2
_EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)  # equal states make equal files


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a training after some steps.

    Attributes
    ----------
    step : int
        Steps done, counted over all epochs.
    state : mapping
        JSON-ready; floats survive to the last bit, NaN as well.
    arrays : mapping of str to ndarray
        Any numeric dtype and shape; names may hold slashes.
    run : str
        Which run it is of: arrays of another one may have the same shapes.
    """

    step: int
    state: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]
    run: str


def save_checkpoint(directory: Path, checkpoint: Checkpoint, *, best_step: int | None) -> Path:
    """Write a checkpoint, then delete those that aren't needed any more.

    Parameters
    ----------
    directory : Path
        Made where it doesn't exist.
    checkpoint : Checkpoint
        Replaces one of the same step.
    best_step : int or None
        The step of another one to keep.

    Returns
    -------
    Path

    Raises
    ------
    OSError
        It can't be written, for a full disk or else; the older ones are as they were.
    """
    directory.mkdir(exist_ok=True)
    path = directory / f"step-{checkpoint.step:09d}.npz"
    data = _pack(checkpoint)
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    older = [step for step in _steps(directory) if step != checkpoint.step]
    kept = {checkpoint.step, best_step, *older[-(_LAST_KEPT - 1) :]}
    for step, file in _steps(directory).items():
        if step not in kept:
            file.unlink(missing_ok=True)
    for unfinished in directory.glob(".partial-step-*.npz"):  # of a process that was killed
        unfinished.unlink(missing_ok=True)
    return path


def load_newest(directory: Path, run: str, warn: Callable[[str], None]) -> Checkpoint | None:
    """Read the newest checkpoint of a run that is whole.

    Parameters
    ----------
    directory : Path
    run : str
    warn : callable
        Called with one line for each checkpoint that is passed over, since it is damaged or of
        another run (it is renamed to `*.damaged`, so that it counts no more).

    Returns
    -------
    Checkpoint or None
        None where there is none.

    Raises
    ------
    RunError
        None of them is whole: beginning anew would overwrite the best model. Or the system doesn't
        give a file that is there.
    """
    passed_over: list[tuple[Path, str]] = []
    for step, path in reversed(_steps(directory).items()):
        try:
            checkpoint = _unpack(path, step, run)
        except OSError as error:
            if not isinstance(error, RunError | IsADirectoryError):  # it may be whole all the same
                raise RunError(
                    f"{path}: can't be read: {error.strerror}; when it can be, --resume carries on"
                ) from None
            what = f"{path}: a folder" if isinstance(error, IsADirectoryError) else f"{error}"
            passed_over.append((path, what))
            continue
        for damaged, what in passed_over:
            warn(f"{what}; going back to the checkpoint before it")
            with suppress(OSError):  # it will be passed over another time
                damaged.replace(damaged.with_suffix(".damaged"))
        return checkpoint
    if passed_over:
        raise RunError(
            f"{passed_over[0][1]}; no checkpoint of the run is whole, so it can't be carried on; "
            f"its model and scores are kept: begin a new run with another --run, or remove "
            f"{directory} to begin this one again"
        )
    return None


def newest_step(directory: Path) -> int:
    """Return the step of the newest checkpoint, whole or not; 0 where there is none."""
    return max(_steps(directory), default=0)


def _steps(directory: Path) -> dict[int, Path]:
    """Return the files of a folder by their steps, in ascending order."""
    found = {}
    if directory.is_dir():
        for path in directory.iterdir():
            if match := _NAME.fullmatch(path.name):
                found[int(match[1])] = path
    return dict(sorted(found.items()))


def _pack(checkpoint: Checkpoint) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        state = json.dumps({"run": checkpoint.run, "state": dict(checkpoint.state)}).encode()
        archive.writestr(zipfile.ZipInfo(_STATE, _EPOCH_OF_ZIP), state)
        for name, array in checkpoint.arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH_OF_ZIP), member.getbuffer())
        archive.comment = bytes(_DIGEST_BYTES)
    body = buffer.getvalue()[:-_DIGEST_BYTES]
    return body + _digest(body)


def _unpack(path: Path, step: int, run: str) -> Checkpoint:
    data = path.read_bytes()
    if data[-_DIGEST_BYTES:] != _digest(data[:-_DIGEST_BYTES]):
        raise RunError(f"{path}: damaged: its {len(data):,} bytes don't fit their digest")
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content = json.loads(archive.read(_STATE))
        if content.get("run") != run:
            raise RunError(f"{path}: of another run than the one that config.json tells of")
        for name in archive.namelist():
            if name != _STATE:
                member = io.BytesIO(archive.read(name))
                array = np.lib.format.read_array(member, allow_pickle=False)
                arrays[name.removesuffix(".npy")] = array
    return Checkpoint(step, content["state"], arrays, run)


def _digest(data: bytes) -> bytes:
    return xxhash.xxh3_128_hexdigest(data).encode()
