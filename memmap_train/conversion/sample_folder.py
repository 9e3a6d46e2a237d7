"""The folder of a sample: files are written to a temporary folder and moved together.

A file that `write_sample` hasn't written is never replaced. Imports pyarrow, through
`conversion.parquet`, only to look into parquet files that exist.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..dataset.manifest_file import enclosing_dataset
from ..errors import ConfigError, SourceError, listed
from .sample_features import MIN_FEATURES, feature_sets
from .sample_signal import TARGET_NAMES
from .schema import BEST_KEY

SOURCE_NAMES = ("train.parquet", "validation.parquet", "live.parquet", "features.json")
"""The files that every sample has; older samples have no others."""
BENCHMARK_FILE_NAMES = (
    "train_benchmark_models.parquet",
    "validation_benchmark_models.parquet",
    "live_benchmark_models.parquet",
    "meta_model.parquet",
)
FILE_NAMES = (*SOURCE_NAMES[1:], *BENCHMARK_FILE_NAMES, SOURCE_NAMES[0])
"""The files in the order in which they are moved into place: with the last one, all are there."""
_PARTIAL = ".sample.partial"  # a fixed name: what a killed process has left is overwritten


@contextmanager
def files_moved_together(folder: Path) -> Iterator[Path]:
    """Yield a folder for the files of a sample; move them into place when the context ends.

    If it ends with an error, nothing is moved, and what was written is removed.

    Parameters
    ----------
    folder : Path
        The sample's folder; made if it doesn't exist.
    """
    partial, was_there = folder / _PARTIAL, folder.exists()
    try:
        partial.mkdir(parents=True, exist_ok=True)
        yield partial
        (folder / FILE_NAMES[-1]).unlink(missing_ok=True)  # from here on no sample is complete
        for name in FILE_NAMES:
            os.replace(partial / name, folder / name)
    finally:
        with suppress(OSError):  # it was never made
            for name in FILE_NAMES:
                (partial / name).unlink(missing_ok=True)
            partial.rmdir()
            if not was_there:
                folder.rmdir()  # empty if writing was stopped


def check_replaceable(folder: Path) -> None:
    """Raise a ConfigError if a folder lies in a dataset, or has other files of these names."""
    dataset = enclosing_dataset(folder)
    if dataset is not None:
        raise ConfigError(
            f"sample: {folder}: expected a folder of its own, found the dataset {dataset}, which "
            "other files would spoil; type: memmap-train sample OTHER_DIR"
        )
    others = [
        name
        for name in FILE_NAMES
        if os.path.lexists(folder / name) and not _is_sample(folder / name)
    ]
    if others:
        raise ConfigError(
            f"sample: {folder}: expected no files of these names, or a former sample's; found "
            f"{listed(sorted(others))}, which `sample` didn't write and won't replace; type: "
            "memmap-train sample OTHER_DIR"
        )


def _is_sample(path: Path) -> bool:
    """Return True if a file was written by `write_sample`."""
    if path.suffix == ".json":
        try:
            found: Any = json.loads(path.read_bytes()) if path.is_file() else None
            n_features = len(found["feature_sets"]["all"])
        except (OSError, ValueError, RecursionError, LookupError, TypeError):
            return False
        return n_features >= MIN_FEATURES and bool(found == features_json(n_features))
    from .parquet.file import read_file_info  # needs pyarrow

    try:
        return BEST_KEY in read_file_info(path).metadata
    except SourceError:
        return False


def features_json(n_features: int) -> dict[str, Any]:
    """Return the content of a sample's `features.json`."""
    return {"feature_sets": feature_sets(n_features), "targets": list(TARGET_NAMES)}
