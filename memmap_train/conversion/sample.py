"""A Numerai-shaped data set with a synthetic signal, so that a training's score can be judged.

In come sizes and a seed; out go `train.parquet`, `validation.parquet`, `live.parquet` and
`features.json`, and with them the best score that a model can expect on the validation eras: the
text of a number, under the key `memmap_train.best` of each parquet file's metadata. Must not import
pyarrow but through `memmap_train.conversion.parquet`, and that only when something is written.

All files are written in a folder beside their places, and moved there together. A file that wasn't
written here is never replaced.

How the data are made
---------------------
*Features* are codes 0..4 in five equal bins per era. The latent value behind a code is noise plus a
share of a factor that its family (`intelligence`, `charisma`, ...) has in this era: features of a
family are mildly correlated.

*Targets* are the ranks of a latent value, in five bins of 5, 20, 50, 20 and 5 %. Per era, with each
term of mean 0 and variance 1 over the rows:

    latent     = 0.053 persistent + 0.15 era_specific + noise
    persistent = sqrt(0.85) linear + sqrt(0.15) products

`linear` weighs the features alike in every era, `products` sums squares and products of a few of
them. `era_specific` weighs them with weights of the era's own: nothing can be learned of it,
but it makes scores vary from era to era, as they do in reality. The beta targets' persistent part
is correlated with the alpha targets' one; half of the noise is common to all targets.

The targets of the last eras are null, as in Numerai's validation.parquet: what they look ahead to
hasn't happened yet. The last four eras have no labels, the last twelve none that look 60 days
ahead. (Small samples have fewer such eras, or none.)

An era is a pure function of its number, its rows, the features and the seed. More eras leave those
before as they were, but for what moves with time in reality too: where validation begins, which
eras have the data type `test`, and which targets are known.
"""

import json
import os
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from memmap_train.dataset.manifest_file import enclosing_dataset
from memmap_train.errors import ConfigError, SourceError, listed
from memmap_train.progress import Progress, ignore
from memmap_train.runs.metrics import numerai_corr
from memmap_train.system.paths import checked_path
from memmap_train.system.resources import available_memory, free_disk
from memmap_train.text import in_bytes

Float32 = npt.NDArray[np.float32]

BEST_KEY = "memmap_train.best"
"""Metadata key, in each parquet file of a sample, of the best score that a model can expect."""

TARGET_NAMES = (
    "target",  # the alias: equal to target_alpha_20 in every row
    "target_alpha_20",
    "target_alpha_60",
    "target_beta_20",
    "target_beta_60",
)

# The first number of a seed list: no two purposes share a stream.
_FOR_SIGNAL = 1
_FOR_ERA = 2

_MIN_FEATURES = 5
_LIVE = 0  # the live era's number; the others count from 1
_MAX_ERAS = 9_999  # labels have four digits
_MAX_FEATURES = 50_000  # see `Signal`

# Standard deviations in units of the noise's. The first makes the best score about 0.045, the
# second spreads the scores of eras by about 0.02.
_PERSISTENT = 0.053
_ERA_SPECIFIC = 0.15
_LINEAR_SHARE = 0.85  # of the persistent part's variance
_ALPHA_IN_BETA = 0.8  # correlation of the beta targets' persistent part with the alpha targets'
_COMMON_SHARE = 0.5  # of the noise's variance: common to all targets
_MAX_PRODUCTS = 8

_FAMILIES = (
    "intelligence",
    "charisma",
    "strength",
    "dexterity",
    "constitution",
    "wisdom",
    "agility",
    "serenity",
)
_MAX_LOADING = 0.25  # of a factor on a feature, beside noise uniform in 0..1

# Shares of an era's rows below each of the four edges between bins.
_FEATURE_EDGES = (0.2, 0.4, 0.6, 0.8)
_TARGET_EDGES = (0.05, 0.25, 0.75, 0.95)

