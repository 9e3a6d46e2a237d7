"""The numbers of the charts that aren't over eras: exposures, proportions, targets, epochs.

Takes a `Subject`; returns `Cells`, or None where there are no numbers.
"""

import numpy as np

from .chart import Cells
from .provenance import histories_of
from .subject import Subject

N_FEATURES = 20
"""Features of the chart of the largest exposures."""


def largest_exposures(subject: Subject) -> Cells | None:
    """Return the features with the largest exposures of any model."""
    means = [
        dict(zip(model.exposures.feature_names, model.exposures.mean_exposure, strict=True))
        for model in subject.models
    ]
    every = {name for of_model in means for name, x in of_model.items() if np.isfinite(x)}
    size = {
        name: max(abs(m[name]) for m in means if np.isfinite(m.get(name, np.nan))) for name in every
    }
    largest = sorted(every, key=lambda name: (-size[name], name))[:N_FEATURES]
    if not largest:
        return None
    columns = [(model.name, m) for m, model in enumerate(subject.models)]
    values = [[float(of_model.get(name, np.nan)) for of_model in means] for name in largest]
    return Cells("feature", columns, [(name, float("nan")) for name in largest], values)


def corr_by_proportion(subject: Subject) -> Cells | None:
    """Return mean CORR by the proportion of neutralisation."""
    proportions = subject.evaluation.proportions
    columns, means = [], []
    for m, model in enumerate(subject.models):
        found = subject.of_target(model).neutralized_corr
        if found is None or not np.isfinite(found).any():
            continue
        known = np.isfinite(found)
        sums = np.where(known, found, 0).sum(axis=0)
        columns.append((model.name, m))
        means.append(np.where(known.any(axis=0), sums / np.maximum(known.sum(axis=0), 1), np.nan))
    if not columns or len(proportions) < 2:
        return None
    rows = [(f"{proportion:.0%}", proportion) for proportion in proportions]
    return Cells("proportion", columns, rows, np.transpose(means).tolist())


def corr_by_target(subject: Subject) -> Cells | None:
    """Return mean CORR by target; None for a single one."""
    targets = subject.evaluation.targets
    if len(targets) < 2:
        return None
    columns = [(model.name, m) for m, model in enumerate(subject.models)]
    values = [
        [model.by_target[target].statistics("corr").mean for model in subject.models]
        for target in targets
    ]
    return Cells("target", columns, [(target, float("nan")) for target in targets], values)


def history_by_epoch(subject: Subject, column: str) -> Cells | None:
    """Return a column of history.csv by epoch, of each run and fold."""
    lines: list[tuple[str, int, dict[int, float]]] = []
    for m, model in enumerate(subject.models):
        for name, history in histories_of(model):
            known = {int(row["epoch"]): row[column] for row in history if column in row}
            if known:
                lines.append((name, m, known))
    epochs = sorted({epoch for _, _, known in lines for epoch in known})
    if not epochs:
        return None
    values = [[known.get(epoch, float("nan")) for _, _, known in lines] for epoch in epochs]
    rows = [(str(epoch), float(epoch)) for epoch in epochs]
    return Cells("epoch", [(name, m) for name, m, _ in lines], rows, values)
