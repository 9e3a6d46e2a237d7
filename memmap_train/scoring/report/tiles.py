"""The headline numbers of a report: a tile for each score, with a line for each model.

Takes a `Subject`; returns HTML.
"""

from collections.abc import Sequence

import numpy as np

from ...arrays import Float64
from ...runs.scores.statistics import LAST_ERAS
from ...text import counted
from .markup import escaped, key, number
from .subject import SCORES, Subject

_MAX_TILE_MODELS = 4
_TILES = ("corr", "mmc", "bmc", "fnc")


def tiles(subject: Subject) -> str:
    """Return the headline numbers with their standard errors."""
    shown = [field for field in _TILES if subject.has(field)]
    made = [_tile(subject, field) for field in shown]
    made.append(_plain_tile(subject, "Sharpe ratio", "CORR, mean / std per era", "sharpe", 2))
    made.append(_plain_tile(subject, "Largest drawdown", "of summed CORR", "max_drawdown", 3))
    recent = "bmc" if subject.has("bmc") else "corr"
    if len(subject.frame.labels) > LAST_ERAS:
        made.append(_tile(subject, recent, LAST_ERAS))
    if subject.has("max_exposure"):
        made.append(_exposure_tile(subject))
    return f'<div class="tiles">{"".join(made)}</div>\n'


def _tile(subject: Subject, field: str, last: int | None = None) -> str:
    lines = []
    for m in _of_tiles(subject, field):
        chosen = slice(-last if last else None, None)
        found = subject.of_target(subject.models[m]).statistics(field, chosen)
        error = f"&plusmn;&nbsp;{number(found.standard_error)}" if found.n_eras > 1 else "one era"
        lines.append((m, number(found.mean), error))
    if last:
        return _tile_of(subject, f"{SCORES[field]}, last {last}", f"mean of {last} eras", lines)
    eras = {len(_defined(subject, m, field)) for m in _of_tiles(subject, field)}
    n_eras = counted(max(eras), "era")
    if len(eras) > 1:
        n_eras = f"{min(eras):,} to {n_eras}"
    return _tile_of(subject, SCORES[field], f"mean of {n_eras}", lines)


def _plain_tile(subject: Subject, title: str, note: str, name: str, digits: int) -> str:
    lines = []
    for m in _of_tiles(subject, "corr"):
        found = subject.of_target(subject.models[m]).statistics("corr")
        lines.append((m, number(getattr(found, name), digits), ""))
    return _tile_of(subject, title, note, lines)


def _exposure_tile(subject: Subject) -> str:
    lines = []
    for m in _of_tiles(subject, "max_exposure"):
        values = _defined(subject, m, "max_exposure")
        lines.append((m, number(float(values.mean()), 3), f"up to {number(values.max(), 3)}"))
    return _tile_of(subject, "Maximal exposure", "mean of eras", lines)


def _tile_of(subject: Subject, title: str, note: str, lines: Sequence[tuple[int, str, str]]) -> str:
    items = "".join(
        f'<li><span class="name">{key(subject.frame.looks[m])}'
        f"<span>{escaped(subject.models[m].name)}</span></span>"
        f'<span class="value">{value}</span><span class="error">{error}</span></li>'
        for m, value, error in lines
    )
    many = " many" if len(lines) > 1 else ""
    return (
        f'<section class="tile{many}"><h3>{escaped(title)} <small>{escaped(note)}</small></h3>'
        f"<ol>{items}</ol></section>"
    )


def _of_tiles(subject: Subject, field: str) -> list[int]:
    """Return the models that a tile shows: the best by CORR, in the order of the report."""
    having = [m for m, scores in enumerate(subject.scores) if field in scores]
    own = [m for m in having if subject.models[m].is_reference]
    others = [m for m in having if m not in own]
    by_corr = sorted(
        others, key=lambda m: -float(np.nanmean(subject.scores[m].get("corr", [-1.0])))
    )
    return sorted(by_corr[:_MAX_TILE_MODELS]) + own


def _defined(subject: Subject, m: int, field: str) -> Float64:
    values = subject.scores[m][field]
    return values[np.isfinite(values)]
