"""Checkpoints of a training: plain arrays and a few numbers, whole or absent.  Imports numpy only.

`checkpoints/step-000001234.npz` holds the state after 1,234 steps. It is an ordinary `.npz` file
(``numpy.load`` opens it): a member `state.json`, and one `.npy` member per array. The zip archive's
comment, the last bytes of the file, is a digest of all bytes before it, so that a file that was cut
or altered anywhere is known as damaged before anything in it is believed.

The last two are kept, and the best one. Nothing is deleted before a new one is safely there.
"""

import json
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from ...dataset.file_digest import DIGEST_BYTES
from ...dataset.format import MAX_HEADER_BYTES
from ...errors import RunError
from ...system.checksum import Checksum
from ..files import replacing

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


def save_checkpoint(
    directory: Path,
    checkpoint: Checkpoint,
    *,
    best_step: int | None = None,
    n_kept: int = _LAST_KEPT,
) -> Path:
    """Write a checkpoint, then delete those that aren't needed any more.

    Parameters
    ----------
    directory : Path
        Made where it doesn't exist.
    checkpoint : Checkpoint
        Replaces one of the same step.
    best_step : int, optional
        The step of another one to keep.
    n_kept : int
        The number of last ones to keep, this one included.

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
    with replacing(path) as temporary, open(temporary, "wb") as file:
        _pack(checkpoint, file)
    older = [step for step in _steps(directory) if step != checkpoint.step]
    kept = {checkpoint.step, best_step, *older[max(0, len(older) - n_kept + 1) :]}
    for step, old in _steps(directory).items():
        if step not in kept:
            old.unlink(missing_ok=True)
    for unfinished in directory.glob(".partial-step-*.npz"):  # of a process that was killed
        unfinished.unlink(missing_ok=True)
    return path


def load_newest(directory: Path, run: str, warn: Callable[[str], None]) -> Checkpoint | None:
    """Read the newest undamaged checkpoint of a run.

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
        None of them is whole: beginning again would overwrite the best model. Or the system doesn't
        give a file that is there.
    """
    passed_over: list[tuple[Path, str]] = []
    for step, path in reversed(_steps(directory).items()):
        try:
            checkpoint = _unpack(path, step, run)
        except OSError as error:
            if not isinstance(error, RunError | IsADirectoryError):  # it may be whole all the same
                raise RunError(
                    f"{path}: can't be read: {error.strerror}; when it can be, --resume continues"
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
            f"{passed_over[0][1]}; no checkpoint of the run is whole, so it can't be resumed; "
            f"its model and scores are kept: begin a new run with another --run, or remove "
            f"{directory} to begin this one again"
        )
    return None


def delete_checkpoints(directory: Path) -> None:
    """Delete all checkpoints of a run, which begins again."""
    for path in _steps(directory).values():
        path.unlink(missing_ok=True)


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


class _Digesting:
    """Writes to a file, and in place of the last bytes the digest of all bytes before them.

    Parameters
    ----------
    file : binary file
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, Checksum()
        self._held = b""  # the last bytes so far

    def write(self, data: bytes) -> int:
        """Write all bytes except the last ones, which the digest may replace."""
        view = memoryview(data)
        n_more = max(0, len(self._held) + len(view) - _DIGEST_BYTES)
        n_held = min(n_more, len(self._held))
        for part in (self._held[:n_held], view[: n_more - n_held]):
            self._digest.update(part)
            self._file.write(part)
        self._held = self._held[n_held:] + bytes(view[n_more - n_held :])
        return len(view)

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is closed."""

    def finish(self) -> None:
        """Write the digest."""
        self._file.write(self._digest.hex.encode())


def _pack(checkpoint: Checkpoint, file: BinaryIO) -> None:
    """Write a checkpoint as a stream, without a second copy in memory."""
    stream = _Digesting(file)
    # A stream without `tell`: sizes follow each member's data.
    with zipfile.ZipFile(cast("IO[bytes]", stream), "w", zipfile.ZIP_STORED) as archive:
        state = json.dumps({"run": checkpoint.run, "state": dict(checkpoint.state)}).encode()
        archive.writestr(zipfile.ZipInfo(_STATE, _EPOCH_OF_ZIP), state)
        for name, array in checkpoint.arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH_OF_ZIP)
            info.file_size = array.nbytes + MAX_HEADER_BYTES  # beyond 4 GB sizes take more bytes
            with archive.open(info, "w") as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
        archive.comment = bytes(_DIGEST_BYTES)
    stream.finish()


def _unpack(path: Path, step: int, run: str) -> Checkpoint:
    with path.open("rb") as file:
        _check_digest(path, file)
        arrays = {}
        with zipfile.ZipFile(file) as archive:
            content = json.loads(archive.read(_STATE))
            if content.get("run") != run:
                raise RunError(f"{path}: of another run than that of config.json")
            for name in archive.namelist():
                if name != _STATE:
                    with archive.open(name) as member:
                        array = np.lib.format.read_array(member, allow_pickle=False)
                    arrays[name.removesuffix(".npy")] = array
    return Checkpoint(step, content["state"], arrays, run)


def _check_digest(path: Path, file: BinaryIO) -> None:
    """Raise a RunError if the last bytes of a file aren't the digest of those before."""
    n_bytes = os.fstat(file.fileno()).st_size
    digest, left = Checksum(), n_bytes - _DIGEST_BYTES
    while left > 0 and (data := file.read(min(left, DIGEST_BYTES))):
        digest.update(data)
        left -= len(data)
    if left or file.read(_DIGEST_BYTES) != digest.hex.encode():
        raise RunError(f"{path}: damaged: its {n_bytes:,} bytes don't fit their digest")
    file.seek(0)
