"""The columns of a file of predictions: which one holds the ids, the eras and the predictions.

Takes the names and the kinds of all columns, and the names that each may have.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import SourceError, listed
from ..schema import LABEL_KINDS

PREDICTION = "prediction"
UNNAMED = ("__index_level_0__", "")
"""An index without a name, in parquet and in CSV."""

EXPECTED = "expected ids and predictions, as `memmap-train predict` writes them"
_NUMBERS = frozenset(("integer", "float", "decimal"))


@dataclass(frozen=True, slots=True)
class PredictionColumns:
    """The names of a file's columns; `era` is None where it has none."""

    id: str
    era: str | None
    prediction: str


def choose_columns(
    path: Path | str,
    kinds: Sequence[tuple[str, str]],
    id_names: Sequence[str],
    era_names: Sequence[str],
) -> PredictionColumns:
    """Return which columns are which; a SourceError names the columns that were found."""
    names = [name for name, _ in kinds]
    found = f"found the columns {listed(names, 8)}"
    era = next((name for name in era_names if name in names), None)
    row_id = next((name for name in id_names if name in names and name != era), None)
    if row_id is None:
        raise SourceError(
            f"{path}: no column of ids: expected {id_names[0]!r}, {found}; {EXPECTED}"
        )
    kind_of_name = dict(kinds)
    unnamed = {row_id, era, *UNNAMED}
    numbers = [name for name, kind in kinds if kind in _NUMBERS and name not in unnamed]
    if PREDICTION in names:
        prediction = PREDICTION
    elif len(numbers) == 1:
        prediction = numbers[0]
    else:
        several = f"{len(numbers)} columns of numbers" if numbers else "no column of numbers"
        raise SourceError(
            f"{path}: no column {PREDICTION!r}, and {several} that could be it; {found}; write a "
            f"file with one column of predictions, called {PREDICTION!r}"
        )
    for name, what, expected in (
        (row_id, "ids", LABEL_KINDS),
        (era, "eras", LABEL_KINDS),
        (prediction, "predictions", _NUMBERS),
    ):
        if name is None:
            continue
        if Counter(names)[name] > 1:
            raise SourceError(f"{path}: {Counter(names)[name]} columns are called {name!r}")
        if kind_of_name[name] not in expected:
            wanted = "numbers" if expected is _NUMBERS else "text or whole numbers"
            raise SourceError(
                f"{path}: the {what}, column {name!r}, are {kind_of_name[name]}; expected {wanted}"
            )
    return PredictionColumns(row_id, era, prediction)
