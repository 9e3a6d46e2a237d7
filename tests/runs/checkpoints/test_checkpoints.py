import io
import json
import math
import os
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from numpy.typing import NDArray

from memmap_train.errors import RunError
from memmap_train.runs.checkpoints.checkpoints import Checkpoint, load_newest, save_checkpoint
from tests.support.errors import refused
from tests.support.files import files_limited_to

RUN = "xxh3_128:0"


def checkpoint(step: int, n_values: int = 30) -> Checkpoint:
    arrays: dict[str, NDArray[Any]] = {
        "model/0000": np.random.default_rng([step]).standard_normal((n_values, 3), np.float32),
        "optimizer/iterations": np.array(step, np.int64),
        "seed": np.array([1, 2**32 - 1], np.uint32),
        "empty": np.empty((0, 4)),
    }
    state = {"history": [{"loss": 0.1 + step, "sharpe": math.nan}], "best": None, "text": "ä"}
    return Checkpoint(step, state, arrays, RUN)


def assert_equal(found: Checkpoint | None, expected: Checkpoint) -> None:
    assert found is not None
    assert found.step == expected.step
    assert repr(found.state) == repr(expected.state)  # NaN equals itself here
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()


def never(text: str) -> None:
    raise AssertionError(text)


def test_a_checkpoint_is_restored_bit_for_bit(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoints", checkpoint(7), best_step=None)
    assert_equal(load_newest(tmp_path / "checkpoints", RUN, never), checkpoint(7))


def test_an_empty_folder_has_no_newest_checkpoint(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "none", RUN, never) is None
    assert load_newest(tmp_path, RUN, never) is None


def test_a_checkpoint_is_an_ordinary_npz_file(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, checkpoint(7), best_step=None)
    with np.load(path) as arrays:
        np.testing.assert_array_equal(arrays["model/0000"], checkpoint(7).arrays["model/0000"])
        assert b"history" in arrays["state.json"]


def test_equal_states_make_equal_files(tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path, checkpoint(7), best_step=None).read_bytes()
    assert save_checkpoint(tmp_path, checkpoint(7), best_step=None).read_bytes() == first


def test_the_last_two_checkpoints_and_the_best_one_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20, 1_234_567_890):
        save_checkpoint(tmp_path, checkpoint(step), best_step=10 if step >= 10 else None)
    names = ["step-000000010.npz", "step-000000020.npz", "step-1234567890.npz"]
    assert sorted(os.listdir(tmp_path)) == names
    assert_equal(load_newest(tmp_path, RUN, never), checkpoint(1_234_567_890))


def test_a_later_state_of_the_same_step_replaces_it(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(5), best_step=None)
    save_checkpoint(tmp_path, checkpoint(10), best_step=None)
    later = Checkpoint(10, {"after": "validation"}, {}, RUN)
    save_checkpoint(tmp_path, later, best_step=10)
    assert_equal(load_newest(tmp_path, RUN, never), later)
    assert len(os.listdir(tmp_path)) == 2


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes.txt", "step-9.npz", ".partial-step-000000099.npz"):
        (tmp_path / name).write_text("x")
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, checkpoint(step), best_step=None)
    assert_equal(load_newest(tmp_path, RUN, never), checkpoint(3))
    # What a killed process left unfinished goes.
    kept = {"notes.txt", "step-9.npz", "step-000000002.npz", "step-000000003.npz"}
    assert set(os.listdir(tmp_path)) == kept


def packed_at_once(made: Checkpoint) -> bytes:
    """Return the bytes of a checkpoint as earlier versions wrote it, built in memory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        state = json.dumps({"run": made.run, "state": dict(made.state)}).encode()
        archive.writestr(zipfile.ZipInfo("state.json"), state)
        for name, array in made.arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getbuffer())
        archive.comment = bytes(32)
    body = buffer.getvalue()[:-32]
    return body + xxhash.xxh3_128_hexdigest(body).encode()


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, checkpoint(7), best_step=None)
    written = path.read_bytes()
    assert written[-32:] == xxhash.xxh3_128_hexdigest(written[:-32]).encode()
    path.write_bytes(packed_at_once(checkpoint(7)))
    assert path.read_bytes() != written
    assert_equal(load_newest(tmp_path, RUN, never), checkpoint(7))


def test_saving_copies_no_array_and_loading_copies_each_once(tmp_path: Path) -> None:
    arrays = {f"model/{number}": np.full((3, 10**7), number, np.float32) for number in range(2)}
    large = Checkpoint(1, {}, arrays, RUN)
    n_bytes = sum(array.nbytes for array in arrays.values())
    tracemalloc.start()
    try:
        save_checkpoint(tmp_path, large, best_step=None)
        saving = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        found = load_newest(tmp_path, RUN, never)
        loading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert saving < n_bytes / 4
    assert n_bytes <= loading < n_bytes * 5 / 4
    assert_equal(found, large)


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1, n_values=2), best_step=None)
    path = save_checkpoint(tmp_path, checkpoint(2, n_values=2), best_step=None)
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        warnings: list[str] = []
        assert_equal(load_newest(tmp_path, RUN, warnings.append), checkpoint(1, n_values=2))
        assert len(warnings) == 1


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 500, -1])
def test_a_file_cut_short_falls_back_to_the_one_before(tmp_path: Path, length: int) -> None:
    save_checkpoint(tmp_path, checkpoint(1), best_step=None)
    path = save_checkpoint(tmp_path, checkpoint(2), best_step=None)
    path.write_bytes(path.read_bytes()[:length])
    warnings: list[str] = []
    assert_equal(load_newest(tmp_path, RUN, warnings.append), checkpoint(1))
    (warning,) = warnings
    assert str(path) in warning
    assert "damaged" in warning
    assert "\n" not in warning
    # It counts no more, neither for loading nor for what is kept.
    assert_equal(load_newest(tmp_path, RUN, never), checkpoint(1))
    save_checkpoint(tmp_path, checkpoint(2), best_step=None)
    assert_equal(load_newest(tmp_path, RUN, never), checkpoint(2))


def test_without_an_intact_checkpoint_training_does_not_restart_by_itself(tmp_path: Path) -> None:
    """The best model would be overwritten."""
    for step in (1, 2):
        save_checkpoint(tmp_path, checkpoint(step), best_step=None).write_bytes(b"PK")
    before = sorted(os.listdir(tmp_path))
    for _ in range(2):
        with refused(RunError, "step-000000002.npz: damaged", "no checkpoint", "--run", "remove"):
            load_newest(tmp_path, RUN, never)
        assert sorted(os.listdir(tmp_path)) == before


def test_a_checkpoint_of_another_run_is_ignored(tmp_path: Path) -> None:
    """Its arrays may have the same names and shapes."""
    save_checkpoint(tmp_path, checkpoint(1), best_step=None)
    other = replace(checkpoint(2), run="xxh3_128:1")
    path = save_checkpoint(tmp_path, other, best_step=None)
    warnings: list[str] = []
    assert_equal(load_newest(tmp_path, RUN, warnings.append), checkpoint(1))
    assert len(warnings) == 1
    assert f"{path}: of another run" in warnings[0]


def test_a_full_disk_loses_no_older_checkpoint(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, checkpoint(step), best_step=1)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    assert len(before) == 3
    with files_limited_to(500), pytest.raises(OSError, match="too large"):
        save_checkpoint(tmp_path, checkpoint(4), best_step=1)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before
    save_checkpoint(tmp_path, checkpoint(4), best_step=1)
    assert_equal(load_newest(tmp_path, RUN, never), checkpoint(4))
