"""`download`: Numerai's files in a folder, whole or not at all, and only what changed."""

import os
from collections.abc import Sequence
from pathlib import Path

from ...arguments import flag, instance, names, whole_number
from ...dataset.manifest_file import enclosing_dataset
from ...errors import ArgumentError, NumeraiError
from ...progress import Progress, ProgressOption, reporting
from ...runs.run_folder import enclosing_run
from ...system.paths import checked_path
from .folder import RECORD_NAME, holding, publish, read_record
from .parallel import receive_all
from .part import RemoteFile, remove_part
from .plan import PlannedFile, check_space, make_plan
from .report import DownloadReport

MAX_ROUND = 2**31 - 1  # of GraphQL's Int


def download(
    files: str | Sequence[str] | None = None,
    *,
    version: str,
    out: str | os.PathLike[str],
    round_number: int | None = None,
    dry_run: bool = False,
    progress: ProgressOption = None,
) -> DownloadReport:
    """Download files of Numerai's data; no key is needed.

    A file under its final name is always whole. A file that hasn't changed is left alone, and an
    interrupted one is continued where it was, as long as it is still the same at Numerai.

    Parameters
    ----------
    files : str or list of str, optional
        Names such as "train.parquet". By default `features.json`, `train`, `validation`, `live`,
        `meta_model` and the benchmark models.
    version : str
        The version of the data, such as "v5.3".
    out : path
        The folder; it is made if need be. Files that weren't downloaded are not replaced.
    round_number : int, optional
        The default is the current round.
    dry_run : bool
        Whether to find out what would be fetched, and write nothing.
    progress : bool or callable, optional
        See `memmap_train.types.Progress`; in bytes.

    Raises
    ------
    NumeraiError
        Numerai can't be reached, has no such file, or sends one that isn't whole; the disk is too
        small, or another process downloads into the folder. A rerun continues.
    DependencyError
        numerapi isn't installed.
    """
    wanted = [] if files is None else names("files", files, ArgumentError)
    version = instance("version", version, str, ArgumentError)
    if round_number is not None:
        round_number = whole_number("round_number", round_number, least=1, most=MAX_ROUND)
    folder = checked_path(out, NumeraiError)
    _check_folder(folder)
    with reporting(progress, "B") as report:
        if flag("dry_run", dry_run):
            plan = make_plan(wanted, version, folder, round_number)
            return DownloadReport(plan, is_dry_run=True, received_bytes=0)
        return _download(wanted, version, folder, round_number, report)


def _check_folder(folder: Path) -> None:
    """Raise a NumeraiError if no files can be downloaded into a folder, or none should be."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise NumeraiError(
            f"{folder}: its path isn't UTF-8, and pyarrow opens no others; name another --out"
        ) from None
    if folder.exists() and not folder.is_dir():
        raise NumeraiError(f"{folder}: it is a file; name a folder for --out")
    for place in (folder, *folder.parents):
        if place.is_symlink() and not place.exists():
            raise NumeraiError(
                f"{place}: it is a link to {os.readlink(place)}, which isn't there; make that "
                "folder, or name another --out"
            )
    dataset, run = enclosing_dataset(folder), enclosing_run(folder / RECORD_NAME)
    if dataset is not None or run is not None:
        what = f"the run {run}" if dataset is None else f"the dataset {dataset}"
        raise NumeraiError(f"{folder}: it belongs to {what}; name another --out")


def _download(
    files: Sequence[str],
    version: str,
    folder: Path,
    round_number: int | None,
    progress: Progress,
) -> DownloadReport:
    """Download into a folder that is locked meanwhile."""
    existed = folder.exists()
    try:
        with holding(folder):
            plan = make_plan(files, version, folder, round_number)
            check_space(plan)
            record = read_record(folder)

            def publish_one(file: PlannedFile, remote: RemoteFile) -> None:
                publish(file.path, remote, record)

            for file in plan.files:
                if file.state == "unchanged":
                    remove_part(file.path)
            n_bytes = receive_all(plan.fetched, round_number, publish_one, progress)
    finally:
        if not existed:
            _remove_if_empty(folder)
    return DownloadReport(plan, is_dry_run=False, received_bytes=n_bytes)


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder that was made for nothing."""
    try:
        folder.rmdir()
    except OSError:  # it holds what has arrived
        return
