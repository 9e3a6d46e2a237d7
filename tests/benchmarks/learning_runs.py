"""The runs of `learning`: trained once, and the scores of each variant kept as JSON.

Takes the folder of one sample and a variant; returns its `Scored`. What is there already is read
again, unless the configuration has changed since.
"""

import hashlib
import json
import shutil
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import memmap_train as mt
from memmap_train.conversion.sample import write_sample
from memmap_train.conversion.sample_benchmarks import BENCHMARK_NAMES, BenchmarkModels
from memmap_train.conversion.sample_calendar import Calendar
from memmap_train.conversion.sample_market import Market
from memmap_train.conversion.sample_signal import Signal
from memmap_train.conversion.sample_writer import MARKET
from memmap_train.runs.files import write_json
from memmap_train.runs.folds.fold import Fold
from memmap_train.runs.folds.folds import split
from memmap_train.runs.scores.contribution import correlation_contribution
from memmap_train.runs.scores.era_transform import residual
from memmap_train.runs.scores.metrics import gaussian_ranks, numerai_corr

from .learning_variants import BENCHMARK, Variant

_SEEDS_APART = 1_000  # of the models of one ensemble
_TARGET = "target"
_MOST_EPOCHS = 8  # times those of the base: a model that is very cheap has enough by then


