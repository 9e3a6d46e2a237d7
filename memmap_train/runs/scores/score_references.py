"""What BMC, MMC and FNC refer to: a benchmark, the meta model, a feature set.

Takes a dataset; returns names of its benchmarks and feature sets.
"""

from collections.abc import Sequence

from ...dataset.dataset import Dataset
from ...dataset.selection import ALL
from ...errors import ConfigError, listed, nearest
from ...text import counted
from .monitor import further_score

META_MODEL = "numerai_meta_model"
NEUTRAL_TO = "fncv3_features"


def default_meta_model(dataset: Dataset) -> str | None:
    """Return the benchmark column of MMC, or None if the dataset has none of that name."""
    return META_MODEL if META_MODEL in dataset.benchmark_names else None


def default_benchmark(dataset: Dataset, meta_model: str | None) -> str | None:
    """Return the benchmark column of BMC: the first one that isn't the meta model, or None."""
    return next((name for name in dataset.benchmark_names if name != meta_model), None)


def default_feature_set(dataset: Dataset) -> str:
    """Return the feature set of FNC: ``fncv3_features`` where the dataset has it, else all."""
    return NEUTRAL_TO if NEUTRAL_TO in dataset.manifest.feature_sets else ALL


def monitored_reference(dataset: Dataset, monitor: str, recorded: str | None) -> str | None:
    """Return what the monitored score refers to; None if it is one that every run has.

    Parameters
    ----------
    dataset : Dataset
    monitor : str
        The key `monitor` of the configuration.
    recorded : str or None
        The name that a run has recorded which monitors the same score: it stays the same, whatever
        the dataset has got since.

    Raises
    ------
    ConfigError
        The dataset doesn't have it.
    """
    score = further_score(monitor)
    if score is None:
        return None
    if score == "fnc":
        feature_set = recorded or default_feature_set(dataset)
        if feature_set != ALL and feature_set not in dataset.manifest.feature_sets:
            raise _missing(dataset, monitor, f"feature set {feature_set!r}", "")
        return feature_set
    meta_model = default_meta_model(dataset)
    name = recorded or (META_MODEL if score == "mmc" else default_benchmark(dataset, meta_model))
    if name in dataset.benchmark_names:
        return name
    wanted = "benchmark besides the meta model" if name is None else f"benchmark {name!r}"
    raise _missing(dataset, monitor, wanted, nearest(name or "", dataset.benchmark_names))


def check_reference(
    dataset: Dataset, monitor: str, reference: str | None, eras: Sequence[str]
) -> None:
    """Check that a benchmark which is monitored against has a value in one of the eras.

    Raises
    ------
    ConfigError
        It has none, so the score would be undefined in all of them.
    """
    if reference is None or further_score(monitor) == "fnc":
        return
    covered = dataset.benchmark_eras(reference)
    if not set(covered).isdisjoint(eras):
        return
    where = f"it has some from era {covered[0]} to {covered[-1]}" if covered else "it has none"
    raise ConfigError(
        f"monitor: {monitor} needs values of {reference!r} in the validation eras, but none of "
        f"{counted(len(eras), 'era')} ({eras[0]} to {eras[-1]}) of {dataset.path} has any "
        f"({where}); set other validation_eras, or monitor another score"
    )


def _missing(dataset: Dataset, monitor: str, wanted: str, advice: str) -> ConfigError:
    names = dataset.benchmark_names
    known = f"it has {listed(names)}" if names else "it has no benchmarks"
    return ConfigError(
        f"monitor: {monitor} needs a {wanted}, which {dataset.path} lacks ({known}){advice}; add "
        f"it with `memmap-train convert --benchmarks FILE… --out {dataset.path}`, or monitor "
        "another score"
    )
