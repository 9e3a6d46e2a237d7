"""Tests of parsing pages: bytes that aren't pages are refused."""

from collections.abc import Iterator

import numpy as np
import pytest

from memmap_train.conversion.parquet.dictionary_codes.page_headers import (
    UnsupportedLayoutError,
    parse_header,
)
from memmap_train.conversion.parquet.dictionary_codes.page_layout import (
    Decompress,
    parse_dictionary,
    parse_page,
)


def random_bytes() -> Iterator[bytes]:
    """Yield random bytes, and some that resemble pages."""
    random = np.random.default_rng(53)
    for n_bytes in range(60):
        yield bytes(n_bytes)
        yield b"\xff" * n_bytes
        for _ in range(40):
            yield random.bytes(n_bytes)
            yield bytes(random.choice([0x15, 0x1C, 0x2C, 0, 2, 0x18, 0x80, 0xFF], n_bytes))


@pytest.mark.parametrize("decompress", [None, lambda data, n_bytes: bytes(n_bytes)])
def test_random_bytes_are_not_a_page(decompress: Decompress | None) -> None:
    n_refused = 0
    for data in random_bytes():
        for parse in (
            lambda data: parse_header(data, 0),
            lambda data: parse_page(data, 0, True, decompress),
            lambda data: parse_page(data, 0, False, decompress),
            lambda data: parse_dictionary(data, decompress),
        ):
            try:
                parse(data)
            except (UnsupportedLayoutError, IndexError):
                n_refused += 1
    assert n_refused > 15_000


def test_an_impossible_size_is_not_allocated() -> None:
    # The header of a dictionary page of 2 GB, compressed to 20 bytes.
    header = bytes([0x15, 0x04, 0x15, 0x80, 0x80, 0x80, 0x80, 0x10, 0x15, 40, 0x4C])
    header += bytes([0x15, 0x80, 0x80, 0x80, 0x80, 0x04, 0x15, 0, 0, 0])
    sizes: list[int] = []
    data = header + bytes([0x80, 0x80, 0x80, 0x80, 0x08]) + bytes(15)
    with pytest.raises(UnsupportedLayoutError):
        parse_dictionary(data, lambda data, n_bytes: sizes.append(n_bytes) or b"")  # type: ignore[func-returns-value]
    assert sizes == []
