"""Labels of eras, weekly and daily, and the line with which `split` refuses."""

from collections.abc import Collection
from datetime import date, timedelta
from typing import Any

from memmap_train.errors import FoldError
from memmap_train.runs.folds.folds import split
from tests.support.errors import refused

FRIDAY = date(2024, 1, 5)


def labels(first: int, last: int) -> list[str]:
    return [f"{number:04}" for number in range(first, last + 1)]


def numbers(eras: Collection[str]) -> list[int]:
    return [int(era) for era in eras]


def refusal(*args: Any, **options: Any) -> str:
    """Return the one line with which `split` refuses."""
    with refused(FoldError) as caught:
        split(*args, **options)
    return str(caught.value)


def days(
    n: int,
    *,
    step: int = 1,
    business: bool = True,
    form: str = "%Y-%m-%d",
    missing: Collection[int] = (),
) -> list[str]:
    """Return the labels of `n` days from a Friday on, with or without weekends."""
    candidates = (FRIDAY + timedelta(days=step * number) for number in range(4 * n))
    found = [day for day in candidates if not business or day.weekday() < 5]
    return [f"{day:{form}}" for number, day in enumerate(found[:n]) if number not in missing]
