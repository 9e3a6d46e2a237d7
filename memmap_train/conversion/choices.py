"""The datasets that a source could be converted to: their sizes, and which of them fit.

Takes a plan and the space that is free; returns the choices (all features or those of a feature
set, in either store dtype) and the options that make a dataset fit. Reads and writes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..dataset.format import STORE_DTYPES
from ..dataset.selection import ALL
from .plan import ConversionPlan, StoreSize


@dataclass(frozen=True, slots=True)
class DatasetChoice:
    """A dataset that could be made: all features, or those of a feature set.

    Attributes
    ----------
    name : str
    feature_set : str or None
        The value of `--feature-set`; None for all features.
    n_features : int
    stores : dict of str to StoreSize
        The size in each store dtype.
    """

    name: str
    feature_set: str | None
    n_features: int
    stores: dict[str, StoreSize]


def dataset_choices(plan: ConversionPlan, budget: int) -> tuple[DatasetChoice, ...]:
    """Return the choice of all features, then those of the feature sets that aren't empty.

    Parameters
    ----------
    plan : ConversionPlan
        A plan of all features.
    budget : int
        Bytes of buffers of the conversion.
    """
    everything = plan.columns.schema.features
    sets: list[tuple[str, str | None, Sequence[str]]] = [(ALL, None, everything)]
    for name, features in plan.columns.feature_sets.items():
        if features and not (name == ALL and len(features) == len(everything)):
            sets.append((name, name, features))
    return tuple(
        DatasetChoice(
            name,
            feature_set,
            len(features),
            {dtype: plan.size_of(features, dtype, budget) for dtype in STORE_DTYPES},
        )
        for name, feature_set, features in sets
    )


def suited_choice(
    choices: Sequence[DatasetChoice], memory: int, disk: int, *, integer_features: bool
) -> tuple[DatasetChoice, str] | None:
    """Return the choice of the most features that fits on the disk, and its store dtype.

    The dtype is float32 if the dataset then fits into memory, for nothing has to be decoded while
    training; otherwise int8, if the features are codes.

    Parameters
    ----------
    choices : sequence of DatasetChoice
    memory, disk : int
        Free bytes.
    integer_features : bool
        Whether the features are known to be codes.
    """
    for choice in sorted(choices, key=lambda choice: -choice.n_features):
        float32, int8 = choice.stores["float32"], choice.stores["int8"]
        if float32.disk_bytes <= disk and (float32.bytes <= memory or not integer_features):
            return choice, "float32"
        if integer_features and int8.disk_bytes <= disk:
            return choice, "int8"
    return None


def smaller_choices(plan: ConversionPlan, budget: int, disk: int) -> str:
    """Return the options that make a dataset fit on the disk, as the end of an error message.

    Parameters
    ----------
    plan : ConversionPlan
        The plan of a dataset that is too large.
    budget : int
        Bytes of buffers of the conversion.
    disk : int
        Free bytes.
    """
    everything, *sets = dataset_choices(plan, budget)
    options, dtypes, advice = plan.options, [plan.options.dtype], ""
    if (
        options.dtype == "float32"
        and options.missing == "0.5"
        and plan.columns.schema.integer_features
    ):
        dtypes.append("int8")
        if everything.stores["int8"].disk_bytes <= disk:
            advice = ", or take a quarter of the bytes with --dtype int8"
    for dtype in dtypes:
        fitting = [
            choice
            for choice in sets
            if choice.n_features < everything.n_features and choice.stores[dtype].disk_bytes <= disk
        ]
        if fitting:
            largest = max(fitting, key=lambda choice: choice.n_features)
            with_dtype = "" if dtype == options.dtype else f" --dtype {dtype}"
            return f"{advice}, or fewer features with --feature-set {largest.name}{with_dtype}"
    return advice
