"""`convert`: parquet files into a dataset, or a dataset into a subset of it.

This module resolves the arguments and opens the source; `execution` has the steps.
"""

import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy.typing as npt

from ..arguments import flag, names, whole_number
from ..errors import ConversionError, SchemaError, listed
from ..progress import ProgressOption, reporting
from ..system.paths import checked_path, user_path, user_paths
from ..system.resources import n_cores
from .benchmarks.update import add_benchmarks
from .dataset_source import DatasetSource, find_source_dataset
from .execution import convert_source
from .memory_budget import ConversionBudget
from .plan import ConvertOptions, store_dtype_name
from .preflight import check_apart
from .report import Report
from .resources import Resources
from .schema import ColumnOptions
from .source import ConversionSource


def convert(
    sources: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    dtype: npt.DTypeLike | None = None,
    features_json: str | os.PathLike[str] | None = None,
    feature_set: str | None = None,
    targets: str | Sequence[str] | None = None,
    era_column: str = "era",
    id_column: str | None = None,
    feature_prefix: str = "feature",
    target_prefix: str = "target",
    missing: str | None = None,
    memory: int | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    trust_features: bool = False,
    decoder: str = "auto",
    benchmarks: Sequence[str | os.PathLike[str]] | str | os.PathLike[str] | None = None,
    progress: ProgressOption = None,
) -> Report:
    """Convert parquet files into a dataset, or a dataset into a subset of it.

    A subset of a dataset is, byte for byte, what its parquet files would have been converted to
    with the same options.

    Parameters
    ----------
    sources : path or sequence of paths
        Parquet files with the same columns, read in this order; or one dataset. None, if benchmarks
        are added to a dataset whose sources aren't there any more.
    out : path
        The dataset's folder: absent, empty, with an unfinished conversion of the same sources, or
        with a dataset that was made from earlier versions of them, which is then updated.
    dtype : {"float32", "int8"}, optional
        The store dtype. int8 holds Numerai's codes 0 to 4 in a quarter of the space. The default is
        float32, or for a subset the dtype of the source dataset.
    features_json : path, optional
        Numerai's `features.json`. Its feature sets are recorded if all their features are present.
        For a subset, they replace the feature sets of the source dataset.
    feature_set : str, optional
        Convert only the features of this set.
    targets : str or sequence of str, optional
        Convert only these targets.
    era_column, id_column, feature_prefix, target_prefix : str
        The names of these columns of parquet files, and how names of features and targets begin.
        The default of `id_column` is `id`, else `__index_level_0__`, else the dataset has no ids;
        with an empty name it has none. A feature or target that isn't numeric is left out with a
        warning, unless it is requested by name.
    missing : {"0.5", "nan"}, optional
        The value that stands for a missing feature; "nan" needs the float32 store. The default is
        0.5, or for a subset that of the source dataset.
    memory : int, optional
        MB (10^6 bytes) of anonymous memory that the process may take, 512 or more. The default is a
        quarter of the available memory, at most 2,000.
    workers : int, optional
        Number of threads; the default is one per core.
    overwrite : bool
        Replace an existing dataset once the new one is complete.
    trust_features : bool
        In an update, assume that features of old eras are unchanged, without decoding them.
    decoder : {"auto", "arrow"}
        "auto" decodes features from their dictionary pages, without Arrow, where that is possible,
        and compares one feature of each row group with Arrow's; if they differ, a warning says so,
        all eras are converted again, and Arrow decodes the file. "arrow" decodes all features by
        Arrow. The dataset is the same.
    benchmarks : path or sequence of paths, optional
        Files of benchmarks, such as Numerai's `validation_benchmark_models.parquet` and
        `meta_model.parquet`: every column of numbers is a benchmark, joined by era and id. Given
        for a dataset that is there, they are added to it, or bring its benchmarks up to date;
        nothing else is written. An era that these files have no rows of keeps its values, and so do
        benchmarks of other files.
    progress : bool or callable(what, done, total), optional
        Whether to show how far the work is, or what to call instead (see `types.Progress`). By
        default it is shown in a terminal and in a notebook.

    Returns
    -------
    Report

    Raises
    ------
    SourceError
        A source can't be read, or holds values that a dataset can't hold.
    ManifestError, ShardError
        The source dataset of a subset is damaged.
    SchemaError
        Columns are missing, differ between sources, or were requested and are absent.
    ConversionError
        The folder holds other files, the disk is too small or full, another process is converting
        into the folder, or the sources no longer hold what the dataset was made of.

    Notes
    -----
    Two effects concern the whole process. While parquet files are converted, Python's switch
    interval (`sys.setswitchinterval`) is 0.1 ms, so that threads wait less for each other. The soft
    limit of open files (`RLIMIT_NOFILE`) is raised to the hard limit, and stays there.
    """
    started = time.perf_counter()
    overwrite = flag("overwrite", overwrite)
    trust_features = flag("trust_features", trust_features)
    directory = checked_path(out, ConversionError)
    paths = user_paths(sources)
    benchmark_paths = [] if benchmarks is None else user_paths(benchmarks)
    targets = None if targets is None else names("targets", targets, SchemaError)
    columns = ColumnOptions(
        era_column=era_column,
        id_column=id_column,
        feature_prefix=feature_prefix,
        target_prefix=target_prefix,
    )
    resources = Resources(_budget(memory), _n_workers(workers), started=started)
    with reporting(progress) as notify:
        resources = replace(resources, progress=notify)
        if benchmark_paths and not paths:
            _refuse_options(dtype, features_json, feature_set, targets, missing, columns, overwrite)
            return add_benchmarks(benchmark_paths, directory, resources)
        with closing(open_source(paths, directory, resources.budget)) as source:
            options = ConvertOptions(
                dtype=source.own_dtype if dtype is None else store_dtype_name(dtype),
                missing=source.own_missing if missing is None else missing,
                features_json=None if features_json is None else user_path(features_json),
                feature_set=feature_set,
                targets=None if targets is None else tuple(targets),
                columns=columns,
                decoder=decoder,
            )
            return convert_source(
                source,
                directory,
                options,
                resources,
                overwrite=overwrite,
                trust_features=trust_features,
                benchmarks=benchmark_paths,
            )


