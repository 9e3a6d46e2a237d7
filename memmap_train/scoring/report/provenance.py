"""What the models of a report were trained on: the folds of runs, and tables of them.

Takes a `Subject`, or one of its models; returns folds and histories with their names, or HTML.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...runs.folds.fold import Fold
from ...runs.scores.statistics import ScoreStatistics
from ...text import counted
from ..model_scores import ModelScores
from .markup import details, escaped, facts, key, listing, number, table, with_error
from .subject import Subject, span

_MAX_FEATURES = 100  # of which all names are listed; `config.json` of the run has them


def folds_of(model: ModelScores) -> Iterator[tuple[str, Fold]]:
    """Yield the folds of a run, each with a name."""
    folds = model.provenance.folds if model.provenance else ()
    return zip(_names(model.name, len(folds)), folds, strict=True)


def histories_of(model: ModelScores) -> Iterator[tuple[str, Sequence[Mapping[str, float]]]]:
    """Yield the rows of `history.csv` of a run, or of each of its folds or seeds, with a name."""
    if model.provenance is None:
        return
    seeds, histories = model.provenance.config.get("seeds", ()), model.provenance.histories
    names = _names(model.name, len(histories))
    if seeds:
        n_folds = len(histories) // len(seeds)
        names = [name for s in seeds for name in _names(f"{model.name}, seed {s}", n_folds)]
    yield from zip(names, histories, strict=True)


def _names(name: str, n_folds: int) -> list[str]:
    if n_folds == 1:
        return [name]
    return [f"{name}, fold {number}" for number in range(1, n_folds + 1)]


def fold_table(subject: Subject) -> str:
    """Return the eras of each run and fold, and CORR of the fold's own eras."""
    heads = ["run", "trained on", "embargo", "scored", "CORR", "Sharpe"]
    rows = []
    for m, model in enumerate(subject.models):
        for name, fold in folds_of(model):
            found = _fold_statistics(subject, m, fold)
            rows.append(
                [
                    f"{key(subject.frame.looks[m])} {escaped(name)}",
                    escaped(span(fold.train)),
                    escaped(span(fold.embargo)),
                    escaped(span(fold.validation)),
                    with_error(found.mean, found.standard_error),
                    number(found.sharpe, 2),
                ]
            )
    return table(heads, rows, label="eras of each run", texts=(1, 2, 3), classes="card scroll")


def _fold_statistics(subject: Subject, m: int, fold: Fold) -> ScoreStatistics:
    eras, validation = subject.models[m].eras, frozenset(fold.validation)
    chosen = np.array([era in validation for era in eras], bool)
    of_target = subject.of_target(subject.models[m])
    return of_target.statistics_of(of_target.corr, chosen)


def provenance(subject: Subject, m: int) -> str:
    """Return everything that is known about how a model was made."""
    model = subject.models[m]
    if model.provenance is None:
        where = escaped(model.path) if model.path else "a column of the dataset"
        what = "Nothing is known about what it was trained on."
        return f"<p>{where}. {what}</p>" if model.kind != "benchmark" else f"<p>{where}.</p>"
    config = model.provenance.config
    features, targets = config.get("features", []), config.get("targets", [])
    items = {
        "folder": escaped(model.path),
        "model": escaped(_with_digest(config, "model", "model_digest")),
        "targets": escaped(", ".join(_with_alias(t, config) for t in targets)),
        "features": escaped(
            f"{counted(len(features), 'feature')} ({config.get('features_digest')})"
        ),
        "seed": escaped(", ".join(map(str, config.get("seeds", [config.get("seed")])))),
        "epochs": escaped(
            f"{config.get('epochs')} at most, the {config.get('kept_epoch')} predicts"
        ),
        "embargo": counted(int(config.get("embargo_eras", 0)), "era"),
        "dataset": escaped(f"{config.get('dataset')}, manifest {config.get('dataset_digest')}"),
        "versions": escaped(", ".join(_versions(config))),
    }
    settings = sorted(
        f"{name} = {value}"
        for name, value in config.items()
        if not isinstance(value, list | dict) and name not in ("dataset", "dataset_digest")
    )
    more = details("All settings", listing(map(escaped, settings)))
    names = ""
    if 0 < len(features) <= _MAX_FEATURES:
        all_features = f"All {counted(len(features), 'feature')}"
        names = details(all_features, f"<p>{escaped(', '.join(features))}</p>")
    return facts(items) + more + names


def _with_digest(config: Mapping[str, Any], name: str, digest: str) -> str:
    found = config.get(digest)
    return f"{config.get(name)}" + (f" ({found})" if found else "")


def _with_alias(target: str, config: Mapping[str, Any]) -> str:
    named = dict(zip(config.get("targets", []), config.get("named_targets", []), strict=False))
    return target if named.get(target, target) == target else f"{target} (equals {named[target]})"


def _versions(config: Mapping[str, Any]) -> Iterator[str]:
    for name in ("memmap_train", "python", "numpy", "keras", "tensorflow"):
        if found := config.get(f"{name}_version"):
            yield f"{name.replace('_', '-')} {found}"