_FILE_NAMES = ("validation.parquet", "live.parquet", "features.json", "train.parquet")
"""In the order in which they are moved into place: where the last one is, all are."""
_PARTIAL = ".sample.partial"  # a fixed name: what a killed process left is overwritten

_UNRESOLVED_ERAS_20 = 4  # weeks until a 20-day target is known
_UNRESOLVED_ERAS_60 = 12
_TEST_ERAS = 8  # some with labels, as in reality


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What `write_sample` has written.

    Parameters
    ----------
    paths : tuple of Path
        The files: train, validation, live, features.json.
    n_rows : int
        Rows of the three parquet files together.
    n_eras : int
        Of train and validation, without the live one.
    n_features : int
    best : float
        Mean per-era `numerai_corr` of `target`, over the validation eras that have labels, for a
        model that knows the persistent signal and predicts it without noise.
    """

    paths: tuple[Path, ...]
    n_rows: int
    n_eras: int
    n_features: int
    best: float


@dataclass(frozen=True, slots=True)
class Era:
    """The rows of one era.

    Parameters
    ----------
    features : ndarray of int8, shape (rows, features)
        Codes 0..4; column-major.
    targets : ndarray of float32, shape (rows, targets)
        In the order of `TARGET_NAMES`, all known; column-major.
    ids : ndarray of S16, shape (rows,)
        `n` and 15 hexadecimal digits, ascending; no two rows of a sample share one.
    persistent : ndarray of float32, shape (rows,)
        What a perfect model predicts for `target`.
    """

    features: npt.NDArray[np.int8]
    targets: Float32
    ids: npt.NDArray[np.bytes_]
    persistent: Float32


class Signal:
    """What is the same in every era: how features hang together, and what they say of targets.

    Parameters
    ----------
    n_features : int
    seed : int

    Notes
    -----
    All weights are integers. Sums of integers are exact in float32 below 2**24, which some 50,000
    features would reach, so no order of summation (number of BLAS threads) moves a row into
    another bin.
    """

    def __init__(self, n_features: int, seed: int) -> None:
        rng = np.random.default_rng([_FOR_SIGNAL, 0, 0, seed])
        self._seed = seed
        self._families = list(_families(n_features).values())
        self._loadings = rng.uniform(-_MAX_LOADING, _MAX_LOADING, (n_features, 1))
        self._alpha_weights = _integer_weights(rng, n_features)
        self._beta_weights = _integer_weights(rng, n_features)
        n_products = min(_MAX_PRODUCTS, n_features // 2)
        self._left, self._right = rng.permutation(n_features)[: 2 * n_products].reshape(2, -1)
        self._right[::2] = self._left[::2]  # every other product is a square
        self._product_weights = rng.choice([-1, 1], n_products)

    def era(self, number: int, n_rows: int) -> Era:
        """Make one era; the same arguments make the same era, in whatever order."""
        rng = np.random.default_rng([_FOR_ERA, number, 0, self._seed])
        ids = _ids(rng, number, n_rows)
        codes = self._codes(rng, n_rows)
        weights = [self._alpha_weights, self._beta_weights, _integer_weights(rng, len(codes))]
        alpha_linear, beta_linear, era_specific = _standardised_sums(weights, codes)
        alpha = self._with_products(alpha_linear, codes)
        beta = _mixed(alpha, beta_linear, share=_ALPHA_IN_BETA**2)

        persistent = np.stack([alpha, alpha, beta, beta])  # of the four that aren't an alias
        own_noise = rng.standard_normal(persistent.shape, dtype=np.float32)
        common_noise = rng.standard_normal(n_rows, dtype=np.float32)
        noise = _mixed(common_noise, own_noise, share=_COMMON_SHARE)
        latent = _PERSISTENT * persistent + _ERA_SPECIFIC * era_specific + noise
        bins = rank_bins(latent, _TARGET_EDGES)
        targets = np.concatenate([bins[:1], bins]) * np.float32(0.25)
        return Era(features=codes.T, targets=targets.T, ids=ids, persistent=alpha)

    def persistent(self, features: npt.NDArray[np.int8]) -> Float32:
        """Return a perfect model's predictions of `target` for all rows of one era.

        Parameters
        ----------
        features : ndarray of int8, shape (rows, features)
            Codes 0..4.

        Returns
        -------
        ndarray of float32, shape (rows,)
            Of mean 0.
        """
        (linear,) = _standardised_sums([self._alpha_weights], features.T)
        return self._with_products(linear, features.T)

    def _codes(self, rng: np.random.Generator, n_rows: int) -> npt.NDArray[np.int8]:
        """Return an era's features, shape (features, rows)."""
        codes = np.empty((len(self._loadings), n_rows), np.int8)
        # A family at a time, so that its values stay in the processor's cache between the steps.
        for members in self._families:
            factor = rng.standard_normal(n_rows, dtype=np.float32)
            # Uniform and not normal, which takes five times as long and would look the same: only
            # ranks are kept.
            latent = rng.random((members.stop - members.start, n_rows), dtype=np.float32)
            latent += self._loadings[members].astype(np.float32) * factor
            codes[members] = rank_bins(latent, _FEATURE_EDGES)
        return codes

    def _with_products(self, linear: Float32, codes: npt.NDArray[np.int8]) -> Float32:
        """Return the persistent part whose linear part is given."""
        centre = np.int8(2)
        products = (codes[self._left] - centre) * (codes[self._right] - centre)
        (total,) = _standardised_sums([self._product_weights], products)
        return _mixed(linear, total, share=_LINEAR_SHARE)