def open_source(
    paths: Sequence[str | os.PathLike[str]], directory: Path, budget: ConversionBudget
) -> ConversionSource:
    """Open parquet files, or the source dataset of a subset.

    Parameters
    ----------
    paths : sequence of paths
    directory : Path
        The folder of the new dataset, which must lie apart from a source dataset.
    budget : ConversionBudget
        Memory for the metadata of parquet files is reserved in it.
    """
    folder = find_source_dataset(paths)
    if folder is not None:
        check_apart(directory, folder)
        return DatasetSource(folder)
    from .parquet_source import ParquetSource, opened_bytes  # needs pyarrow

    budget.reserve_metadata(opened_bytes(paths))
    return ParquetSource(paths)


def _budget(memory: int | None) -> ConversionBudget:
    if memory is not None:
        memory = whole_number("memory", memory, ConversionError)
    return ConversionBudget(memory)


def _n_workers(workers: int | None) -> int:
    if workers is None:
        return n_cores()
    return whole_number("workers", workers, ConversionError, least=1)


def _refuse_options(
    dtype: object,
    features_json: object,
    feature_set: object,
    targets: object,
    missing: object,
    columns: ColumnOptions,
    overwrite: bool,
) -> None:
    """Raise a ConversionError if options are given that are about sources, and there are none."""
    of_sources = {
        "dtype": dtype,
        "features-json": features_json,
        "feature-set": feature_set,
        "target": targets,
        "missing": missing,
        "columns": None if columns == ColumnOptions() else columns,
        "overwrite": overwrite or None,
    }
    given = [name for name, value in of_sources.items() if value is not None]
    if given:
        raise ConversionError(
            f"without sources, benchmarks are added to a dataset as it is: {listed(given)} can't "
            "be chosen then; leave that out, or name the sources of the dataset as well"
        )
