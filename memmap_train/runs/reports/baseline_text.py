"""A ridge regression in the report of a training: its strengths, and its scores beside a net's.

Takes numbers; returns text. Imports numpy only.
"""

from collections.abc import Mapping

from ..scores.summary import Summary


def baseline_lines(other: Summary | None, own: Summary) -> list[str]:
    """Return a line that compares a run with its baseline, if it has one."""
    if other is None:
        return []
    return [
        f"baseline    numerai_corr of a ridge regression {other.mean:.4f}, Sharpe "
        f"{other.sharpe:.2f}: this run's is {own.mean:.4f}, {own.mean - other.mean:+.4f}"
    ]


def strengths_text(strengths: Mapping[str, float]) -> str:
    """Return the strength of a ridge regression, or that of each target where they differ.

    >>> strengths_text({"target": 0.1, "target_x_60": 0.1})
    '0.1'
    """
    found = {f"{strength:g}" for strength in strengths.values()}
    if len(found) == 1:
        return found.pop()
    return ", ".join(f"{strength:g} ({name})" for name, strength in strengths.items())
