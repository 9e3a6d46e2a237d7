"""The ridge regressions that runs were trained beside, as further models to score.

Takes the models of an evaluation; returns runs by name, each ridge regression once.
"""

from collections.abc import Mapping
from typing import Any

from ..runs.baseline import identity_of_fit
from ..runs.reports.recorded_report import finished_baseline
from ..runs.run import Run

_NAME = "ridge"


def baselines_of(models: Mapping[str, Any]) -> dict[str, Run]:
    """Return the finished baselines of the runs among some models.

    Parameters
    ----------
    models : mapping of str to model
        By their names, which the result has none of.

    Returns
    -------
    dict of str to Run
        Named "ridge", or by the runs where they have different ones. A baseline that is the same
        model as one of `models` is left out.
    """
    found: list[tuple[str, Run]] = []
    known = [identity_of_fit(model.record) for model in models.values() if isinstance(model, Run)]
    for name, model in models.items():
        baseline = finished_baseline(model) if isinstance(model, Run) else None
        if baseline is not None and identity_of_fit(baseline.record) not in known:
            known.append(identity_of_fit(baseline.record))
            found.append((name, baseline))
    named: dict[str, Run] = {}
    for name, baseline in found:
        text = _NAME if len(found) == 1 else f"{_NAME} of {name}"
        named[f"{text} (baseline)" if text in models else text] = baseline
    return named
