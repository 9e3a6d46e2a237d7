"""Tests of the market-like sample: what it promises of its targets, benchmarks and best score."""

import hashlib
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from memmap_train.cli.parser import make_parser
from memmap_train.conversion.sample import write_sample
from memmap_train.conversion.sample_benchmarks import BenchmarkModels
from memmap_train.conversion.sample_calendar import LIVE, Calendar
from memmap_train.conversion.sample_market import Market
from memmap_train.conversion.sample_signal import Era, Signal
from memmap_train.conversion.sample_writer import SIGNAL_NAMES
from memmap_train.conversion.schema import BEST_KEY
from memmap_train.errors import ConfigError
from memmap_train.runs.scores.metrics import numerai_corr

FEATURES, ROWS, SEED = 24, 600, 3
CALENDAR = Calendar(300)
TURN = CALENDAR.validation.start


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(FEATURES, SEED, CALENDAR)


def slope(term: npt.NDArray[Any], era: Era) -> float:
    """Return the correlation of a term with the target."""
    return float(np.corrcoef(term, era.targets[:, 0])[0, 1])


def weights(term: npt.NDArray[np.float32], era: Era) -> npt.NDArray[np.float64]:
    """Return the weights of a term that is a sum of features, products left out."""
    codes = era.features.astype(np.float64) - 2
    found = np.linalg.lstsq(codes, term.astype(np.float64))[0]
    return np.asarray(found, np.float64)


def test_features_and_ids_are_those_of_the_plain_sample_and_targets_are_not(
    market: Market,
) -> None:
    plain, era = Signal(FEATURES, SEED).era(5, ROWS), market.era(5, ROWS)
    assert np.array_equal(plain.features, era.features)
    assert np.array_equal(plain.ids, era.ids)
    assert not np.array_equal(plain.targets, era.targets)
    assert np.array_equal(plain.best, era.known)
    assert np.array_equal(np.sort(plain.targets, axis=0), np.sort(era.targets, axis=0))


def test_eras_of_both_signals_and_their_benchmarks_stay_what_they_are() -> None:
    """Golden values: samples of other versions, and datasets made from them, are comparable."""
    found = {}
    for name, signal in (
        ("plain", Signal(12, 7)),
        ("market", Market(12, 7, Calendar(60))),
    ):
        models = BenchmarkModels(12, 7, signal.benchmark_correlations)
        digest = hashlib.sha256()
        for number in (LIVE, 3, 55):
            era = signal.era(number, 53)
            for array in (era.targets, era.best, *models.predictions(number, era)):
                digest.update(np.ascontiguousarray(array).tobytes())
        found[name] = digest.hexdigest()[:16]
    assert found == {"plain": "4f8634d57f153478", "market": "df8f19ea069e0b86"}


def test_an_era_does_not_depend_on_those_made_before(market: Market) -> None:
    fresh = Market(FEATURES, SEED, CALENDAR)
    for number in (9, TURN, 2):
        first, second = market.era(number, 40), fresh.era(number, 40)
        assert np.array_equal(first.targets, second.targets)
        assert np.array_equal(first.best, second.best)


def test_training_eras_of_a_longer_sample_are_the_same() -> None:
    shorter, longer = (Market(FEATURES, SEED, Calendar(n_eras)) for n_eras in (100, 200))
    for number in (1, 80):
        assert np.array_equal(shorter.era(number, 40).targets, longer.era(number, 40).targets)
    assert not np.array_equal(shorter.era(81, 40).targets, longer.era(81, 40).targets)


def test_what_the_known_part_pays_differs_from_era_to_era(market: Market) -> None:
    eras = [market.era(number, ROWS) for number in range(1, 201)]
    paid = [slope(era.known, era) for era in eras]
    assert mean(paid) == pytest.approx(0.045 * 0.93, abs=0.015)  # 0.93: noise, and five bins
    plain = Signal(FEATURES, SEED)
    of_plain = [
        slope(era.best, era) for era in (plain.era(number, ROWS) for number in range(1, 201))
    ]
    assert stdev(paid) > 1.15 * stdev(of_plain)
    assert min(paid) < -0.03


