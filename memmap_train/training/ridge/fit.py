"""The fit of a ridge regression in a run's folder: sums, strength, model, scores.

Takes a run's folder and all that was resolved for it; writes the run's files and returns a
`TrainReport`. One pass over the training eras makes all sums: those of the eras to choose the
strength by, whose models predict the eras held out while these are added.
"""

import time
from collections.abc import Sequence

import numpy as np

from ...arrays import Float32
from ...dataset.dataset import Dataset
from ...errors import FoldError, ShardError, listed
from ...loading.era_weights import era_weights, row_weights
from ...loading.placement import is_past_cache
from ...runs.checkpoints.checkpoints import (
    Checkpoint,
    delete_checkpoints,
    load_newest,
    save_checkpoint,
)
from ...runs.checkpoints.state_store import CheckpointPace
from ...runs.configuration.model_params import built_in_params
from ...runs.folds.fold import Fold
from ...runs.reports.pace import Pace
from ...runs.reports.report import TrainReport
from ...runs.reports.reporter import Reporter
from ...runs.reports.run_warnings import RunWarnings
from ...runs.resume import identity_of
from ...runs.run import Run
from ...system.signals import deferred
from ..resolve import Setup
from ..validation.validation import mapped_labels
from .labels import label_plan
from .model import check_memory
from .parts import blocks_of, inner_fold, parts_of
from .results import RidgeResults
from .rows import BlockReader, TrainingLabels, are_codes
from .state import FitState, is_fitted
from .strength import USUAL_STRENGTH, LinearModel, StrengthChoice, solved
from .sums import Sums, block_rows


def fit_ridge(
    run: Run, setup: Setup, transformed: Float32 | None, report: Reporter, *, draws: bool = True
) -> TrainReport:
    """Fit a ridge regression, and write the run's files.

    Parameters
    ----------
    run : Run
        Its folder is held.
    setup : Setup
    transformed : ndarray of float32, shape (rows, targets), or None
        The targets of all rows to train on, if they are transformed.
    report : Reporter
    draws : bool
        Whether to draw the picture of the scores.

    Raises
    ------
    ConfigError
        The sums don't fit into memory, or the equations have no solution.
    RunError, ShardError
        The results can't be written, or a file of the dataset is damaged.
    KeyboardInterrupt
        Raised after a checkpoint was saved: resuming continues with the next block.
    """
    results = RidgeResults(run, setup, report)  # first: an update may replace files of targets
    fit = _RidgeFit(run, setup, transformed, report)
    model, state = fit.finish()
    return results.conclude(model, state, draws=draws)


