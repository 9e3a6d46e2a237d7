"""`inspect`: a description of a dataset, or of one of its eras, as JSON-ready data.

Takes a `Dataset`; returns dicts; `inspect_text` makes lines of them.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..arrays import Array, Ids, Int64, Mask
from ..dataset.dataset import Dataset
from ..dataset.format import MISSING_COUNT, N_COUNTS
from ..dataset.selection import ALL
from ..dataset.shard import Shard
from ..errors import BatchError
from .batches import Batches
from .explanation import reading_line, shuffling_details, shuffling_line

_BATCH_SIZE = 4096  # for the lines about shuffling
COUNT_NAMES = ("0", "1", "2", "3", "4", "missing")


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return a description of a dataset, JSON-ready; bytes of sets count features alone."""
    manifest = dataset.manifest
    entries = [dataset.entry(era) for era in dataset.eras]
    data_types: dict[str, int] = {}
    for entry in entries:
        for name, rows in entry.data_type.items():
            data_types[name] = data_types.get(name, 0) + rows
    item = manifest.store_dtype.itemsize
    sets = {ALL: manifest.features, **manifest.feature_sets}
    cells = dataset.n_rows * len(manifest.features)
    missing = sum(entry.missing_features for entry in entries)
    description: dict[str, Any] = {
        "path": str(dataset.path),
        "n_rows": dataset.n_rows,
        "n_eras": len(dataset.eras),
        "eras": [dataset.eras[0], dataset.eras[-1]],
        "rows_per_era": {
            "least": min(dataset.rows_per_era),
            "most": max(dataset.rows_per_era),
        },
        "dtype": manifest.dtype,
        "bytes": sum(file.bytes for entry in entries for file in entry.files.values()),
        "n_features": len(manifest.features),
        "missing_features": missing,
        "missing_share": missing / cells,
        "missing": manifest.missing,
        "feature_sets": {
            name: {"features": len(names), "bytes": dataset.n_rows * len(names) * item}
            for name, names in sets.items()
        },
        "targets": {
            target: {
                "labelled_eras": len(dataset.labelled_eras(target)),
                "nulls": sum(entry.target_nulls[target] for entry in entries),
                **({"alias_of": manifest.aliases[target]} if target in manifest.aliases else {}),
            }
            for target in manifest.targets
        },
        "benchmarks": _describe_benchmarks(dataset),
        "benchmark_sources": [source.name for source in manifest.benchmark_sources],
        "has_ids": all("ids" in entry.files for entry in entries),
        "eras_with_constant_features": _eras_with_constant_features(dataset),
        "data_type": data_types,
        "sources": [source.name for source in manifest.sources],
        "created_by": dict(manifest.created_by),
        "digest": manifest.digest,
    }
    if manifest.planted is not None:
        description["planted"] = manifest.planted
    description["batches"] = _describe_batches(dataset)
    return description


