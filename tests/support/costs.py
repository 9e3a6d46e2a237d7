"""What a training costs, in round numbers."""

from memmap_train.runs.reports.cost import FIRST_STEP, TRANSFORM, TrainCost

COST = TrainCost(
    n_steps=40,
    n_eras=3,
    training_seconds=100.0,
    scoring_seconds=20.0,
    rows_per_second=25_000.0,
    data_wait=0.02,
    epochs=10,
    once={FIRST_STEP: 2.0, TRANSFORM: 8.0},
    feature_bytes=10**10,
    unread_bytes=0,
    fits=True,
    disk_bytes_per_second=None,
    peak_bytes=2 * 10**9,
    checkpoint_bytes=7 * 10**6,
)
