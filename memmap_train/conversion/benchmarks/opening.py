"""The benchmarks that a conversion is given: files opened, their rows read and checked.

Nothing is written here but a scratch file without a name. pyarrow is imported only if there are
files.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import SchemaError, SourceError
from ...system.resources import nearest_existing
from ..preflight import check_free
from ..resources import Resources
from ..schema import Schema
from .join import BenchmarkJoin
from .stored import StoredBenchmarks

if TYPE_CHECKING:
    from .files import BenchmarkFile

_ID_BYTES = 32  # of a row in the scratch file: twice as many as Numerai's ids have


def open_files(
    paths: Sequence[Path], schema: Schema, directory: Path
) -> "tuple[BenchmarkFile, ...]":
    """Open files of benchmarks for a dataset with the columns of a schema.

    Parameters
    ----------
    paths : sequence of Path
    schema : Schema
    directory : Path
        The dataset's folder, for messages.

    Raises
    ------
    SourceError, SchemaError
        A file can't be read, or isn't one of benchmarks; or the dataset has no ids.
    """
    if not paths:
        return ()
    if schema.id is None:
        raise SchemaError(
            f"{directory}: benchmarks are joined by era and id, and this dataset has no ids; "
            "expected sources with an id column: convert without --benchmarks, or name the column "
            "with --id-column"
        )
    from .files import open_benchmark_files  # needs pyarrow

    return open_benchmark_files(paths, schema)


@contextmanager
def opened_join(
    files: "Sequence[BenchmarkFile]",
    eras: Sequence[str],
    directory: Path,
    resources: Resources,
    *,
    kept: StoredBenchmarks | None,
    own: StoredBenchmarks | None,
) -> Iterator[BenchmarkJoin]:
    """Read the rows of files and check them; yield their join with a dataset.

    Parameters
    ----------
    files : sequence of BenchmarkFile
    eras : sequence of str
        The eras of the dataset.
    directory : Path
        The dataset's folder, which needn't exist.
    resources : Resources
    kept, own : StoredBenchmarks or None
        What the dataset holds, and what the source dataset holds.

    Raises
    ------
    SourceError
        A file can't be read, or an id stands twice.
    """
    if not files:
        yield BenchmarkJoin(kept, own, None)
        return
    from .rows import BenchmarkRows, memory_bytes, scratch_bytes  # needs pyarrow

    resources.budget.require(memory_bytes(files))
    check_free(directory, scratch_bytes(files, _ID_BYTES), "the benchmarks' rows")
    folder = nearest_existing(directory)
    with ExitStack() as at_the_end:
        with _changes_reported(files):
            rows = BenchmarkRows(
                files, eras, folder, partial(resources.progress, "reading benchmarks")
            )
            at_the_end.callback(rows.close)
            join = BenchmarkJoin(kept, own, rows)
            join.check(partial(resources.progress, "checking benchmarks"))
        yield join


@contextmanager
def _changes_reported(files: "Sequence[BenchmarkFile]") -> Iterator[None]:
    """Raise a SourceError if a file has changed while it was read, whether that failed or not."""
    try:
        yield
    except SourceError:
        _check_unchanged(files)
        raise
    _check_unchanged(files)


def _check_unchanged(files: "Sequence[BenchmarkFile]") -> None:
    for file in files:
        file.info.check_unchanged()
