"""What is in a dataset, or in one of its eras: as JSON-ready data, and as text to read.

In comes a `Dataset`, out come dicts and lines; nothing is printed here.
"""

from typing import Any

import numpy as np

from .dataset import Dataset

_SHOWN_TARGETS = 12


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return what a dataset holds, JSON-ready; the bytes of sets are of features alone."""
    manifest = dataset.manifest
    entries = [dataset.entry(era) for era in dataset.eras]
    data_types: dict[str, int] = {}
    for entry in entries:
        for name, rows in entry.data_type.items():
            data_types[name] = data_types.get(name, 0) + rows
    item = manifest.store_dtype.itemsize
    sets = {"all": manifest.features, **manifest.feature_sets}
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
        "has_ids": all("ids" in entry.files for entry in entries),
        "data_type": data_types,
        "sources": [source.name for source in manifest.sources],
        "created_by": dict(manifest.created_by),
        "digest": manifest.digest,
    }
    if manifest.planted is not None:
        description["planted"] = manifest.planted
    return description


def describe_era(dataset: Dataset, era: str) -> dict[str, Any]:
    """Return what an era holds, JSON-ready, with the line that opens it in numpy."""
    entry = dataset.entry(era)
    shard = dataset[era]
    arrays = {"features": shard.features, "targets": shard.targets}
    if shard.ids is not None:
        arrays["ids"] = shard.ids
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
        "target_nulls": dict(entry.target_nulls),
        "target_mean": {
            name: None if np.isnan(column).all() else round(float(np.nanmean(column)), 6)
            for name, column in zip(dataset.target_names, np.asarray(shard.targets).T, strict=True)
        },
        "open_with": _load_line(str(shard.file("features"))),
    }


def describe_features(dataset: Dataset) -> list[dict[str, Any]]:
    """Return each feature's column, name and feature sets, JSON-ready."""
    members: dict[str, list[str]] = {name: [] for name in dataset.feature_names}
    for name, features in dataset.manifest.feature_sets.items():
        for feature in features:
            members[feature].append(name)
    return [
        {"column": column, "feature": name, "feature_sets": members[name]}
        for column, name in enumerate(dataset.feature_names)
    ]


def dataset_text(description: dict[str, Any]) -> str:
    """Return `describe_dataset`'s data as lines to read."""
    d = description
    first, last = d["eras"]
    rows = d["rows_per_era"]
    lines = [
        f"{d['path']}: {d['n_rows']:,} rows x {d['n_features']:,} features, {d['dtype']}, "
        f"{in_bytes(d['bytes'])}",
        f"eras      {d['n_eras']:,} ({first} to {last}), {rows['least']:,} to {rows['most']:,} "
        "rows each",
    ]
    if d["data_type"]:
        kinds = ", ".join(f"{name} {n:,}" for name, n in d["data_type"].items())
        lines.append(f"rows      {kinds}")
    filler = "kept as NaN" if d["missing"] == "nan" else "stored as 0.5"
    lines.append(
        f"missing   {d['missing_features']:,} feature values ({d['missing_share']:.3%}), {filler}"
    )
    lines.append(f"ids       {'yes' if d['has_ids'] else 'none'}")
    lines.append("sets      name, features, bytes to read in an epoch")
    lines += [
        f"          {name:<16} {s['features']:>6,} {in_bytes(s['bytes']):>10}"
        for name, s in d["feature_sets"].items()
    ]
    targets = d["targets"]
    lines.append(f"targets   {len(targets)}{': name, labelled eras' if targets else ''}")
    for name, target in list(targets.items())[:_SHOWN_TARGETS]:
        alias = f"  (equals {target['alias_of']})" if "alias_of" in target else ""
        lines.append(f"          {name:<24} {target['labelled_eras']:>6,}{alias}")
    if len(targets) > _SHOWN_TARGETS:
        lines.append(f"          and {len(targets) - _SHOWN_TARGETS} more (--json lists them)")
    if "planted" in d:
        lines.append(
            f"planted   a signal: no model scores better than {d['planted']:.4f} on average over "
            "the validation eras"
        )
    lines.append(f"sources   {', '.join(d['sources'])}")
    lines.append(f"digest    {d['digest']}")
    return "\n".join(lines)


def era_text(description: dict[str, Any]) -> str:
    """Return `describe_era`'s data as lines to read."""
    d = description
    lines = [f"era {d['era']}: {d['rows']:,} rows"]
    for name, array in d["arrays"].items():
        shape = " x ".join(f"{n:,}" for n in array["shape"])
        lines.append(f"{name:<9} {array['dtype']:<4} {shape:<14} {in_bytes(array['bytes']):>9}")
    if d["data_type"]:
        lines.append("rows      " + ", ".join(f"{k} {n:,}" for k, n in d["data_type"].items()))
    lines.append(f"missing   {d['missing_features']:,} feature values")
    nulls = {name: n for name, n in d["target_nulls"].items() if n}
    lines.append(
        "nulls     " + (", ".join(f"{k} {n:,}" for k, n in nulls.items()) if nulls else "none")
    )
    lines.append(f"open it   {d['open_with']}")
    return "\n".join(lines)


def features_text(features: list[dict[str, Any]]) -> str:
    """Return `describe_features`'s data as lines to read."""
    return "\n".join(
        f"{f['column']:>5}  {f['feature']}  {', '.join(f['feature_sets'])}".rstrip()
        for f in features
    )


def in_bytes(n_bytes: float) -> str:
    """Return bytes in the largest fitting decimal unit.

    >>> in_bytes(999), in_bytes(1_050_000), in_bytes(97.6e9)
    ('999 B', '1.1 MB', '97.6 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes:,.0f} B"


def _load_line(path: str) -> str:
    return f"numpy.load({path!r}, mmap_mode='r')"
