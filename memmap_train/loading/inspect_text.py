"""Descriptions of datasets, eras and features as text."""

from typing import Any

from ..errors import listed
from ..text import counted, in_bytes
from .inspect import COUNT_NAMES

_SHOWN_TARGETS = _SHOWN_BENCHMARKS = 12


def dataset_text(description: dict[str, Any]) -> str:
    """Return `describe_dataset`'s data as lines to read."""
    d = description
    first, last = d["eras"]
    rows = d["rows_per_era"]
    lines = [
        f"{d['path']}: {counted(d['n_rows'], 'row')} x {counted(d['n_features'], 'feature')}, "
        f"{d['dtype']}, {in_bytes(d['bytes'])}",
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
    if (constant := d["eras_with_constant_features"]) is not None:
        lines.append(f"constant  features in {constant:,} of {counted(d['n_eras'], 'era')}")
    lines.append(f"ids       {'yes' if d['has_ids'] else 'none'}")
    lines.append("sets      name, features, bytes as a dataset of its own")
    widest = max(map(len, d["feature_sets"]))
    lines += [
        f"          {name:<{widest}} {s['features']:>6,} {in_bytes(s['bytes']):>10}"
        for name, s in d["feature_sets"].items()
    ]
    targets = d["targets"]
    lines.append(f"targets   {len(targets)}{': name, labelled eras' if targets else ''}")
    for name, target in list(targets.items())[:_SHOWN_TARGETS]:
        alias = f"  (equals {target['alias_of']})" if "alias_of" in target else ""
        lines.append(f"          {name:<24} {target['labelled_eras']:>6,}{alias}")
    if len(targets) > _SHOWN_TARGETS:
        lines.append(f"          and {len(targets) - _SHOWN_TARGETS} more (--json lists them)")
    lines += _benchmark_lines(d["benchmarks"])
    if "planted" in d:
        lines.append(
            f"planted   a signal: no model scores better than {d['planted']:.4f} on average over "
            "the validation eras"
        )
    batches = d["batches"]
    if "error" in batches:
        lines.append(f"shuffling not possible now: {batches['error']}")
    else:
        lines.append(f"shuffling {batches['shuffling']}")
        lines += [f"          {detail}" for detail in batches["shuffling_details"]]
        lines.append(f"reading   {batches['reading']}")
    lines.append(f"sources   {', '.join([*d['sources'], *d['benchmark_sources']])}")
    lines.append(f"digest    {d['digest']}")
    return "\n".join(lines)


def _benchmark_lines(benchmarks: dict[str, Any]) -> list[str]:
    """Return for each benchmark in how many eras and rows it has a value; nothing without any."""
    if not benchmarks:
        return []
    lines = [f"benchmarks {len(benchmarks)}: name, eras and rows with a value"]
    for name, benchmark in list(benchmarks.items())[:_SHOWN_BENCHMARKS]:
        rows = f"{benchmark['rows']:>11,}"
        span = f"  ({benchmark['first_era']} to {benchmark['last_era']})" * bool(benchmark["eras"])
        lines.append(f"          {name:<24} {benchmark['eras']:>6,} {rows}{span}")
    if len(benchmarks) > _SHOWN_BENCHMARKS:
        lines.append(
            f"          and {len(benchmarks) - _SHOWN_BENCHMARKS} more (--json lists them)"
        )
    return lines


def era_text(description: dict[str, Any]) -> str:
    """Return `describe_era`'s data as lines to read."""
    d = description
    lines = [f"era {d['era']}: {counted(d['rows'], 'row')}"]
    for name, array in d["arrays"].items():
        shape = " x ".join(f"{n:,}" for n in array["shape"])
        lines.append(f"{name:<10} {array['dtype']:<4} {shape:<14} {in_bytes(array['bytes']):>9}")
    if d["data_type"]:
        lines.append("rows      " + ", ".join(f"{k} {n:,}" for k, n in d["data_type"].items()))
    lines.append(f"missing   {d['missing_features']:,} feature values")
    if d["constant_features"] is not None:
        lines.append(f"constant  {counted(d['constant_features'], 'feature')}")
    if d["duplicated_ids"] is not None:
        lines.append(f"ids       {d['duplicated_ids']:,} stand in more than one row")
    nulls = {name: n for name, n in d["target_nulls"].items() if n}
    lines.append(
        "nulls     " + (", ".join(f"{k} {n:,}" for k, n in nulls.items()) if nulls else "none")
    )
    if d["benchmark_nulls"]:
        found = {name: d["rows"] - n for name, n in d["benchmark_nulls"].items()}
        lines.append("values    " + ", ".join(f"{k} {n:,}" for k, n in found.items()))
    lines.append(f"open it   {d['open_with']}")
    return "\n".join(lines)


def features_text(description: dict[str, Any]) -> str:
    """Return `describe_features`'s data as lines to read, under a line of headings."""
    features, duplicated = description["features"], description["duplicated_ids"]
    width = max(len(f["feature"]) for f in features)
    with_era = "era_counts" in features[0]
    headings = f"{'column':>6}  {'feature':<{width}} {'missing':>8} {'constant':>8} {'mean':>6}"
    if with_era:
        headings += "".join(f" {name:>7}" for name in COUNT_NAMES)
    lines = [f"{headings}  sets"]
    for f in features:
        if f["missing_share"] is None:
            rows = f"{'-':>8} {'-':>8} {'-':>6}"
        else:
            mean = "-" if f["mean_code"] is None else f"{f['mean_code']:.3f}"
            rows = f"{f['missing_share']:>8.3%} {f['constant_eras']:>8,} {mean:>6}"
        if with_era:
            counts = f["era_counts"] or dict.fromkeys(COUNT_NAMES, "-")
            rows += "".join(f" {counts[name]:>7}" for name in COUNT_NAMES)
        sets = ", ".join(f["feature_sets"])
        lines.append(f"{f['column']:>6}  {f['feature']:<{width}} {rows}  {sets}".rstrip())
    if duplicated:
        lines.append(
            f"ids: {sum(duplicated.values()):,} stand in more than one row of their era "
            f"({listed(list(duplicated), 3)})"
        )
    return "\n".join(lines)
