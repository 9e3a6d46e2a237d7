"""Tests of the version of Python that made a pickle: found for each version, nothing unpickled."""

import itertools
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.errors import ExportError, NumeraiError
from memmap_train.numerai.export.images import IMAGES, OWN, find_python
from memmap_train.numerai.export.mark import write_marked
from memmap_train.numerai.submission.pickle_python import pickle_python
from tests.support.errors import line_of, refused

CODE = """
import math

def make(weights):
    class Model:
        def predict(self, frame):
            try:
                return [math.floor(x) + weights[0] for x in frame.values if x is not None]
            finally:
                self.done = {name: str(value) for name, value in vars(self).items()}

    async def unused(a, *, b=3):
        with open(a) as file:
            yield await b(file)

    def predict(live_features, live_benchmark_models=None):
        if not Model.predict or len(live_features) > 3 and unused:
            return Model().predict(live_features) @ weights
        assert "x" in live_features, f"{weights!r}"
        return lambda: super

    return predict
"""


def write(path: Path, value: object) -> Path:
    path.write_bytes(cloudpickle.dumps(value))
    return path


def own_function() -> object:
    names: dict[str, object] = {"__name__": "__main__"}
    exec(CODE, names)
    return names["make"]([b"x" * 100, 1, 2, 3, 4, 5, 6, b"y" * 100])  # type: ignore[operator]


OWN_PICKLE = cloudpickle.dumps(own_function())


def test_the_python_of_this_process_is_found(tmp_path: Path) -> None:
    assert pickle_python(write(tmp_path / "m.pkl", own_function())) == OWN


def test_a_mark_says_which_python_made_an_upload(tmp_path: Path) -> None:
    write_marked(write(tmp_path / "m.pkl", own_function()), tmp_path / "marked.pkl", "3.99")
    assert pickle_python(tmp_path / "marked.pkl") == "3.99"


@pytest.mark.parametrize("version", IMAGES)
def test_the_python_of_each_image_is_found(version: str, tmp_path: Path) -> None:
    try:
        _, python = find_python(version)
    except ExportError:
        pytest.skip(f"python{version} isn't installed")
    folder = tmp_path / "packages"
    shutil.copytree(Path(cloudpickle.__file__).parent, folder / "cloudpickle")
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import cloudpickle\n"
        f"exec({CODE!r})\n"
        f"open({str(tmp_path / 'm.pkl')!r}, 'wb').write(cloudpickle.dumps(make([1.0])))"
    )
    subprocess.run([python, "-I", "-c", code], check=True)
    assert pickle_python(tmp_path / "m.pkl") == version


MADE = {
    "3.11": "97007c006a0000000000000000007403000000000000000000007c00a6010000ab01000000000000"
    "00007a0000007d01640184007c014400a6000000ab0000000000000000005300",
    "3.12": "97007c006a00000000000000000000000000000000000000740300000000000000007c00ab010000"
    "000000007a0000007d017c0144008f026302670063025d1300007d027c0264016b44000073018c09"
    "740500000000000000007c02ab0100000000000091028c15040063027d0253006302010063027d02"
    "7700",
    "3.13": "9500550052000000000000000000000000000000000000005b030000000000000000550035010000"
    "000000002d0000006e0155011300560273022f007302481500006f2253013a940000640200004d0a"
    "00005b0500000000000000005502350100000000000050024d1700000b00200073026e0224007302"
    "200073026e026600",
}
"""The bytecode of one function, as these versions of Python compile it."""


class CodeLike:
    """Pickled as a code object is: six integers, then bytecode."""

    def __init__(self, code: bytes) -> None:
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return max, (1, 0, 0, 3, 300, 70_000, self.code)


@pytest.mark.parametrize("version", MADE)
def test_bytecode_is_told_apart_without_these_pythons(version: str, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(CodeLike(bytes.fromhex(MADE[version]))))
    assert pickle_python(tmp_path / "m.pkl") == version


def test_functions_of_two_pythons_are_refused(tmp_path: Path) -> None:
    for one, other in itertools.combinations(MADE.values(), 2):
        both = [CodeLike(bytes.fromhex(code)) for code in (one, other)]
        (tmp_path / "m.pkl").write_bytes(pickle.dumps(both))
        with refused(NumeraiError, "functions of another Python in it", "segmentation fault"):
            pickle_python(tmp_path / "m.pkl")


def test_bytecode_of_another_python_is_refused(tmp_path: Path) -> None:
    """CPython 3.10 has no RESUME; 3.14 has another number for it."""
    for code in ("7c006a007401", "80005200000052000000"):
        (tmp_path / "m.pkl").write_bytes(pickle.dumps(CodeLike(bytes.fromhex(code))))
        with refused(NumeraiError, "functions of another Python", "3.11, 3.12, 3.13"):
            pickle_python(tmp_path / "m.pkl")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"id,prediction\n", "not a pickle; expected a function that cloudpickle"),
        (pickle.dumps({"weights": b"x" * 1000}), "no function in it"),
        (cloudpickle.dumps(own_function())[:-40], "not a whole pickle"),
        (b"\x80\x05\xff\xff", "not a whole pickle"),
        (b"\x80\x05\x8e" + b"\xff" * 7 + b"\x0f", "it is cut short"),  # bytes of a huge length
        (b"\x80", "not a whole pickle"),
    ],
    ids=range(6),
)
def test_what_is_no_upload_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(content)
    with refused(NumeraiError, "m.pkl", said):
        pickle_python(tmp_path / "m.pkl")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return exec, (f"open({str(tmp_path / 'run')!r}, 'w')",)

    write(tmp_path / "m.pkl", [Evil(), own_function()])
    assert pickle_python(tmp_path / "m.pkl") == f"3.{sys.version_info.minor}"
    assert not (tmp_path / "run").exists()


@given(st.lists(st.tuples(st.integers(2, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_gives_one_line_or_a_version(damage: list[tuple[int, int]]) -> None:
    content = bytearray(OWN_PICKLE)
    for place, value in damage:
        content[2 + place % (len(content) - 2)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.pkl")
        path.write_bytes(content)
        found: list[str] = []
        line = line_of(lambda: found.append(pickle_python(path)))
        assert line or found == [OWN]
