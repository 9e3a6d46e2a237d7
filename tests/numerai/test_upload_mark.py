"""What made an upload can be read without unpickling it, and changes nothing for what loads it."""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from memmap_train.numerai.export.mark import MADE_BY, UploadMark, read_mark, write_marked

CONTENT = {"weights": b"\x00" * 70_000, "names": ["a", "a"]}


def test_a_marked_pickle_holds_what_it_held(tmp_path: Path) -> None:
    for protocol in (4, 5):
        (tmp_path / "plain.pkl").write_bytes(pickle.dumps(CONTENT, protocol))
        write_marked(tmp_path / "plain.pkl", tmp_path / "marked.pkl", "3.12")
        marked = (tmp_path / "marked.pkl").read_bytes()
        assert pickle.loads(marked) == CONTENT
        assert pickle._loads(marked) == CONTENT  # type: ignore[attr-defined]  # that of pure Python
        assert pd.read_pickle(tmp_path / "marked.pkl") == CONTENT
        pickletools.dis(marked, out=io.StringIO())
        assert read_mark(tmp_path / "marked.pkl") == UploadMark("3.12", MADE_BY)


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("it was unpickled",))


def test_reading_a_mark_unpickles_nothing(tmp_path: Path) -> None:
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Trap()))
    write_marked(tmp_path / "plain.pkl", tmp_path / "marked.pkl", "3.11")
    assert read_mark(tmp_path / "marked.pkl") == UploadMark("3.11", MADE_BY)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"\x80\x05\x8c",
        b"\x80\x05\x8c\x05short",
        b"\x80\x05\x8c\x02{}0.",
        b"\x80\x05\x8c\x02[]0.",
        b"\x80\x05\x8c\x02\xff\xff0.",
        b'\x80\x05\x8c\x111{"python": "3.1"}0.',
        b"PK\x03\x04 something else",
        pickle.dumps("3.12"),
        pickle.dumps(len, 5),
    ],
)
def test_a_file_of_others_has_no_mark(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other.pkl").write_bytes(content)
    assert read_mark(tmp_path / "other.pkl") is None