def test_benchmarks_know_the_known_part_well_and_nothing_else(market: Market) -> None:
    models = BenchmarkModels(FEATURES, SEED, market.benchmark_correlations)
    with_known, with_rest = [], []
    for number in range(1, 21):
        era = market.era(number, ROWS)
        prediction = models.predictions(number, era)[0][:, 0]
        known = era.known.astype(np.float64)
        rest = era.best - known * (known @ era.best / (known @ known))
        with_known.append(np.corrcoef(prediction, known)[0, 1])
        with_rest.append(np.corrcoef(prediction, rest)[0, 1])
    assert 0.9 < mean(with_known) < 0.96  # as ranks
    assert abs(mean(with_rest)) < 0.15


def test_weights_of_the_best_predictions_drift() -> None:
    market = Market(FEATURES, SEED, CALENDAR)
    early, soon, later = (
        weights(era.best, era) for era in (market.era(number, 4_000) for number in (150, 153, 250))
    )
    assert np.corrcoef(early, soon)[0, 1] > 0.97
    assert np.corrcoef(early, later)[0, 1] < 0.93


def test_the_harmful_factor_pays_in_training_eras_and_loses_more_wildly_afterwards(
    market: Market,
) -> None:
    harmful = Signal(FEATURES, SEED).features.families[-1]
    loadings = Signal(FEATURES, SEED).features.loadings[harmful, 0]
    size = float(np.linalg.norm([0.045, 0.027, 0.027]))

    def paid(era: Era) -> float:
        factor = era.features[:, harmful] @ loadings
        return slope(factor, era) - size * float(np.corrcoef(factor, era.best)[0, 1])

    before, after = (
        [paid(market.era(number, ROWS)) for number in numbers]
        for numbers in (range(1, 201), range(TURN, TURN + 200))
    )
    assert mean(before) > 0 > mean(after)
    assert stdev(after) > 1.2 * stdev(before)


def test_the_live_era_comes_after_the_last(market: Market) -> None:
    """Its weights are those of the moment, although its number is 0."""
    live, last, first = (market.era(number, 4_000) for number in (LIVE, 300, 1))
    of_live = weights(live.best, live)
    assert np.corrcoef(of_live, weights(last.best, last))[0, 1] > 0.97
    assert np.corrcoef(of_live, weights(first.best, first))[0, 1] < 0.95


@pytest.mark.parametrize("n_features", [5, 6])
def test_the_smallest_sample_has_numbers_everywhere(n_features: int) -> None:
    for seed in range(20):
        era = Market(n_features, seed, Calendar(5)).era(5, 20)
        assert np.isfinite(era.best).all()
        assert np.isfinite(era.targets).all()


def test_the_recorded_best_score_is_that_of_the_files(tmp_path: Path) -> None:
    summary = write_sample(
        tmp_path, n_eras=20, rows_per_era=100, n_features=12, signal="market", seed=SEED
    )
    rows = pq.read_table(tmp_path / "validation.parquet")
    labels = np.array(rows["era"].to_pylist())
    targets = rows["target"].to_numpy()
    market = Market(12, SEED, Calendar(20))
    scores = [
        numerai_corr(market.era(number, 100).best, targets[labels == f"{number:04d}"])
        for number in range(17, 21)
    ]
    assert summary.best == pytest.approx(np.nanmean(scores))
    recorded = pq.read_metadata(tmp_path / "train.parquet").metadata[BEST_KEY.encode()]
    assert float(recorded) == summary.best


def test_a_signal_of_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--signal: expected plain or market, found 'noise'"):
        write_sample(tmp_path / "sample", signal="noise")
    assert not list(tmp_path.iterdir())


def test_the_command_line_takes_all_signals_and_no_other() -> None:
    for name in SIGNAL_NAMES:
        assert make_parser().parse_args(["sample", "x", "--signal", name]).signal == name
    assert make_parser().parse_args(["sample", "x"]).signal == SIGNAL_NAMES[0]
    with pytest.raises(SystemExit):
        make_parser().parse_args(["sample", "x", "--signal", "noise"])
