"""The preview of a conversion as JSON and as text, for the command `plan`.

Reads, writes and prints nothing.
"""

from dataclasses import asdict
from typing import Any

from ..dataset.eras import out_of_order
from ..dataset.format import STORE_DTYPES
from ..errors import listed
from ..text import in_bytes
from .choices import DatasetChoice
from .preview import OUT, Preview
from .schema import reasons


def describe_preview(preview: Preview) -> dict[str, Any]:
    """Return a preview as plain data, for `plan --json`."""
    eras = list(preview.rows_per_era)
    return {
        "sources": list(preview.sources),
        "n_rows": preview.n_rows,
        "n_eras": len(eras),
        "eras": [eras[0], eras[-1]],
        "rows_per_era": {
            "least": min(preview.rows_per_era.values()),
            "most": max(preview.rows_per_era.values()),
        },
        "data_type": dict(preview.data_types),
        "n_features": preview.n_features,
        "integer_features": preview.integer_features,
        "left_out": dict(preview.left_out),
        "has_ids": preview.has_ids,
        "targets": {
            name: asdict(labels)
            | ({"alias_of": preview.aliases[name]} if name in preview.aliases else {})
            for name, labels in preview.targets.items()
        },
        "choices": [
            {
                "name": choice.name,
                "feature_set": choice.feature_set,
                "n_features": choice.n_features,
                "stores": {
                    dtype: {
                        "bytes": size.bytes,
                        "disk_bytes": size.disk_bytes,
                        "fits_memory": size.bytes <= preview.memory_available,
                        "fits_disk": size.disk_bytes <= preview.disk_free,
                    }
                    for dtype, size in choice.stores.items()
                },
            }
            for choice in preview.choices
        ],
        "memory_available": preview.memory_available,
        "disk_free": preview.disk_free,
        "next": preview.next_command,
    }


def preview_text(preview: Preview) -> str:
    """Return a preview as text."""
    eras = list(preview.rows_per_era)
    rows = preview.rows_per_era.values()
    kind = "integer codes" if preview.integer_features else "floats"
    lines = [
        f"{', '.join(preview.sources)}: {preview.n_rows:,} rows x {preview.n_features:,} features "
        f"({kind})",
        f"eras      {len(eras):,} ({eras[0]} to {eras[-1]}), {min(rows):,} to {max(rows):,} rows "
        "each",
    ]
    if len(unsorted := out_of_order(eras)) > 1:
        lines.append(
            f"          {listed(unsorted, 2)}: neither numbers nor dates with the year first, so "
            "sorted as text"
        )
    if preview.left_out:
        lines.append(f"left out  {reasons(preview.left_out)}: can't be stored")
    if preview.data_types:
        kinds = ", ".join(f"{name} {n:,}" for name, n in preview.data_types.items())
        lines.append(f"rows      {kinds}")
    lines.append(f"ids       {'yes' if preview.has_ids else 'none'}")
    lines += _target_lines(preview)
    lines.append("needs     set, features, bytes and whether the disk has them: float32, int8")
    lines += [_choice_line(choice, preview.disk_free) for choice in preview.choices]
    scratch = max(s.disk_bytes - s.bytes for c in preview.choices for s in c.stores.values())
    if scratch:
        lines.append(f"          and up to {in_bytes(scratch)} more while it is converted")
    if not preview.integer_features:
        lines.append(
            "          int8 only if all features are 0, 0.25, 0.5, 0.75 or 1, which wasn't read"
        )
    lines.append(f"memory    {in_bytes(preview.memory_available)} available")
    lines.append(f"disk      {in_bytes(preview.disk_free)} free for {OUT}")
    lines.append(f"next      {preview.next_command or _advice(preview)}")
    return "\n".join(lines)


def _target_lines(preview: Preview) -> list[str]:
    heading = ": name, labelled eras, the last of them" if preview.targets else ""
    lines = [f"targets   {len(preview.targets)}{heading}"]
    for name, labels in preview.targets.items():
        last = f"  {labels.last_labelled_era}" if labels.last_labelled_era is not None else ""
        equal = f"  (equals {preview.aliases[name]})" if name in preview.aliases else ""
        lines.append(f"          {name:<24} {labels.labelled_eras:>6,}{last}{equal}")
    return lines


def _choice_line(choice: DatasetChoice, disk: int) -> str:
    sizes = "  ".join(
        f"{in_bytes(size.bytes):>9} {'fits' if size.disk_bytes <= disk else 'too large':<9}"
        for size in choice.stores.values()
    )
    return f"          {choice.name:<24} {choice.n_features:>6,} {sizes}".rstrip()


def _advice(preview: Preview) -> str:
    """Return advice for a disk on which nothing fits."""
    dtypes = STORE_DTYPES if preview.integer_features else ("float32",)
    least = min(choice.stores[dtype].disk_bytes for choice in preview.choices for dtype in dtypes)
    advice = (
        f"nothing fits: free {in_bytes(least - preview.disk_free)} of disk, or convert to another "
        "disk with --out"
    )
    if len(preview.choices) == 1:
        advice += ", or fewer features: name features.json with --features-json to see its sets"
    return advice
