"""The parquet files of a sample, and its features.json, written into a folder.

Takes the sizes and the seed; returns the best score that a model can expect. Holds a few eras in
memory at a time. Imports pyarrow only through `conversion.parquet`, and only when a file is opened.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Float32, Int8
from ..progress import Progress
from ..runs.scores.metrics import numerai_corr
from .sample_benchmarks import BENCHMARK_NAMES, META_MODEL_NAME, BenchmarkModels
from .sample_calendar import LIVE, Calendar
from .sample_features import feature_sets
from .sample_folder import features_json
from .sample_market import Market
from .sample_signal import TARGET_NAMES, Era, SampleSignal, Signal
from .schema import BEST_KEY

if TYPE_CHECKING:
    from .parquet.writer import SourceWriter  # needs pyarrow


PLAIN, MARKET = "plain", "market"
SIGNAL_NAMES = (PLAIN, MARKET)
"""The signals that a sample may have, the first by default."""


@dataclass(frozen=True, slots=True)
class SampleShape:
    """The sizes of a sample."""

    n_eras: int
    rows_per_era: int
    n_features: int

    @property
    def n_rows(self) -> int:
        """Rows of all eras, the live one included."""
        return (self.n_eras + 1) * self.rows_per_era

    @property
    def rows_per_group(self) -> int:
        """Rows of a row group: not a multiple of an era's rows, as in Numerai's files.

        Each row group adds some 130 bytes per column to the footer, so a wide file gets larger
        ones, as far as memory allows: 13.5 eras of 4,200 rows x 1,050 features are 60 MB.
        """
        return (7 + 2 * min(10, self.n_features // 100)) * self.rows_per_era // 2


class SampleWriter:
    """Writes the files of a sample.

    Parameters
    ----------
    folder : Path
    shape : SampleShape
    signal : str
        One of `SIGNAL_NAMES`.
    seed : int
    progress : callable(what, rows done, rows in all)
    """

    def __init__(
        self,
        folder: Path,
        shape: SampleShape,
        signal: str,
        seed: int,
        progress: Progress,
    ) -> None:
        self._folder, self._shape, self._progress = folder, shape, progress
        self._calendar = Calendar(shape.n_eras)
        self._signal: SampleSignal = (
            Market(shape.n_features, seed, self._calendar)
            if signal == MARKET
            else Signal(shape.n_features, seed)
        )
        self._models = BenchmarkModels(shape.n_features, seed, self._signal.benchmark_correlations)
        self._rows_done = 0

    def write(self) -> float:
        """Write all files; return the best score."""
        calendar = self._calendar
        # Validation comes first: its eras give the best score, which every file records.
        with ExitStack() as files:
            source, benchmarks = self._open("validation", files)
            meta_model = files.enter_context(self._open_meta_model())
            scores = []
            for number in calendar.validation:
                era, targets = self._write_era(number, source, benchmarks, meta_model)
                scores.append(numerai_corr(era.best, targets[:, 0]))
            best = float(np.nanmean(scores))
            for file in (source, benchmarks, meta_model):
                file.add_metadata(BEST_KEY, repr(best))
        for name, numbers in (("train", calendar.train), ("live", [LIVE])):
            with ExitStack() as files:
                source, benchmarks = self._open(name, files)
                for file in (source, benchmarks):
                    file.add_metadata(BEST_KEY, repr(best))
                for number in numbers:
                    self._write_era(number, source, benchmarks)
        content = json.dumps(features_json(self._shape.n_features), indent=2) + "\n"
        (self._folder / "features.json").write_text(content, encoding="utf-8")
        return best

    def _open(self, name: str, files: ExitStack) -> "tuple[SourceWriter, SourceWriter]":
        """Open the file of this name, and the file of the benchmark models beside it."""
        features = feature_sets(self._shape.n_features)["all"]
        source = self._writer(f"{name}.parquet", features, TARGET_NAMES)
        benchmarks = self._writer(
            f"{name}_benchmark_models.parquet", (), BENCHMARK_NAMES, has_data_types=False
        )
        return files.enter_context(source), files.enter_context(benchmarks)

    def _open_meta_model(self) -> "SourceWriter":
        return self._writer("meta_model.parquet", (), (META_MODEL_NAME,))

    def _writer(
        self,
        name: str,
        features: Sequence[str],
        numbers: Sequence[str],
        *,
        has_data_types: bool = True,
    ) -> "SourceWriter":
        # Here and not above: the package is imported without pyarrow.
        from .parquet.writer import SourceWriter

        return SourceWriter(
            self._folder / name,
            features,
            numbers,
            rows_per_group=self._shape.rows_per_group,
            has_data_types=has_data_types,
        )

    def _write_era(
        self,
        number: int,
        source: "SourceWriter",
        benchmarks: "SourceWriter",
        meta_model: "SourceWriter | None" = None,
    ) -> tuple[Era, Float32]:
        """Write an era and the predictions for it; return it, and its known targets."""
        calendar = self._calendar
        era = self._signal.era(number, self._shape.rows_per_era)
        targets = calendar.known(number, era.targets)
        label, data_type = calendar.label(number), calendar.data_type(number)

        def write(file: "SourceWriter", features: Int8, numbers: Float32) -> None:
            file.write_era(label, data_type, features=features, targets=numbers, ids=era.ids)

        write(source, era.features, targets)
        if number == LIVE or number in calendar.benchmarks:
            of_benchmarks, of_meta_model = self._models.predictions(number, era)
            write(benchmarks, era.features[:, :0], of_benchmarks)
            if meta_model is not None and number in calendar.meta_model:
                write(meta_model, era.features[:, :0], of_meta_model)
        self._rows_done += self._shape.rows_per_era
        self._progress("writing the sample", self._rows_done, self._shape.n_rows)
        return era, targets
