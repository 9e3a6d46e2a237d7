"""The cross-check of the page decoder: one column of each row group is compared with Arrow's.

The decoder in `dictionary_codes` implements a format that others define, and a wrong code would
pass unnoticed. Therefore Arrow decodes one of the decoded columns of each row group as well, after
all columns are decoded and before any of them is used. Takes the columns as they are decoded, by
any number of threads; returns the one to compare, as a name and a checksum.
"""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import xxhash

from ...arrays import Int8
from ...system.checksum import Checksum


class DecoderMismatchError(Exception):
    """The decoder's codes of a column differ from Arrow's; handled by `parquet_source`.

    Attributes
    ----------
    file : int
        Position of the file among the sources.
    group : int
    name : str
        The column.
    """

    def __init__(self, file: int, group: int, name: str) -> None:
        super().__init__(file, group, name)
        self.file, self.group, self.name = file, group, name


@dataclass(frozen=True, slots=True)
class Sample:
    """A decoded column of a row group.

    Attributes
    ----------
    rank : int
        The column with the lowest rank is compared.
    name : str
    checksum : str
        Checksum of the decoded codes.
    """

    rank: int
    name: str
    checksum: str

    def equals(self, codes: Int8) -> bool:
        """Return True if these are the codes that were decoded."""
        return Checksum(codes).text == self.checksum


class DecodedSamples:
    """Chooses one of the decoded columns of each row group of a file. Thread-safe.

    The choice is a pure function of the row group's number and the names of the decoded columns,
    whatever the blocks in which threads decode them, and different for each row group.
    """

    def __init__(self) -> None:
        self._samples: dict[int, Sample] = {}
        self._lock = threading.Lock()

    def add(self, group: int, names: Sequence[str], left: Collection[int], codes: Int8) -> None:
        """Record a block of decoded columns.

        Parameters
        ----------
        group : int
        names : sequence of str
        left : collection of int
            Positions of columns that the decoder has left to Arrow.
        codes : ndarray of int8, shape (columns, rows), each column contiguous
        """
        not_decoded = set(left)
        decoded = [number for number in range(len(names)) if number not in not_decoded]
        if not decoded:
            return
        rank, number = min((_rank(group, names[number]), number) for number in decoded)
        sample = Sample(rank, names[number], Checksum(codes[number]).text)
        with self._lock:
            other = self._samples.get(group)
            if other is None or sample.rank < other.rank:
                self._samples[group] = sample

    def pop(self, group: int) -> Sample | None:
        """Return the sample of a row group and forget it; None if no column was decoded."""
        with self._lock:
            return self._samples.pop(group, None)


def _rank(group: int, name: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{group} {name}".encode("utf-8", "surrogateescape"))
