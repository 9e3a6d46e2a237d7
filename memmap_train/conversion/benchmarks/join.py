"""The benchmarks of a dataset after a conversion: of what they are made, and their values by era.

Three layers, each over the one before: what the dataset holds already, what the source dataset of a
subset holds, and the rows of the given files. An era that no file has rows of keeps its values, and
so do benchmarks of which no file is given.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...arrays import Ids
from ...dataset.ids import repeated_ids
from ...dataset.manifest import ShardEntry, SourceEntry, id_width
from ...errors import SourceError, listed
from ..resources import Resources
from .joined_era import CHUNK_BYTES, JoinedEra
from .stored import StoredBenchmarks

if TYPE_CHECKING:
    from .rows import BenchmarkRows, EraRows


_FOUND_BYTES, _OWN_BYTES = 48, 24
"""Bytes of memory for a row of files, and of the dataset, beside ids, while an era is joined."""
Shown = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class JoinedFile:
    """What became of the rows of a file of benchmarks.

    Attributes
    ----------
    name : str
        The file's name.
    n_rows : int
        Its rows.
    n_joined : int
        Rows whose era and id the dataset has.
    n_other_eras, n_other_ids : int
        Rows that were left out: the dataset lacks their era, or has it without their id.
    """

    name: str
    n_rows: int
    n_joined: int
    n_other_eras: int
    n_other_ids: int


class BenchmarkJoin:
    """The benchmarks of a dataset after a conversion.

    Parameters
    ----------
    kept : StoredBenchmarks, optional
        Those of the dataset that is updated.
    own : StoredBenchmarks, optional
        Those of the source dataset, whose rows are the same rows.
    rows : BenchmarkRows, optional
        The rows of the given files.

    Attributes
    ----------
    names : tuple of str
        The benchmarks; empty if there are none.
    sources : tuple of SourceEntry
        The files that they come from.
    """

    def __init__(
        self,
        kept: StoredBenchmarks | None,
        own: StoredBenchmarks | None,
        rows: "BenchmarkRows | None",
    ) -> None:
        self._kept, self._own, self._rows = kept, own, rows
        files = [] if rows is None else rows.files
        layers: list[tuple[Iterable[str], Sequence[SourceEntry]]] = [
            *((layer.names, layer.sources) for layer in (kept, own) if layer is not None),
            ((name for file in files for name in file.names), [f.info.entry for f in files]),
        ]
        self.names = tuple(dict.fromkeys(name for names, _ in layers for name in names))
        self.sources = merged_sources(sources for _, sources in layers)
        stored = merged_sources(sources for _, sources in layers[:-1])
        given = {file.info.entry.name for file in files}
        # All files are given again: what they lack now isn't there any more.
        self._keeps_stored = not given.issuperset(entry.name for entry in stored)
        self._columns = {name: column for column, name in enumerate(self.names)}
        self._rows_per_era = Counter[str]() if rows is None else rows.rows_per_era

    def check(self, progress: Shown) -> None:
        """Raise a SourceError if an id stands twice in an era, for the same benchmark."""
        if self._rows is None:
            return
        shared = _shared_names([file.names for file in self._rows.files])
        total, done = self._rows_per_era.total(), 0
        for era, n_rows in self._rows_per_era.items():
            if n_rows:
                self._check_era(era, self._rows.of_era(era), shared)
                done += n_rows
                progress(done, total)

    def changes(self, era: str) -> bool:
        """Return False if an era of the dataset keeps its benchmarks as they are."""
        if self._kept is None or self.kept(era) is None or self._own is not None:
            return True
        return self.names != self._kept.names or self._rows_per_era[era] > 0

    def kept(self, era: str) -> ShardEntry | None:
        """Return the entry of an era in the dataset, if it has benchmarks there."""
        entry = None if self._kept is None else self._kept.entry(era)
        return entry if entry is not None and "benchmarks" in entry.files else None

    def era_bytes(self, rows_per_era: Mapping[str, int], id_bytes: int) -> int:
        """Return the bytes of memory that the largest era takes while it is joined.

        Parameters
        ----------
        rows_per_era : mapping of era to int
            The dataset's.
        id_bytes : int
            Bytes of its longest id.
        """
        if not self.names:
            return 0
        found, own = 3 * id_bytes + _FOUND_BYTES, id_bytes + _OWN_BYTES
        return CHUNK_BYTES + max(
            n_rows * own + self._rows_per_era[era] * found for era, n_rows in rows_per_era.items()
        )

    def workers_within(self, resources: Resources, entries: Collection[ShardEntry]) -> int:
        """Return the number of threads for which the memory suffices, at least one."""
        if not self.names:
            return 1
        rows = {entry.era: entry.rows for entry in entries}
        era_bytes = self.era_bytes(rows, max(map(id_width, entries)))
        return max(1, min(resources.n_workers, resources.budget.n_bytes // era_bytes))

    def era(self, era: str, ids: Ids) -> JoinedEra:
        """Return the benchmarks of an era; thread-safe.

        Parameters
        ----------
        era : str
        ids : ndarray of bytes, shape (rows,)
            The dataset's ids of the era.

        Raises
        ------
        ShardError
            The benchmarks that a dataset holds are damaged.
        """
        layers = [
            ([self._columns[name] for name in layer.names], stored)
            for layer in (self._kept, self._own)
            if layer is not None and (stored := layer.read(era)) is not None
        ]
        joined = JoinedEra(len(ids), len(self.names), layers, self._keeps_stored)
        if self._rows is not None and self._rows_per_era[era]:
            for rows in self._rows.of_era(era):
                names = self._rows.files[rows.file].names
                joined.add(rows, [self._columns[name] for name in names], ids)
        return joined

    def joined_files(self, counts: Iterable[dict[int, tuple[int, int]]]) -> tuple[JoinedFile, ...]:
        """Return what became of the given files' rows, by the counts of all eras."""
        joined, others = Counter[int](), Counter[int]()
        for of_era in counts:
            for file, (n_joined, n_others) in of_era.items():
                joined[file] += n_joined
                others[file] += n_others
        if self._rows is None:
            return ()
        return tuple(
            JoinedFile(
                file.path.name, file.n_rows, joined[n], self._rows.n_other_eras[n], others[n]
            )
            for n, file in enumerate(self._rows.files)
        )

    def _check_era(
        self, era: str, found: Sequence["EraRows"], shared: dict[tuple[int, int], str]
    ) -> None:
        assert self._rows is not None
        paths = [file.path for file in self._rows.files]
        for rows in found:
            if len(twice := repeated_ids(rows.ids)):
                raise SourceError(
                    f"{paths[rows.file]}: era {era!r}: {_listed_ids(twice)} in several rows; "
                    "expected each id once in an era: write the file again with one row for each"
                )
        for one, other in _pairs(found):
            name = shared.get((one.file, other.file))
            if name is None:
                continue
            both = np.intersect1d(one.ids, other.ids)
            if len(both):
                raise SourceError(
                    f"{paths[other.file]}: era {era!r}: {_listed_ids(both)} in {paths[one.file]} "
                    f"as well, and both files have the benchmark {name!r}; expected each id once: "
                    "name one of these files, or write one again without these rows"
                )


def merged_sources(layers: Iterable[Iterable[SourceEntry]]) -> tuple[SourceEntry, ...]:
    """Return files of several layers; of files of one name, those of the last layer."""
    merged: list[SourceEntry] = []
    for layer in map(list, layers):
        names = {entry.name for entry in layer}
        merged = [entry for entry in merged if entry.name not in names] + layer
    return tuple(merged)


def _shared_names(names: Sequence[Sequence[str]]) -> dict[tuple[int, int], str]:
    """Return a benchmark that two files have both, by the positions of these files."""
    return {
        (one, other): next(name for name in names[other] if name in names[one])
        for other in range(len(names))
        for one in range(other)
        if not set(names[one]).isdisjoint(names[other])
    }


def _pairs(found: Sequence["EraRows"]) -> Iterator[tuple["EraRows", "EraRows"]]:
    for second, other in enumerate(found):
        for one in found[:second]:
            yield one, other


def _listed_ids(ids: Ids) -> str:
    stands = "the id" if len(ids) == 1 else "the ids"
    return f"{stands} {listed((value.decode() for value in ids.tolist()), 3)} stand" + (
        "s" if len(ids) == 1 else ""
    )