def write_sample(
    directory: str | PathLike[str],
    *,
    n_eras: int = 300,
    rows_per_era: int = 2_000,
    n_features: int = 64,
    seed: int = 0,
    progress: Progress = ignore,
) -> SampleSummary:
    """Write a sample, holding a few eras in memory at a time.

    Parameters
    ----------
    directory : path
        Made where it doesn't exist. A former sample's files are replaced, when all are written.
    n_eras : int
        Eras beside the live one, 5 or more; the first four fifths are for training, the rest for
        validation.
    rows_per_era : int
        20 or more; the live era has as many.
    n_features : int
        5 to 50,000.
    seed : int
        0 or more.
    progress : callable(what, rows done, rows in all), optional
        Called after every era.

    Returns
    -------
    SampleSummary

    Raises
    ------
    ConfigError
        If a number is out of range, an era doesn't fit into memory, the sample doesn't fit onto the
        disk, or the directory can't be written to, lies in a dataset, or holds files of these names
        that aren't a sample's.
    """
    folder = checked_path(directory, ConfigError)
    _check("eras", n_eras, least=5, most=_MAX_ERAS)
    _check("rows-per-era", rows_per_era, least=20)
    _check("features", n_features, least=_MIN_FEATURES, most=_MAX_FEATURES)
    _check("seed", seed, least=0)
    # Here and not above: the package is imported without pyarrow.
    from memmap_train.conversion.parquet.writer import SourceWriter

    _check_replaceable(folder)
    try:
        _check_space(folder, n_eras, rows_per_era, n_features)
    except OSError as error:
        raise _unwritable(directory, error) from error
    signal = Signal(n_features, seed)
    calendar = _Calendar(n_eras)
    feature_sets = _feature_sets(n_features)
    names = ("train.parquet", "validation.parquet", "live.parquet", "features.json")
    partial = folder / _PARTIAL
    train, validation, live, features_path = (partial / name for name in names)
    n_rows = (n_eras + 1) * rows_per_era
    rows_done = 0
    was_there = folder.exists()

    def opened(path: Path) -> SourceWriter:
        rows_per_group = _rows_per_group(rows_per_era, n_features)
        return SourceWriter(path, feature_sets["all"], TARGET_NAMES, rows_per_group=rows_per_group)

    def write(source: SourceWriter, number: int) -> tuple[Float32, Float32]:
        """Write an era; return a perfect model's predictions for `target`, and its known values."""
        nonlocal rows_done
        era = signal.era(number, rows_per_era)
        targets = calendar.known(number, era.targets)
        source.write_era(
            calendar.label(number),
            calendar.data_type(number),
            features=era.features,
            targets=targets,
            ids=era.ids,
        )
        rows_done += rows_per_era
        progress("writing the sample", rows_done, n_rows)
        return era.persistent, targets[:, 0]

    try:
        partial.mkdir(parents=True, exist_ok=True)
        # Validation comes first: its eras tell the best score, which every file records.
        with opened(validation) as source:
            scores = [numerai_corr(*write(source, number)) for number in calendar.validation]
            best = float(np.nanmean(scores))
            source.add_metadata(BEST_KEY, repr(best))
        for path, numbers in ((train, calendar.train), (live, range(_LIVE, _LIVE + 1))):
            with opened(path) as source:
                source.add_metadata(BEST_KEY, repr(best))
                for number in numbers:
                    write(source, number)
        content = json.dumps(_features_json(n_features), indent=2) + "\n"
        features_path.write_text(content, encoding="utf-8")
        (folder / _FILE_NAMES[-1]).unlink(missing_ok=True)  # from here on there is no whole sample
        for name in _FILE_NAMES:
            os.replace(partial / name, folder / name)
    except OSError as error:
        raise _unwritable(directory, error) from error
    finally:
        with suppress(OSError):  # it was never made
            for name in _FILE_NAMES:
                (partial / name).unlink(missing_ok=True)
            partial.rmdir()
            if not was_there:
                folder.rmdir()  # where it was stopped: it is empty
    return SampleSummary(
        paths=tuple(folder / name for name in names),
        n_rows=n_rows,
        n_eras=n_eras,
        n_features=n_features,
        best=best,
    )


