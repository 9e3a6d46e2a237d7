"""The version of Python that made a model upload, found in its bytes; nothing is unpickled.

Uploads that `export` made have a mark. In others, a function that is pickled by value carries its
bytecode, whose instructions differ between minor versions of Python: by their numbers, and by the
empty cache entries that follow some of them.

Notes
-----
Source: CPython's `opcode._inline_cache_entries` of 3.11.7, 3.12.1 and 3.13.0; for the order of a
code object's values, `types.CodeType` and cloudpickle 3.1.2, `_code_reduce`.
"""

import os
import pickletools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ...errors import NumeraiError
from ..export.mark import read_mark

_PROTOCOL = b"\x80"  # the first byte of a pickle since protocol 2
_INTEGERS = frozenset(("BININT", "BININT1", "BININT2"))
_BYTES = frozenset(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"))
_N_INTEGERS = 6  # of a code object, before its bytecode
_MAX_CODE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class _Instructions:
    """What tells the bytecode of one version from others.

    Attributes
    ----------
    resume : int
        The instruction that each function begins with, after some of `before`.
    before : frozenset of int
        COPY_FREE_VARS, MAKE_CELL, RETURN_GENERATOR, POP_TOP.
    caches : mapping of int to int
        By instruction, the number of cache entries that follow it.
    """

    resume: int
    before: frozenset[int]
    caches: Mapping[int, int]

    def fit(self, code: bytes) -> bool:
        """Return True if bytecode can be of this version."""
        position, has_begun = 0, False
        while position < len(code):
            instruction = code[position]
            if instruction == 0:  # a cache entry where none belongs
                return False
            if not has_begun and instruction not in self.before | {self.resume}:
                return False
            has_begun = has_begun or instruction == self.resume
            end = position + 2 + 2 * self.caches.get(instruction, 0)
            if any(code[position + 2 : end]) or end > len(code):
                return False
            position = end
        return has_begun


_VERSIONS: Mapping[str, _Instructions] = {
    "3.11": _Instructions(
        151,
        frozenset((149, 135, 75, 1)),
        {25: 4, 60: 1, 92: 1, 95: 4, 106: 4, 107: 2, 116: 5, 122: 1, 160: 10, 166: 1, 171: 4},
    ),
    "3.12": _Instructions(
        151,
        frozenset((149, 135, 75, 1)),
        {25: 1, 60: 1, 92: 1, 93: 1, 95: 4, 106: 9, 107: 1, 116: 4, 122: 1, 123: 1, 141: 1, 171: 3},
    ),
    "3.13": _Instructions(
        149,
        frozenset((62, 94, 35, 32)),
        {5: 1, 39: 1, 40: 3, 45: 1, 53: 3, 58: 1, 59: 1, 72: 1, 77: 1, 82: 9, 91: 4, 93: 1}
        | {97: 1, 98: 1, 99: 1, 100: 1, 104: 1, 108: 4, 117: 1},
    ),
}


def pickle_python(path: Path) -> str:
    """Return the minor version of Python that made a pickle, such as "3.12".

    Raises
    ------
    NumeraiError
        The file isn't a pickle, holds no function by value, or its Python is another one than
        3.11 to 3.13.
    """
    expected = "expected a function that cloudpickle has pickled, as `memmap-train export` does"
    found: Counter[str] = Counter()
    try:
        mark = read_mark(path)
        if mark is not None:
            return mark.python
        with open(path, "rb") as file:
            if file.read(1) != _PROTOCOL:
                raise NumeraiError(f"{path}: not a pickle; {expected}")
        n_codes = 0
        for code in _bytecodes(path):
            n_codes += 1
            fitting = [name for name, version in _VERSIONS.items() if version.fit(code)]
            if len(fitting) == 1:  # the shortest functions look alike in two versions
                found[fitting[0]] += 1
    except OSError as error:
        if isinstance(error, NumeraiError):
            raise
        raise NumeraiError(f"{path}: can't be read: {error.strerror}") from None
    except (ValueError, EOFError, UnicodeDecodeError) as error:
        raise NumeraiError(
            f"{path}: not a whole pickle ({' '.join(str(error).split())}); {expected}"
        ) from None
    if len(found) == 1:
        return next(iter(found))
    what = "no function" if not n_codes else "functions of another Python"
    raise NumeraiError(
        f"{path}: {what} in it; {expected}, by one Python, {', '.join(_VERSIONS)}: Numerai's "
        "process would end with a segmentation fault"
    )


def _bytecodes(path: Path) -> Iterator[bytes]:
    """Yield the bytecode of the functions in a pickle, found by the integers before it."""
    n_integers = 0
    with open(path, "rb") as file:
        reader: Any = _Reader(file)
        for opcode, argument, _ in pickletools.genops(reader):
            if opcode.name in _INTEGERS:
                n_integers += 1
                continue
            is_code = n_integers >= _N_INTEGERS and opcode.name in _BYTES
            n_integers = 0
            if is_code and isinstance(argument, bytes) and 0 < len(argument) <= _MAX_CODE_BYTES:
                yield argument


class _Reader:
    """An open file as `pickletools` reads it; a length beyond its end allocates no memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._n_bytes = file, os.fstat(file.fileno()).st_size
        self.readline, self.tell = file.readline, file.tell

    def read(self, n_bytes: int) -> bytes:
        """Return the next bytes."""
        if n_bytes > self._n_bytes - self.tell():
            raise ValueError("it is cut short")
        return self._file.read(n_bytes)
