"""The choice of the strength by eras that were held out."""

import numpy as np
import pytest

from memmap_train.runs.scores.metrics import numerai_corr
from memmap_train.training.ridge.labels import label_plan
from memmap_train.training.ridge.strength import GRID, StrengthChoice, solved
from memmap_train.training.ridge.sums import Sums

N_FEATURES = 30


def sums_of(n_rows: int, noise: float) -> tuple[Sums, StrengthChoice]:
    """Return sums of rows with a signal, and the choice after four eras that were held out."""
    rng = np.random.default_rng(1)
    signal = rng.normal(size=N_FEATURES)
    x = (rng.integers(0, 5, (n_rows + 4000, N_FEATURES)) / 4).astype(np.float32)
    y = ((x - 0.5) @ signal + noise * rng.normal(size=len(x))).astype(np.float32)[:, np.newaxis]
    y[0] = np.nan
    sums = Sums(N_FEATURES, label_plan([y], 1), are_codes=True)
    sums.add(x[:n_rows].copy(), y[:n_rows], 1.0)
    choice = StrengthChoice.of(sums)
    for low in range(n_rows, n_rows + 4000, 1000):
        for part in (slice(low, low + 300), slice(low + 300, low + 1000)):
            choice.predict(x[part])
        choice.score(y[low : low + 1000])
    return sums, choice


def test_scores_are_those_of_each_strength_on_eras_held_out() -> None:
    sums, choice = sums_of(500, 1.0)
    assert choice.scores.shape == (4, 1, len(GRID))
    rng = np.random.default_rng(1)
    signal = rng.normal(size=N_FEATURES)
    x = (rng.integers(0, 5, (4500, N_FEATURES)) / 4).astype(np.float32)
    y = ((x - 0.5) @ signal + rng.normal(size=len(x))).astype(np.float32)
    for place, model in enumerate(solved(sums, [GRID])[0]):
        score = numerai_corr((x[500:1500] @ model.weights)[:, 0], y[500:1500])
        assert choice.scores[0, 0, place] == pytest.approx(score, abs=1e-5)


def test_noisy_rows_take_a_greater_strength_than_clear_ones() -> None:
    (noisy,), (clear,) = sums_of(200, 8.0)[1].best(), sums_of(200, 0.1)[1].best()
    assert noisy is not None
    assert clear is not None
    assert noisy > 100 * clear
    assert {noisy, clear} <= set(GRID)


def test_eras_without_a_score_choose_no_strength() -> None:
    choice = StrengthChoice(np.ones((2, len(GRID)), np.float32), np.empty((0, 1, len(GRID))))
    choice.predict(np.ones((5, 2), np.float32))
    choice.score(np.ones((5, 1), np.float32))
    assert choice.best() == (None,)
