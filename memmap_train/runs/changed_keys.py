"""The keys in which a configuration differs from that of a run, in words.

Takes the records of a run and of what is asked for now; returns a text for each key that keeps the
run from being resumed.
"""

import json
from collections.abc import Mapping
from typing import Any

from .configuration.config import TrainConfig
from .configuration.config_file import PARAMS
from .configuration.defaults import VALUES_BEFORE
from .configuration.schedule import COSINE
from .record import VERSION_KEYS, RunRecord

# What may differ when a run is resumed: it changes when a run ends and what is lost by a kill, but
# not what is computed (of seeds there may be more: others are trained too).
FREE_KEYS = (
    "epochs",
    "seeds",
    "memory",
    "checkpoint_steps",
    "checkpoint_minutes",
    "tensorboard",
    "baseline",
)
# What `check_same_dataset` compares.
_DATASET_KEYS = (
    "dataset",
    "dataset_digest",
    "features_digest",
    "targets_digest",
    "labels_digest",
    "benchmark_digest",
    "residual_digest",
)
# In what words a fold was asked for, and which named targets its targets equalled then (an alias
# ends where a later era differs): eras are compared, and the labels in them.
_WORD_KEYS = ("asked_validation_eras", "asked_embargo_eras", "named_targets")
# What follows from `model_digest`; runs of earlier versions haven't recorded it.
_DERIVED_KEYS = ("begun_with",)
_OF_PARAMS = f"{PARAMS}."
# What they say of the dataset and of a file of the user's is more than which values differ.
_IN_WORDS = {
    "era_weights_digest": "era_weights: the file has other weights than when the run began",
    "eras_without_benchmark": "target_transform: other eras to train on than when the run began "
    "have no value of its benchmarks",
}


def changed_keys(old_record: RunRecord, record: RunRecord) -> list[str]:
    """Return a text for each key of a run that would have to be as it was, and isn't.

    Parameters
    ----------
    old_record : RunRecord
        The record of the run.
    record : RunRecord
        That of what is asked for.
    """
    # A key that came later had its default before, or what is known of it.
    old = _flat({**TrainConfig().to_dict(), **VALUES_BEFORE, **old_record.to_json()})
    new = _flat(record.to_json())
    removed = [key for key in old if key.startswith(_OF_PARAMS) and key not in new]
    uncompared = (*FREE_KEYS, *VERSION_KEYS, *_DATASET_KEYS, *_WORD_KEYS, *_DERIVED_KEYS)
    changed = [
        _IN_WORDS.get(key)
        or f"{key}: {_short(old.get(key))} in the run, {_short(new.get(key))} now"
        for key in (*new, *removed)
        if key not in uncompared and old.get(key) != new.get(key)
    ]
    n_epochs = f"epochs: {old_record.epochs} in the run, {record.epochs} now"
    if record.epochs < old_record.epochs:
        changed.append(f"{n_epochs} (only more)")
    elif record.epochs > old_record.epochs and record.schedule == COSINE:
        changed.append(f"{n_epochs} (schedule = {COSINE!r} ends with them)")
    n_seeds, n_asked = len(old_record.seeds), len(record.seeds)
    if n_asked < n_seeds:
        changed.append(f"--seeds: {n_seeds} in the run, {n_asked} now (only more)")
    return changed


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with those of a model's parameters as keys of their own."""
    params = {f"{_OF_PARAMS}{name}": value for name, value in values.get(PARAMS, {}).items()}
    return {key: value for key, value in values.items() if key != PARAMS} | params


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
