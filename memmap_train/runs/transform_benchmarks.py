"""The benchmarks that targets are transformed by: whether a dataset has them, and in how many rows.

Takes the eras to train on; the manifest alone is read.
"""

from ..dataset.dataset import Dataset
from ..errors import ConfigError, listed
from ..text import counted
from .configuration.target_transforms import TargetTransform


def check_benchmarks(train: Dataset, transform: TargetTransform) -> None:
    """Check that the eras to train on have the benchmarks of a transform.

    Raises
    ------
    DatasetError
        The dataset has no such benchmark.
    ConfigError
        None of the rows has a value of it.
    """
    train.benchmark_columns(transform.benchmarks or None)
    if len(eras_without(train, transform)) == len(train.eras):
        raise ConfigError(
            f"target_transform: no row of the {counted(len(train.eras), 'era')} to train on "
            f"({train.eras[0]} to {train.eras[-1]}) of {train.path} has a value of "
            f"{listed(transform.benchmarks)}, to which residuals are taken; train on other eras, "
            "or take another benchmark"
        )


def eras_without(train: Dataset, transform: TargetTransform) -> tuple[str, ...]:
    """Return the eras in which no row has a value of some benchmark: none of them has a label."""
    known = [set(train.benchmark_eras(name)) for name in transform.benchmarks]
    return tuple(era for era in train.eras if not all(era in eras for eras in known))


def transform_line(train: Dataset, text: str) -> str | None:
    """Return how targets are transformed, and how many rows have no benchmark; None if they aren't.

    Parameters
    ----------
    train : Dataset
        The eras to train on.
    text : str
        The key `target_transform` of the configuration.
    """
    transform = TargetTransform.parse(text)
    if not transform.steps:
        return None
    parts = [text]
    for name in transform.benchmarks:
        lacking = sum(train.entry(era).benchmark_nulls[name] for era in train.eras)
        if lacking:
            parts.append(
                f"{lacking:,} of {counted(train.n_rows, 'row')} ({lacking / train.n_rows:.1%}) "
                f"have no value of {name} and count as unlabelled"
            )
    if without := eras_without(train, transform):
        parts.append(
            f"{len(without):,} of {counted(len(train.eras), 'era')} without any are left out"
        )
    return "; ".join(parts)
