"""The predictions of a run for eras that its model wasn't trained on.

Takes a finished run and a dataset; returns a `ModelPredictions`. Which eras are scored follows
from the run's record alone. TensorFlow is imported when rows are predicted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..dataset.dataset import Dataset
from ..dataset.eras import era_sort_key
from ..errors import FoldError, RunError
from ..progress import Progress
from ..runs.folds.embargo import far_from
from ..runs.folds.fold import Fold
from ..runs.lineage import begun_with
from ..runs.run import Run, read_run
from ..text import counted
from .model_predictions import ModelPredictions, eras_before
from .model_scores import ModelKind
from .provenance import Provenance


@dataclass(frozen=True, slots=True)
class RunEras:
    """The eras of a dataset that a run is scored on, and what is to be said about them."""

    eras: tuple[str, ...]
    notes: tuple[str, ...]


def check_finished(run: Run) -> None:
    """Raise a RunError if a run isn't finished, or its target isn't known here."""
    if run.read_result() is None:
        raise RunError(
            f"{run.path}: the run isn't finished, so there is nothing to score; train it to its "
            f"end with `{run.resume_command}`"
        )


def run_eras(run: Run, dataset: Dataset, asked: Sequence[str] | None) -> RunEras:
    """Return the eras that a run is scored on.

    Parameters
    ----------
    run : Run
    dataset : Dataset
    asked : sequence of str or None
        Eras with labels, to score the run on these and no others. None: the run's validation eras,
        or those that its folds predict out of fold, and later eras with labels that are farther
        than the embargo from them and from every era that the run was trained on.

    Raises
    ------
    FoldError
        The dataset has none of these eras.
    """
    folds = run.folds or ((run.record.fold,) if run.record.fold else ())
    validation = {era for fold in folds for era in fold.validation}
    trained = _trained_eras(run, folds)
    if asked is not None:
        return RunEras(tuple(asked), _notes_on_asked(run, asked, validation, folds, trained))
    labelled = dataset.labelled_eras(run.record.main_target)
    eras = [era for era in labelled if era in validation]
    later = _later_eras(run, dataset, labelled, validation, trained)
    notes = []
    if len(eras) < len(validation):
        notes.append(
            f"{len(validation) - len(eras):,} of its {counted(len(validation), 'validation era')} "
            "have no labels in this dataset, or aren't in it"
        )
    if later:
        notes.append(
            f"{counted(len(later), 'era')} after its validation ({later[0]} to {later[-1]}) "
            "are scored too"
        )
    chosen = {*eras, *later}
    if not chosen:
        raise FoldError(
            f"{run.path}: none of the {counted(len(validation), 'era')} that it was validated on "
            f"is in {dataset.path} with labels of {run.record.main_target!r}, and no later one; "
            "name the dataset that it was trained on, or the eras to score"
        )
    notes += _unknown_lineage(run)
    return RunEras(tuple(era for era in dataset.eras if era in chosen), tuple(notes))


def predictions_of_run(
    run: Run, dataset: Dataset, eras: RunEras, report: Progress
) -> ModelPredictions:
    """Predict the eras that a run is scored on, and eras without labels right before them.

    Raises
    ------
    RunError, DatasetError, ConfigError
        The same errors as `training.prediction.predictions.predict`.
    """
    from ..training.prediction.predict import predict  # needs TensorFlow

    labelled = set(dataset.labelled_eras(run.record.main_target))
    before = [era for era in eras_before(dataset, eras.eras) if era not in labelled]
    chosen = {*eras.eras, *before}
    wanted = [era for era in dataset.eras if era in chosen]
    predicted = predict(run.path, dataset.select(wanted), progress=report)
    bounds = pairwise(predicted.dataset.row_offsets)
    values = {
        era: predicted.values[low:high]
        for era, (low, high) in zip(predicted.dataset.eras, bounds, strict=True)
    }
    unscored = {era: values.pop(era) for era in before if era in values}
    notes = [*eras.notes]
    left_out = [era for era in predicted.left_out if era not in before]
    if left_out:
        notes.append(
            f"{counted(len(left_out), 'era')} ({left_out[0]} to {left_out[-1]}) left out: no fold "
            "predicts them"
        )
    kind: ModelKind = "seeds" if run.seeds else "folds" if run.folds else "run"
    return ModelPredictions(
        run.path, kind, values, provenance_of(run), tuple(notes), before=unscored
    )


def provenance_of(run: Run) -> Provenance:
    """Return what a run was trained on."""
    fold = run.record.fold
    folds = (fold,) if fold else run.folds
    return Provenance(run.record.to_json(), folds, tuple(_histories(run)))


def _histories(run: Run) -> Iterator[tuple[Mapping[str, float], ...]]:
    """Yield the rows of a run's `history.csv`, or those of each of its parts."""
    if not run.part_paths:
        yield tuple(run.read_history())
    for path in run.part_paths:
        yield from _histories(read_run(path))


def _trained_eras(run: Run, folds: Sequence[Fold]) -> tuple[str, ...]:
    """Return all eras that a run's models were trained on, those of its saved model included."""
    seen = {era for fold in folds for era in fold.train}
    seen.update(begun_with(run).train_eras)
    return tuple(sorted(seen, key=era_sort_key))


def _later_eras(
    run: Run,
    dataset: Dataset,
    labelled: Sequence[str],
    validation: set[str],
    trained: Sequence[str],
) -> tuple[str, ...]:
    """Return eras with labels after all validation eras, beyond the embargo of all that was used.

    Eras that a saved model's epoch was chosen by count as used.
    """
    lineage = begun_with(run)
    used = {*validation, *trained, *lineage.choice_eras}
    reach = max(run.record.embargo_eras, lineage.embargo_eras)
    last = max(map(era_sort_key, validation))
    later = [era for era in labelled if era_sort_key(era) > last]
    known = sorted({*dataset.eras, *used}, key=era_sort_key)
    return far_from(known, later, tuple(used), reach)


def _notes_on_asked(
    run: Run,
    asked: Sequence[str],
    validation: set[str],
    folds: Sequence[Fold],
    trained: Sequence[str],
) -> tuple[str, ...]:
    """Return notes about eras that the user named, whatever the run was trained on."""
    notes = [f"{counted(len(asked), 'era')} as asked for"]
    # A fold's model predicts its own validation eras, so what other folds train on is no matter.
    seen = [era for era in asked if era in trained and (not run.folds or era not in validation)]
    near = [era for era in asked if any(era in fold.embargo for fold in folds)]
    near = [era for era in near if era not in validation]
    if seen:
        notes.append(
            f"the run was trained on {counted(len(seen), 'era')} of them ({seen[0]} to "
            f"{seen[-1]}): scores there say nothing about new data"
        )
    if near:
        notes.append(f"{counted(len(near), 'era')} of them lie in the embargo of its validation")
    return (*notes, *_unknown_lineage(run))


def _unknown_lineage(run: Run) -> list[str]:
    if begun_with(run).is_known:
        return []
    return ["it began with a saved model of which it is unknown what it was trained on"]
