"""Tests of plans: options that make sense, and the bytes that a dataset takes."""

from typing import Any

import pytest

from memmap_train.conversion.plan import (
    Columns,
    ConversionPlan,
    ConvertOptions,
    RowGroup,
    StoreSize,
)
from memmap_train.conversion.schema import Schema
from memmap_train.errors import SchemaError
from tests.support.errors import refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "float16"}, "dtype"),
        ({"missing": "0"}, "missing"),
        ({"missing": "nan", "dtype": "int8"}, "float32"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with refused(SchemaError, said):
        ConvertOptions(**options)


def plan_of(n_features: int, *, dtype: str = "float32", group_rows: int = 100) -> ConversionPlan:
    """Return a plan of two eras, in one row group."""
    names = tuple(f"feature_{number}" for number in range(n_features))
    schema = Schema("era", "id", names, ("target",), integer_features=True)
    return ConversionPlan(
        columns=Columns(schema=schema, feature_sets={}, best_possible=None, alias="target"),
        options=ConvertOptions(dtype=dtype),
        sources=(),
        groups=(RowGroup(0, 0, group_rows, {"0001": group_rows // 2, "0002": group_rows // 2}),),
        rows_per_era={"0001": group_rows // 2, "0002": group_rows // 2},
        data_types={},
        id_width=16,
    )


def test_a_row_takes_the_bytes_of_all_arrays() -> None:
    assert plan_of(10).row_bytes == 10 * 4 + 4 + 16
    assert plan_of(10, dtype="int8").row_bytes == 10 + 4 + 16


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_size_of_a_choice_is_that_of_its_own_plan(dtype: str) -> None:
    plan, part = plan_of(10), plan_of(4, dtype=dtype)
    size = plan.size_of(part.columns.schema.features, dtype, budget=10**9)
    assert size == StoreSize(part.n_bytes, part.disk_bytes(10**9))
    assert size.bytes < plan.n_bytes


def test_row_groups_that_dont_fit_into_the_budget_are_staged_on_the_disk() -> None:
    plan = plan_of(10, group_rows=1000)
    staged = 1000 * (10 + 4 + 16)
    assert plan.disk_bytes(2 * staged) == plan.n_bytes
    assert plan.disk_bytes(2 * staged - 2) == plan.n_bytes + staged