def _describe_benchmarks(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Return how many eras and rows have a value of each benchmark, and the first and last era."""
    entries = [dataset.entry(era) for era in dataset.eras]
    described = {}
    for name in dataset.benchmark_names:
        eras = dataset.benchmark_eras(name)
        described[name] = {
            "eras": len(eras),
            "first_era": eras[0] if eras else None,
            "last_era": eras[-1] if eras else None,
            "rows": sum(entry.rows - entry.benchmark_nulls[name] for entry in entries),
        }
    return described


def _describe_batches(dataset: Dataset) -> dict[str, Any]:
    """Return a description of the dataset's shuffling; an "error" if memory is too short."""
    batch_size = min(_BATCH_SIZE, dataset.n_rows)
    try:
        batches = Batches(dataset, batch_size=batch_size, seed=0)
    except BatchError as error:  # the rest of the description is shown all the same
        return {"batch_size": batch_size, "error": str(error)}
    return {
        "batch_size": batch_size,
        "window_size": batches.window_size,
        "pool_batches": batches.pool_batches,
        **asdict(batches.shuffling),
        "variance_inflation": batches.shuffling.inflation(),
        "shuffling": shuffling_line(batches),
        "shuffling_details": shuffling_details(batches),
        "reading": reading_line(batches),
    }


def describe_era(dataset: Dataset, era: str) -> dict[str, Any]:
    """Return a description of an era, JSON-ready, with the line that opens it in numpy."""
    entry = dataset.entry(era)
    shard = dataset[era]
    arrays = {"features": shard.features, "targets": shard.targets}
    if shard.ids is not None:
        arrays["ids"] = shard.ids
    if shard.counts is not None:
        arrays["counts"] = shard.counts
    if shard.benchmarks is not None:
        arrays["benchmarks"] = shard.benchmarks
    constant = _constant(shard)
    return {
        "era": era,
        "rows": entry.rows,
        "arrays": {
            name: {
                "path": str(shard.file(name)),
                "dtype": array.dtype.str,
                "shape": list(array.shape),
                "bytes": entry.files[name].bytes,
                "digest": entry.files[name].digest,
            }
            for name, array in arrays.items()
        },
        "data_type": dict(entry.data_type),
        "missing_features": entry.missing_features,
        "constant_features": None if constant is None else int(constant.sum()),
        "duplicated_ids": None if shard.ids is None else _n_duplicated(shard.ids),
        "target_nulls": dict(entry.target_nulls),
        "target_mean": _means(dataset.target_names, shard.targets),
        "benchmark_nulls": {name: entry.benchmark_nulls[name] for name in dataset.benchmark_names},
        "benchmark_mean": (
            {} if shard.benchmarks is None else _means(dataset.benchmark_names, shard.benchmarks)
        ),
        "open_with": _load_line(str(shard.file("features"))),
    }


def _means(names: Sequence[str], columns: Array) -> dict[str, float | None]:
    """Return the mean of each column; None if it has no value."""
    return {
        name: None if np.isnan(column).all() else round(float(np.nanmean(column)), 6)
        for name, column in zip(names, np.asarray(columns, np.float32).T, strict=True)
    }


def describe_features(dataset: Dataset, era: str | None = None) -> dict[str, Any]:
    """Return statistics of each feature, and the eras that have an id twice, JSON-ready.

    Parameters
    ----------
    dataset : Dataset
    era : str, optional
        An era whose counts are given too: rows with code 0, 1, 2, 3, 4, and missing ones.

    Returns
    -------
    dict
        `features` is a list of dicts with `column`, `feature` (its name), `feature_sets`,
        `missing_share`, `constant_eras` (the number of eras in which all rows have one code, or
        none has a code) and `mean_code` (over rows that have a code; None if there are none). These
        count all eras, and are None if an era has no counts. `duplicated_ids` has the number of ids
        that occur in more than one row, for each era with such ids; None for a dataset without ids.
    """
    return {
        "features": _describe_features(dataset, era),
        "duplicated_ids": _duplicated_ids(dataset),
    }


def _describe_features(dataset: Dataset, era: str | None) -> list[dict[str, Any]]:
    members: dict[str, list[str]] = {name: [] for name in dataset.feature_names}
    for name, features in dataset.manifest.feature_sets.items():
        for feature in features:
            members[feature].append(name)
    counts = None if era is None else dataset[era].counts
    in_era: Sequence[dict[str, int] | None] = [None] * len(members)
    if counts is not None:
        in_era = [dict(zip(COUNT_NAMES, row, strict=True)) for row in counts.tolist()]
    return [
        {
            "column": column,
            "feature": name,
            "feature_sets": members[name],
            **rows,
            **({} if era is None else {"era_counts": era_counts}),
        }
        for column, (name, rows, era_counts) in enumerate(
            zip(dataset.feature_names, _rows_of_features(dataset), in_era, strict=True)
        )
    ]


def _rows_of_features(dataset: Dataset) -> list[dict[str, Any]]:
    """Return the statistics of each feature over all eras."""
    total: Int64 = np.zeros((len(dataset.feature_names), N_COUNTS), np.int64)
    constant_eras = np.zeros(len(total), np.int64)
    for era in dataset.eras:
        shard = dataset[era]
        constant = _constant(shard)
        if shard.counts is None or constant is None:
            return [dict.fromkeys(("missing_share", "constant_eras", "mean_code")) for _ in total]
        total += shard.counts
        constant_eras += constant
    n_coded = total[:, :-1].sum(axis=1)
    code_sums = total[:, :-1] @ np.arange(N_COUNTS - 1)
    return [
        {
            "missing_share": missing / dataset.n_rows,
            "constant_eras": n_eras,
            "mean_code": round(code_sum / coded, 6) if coded else None,
        }
        for missing, n_eras, code_sum, coded in zip(
            total[:, MISSING_COUNT].tolist(),
            constant_eras.tolist(),
            code_sums.tolist(),
            n_coded.tolist(),
            strict=True,
        )
    ]


def _constant(shard: Shard) -> Mask | None:
    """Return for each feature True if all rows of an era have the same code, or none."""
    return None if shard.counts is None else np.asarray((shard.counts == shard.n_rows).any(axis=1))


def _eras_with_constant_features(dataset: Dataset) -> int | None:
    constant = [_constant(dataset[era]) for era in dataset.eras]
    if any(features is None for features in constant):
        return None
    return sum(bool(features.any()) for features in constant if features is not None)


def _duplicated_ids(dataset: Dataset) -> dict[str, int] | None:
    ids = {era: dataset[era].ids for era in dataset.eras}
    if any(of_era is None for of_era in ids.values()):
        return None
    duplicated = {era: _n_duplicated(of_era) for era, of_era in ids.items() if of_era is not None}
    return {era: n for era, n in duplicated.items() if n}


def _n_duplicated(ids: Ids) -> int:
    """Return the number of ids that occur in more than one row."""
    return int((np.unique(ids, return_counts=True)[1] > 1).sum())


def _load_line(path: str) -> str:
    return f"numpy.load({path!r}, mmap_mode='r')"
