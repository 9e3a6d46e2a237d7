"""The learning curves of a report: which columns of history.csv are drawn."""

from dataclasses import replace
from typing import Any

import pytest

from memmap_train.scoring.model_scores import ModelScores
from memmap_train.scoring.report.provenance import histories_of
from memmap_train.scoring.report.sections import sections
from memmap_train.scoring.report.subject import subject_of
from tests.support.evaluations import synthetic_evaluation

COMMON = ["learning-loss", "learning-val-corr-mean"]


def monitoring(model: ModelScores, monitor: str, columns: dict[str, float]) -> ModelScores:
    """Return a model whose run monitored a score, with columns added to its histories."""
    provenance = model.provenance
    assert provenance is not None
    histories: Any = tuple(
        tuple({**row, **columns} for row in history) for history in provenance.histories
    )
    config = {**provenance.config, "monitor": monitor}
    return replace(model, provenance=replace(provenance, config=config, histories=histories))


@pytest.mark.parametrize(
    ("monitor", "added"),
    [
        ("val_corr_mean", []),
        ("val_bmc_mean", ["learning-val-bmc-mean"]),
        ("val_mmc_sharpe", ["learning-val-mmc-mean", "learning-val-mmc-sharpe"]),
        ("val_fnc_max_drawdown", ["learning-val-fnc-mean", "learning-val-fnc-max-drawdown"]),
    ],
)
def test_a_monitored_further_score_has_a_curve(monitor: str, added: list[str]) -> None:
    evaluation = synthetic_evaluation(n_eras=20, names=["first"], kinds=["run"])
    score = monitor.split("_")[1]
    columns = {f"val_{score}_{name}": 0.5 for name in ("mean", "sharpe", "max_drawdown")}
    (model,) = evaluation.models
    model = monitoring(model, monitor, columns if added else {})
    subject = subject_of(replace(evaluation, models=(model,)))
    (learning,) = (section for section in sections(subject) if section.name == "learning")
    assert [chart.name for chart in learning.charts] == COMMON + added


@pytest.mark.parametrize(
    ("seeds", "n_histories", "names"),
    [
        ([7, 8], 2, ["first, seed 7", "first, seed 8"]),
        ([7, 8], 4, [f"first, seed {seed}, fold {n}" for seed in (7, 8) for n in (1, 2)]),
        (None, 2, ["first, fold 1", "first, fold 2"]),
        (None, 1, ["first"]),
    ],
)
def test_each_seed_and_each_fold_has_a_curve(
    seeds: list[int] | None, n_histories: int, names: list[str]
) -> None:
    (model,) = synthetic_evaluation(n_eras=20, names=["first"], kinds=["run"]).models
    assert model.provenance is not None
    config = {**model.provenance.config, **({"seeds": seeds} if seeds else {})}
    provenance = replace(model.provenance, config=config, histories=((),) * n_histories)
    found = histories_of(replace(model, provenance=provenance))
    assert [name for name, _ in found] == names