class _RidgeFit:
    """A fit under way: sums, the place among the blocks, and the models of the first part."""

    def __init__(
        self, run: Run, setup: Setup, transformed: Float32 | None, report: Reporter
    ) -> None:
        config, self._train = setup.config, setup.batches.dataset
        self._run, self._config, self._report = run, config, report
        self._pace = Pace(report.seconds_between_reports)
        self._warnings = RunWarnings(run.path, report)
        self._checkpoints, self._identity = CheckpointPace(config), identity_of(run)
        self._columns = setup.dataset.feature_columns(config.features)
        raw = mapped_labels(self._train, config.targets)
        self._labels = TrainingLabels(self._train, raw, transformed)
        plan = label_plan(map(self._labels.trained, self._train.eras), len(config.targets))
        check_memory(setup, len(plan.first_targets))
        codes = are_codes(self._train, self._columns, config.fill_missing)
        self._sums = Sums(len(config.features), plan, are_codes=codes)
        fixed = built_in_params(config.model, config.model_params).get("strength")
        self._parts = parts_of(self._train, None if fixed else self._inner_fold(setup.fold))
        self._strength = fixed or USUAL_STRENGTH  # where none is chosen
        self._weights = self._row_weights(setup.dataset)
        self._past_cache = is_past_cache(self._train)
        self._state, self._is_whole = FitState(self._labels.digest()), True
        if newest := load_newest(run.checkpoint_dir, self._identity, self._warnings.warn):
            self._resume_from(newest)

    def finish(self) -> tuple[LinearModel, FitState]:
        """Add all blocks that aren't added yet, and return the model."""
        state = self._state
        if state.model is not None:
            return state.model, state
        try:
            while state.part < len(self._parts):
                if state.part == 1 and state.choice is None:
                    self._choose_by_first_part()
                self._add_part(self._parts[state.part])
                with deferred():
                    state.part, state.block = state.part + 1, 0
            return self._solve(), state
        except (KeyboardInterrupt, ShardError):
            if self._is_whole:
                self._save()
            raise

    def _inner_fold(self, fold: Fold) -> Fold | None:
        """Return the fold to choose the strength by, if there are enough training eras."""
        try:
            return inner_fold(self._train, fold, self._config.targets)
        except FoldError as error:
            self._warn_of_strength(self._config.targets, f"no training eras are held out ({error})")
            return None

    def _best(self, choice: StrengthChoice) -> tuple[float, ...]:
        """Return the strength of each target: the chosen one, or else the usual one."""
        best = dict(zip(self._config.targets, choice.best(), strict=True))
        if unscored := [target for target, strength in best.items() if strength is None]:
            self._warn_of_strength(unscored, "no era that was held out has a score")
        return tuple(USUAL_STRENGTH if one is None else one for one in best.values())

    def _warn_of_strength(self, targets: Sequence[str], reason: str) -> None:
        self._report.warning(
            f"{self._run.path}: the strength of the ridge regression for {listed(targets, most=3)} "
            f"is {USUAL_STRENGTH:g}, not chosen: {reason}"
        )

    def _resume_from(self, newest: Checkpoint) -> None:
        """Take over the sums of a checkpoint, unless labels have changed since; or its model."""
        same_labels = newest.state.get("labels_digest") == self._state.labels_digest
        if same_labels or is_fitted(newest):
            self._state = FitState.from_checkpoint(newest, self._sums)
            return
        self._warnings.warn(
            f"{self._run.path}: labels to train on have changed since the fit was stopped: it "
            "begins again with the new ones"
        )
        delete_checkpoints(self._run.checkpoint_dir)

    def _row_weights(self, dataset: Dataset) -> dict[str, float]:
        """Return the weight of each row of an era, by era; 1 in the mean."""
        train = self._train
        eras = dict(zip(train.eras, train.rows_per_era, strict=True))
        known = [shard.era for shard in dataset.manifest.shards]
        weights = era_weights(self._config.era_weights, eras, known)
        if self._config.era_weights == "rows":
            return dict.fromkeys(eras, 1.0)
        return dict(zip(eras, row_weights(weights, list(eras.values())).tolist(), strict=True))

    def _choose_by_first_part(self) -> None:
        began = time.perf_counter()
        self._sums.free_scratch()
        choice = StrengthChoice.of(self._sums)
        with deferred():
            self._state.choice = choice
            self._state.seconds += time.perf_counter() - began

    def _add_part(self, eras: Sequence[str]) -> None:
        """Add the blocks of some eras; of those held out, score them as well."""
        state, part = self._state, self._train.select(eras)
        is_held_out = len(self._parts) > 1 and state.part == 1
        most_rows = block_rows(self._sums.n_features)
        weights = np.array([self._weights[era] for era in part.eras])
        blocks = blocks_of(part.rows_per_era, weights, most_rows, by_era=is_held_out)
        reader = BlockReader(
            part,
            self._columns,
            self._sums.n_features,
            most_rows,
            past_cache=self._past_cache,
            fill_missing=self._config.fill_missing,
        )
        n_scored = sum(block.ends_era for block in blocks[: state.block])
        began = time.perf_counter()
        for block, features, labels in reader.read(blocks[state.block :], self._labels.trained):
            with deferred():
                self._is_whole = False
                if is_held_out:
                    assert state.choice is not None
                    state.choice.predict(features)
                    if block.ends_era:
                        state.choice.score(self._labels.raw(part.eras[n_scored]))
                        n_scored += 1
                self._sums.add(features, labels, block.weight)
                state.block, state.rows = state.block + 1, state.rows + len(features)
                now = time.perf_counter()
                state.seconds, began = state.seconds + now - began, now
                state.waited, reader.waited = state.waited + reader.waited, 0.0
                self._is_whole = True
            if self._pace.is_due():
                self._report.summing(state.rows, self._train.n_rows)
            if self._checkpoints.is_due(state.block):
                self._save()

    def _solve(self) -> LinearModel:
        """Make the model of all rows, and save it in place of the sums."""
        state, sums, began = self._state, self._sums, time.perf_counter()
        sums.free_scratch()
        n_targets = len(self._config.targets)
        chosen = (self._strength,) * n_targets if state.choice is None else self._best(state.choice)
        models = [model for (model,) in solved(sums, [[strength] for strength in chosen])]
        model = LinearModel(
            np.concatenate([one.weights for one in models], axis=1),
            np.concatenate([one.biases for one in models]),
        )
        weights = self._config.target_weights or (1.0,) * n_targets
        total = sum(
            weight
            * sums.squared_errors(target, model.weights[:, target], float(model.biases[target]))
            for target, weight in enumerate(weights)
        )
        with deferred():
            state.strengths, state.model = chosen, model
            state.loss = total / max(float(np.dot(weights, sums.labels)), 1.0)
            state.seconds += time.perf_counter() - began
        self._save()
        return model

    def _save(self) -> None:
        """Save a checkpoint; on a full disk continue without it."""
        checkpoint = self._state.to_checkpoint(self._sums, self._identity)
        with self._warnings.tolerating_a_full_disk("a checkpoint"):
            # The sums are of no use any more once there is a model.
            n_kept = 2 if self._state.model is None else 1
            save_checkpoint(self._run.checkpoint_dir, checkpoint, n_kept=n_kept)
        self._checkpoints.saved()
