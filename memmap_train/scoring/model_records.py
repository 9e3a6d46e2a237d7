"""The records of one model, made of the table that a pass over the eras has filled.

Takes a `ModelTable` and what was scored on; returns a `ModelScores` with notes about every score
that isn't defined.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from ..arrays import Float64
from ..runs.folds.embargo import overlapping_eras
from ..runs.scores.statistics import era_positions
from ..text import counted
from .model_predictions import ModelPredictions
from .model_scores import Exposures, ModelScores, TargetScores
from .model_table import ModelTable
from .scored_on import ScoredOn


def model_scores(
    on: ScoredOn,
    name: str,
    eras: tuple[str, ...],
    table: ModelTable,
    predicted: ModelPredictions | None,
) -> ModelScores:
    """Return the scores of one model.

    Parameters
    ----------
    on : ScoredOn
    name : str
    eras : tuple of str
        The scored eras, in the table's order.
    table : ModelTable
    predicted : ModelPredictions or None
        None for the chosen benchmark's own scores: it isn't compared with itself.
    """
    if predicted is None:
        own = on.options.benchmarks.index(str(on.benchmark))
        table.contribution[..., own] = table.correlation[..., own] = np.nan
    return ModelScores(
        name=name,
        path=None if predicted is None else predicted.path,
        kind="benchmark" if predicted is None else predicted.kind,
        eras=eras,
        by_target={
            target: _target_scores(on, number, eras, table)
            for number, target in enumerate(on.options.targets)
        },
        exposures=_exposures(on, table),
        provenance=None if predicted is None else predicted.provenance,
        notes=(
            *(() if predicted is None else predicted.notes),
            *_undefined_scores(on, eras, table, is_benchmark=predicted is None),
        ),
    )


def _target_scores(
    on: ScoredOn, number: int, eras: Sequence[str], table: ModelTable
) -> TargetScores:
    names = on.options.benchmarks
    contributions = {
        name: table.contribution[:, number, column] for column, name in enumerate(names)
    }
    correlations = {name: table.correlation[:, number, column] for column, name in enumerate(names)}
    nothing = np.full(len(eras), np.nan)

    def of(scores: dict[str, Float64], name: str | None) -> Float64:
        return nothing if name is None else scores[name]

    others = [name for name in names if name != on.meta_model]
    target = on.options.targets[number]
    return TargetScores(
        target=target,
        overlap_eras=overlapping_eras(on.dataset.eras, target, on.dataset.manifest.aliases),
        positions=era_positions(eras, on.dataset.eras),
        n_rows=table.n_rows[:, number],
        corr=table.corr[:, number],
        mmc=of(contributions, on.meta_model),
        bmc=of(contributions, on.benchmark),
        benchmark_corr=of(correlations, on.benchmark),
        meta_model_corr=of(correlations, on.meta_model),
        fnc=table.fnc[:, number],
        all_bmc={name: contributions[name] for name in others},
        all_benchmark_corr={name: correlations[name] for name in others},
        neutralized_corr=table.neutralized[:, number] if on.options.proportions else None,
    )


def _exposures(on: ScoredOn, table: ModelTable) -> Exposures:
    columns = on.dataset.feature_columns(on.options.neutral_to)
    known = on.dataset.feature_names
    names = known if columns is None else tuple(known[column] for column in columns)
    with np.errstate(invalid="ignore"):  # a feature that is constant in all eras has none
        mean = table.exposure_sum / table.n_exposures
        size = table.exposure_size / table.n_exposures
    return Exposures(
        max_exposure=table.max_exposure,
        max_exposure_feature=np.array(
            [names[place] if place >= 0 else "" for place in table.max_feature], dtype=np.str_
        ),
        rms_exposure=table.rms_exposure,
        turnover=table.turnover,
        feature_names=names,
        mean_exposure=mean,
        mean_absolute_exposure=size,
    )


def _undefined_scores(
    on: ScoredOn, eras: Sequence[str], table: ModelTable, *, is_benchmark: bool
) -> Iterator[str]:
    """Yield a sentence for each score that some eras don't have."""
    for number, target in enumerate(on.options.targets):
        of_target = f" of {target}" if len(on.options.targets) > 1 else ""
        without_corr = table.undefined.get(("corr", number, 0), Counter[str]())
        if without_corr:
            yield f"no CORR{of_target} in {_reasons(without_corr, eras)}"
        without_fnc = table.undefined.get(("fnc", number, 0), Counter[str]())
        if without_fnc and without_fnc != without_corr:
            yield f"no FNC{of_target} in {_reasons(without_fnc, eras)}"
        others = {"MMC": on.meta_model, "BMC": None if is_benchmark else on.benchmark}
        for score, other in others.items():
            if other is None:
                continue
            column = on.options.benchmarks.index(other)
            reasons = table.undefined.get(("contribution", number, column), Counter[str]())
            if reasons and reasons != without_corr:
                n_scored = len(eras) - reasons.total()
                why = ", ".join(reasons)
                yield (
                    f"{score}{of_target} in {n_scored:,} of {counted(len(eras), 'era')} only; in "
                    f"the others: {why.replace('the other model', other)}"
                )
            if n := int(table.n_partial[number, column]):
                yield (
                    f"{other} lacks some rows in {counted(n, 'era')}: {score}{of_target} is that "
                    "of the others"
                )


def _reasons(reasons: Counter[str], eras: Sequence[str]) -> str:
    """Return the number of eras without a score and why.

    >>> _reasons(Counter({"a constant target": 2}), ["0001", "0002", "0003"])
    '2 of 3 eras: a constant target'
    """
    texts = [
        reason if len(reasons) == 1 else f"{reason} ({n:,})" for reason, n in reasons.most_common()
    ]
    return f"{reasons.total():,} of {counted(len(eras), 'era')}: {', '.join(texts)}"