@dataclass(frozen=True, slots=True)
class SampleKey:
    """A sample: its signal, its seed, which is also that of the training, and its sizes."""

    signal: str
    seed: int
    eras: int
    rows_per_era: int
    features: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.signal}-{self.seed}-{self.eras}x{self.rows_per_era}x{self.features}"


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one variant on one sample.

    Attributes
    ----------
    config : dict
        The variant's configuration; another one makes the scores out of date.
    corr, bmc : list of float
        Of each validation era.
    epochs : int
        Epochs of a model's training.
    epoch_seconds : float
        The median over epochs, without validation; NaN where nothing was trained.
    """

    config: dict[str, Any]
    corr: list[float]
    bmc: list[float]
    epochs: int
    epoch_seconds: float


class SampleRuns:
    """The runs on one sample.

    Parameters
    ----------
    directory : Path
        The sample gets a folder of its own in it.
    key : SampleKey
    """

    def __init__(self, directory: Path, key: SampleKey) -> None:
        self._folder, self._key = directory / key.name, key

    def references(self) -> dict[str, Scored]:
        """Return the scores of the perfect model and of the benchmark, on the validation eras."""
        path = self._folder / "references.json"
        if not path.exists():
            write_json(path, {name: asdict(found) for name, found in self._score_known().items()})
        return {name: Scored(**found) for name, found in json.loads(path.read_text()).items()}

    def scored(self, variant: Variant, epoch_seconds: Mapping[str, float]) -> Scored:
        """Return the scores of a variant; train what is missing.

        Parameters
        ----------
        variant : Variant
        epoch_seconds : mapping of str to float
            Of other variants, for one that is to take as long as the base.
        """
        settings = dict(variant.settings)
        if variant.as_long_as is not None:
            ratio = epoch_seconds[variant.against] / epoch_seconds[variant.as_long_as]
            most = _MOST_EPOCHS * settings["epochs"]
            settings["epochs"] = min(max(1, round(settings["epochs"] * ratio)), most)
        config = mt.TrainConfig(**settings).to_dict()
        config |= {"n_models": variant.n_models, "neutral_to": variant.neutral_to}
        config = json.loads(json.dumps(config))  # as it is read again: lists, no tuples
        path = self._folder / "scores" / f"{variant.name}.json"
        if path.exists():
            found = Scored(**json.loads(path.read_text()))
            if found.config == config:
                return found
        runs = [
            self._run(settings, self._key.seed + _SEEDS_APART * member)
            for member in range(variant.n_models)
        ]
        found = self._score(runs, config, variant.neutral_to)
        path.parent.mkdir(exist_ok=True)
        write_json(path, asdict(found))
        return found

    @cache  # noqa: B019 - few objects, which live as long as the process
    def _dataset(self) -> mt.Dataset:
        """Return the sample as a dataset, with its benchmarks."""
        key, source = self._key, self._folder / "sample"
        parts = [source / f"{part}.parquet" for part in ("train", "validation")]
        if not (self._folder / "dataset" / "manifest.json").exists():
            write_sample(
                source,
                n_eras=key.eras,
                rows_per_era=key.rows_per_era,
                n_features=key.features,
                signal=key.signal,
                seed=key.seed,
            )
            mt.convert(
                parts,
                self._folder / "dataset",
                dtype="int8",
                features_json=source / "features.json",
                benchmarks=[path.with_stem(f"{path.stem}_benchmark_models") for path in parts],
            )
            shutil.rmtree(source)
        return mt.open_dataset(self._folder / "dataset")

    def _fold(self) -> Fold:
        """Return the fold that `train` takes by default."""
        dataset = self._dataset()
        return split(
            dataset.eras,
            dataset.labelled_eras(_TARGET),
            targets=_TARGET,
            aliases=dataset.manifest.aliases,
        )

    def _run(self, settings: dict[str, Any], seed: int) -> Path:
        """Return the folder of a finished run; train it, or resume it, where it isn't finished."""
        from memmap_train.training.resolve import Shared
        from memmap_train.training.train import train_run

        config = mt.TrainConfig(**settings, seed=seed)
        text = json.dumps(config.to_dict(), sort_keys=True)
        run = self._folder / "runs" / hashlib.sha256(text.encode()).hexdigest()[:16]
        run.parent.mkdir(parents=True, exist_ok=True)
        # As one fold of several: no epoch is chosen by the eras that are scored.
        with patch("memmap_train.training.results.draw_run", lambda *_, **__: None):
            train_run(
                self._dataset(),
                run,
                config,
                shared=Shared(fold=self._fold(), kept_epoch="last", initial=None, reference=None),
                resume=run.exists(),
            )
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
        return run

    def _score(self, runs: list[Path], config: dict[str, Any], neutral_to: str | None) -> Scored:
        """Score the mean of the predictions of runs."""
        import keras

        validation = self._dataset().select(self._fold().validation)
        features = None if neutral_to == BENCHMARK else neutral_to
        predicted = mt.predict(runs, validation, neutralize=features, progress=False)
        keras.backend.clear_session()  # graphs of former models
        scores, first = [], 0
        for n_rows, shard in zip(validation.rows_per_era, validation.values(), strict=True):
            values, benchmarks = predicted.values[first : first + n_rows], shard.benchmarks
            assert benchmarks is not None
            if neutral_to == BENCHMARK:
                values = residual(gaussian_ranks(values), gaussian_ranks(benchmarks[:, 0]))
            scores.append(_scores(values, shard.targets[:, 0], benchmarks[:, 0]))
            first += n_rows
        corr, bmc = np.transpose(scores).tolist()
        rates = mt.open_run(runs[0]).history["rows_per_second"].tolist()
        n_rows = sum(self._dataset().select(self._fold().train).rows_per_era)
        # The first epoch has the compilation of the step in it.
        return Scored(config, corr, bmc, len(rates), n_rows / statistics.median(rates[1:] or rates))

    def _score_known(self) -> dict[str, Scored]:
        """Score the perfect model, and the first benchmark model."""
        key = self._key
        calendar = Calendar(key.eras)
        signal = (
            Market(key.features, key.seed, calendar)
            if key.signal == MARKET
            else Signal(key.features, key.seed)
        )
        models = BenchmarkModels(key.features, key.seed, signal.benchmark_correlations)
        scores: dict[str, list[tuple[float, float]]] = {"best possible": [], BENCHMARK_NAMES[0]: []}
        for label in self._fold().validation:
            era = signal.era(int(label), key.rows_per_era)
            benchmark = models.predictions(int(label), era)[0][:, 0]
            for found, values in zip(scores.values(), (era.best, benchmark), strict=True):
                found.append(_scores(values, era.targets[:, 0], benchmark))
        by_score = {name: np.transpose(found).tolist() for name, found in scores.items()}
        return {
            name: Scored({}, corr, bmc, 0, float("nan")) for name, (corr, bmc) in by_score.items()
        }


def _scores(predictions: Any, target: Any, benchmark: Any) -> tuple[float, float]:
    """Return CORR and BMC of one era."""
    contribution = correlation_contribution(predictions[:, np.newaxis], benchmark, target)
    return numerai_corr(predictions, target), float(contribution[0])