@dataclass(frozen=True, slots=True)
class _Calendar:
    """What of an era depends on how many others there are."""

    n_eras: int

    @property
    def train(self) -> range:
        return range(1, 1 + self.n_eras * 4 // 5)

    @property
    def validation(self) -> range:
        return range(self.train.stop, 1 + self.n_eras)

    def label(self, number: int) -> str:
        return "X" if number == _LIVE else f"{number:04d}"

    def data_type(self, number: int) -> str:
        if number == _LIVE:
            return "live"
        if number in self.train:
            return "train"
        n_test = min(_TEST_ERAS, len(self.validation) // 3)
        return "test" if number > self.n_eras - n_test else "validation"

    def known(self, number: int, targets: Float32) -> Float32:
        """Return the targets with NaN where the future would have to be known."""
        unknown = [
            number == _LIVE or number > self.n_eras - self._n_unresolved(name)
            for name in TARGET_NAMES
        ]
        return np.where(unknown, np.float32(np.nan), targets)

    def _n_unresolved(self, target: str) -> int:
        """Return the number of last eras in which a target isn't known."""
        if target.endswith("_60"):
            return min(_UNRESOLVED_ERAS_60, max(1, len(self.validation) // 3))
        return min(_UNRESOLVED_ERAS_20, len(self.validation) // 9)


def rank_bins(values: Float32, edges: Sequence[float]) -> npt.NDArray[np.int8]:
    """Cut each line of values into bins of fixed shares, by rank.

    Parameters
    ----------
    values : ndarray of float32, shape (lines, rows)
    edges : sequence of float
        The share of rows below each edge, ascending.

    Returns
    -------
    ndarray of int8, shape (lines, rows)
        The number of edges below; equal values are told apart by their place.

    Examples
    --------
    >>> rank_bins(np.array([[5, 3, 1, 4, 2]], np.float32), [0.2, 0.4, 0.6, 0.8])
    array([[4, 2, 0, 3, 1]], dtype=int8)
    >>> rank_bins(np.zeros((1, 5), np.float32), [0.2, 0.4, 0.6, 0.8])
    array([[0, 1, 2, 3, 4]], dtype=int8)
    """
    n_rows = values.shape[1]
    cuts = np.rint(np.multiply(edges, n_rows)).astype(np.intp)
    ordered = np.sort(values, axis=1)  # vectorised, unlike argsort
    bins = np.zeros(values.shape, np.int8)
    for cut in cuts:
        bins += values >= ordered[:, cut, np.newaxis]
    # A value on both sides of a cut (about one line in 1,000) puts too many rows above it.
    tied = (ordered[:, cuts] == ordered[:, cuts - 1]).any(axis=1)
    for line in np.flatnonzero(tied):
        ranked = np.argsort(values[line], kind="stable")
        bins[line, ranked] = np.searchsorted(cuts, np.arange(n_rows), side="right")
    return bins


def _rows_per_group(rows_per_era: int, n_features: int) -> int:
    """Return a number of rows that is no whole number of eras, as in reality.

    Each row group adds some 130 bytes per column to the footer, so a wide file gets larger ones, as
    far as memory allows: 13.5 eras of 4,200 rows x 1,050 features are 60 MB.
    """
    return (7 + 2 * min(10, n_features // 100)) * rows_per_era // 2


def _families(n_features: int) -> dict[str, slice]:
    """Cut the features into runs that share a factor, of at least two features each."""
    n_families = min(len(_FAMILIES), n_features // 2)
    edges = [n_features * i // n_families for i in range(n_families + 1)]
    return {
        name: slice(start, stop)
        for name, (start, stop) in zip(_FAMILIES, pairwise(edges), strict=False)
    }


def _feature_sets(n_features: int) -> dict[str, list[str]]:
    """Return overlapping sets of features, each in the order of the columns."""
    families = _families(n_features)
    every = [
        f"feature_{family}_{number:04d}"
        for family, members in families.items()
        for number in range(1, 1 + members.stop - members.start)
    ]
    return {
        "small": every[::4],
        "medium": every[::2],
        "all": every,
        **{family: every[members] for family, members in families.items()},
        "sunshine": every[::3],
        "rain": every[::5],
    }


def _integer_weights(rng: np.random.Generator, n_features: int) -> npt.NDArray[np.float64]:
    return np.rint(100 * rng.standard_normal(n_features))


def _standardised_sums(
    weights: Sequence[npt.NDArray[Any]], values: npt.NDArray[np.int8]
) -> Float32:
    """Return weighted sums of the columns' values, each of mean 0 and variance 1 over the rows.

    Parameters
    ----------
    weights : sequence of ndarray, each of shape (columns,)
    values : ndarray of int8, shape (columns, rows)

    Returns
    -------
    ndarray of float32, shape (weights, rows)
    """
    sums = np.asarray(weights, np.float32) @ values.astype(np.float32)
    mean = sums.mean(axis=1, keepdims=True, dtype=np.float64)
    spread = sums.std(axis=1, keepdims=True, dtype=np.float64)
    standardised: Float32 = ((sums - mean) / spread).astype(np.float32)
    return standardised


def _mixed(first: Float32, second: Float32, *, share: float) -> Float32:
    """Add two terms of variance 1, so that the first has this share of a variance of 1."""
    return np.float32(share**0.5) * first + np.float32((1 - share) ** 0.5) * second


def _ids(rng: np.random.Generator, number: int, n_rows: int) -> npt.NDArray[np.bytes_]:
    """Return `n` and 15 hexadecimal digits per row: ascending, and unique over all eras.

    The last four digits are the era's number, which keeps eras apart; the others grow by steps of
    random length, which keeps rows apart.
    """
    step = 2**44 // n_rows
    leading = np.arange(n_rows) * step + rng.integers(step, size=n_rows)
    values = leading << 16 | number
    digits = values[:, np.newaxis] >> np.arange(56, -4, -4) & 15
    text = np.empty((n_rows, 16), np.uint8)
    text[:, 0] = ord("n")
    text[:, 1:] = np.frombuffer(b"0123456789abcdef", np.uint8)[digits]
    return text.view("S16")[:, 0]


def _check_replaceable(folder: Path) -> None:
    """Refuse a folder in a dataset, and one with files of a sample's names that aren't a sample's.

    Raises
    ------
    ConfigError
        The folder is one of these.
    """
    dataset = enclosing_dataset(folder)
    if dataset is not None:
        raise ConfigError(
            f"sample: {folder}: expected a folder of its own, found the dataset {dataset}, which "
            "other files would spoil; type: memmap-train sample OTHER_DIR"
        )
    others = [
        name
        for name in _FILE_NAMES
        if os.path.lexists(folder / name) and not _is_sample(folder / name)
    ]
    if others:
        raise ConfigError(
            f"sample: {folder}: expected no files of these names, or a former sample's; found "
            f"{listed(sorted(others))}, which `sample` didn't write and won't replace; type: "
            "memmap-train sample OTHER_DIR"
        )


def _is_sample(path: Path) -> bool:
    """Tell whether a file is one that `write_sample` has written."""
    if path.suffix == ".json":
        try:
            found: Any = json.loads(path.read_bytes()) if path.is_file() else None
            n_features = len(found["feature_sets"]["all"])
        except (OSError, ValueError, RecursionError, LookupError, TypeError):
            return False
        return n_features >= _MIN_FEATURES and bool(found == _features_json(n_features))
    from memmap_train.conversion.parquet.file import Source  # needs pyarrow

    try:
        with closing(Source(path)) as source:
            return BEST_KEY in source.metadata
    except SourceError:
        return False


def _features_json(n_features: int) -> dict[str, Any]:
    return {"feature_sets": _feature_sets(n_features), "targets": list(TARGET_NAMES)}


def _unwritable(directory: str | PathLike[str], error: OSError) -> ConfigError:
    return ConfigError(
        f"can't write a sample into {directory}: expected a folder to write to, with space "
        f"enough; found: {error}; type: memmap-train sample OTHER_DIR"
    )


def _check_space(directory: Path, n_eras: int, rows_per_era: int, n_features: int) -> None:
    """Refuse a sample whose eras or files can't fit; both are estimated low."""
    era_bytes = rows_per_era * (n_features + 4 * len(TARGET_NAMES) + 16)
    # Of an era the latent values, of a row group its rows twice: gathered, and put together.
    memory = (
        6 * era_bytes + 2 * era_bytes * _rows_per_group(rows_per_era, n_features) // rows_per_era
    )
    # Codes take 3 bits; ids and targets about 8 bytes once they are compressed.
    disk = (n_eras + 1) * rows_per_era * (3 * n_features // 8 + 8)
    for needed, free, what, fewer in (
        (memory, available_memory(), "memory", "--rows-per-era or --features"),
        (disk, free_disk(directory), "disk", "--eras, --rows-per-era or --features"),
    ):
        if needed > free:
            raise ConfigError(
                f"sample: {n_eras:,} eras of {rows_per_era:,} rows x {n_features:,} features take "
                f"at least {in_bytes(needed)} of {what}; expected {in_bytes(free)} at most, which "
                f"is what is free: take fewer {fewer}"
            )


def _check(option: str, value: int, *, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        expected = f"{least:,} or more" if most is None else f"{least:,} to {most:,}"
        raise ConfigError(
            f"sample: --{option}: expected {expected}, found {value:,}; "
            f"type: memmap-train sample DIR --{option} {max(least, min(value, most or value))}"
        )
