"""Synthetic evaluations: records with random scores, to draw and to write without a dataset."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from memmap_train.arrays import Float64
from memmap_train.runs.folds.fold import Fold
from memmap_train.scoring.evaluation import Evaluation
from memmap_train.scoring.model_scores import Exposures, ModelKind, ModelScores, TargetScores
from memmap_train.scoring.provenance import Provenance
from tests.support.run_records import RECORD

BENCHMARK, META_MODEL = "v53_lgbm_ender20", "numerai_meta_model"
PROPORTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
HISTORY_ROW = {"learning_rate": 0.001, "seconds": 3.0, "rows_per_second": 1e6, "data_wait": 0.0}


def synthetic_evaluation(
    names: Sequence[str] = ("first", "second", "third"),
    *,
    kinds: Sequence[ModelKind] = ("run", "folds", "predictions"),
    n_eras: int = 120,
    n_features: int = 60,
    targets: Sequence[str] = ("target", "target_ender_60"),
    with_benchmark: bool = True,
    with_details: bool = True,
    n_meta_eras: int = 40,
    seed: int = 0,
) -> Evaluation:
    """Return an evaluation of models on eras from 0575 on.

    Parameters
    ----------
    names, kinds : sequence of str
        The models and what they are, as long as each other or longer.
    n_eras, n_features : int
    targets : sequence of str
    with_benchmark : bool
        Whether the dataset has a benchmark and a meta model.
    with_details : bool
        Whether the evaluation has what the report needs too.
    n_meta_eras : int
        The meta model has rows in so many last eras.
    seed : int
    """
    eras = tuple(f"{number:04}" for number in range(575, 575 + n_eras))
    options: dict[str, Any] = {
        "eras": eras,
        "targets": targets,
        "n_features": n_features,
        "with_benchmark": with_benchmark,
        "with_details": with_details,
        "n_meta_eras": n_meta_eras,
    }
    models = tuple(
        synthetic_model(name, kind, skill=0.02 + 0.004 * number, seed=seed + number, **options)
        for number, (name, kind) in enumerate(zip(names, kinds, strict=False))
    )
    benchmark = synthetic_model(BENCHMARK, "benchmark", skill=0.025, seed=seed + 99, **options)
    return Evaluation(
        dataset=Path("data/shards"),
        dataset_digest="sha256:" + hashlib.sha256(b"shards").hexdigest(),
        dataset_eras=(*(f"{number:04}" for number in range(1, 575)), *eras),
        targets=tuple(targets),
        aliases={"target": "target_ender_20"},
        benchmark=BENCHMARK if with_benchmark else None,
        meta_model=META_MODEL if with_benchmark else None,
        neutral_to="fncv3_features",
        proportions=PROPORTIONS if with_details else (),
        models=models,
        benchmark_scores=benchmark if with_benchmark else None,
        notes=() if with_benchmark else ("the dataset has no benchmarks",),
    )


def synthetic_model(
    name: str,
    kind: ModelKind,
    *,
    eras: tuple[str, ...],
    targets: Sequence[str] = ("target",),
    n_features: int = 60,
    skill: float = 0.02,
    with_benchmark: bool = True,
    with_details: bool = True,
    n_meta_eras: int = 40,
    seed: int = 0,
) -> ModelScores:
    """Return the scores of one model; the second era has no score, as after equal predictions."""
    random = np.random.default_rng([7, seed])
    n = len(eras)
    features = tuple(f"feature_{number:02}" for number in range(n_features))
    mean_exposure = random.normal(0, 0.03, n_features)
    exposure = np.abs(random.normal(0.15, 0.03, n))
    exposures = Exposures(
        max_exposure=exposure,
        max_exposure_feature=np.array(random.choice(features, n)),
        rms_exposure=exposure / 3,
        turnover=np.full(n, math.nan),
        feature_names=features,
        mean_exposure=mean_exposure,
        mean_absolute_exposure=np.abs(mean_exposure) + 0.01,
    )
    is_run = kind in ("run", "folds")
    return ModelScores(
        name=name,
        path=Path("runs", name) if is_run else Path(f"{name}.csv") if kind != "benchmark" else None,
        kind=kind,
        eras=eras,
        by_target={
            target: _target_scores(
                target,
                random,
                n,
                skill=skill,
                with_benchmark=with_benchmark,
                is_benchmark=kind == "benchmark",
                with_details=with_details,
                n_meta_eras=n_meta_eras,
                positions=np.array([int(era) for era in eras]),
            )
            for target in targets
        },
        exposures=exposures,
        provenance=_provenance(kind, eras, targets, features) if is_run else None,
        notes=(f"MMC in {min(n, n_meta_eras)} of {n} eras: the meta model has no other rows",)
        if with_benchmark
        else (),
    )


def _target_scores(
    target: str,
    random: np.random.Generator,
    n: int,
    *,
    skill: float,
    with_benchmark: bool,
    is_benchmark: bool,
    with_details: bool,
    n_meta_eras: int,
    positions: npt.NDArray[np.int64],
) -> TargetScores:
    def scores(mean: float, std: float) -> Float64:
        """Return scores that a part of the shocks of the eras before have moved too."""
        shocks = random.normal(0, std, n + 4)
        drawn: Float64 = mean + np.convolve(shocks, np.full(5, 5**-0.5), "valid")
        if n > 1:
            drawn[1] = math.nan
        return drawn

    nothing = np.full(n, math.nan)
    corr = scores(skill, 0.025)
    bmc = scores(skill / 8, 0.01) if with_benchmark and not is_benchmark else nothing
    mmc = scores(skill / 10, 0.008) if with_benchmark else nothing
    mmc[: max(0, n - n_meta_eras)] = math.nan
    benchmark_corr = scores(0.5, 0.05) if with_benchmark else nothing
    proportions = np.array(PROPORTIONS)
    return TargetScores(
        target=target,
        overlap_eras=12 if target.endswith("_60") else 4,
        positions=positions,
        n_rows=np.full(n, 5000),
        corr=corr,
        mmc=mmc,
        bmc=bmc,
        benchmark_corr=benchmark_corr,
        meta_model_corr=np.where(np.isnan(mmc), math.nan, 0.4),
        fnc=0.7 * corr,
        all_bmc={BENCHMARK: bmc} if with_benchmark else {},
        all_benchmark_corr={BENCHMARK: benchmark_corr} if with_benchmark else {},
        neutralized_corr=corr[:, None] * (1 - 0.3 * proportions) if with_details else None,
    )


def _provenance(
    kind: ModelKind, eras: tuple[str, ...], targets: Sequence[str], features: tuple[str, ...]
) -> Provenance:
    train = tuple(f"{number:04}" for number in range(1, 567))
    embargo = tuple(f"{number:04}" for number in range(567, 575))
    half = len(eras) // 2
    folds = (
        (
            Fold(train, eras[:half], embargo, 8),
            Fold((*train, *embargo, *eras[: half - 8]), eras[half:], eras[half - 8 : half], 8),
        )
        if kind == "folds" and half > 8
        else (Fold(train, eras, embargo, 8),)
    )
    history = tuple(
        {"epoch": epoch, "loss": 0.05 - 0.001 * epoch, "val_corr_mean": 0.01 * math.log(1 + epoch)}
        | HISTORY_ROW
        for epoch in range(1, 9)
    )
    config = RECORD | {"targets": list(targets), "features": list(features), "seed": 0}
    return Provenance(config, folds, tuple(history for _ in folds))
